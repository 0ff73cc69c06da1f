//! The file `status`.

use std::os::fd::BorrowedFd;

use super::stanza::{Identity, Stanza};
use super::{Error, info};
use crate::unpack::Unpacked;

/// Path of the status file in a root.
pub(super) const STATUS: &str = "var/lib/dpkg/status";

/// A package that dpkg knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Name, version and architecture.
    pub identity: Identity,
    /// The last word of its status.
    pub state: State,
    /// It has to be kept (`hold`).
    pub held: bool,
}

/// How far a package is (`dpkg(1)`, PACKAGE STATES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Unpacked and configured.
    Installed,
    /// Only its configuration is there.
    ConfigFiles,
    /// Unpacked, not configured.
    Unpacked,
    /// Waits for another package's triggers, or has triggers to process.
    Triggers,
    /// Something failed in between.
    Broken,
}

/// The paragraph of a package that was just unpacked.
pub(super) fn unpacked_stanza(unpacked: &Unpacked) -> Stanza {
    let mut stanza = Stanza::default();
    for (name, value) in unpacked.control.stanza.fields() {
        if name.eq_ignore_ascii_case("Status") || name.eq_ignore_ascii_case("Conffiles") {
            // No field of a control file; a package cannot set dpkg's view of itself.
            continue;
        }
        stanza.push(name, value);
        if name.eq_ignore_ascii_case("Package") {
            stanza.push("Status", *b"install ok unpacked");
        }
    }
    if !unpacked.conffiles.is_empty() {
        let mut value = Vec::new();
        for conffile in &unpacked.conffiles {
            value.extend_from_slice(b"\n ");
            value.extend_from_slice(&conffile.path);
            value.extend_from_slice(b" newconffile");
            if conffile.remove_on_upgrade {
                value.extend_from_slice(b" remove-on-upgrade");
            }
        }
        stanza.push("Conffiles", value);
    }
    stanza
}

/// All packages in the root's `status` that are not gone altogether, in dpkg's order.
///
/// # Errors
/// The file cannot be read, or is not in dpkg's form. dpkg may not run in the root meanwhile:
/// what it keeps in `updates/` is not read.
pub fn installed(root: BorrowedFd<'_>) -> Result<Vec<Installed>, Error> {
    let text = info::read(root, STATUS)?;
    let damaged = |what: String| Error::Damaged { path: format!("/{STATUS}"), what };
    let mut found = Vec::new();
    for stanza in Stanza::parse(&text).map_err(|error| damaged(error.to_string()))? {
        let status = stanza.text("Status").unwrap_or_default();
        let words: Vec<&str> = status.split_whitespace().collect();
        let state = match words.as_slice() {
            [_, _, "not-installed"] => continue,
            [_, "ok", "installed"] => State::Installed,
            [_, "ok", "config-files"] => State::ConfigFiles,
            [_, "ok", "unpacked"] => State::Unpacked,
            [_, "ok", "triggers-pending" | "triggers-awaited"] => State::Triggers,
            [_, _, _] => State::Broken,
            _ => return Err(damaged(format!("a package has the status “{status}”"))),
        };
        let identity = Identity::of(&stanza).map_err(|error| damaged(error.to_string()))?;
        found.push(Installed { identity, state, held: words[0] == "hold" });
    }
    Ok(found)
}
