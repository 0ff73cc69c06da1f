//! Which sources count: those of third parties are left out, those of the distribution never.
//!
//! Whoever sits between here and an archive can make any source unreachable and break any
//! signature. What is left out for such a reason must therefore be something that another source
//! has, or updates could be taken away without a word.

use super::Acquire;
use super::releases::Found;
use crate::archive::release::Release;
use crate::archive::state::{SignedFile, suite_url};
use crate::archive::uri;
use crate::config::ArchiveSource;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

impl Acquire<'_> {
    /// The sources that count, in their order.
    ///
    /// # Errors
    /// The reason why a source cannot be used, if no other one has its suite;
    /// [`ErrorKind::Config`] if the suite is only there from others than the distribution.
    pub(super) fn that_count<'s>(
        &self,
        sources: &'s [ArchiveSource],
        found: Vec<Found>,
    ) -> Result<Vec<(&'s ArchiveSource, Arc<Release>, SignedFile)>> {
        let mut count = Vec::new();
        let mut others = Vec::new();
        for (source, found) in sources.iter().zip(found) {
            match found {
                Found::Verified(release, signed) => count.push((source, release, signed)),
                other => others.push((source, other)),
            }
        }
        let has = |source: &ArchiveSource, of: &dyn Fn(&ArchiveSource) -> bool| {
            count.iter().any(|(other, ..)| {
                other.suite == source.suite && other.origin == source.origin && of(other)
            })
        };
        for (source, found) in others {
            let shown = uri::redacted(&suite_url(source));
            let asked = source.origin.as_deref().unwrap_or_default();
            match found {
                Found::Foreign(origin) if source.presumed && !has(source, &|_| true) => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        format!("{shown} is not {asked}'s: its Origin is {origin:?}"),
                    )
                    .with_hint(
                        "set `mirror` or `archives` in the config; what `archives` names is taken whatever its Origin",
                    ));
                }
                Found::Foreign(origin) => self.scope.warn(
                    format!("{shown} is left out: its Origin is {origin:?}, not {asked:?}"),
                    None,
                ),
                Found::Unknown(error) => {
                    let all = |other: &ArchiveSource| {
                        source.components.iter().all(|name| other.components.contains(name))
                    };
                    if !has(source, &all) {
                        return Err(error.or_hint(super::DAMAGED));
                    }
                    let why = error.chain().join(": ");
                    self.scope.warn(
                        format!("{shown} is left out: {why}"),
                        Some(format!(
                            "another source has {} of {asked}; if this one is {asked}'s too, mend it or take it out of apt's sources",
                            source.suite
                        )),
                    );
                }
                Found::Verified(..) => {}
            }
        }
        Ok(count)
    }
}

/// Says of a source with updates why it is not just left out.
pub(super) fn explain(error: Error, source: &ArchiveSource) -> Error {
    let updates = [("-security", "security updates"), ("-updates", "updates")];
    let what = updates.iter().find(|(end, _)| source.suite.ends_with(end));
    match (what, &source.origin, error.kind()) {
        (Some((_, what)), Some(_), ErrorKind::Archive | ErrorKind::Signature) => {
            let hint = error.hint().unwrap_or(super::DAMAGED);
            let hint = format!(
                "{hint}; nothing is made without its {what}: to do without them, name the archives that count as `archives` in the config"
            );
            error.with_hint(hint)
        }
        _ => error,
    }
}
