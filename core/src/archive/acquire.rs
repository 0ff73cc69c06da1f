//! Brings the index files up to date.
//!
//! For each source: the Release file by a conditional request, its signature, its dates, then
//! the indexes that the store does not have yet, all sources at once. Without a change this
//! costs one conditional request for each source and nothing else.

mod indexes;
mod releases;
mod sources;
mod verified;

use super::parallel::in_parallel;
use super::state::{ArchiveState, IndexFile, Lists, SignedFile, SuiteState, suite_url};
use super::transport::Transport;
use super::uri;
use crate::config::ArchiveSource;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use indexes::Wanted;
use std::time::Duration;

/// When servers are asked for new Release files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Every time.
    Always,
    /// If the last time is longer ago than this.
    OlderThan(Duration),
    /// Never: what is in the store must do.
    Never,
}

/// What to do about a file that is not what an archive makes.
const DAMAGED: &str = "the mirror may be in the middle of an update or damaged, or something on the way answers in its place: try again later or use another one";

/// Everything that acquiring needs to know about its surroundings.
pub struct Acquire<'a> {
    /// How files are got.
    pub transport: &'a dyn Transport,
    /// The store of index files.
    pub lists: &'a Lists,
    /// Gives the archive keys that the library carries under a name.
    pub builtin_keys: fn(&str) -> Option<&'static [u8]>,
    /// Transfers at once.
    pub parallel: usize,
    /// Where events go and cancelling comes from.
    pub scope: &'a Scope,
}

impl Acquire<'_> {
    /// Brings the binary indexes of `sources` for `architecture` up to date.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] and [`ErrorKind::Signature`], as the parts of the chain have them;
    /// [`ErrorKind::Config`] if no source is left. A source that is only presumed to be the
    /// distribution's is left out with a warning instead ([`ArchiveSource::presumed`]).
    pub fn refresh(
        &self,
        sources: &[ArchiveSource],
        architecture: &str,
        refresh: Refresh,
    ) -> Result<ArchiveState> {
        let found = in_parallel(self.parallel, sources, |source| {
            self.release(source, refresh).map_err(|error| match error.kind() {
                ErrorKind::Archive | ErrorKind::Signature => {
                    sources::explain(error.or_hint(DAMAGED), source)
                }
                _ => error,
            })
        })?;
        let mut files = Vec::new();
        let mut suites = Vec::new();
        let mut wanted = Vec::new();
        for (source, release, signed) in self.that_count(sources, found)? {
            let url = suite_url(source);
            let mut file = |name: &str, sha256| {
                files.push((uri::list_name(&format!("{url}{name}")), self.lists.object(sha256)));
            };
            match signed {
                SignedFile::Inline(object) => file("InRelease", object),
                SignedFile::Unsigned(object) => file("Release", object),
                SignedFile::Detached { release, signature } => {
                    file("Release", release);
                    file("Release.gpg", signature);
                }
            }
            let own = [architecture.to_owned()];
            let architectures = match source.architectures.is_empty() {
                true => &own[..],
                false => &source.architectures,
            };
            for (component, architecture, path) in self.paths(source, &release, architectures) {
                wanted.push(Wanted { suite: suites.len(), component, architecture, path });
            }
            suites.push(SuiteState { source: source.clone(), release, indexes: Vec::new() });
        }
        if suites.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no archive is left to take packages from")
                .with_hint("set `archives` in the config"));
        }
        for (wanted, path) in self.indexes(&suites, wanted)? {
            let suite = &mut suites[wanted.suite];
            let url = format!("{}{}", suite_url(&suite.source), wanted.path);
            files.push((uri::list_name(&url), path.clone()));
            let (component, architecture) = (wanted.component, wanted.architecture);
            suite.indexes.push(IndexFile { component, architecture, path });
        }
        let (digest, lists) = self.lists.assemble(&files)?;
        Ok(ArchiveState { digest, lists, architecture: architecture.to_owned(), suites })
    }
}

#[cfg(test)]
pub(crate) mod tests;
