//! New packages beside those that a root has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::BorrowedFd;

use super::info::{Record, open_dir, read, write};
use super::status::STATUS;
use super::triggers::{self, Interest};
use super::{Error, ExtendedState, Identity, Stanza, Summary, bucket_order};
use crate::unpack::Control;

const TRIGGERS: &str = "var/lib/dpkg/triggers";
const APT: &str = "var/lib/apt";
const MARKS: &str = "extended_states";

/// Packages whose files are in the tree, in the order in which dpkg comes to know them.
#[derive(Debug)]
pub(crate) struct Addition<'a> {
    root: BorrowedFd<'a>,
    packages: Vec<Record>,
    /// How many of them are in the status.
    known: usize,
    /// Interests in paths, of all packages that dpkg knows.
    interests: Vec<Interest>,
}

impl<'a> Addition<'a> {
    pub(super) fn new(
        root: BorrowedFd<'a>,
        mut packages: Vec<Record>,
        order: &[Identity],
        interests: Vec<Interest>,
    ) -> Self {
        let places: HashMap<&Identity, usize> =
            order.iter().enumerate().map(|(place, identity)| (identity, place)).collect();
        packages.sort_by_key(|package| places.get(&package.summary.identity).copied());
        Self { root, packages, known: 0, interests }
    }

    /// The packages in their order.
    pub(crate) fn summary(&self, at: usize) -> Option<&Summary> {
        self.packages.get(at).map(|package| &package.summary)
    }

    /// Adds the first `count` packages to the status as unpacked, as far as they are not in it
    /// already. The triggers that unpacking them activates are left to the next dpkg that runs,
    /// as `dpkg-trigger` leaves them. dpkg must not run meanwhile.
    ///
    /// # Errors
    /// The database is not what dpkg writes, or cannot be written.
    pub(crate) fn reveal(&mut self, count: usize) -> Result<(), Error> {
        let count = count.min(self.packages.len());
        if count <= self.known {
            return Ok(());
        }
        let new = self.known..count;
        self.write_triggers(new.clone())?;
        let new: Vec<Stanza> =
            self.packages[new].iter().map(|package| package.summary.stanza.clone()).collect();
        write_status(self.root, &new)?;
        self.known = count;
        Ok(())
    }

    /// Tells dpkg that it is about to unpack a package, as it is while `preinst` runs.
    ///
    /// # Errors
    /// As [`Addition::reveal`].
    pub(crate) fn announce(&self, at: usize) -> Result<(), Error> {
        let Some(summary) = self.summary(at) else { return Ok(()) };
        write_half_installed(self.root, &summary.identity, &summary.stanza)
    }

    /// What dpkg records of interests and activations when it unpacks these packages.
    fn write_triggers(&mut self, new: std::ops::Range<usize>) -> Result<(), Error> {
        let mut interests = Vec::new();
        let mut active: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in &self.packages[new.clone()] {
            for interest in &package.interests {
                interests.push((interest.clone(), package.summary.info_name.clone()));
                if interest.trigger.starts_with('/') {
                    self.interests.push(interest.clone());
                }
            }
        }
        for package in &self.packages[new] {
            let name = package.summary.info_name.as_str();
            let on_paths = self
                .interests
                .iter()
                .filter(|interest| triggers::activates(&interest.trigger, &package.files));
            let named = package.activates.iter().map(|(trigger, awaits)| (trigger, *awaits));
            for (trigger, awaits) in on_paths.map(|one| (&one.trigger, true)).chain(named) {
                let waiting = active.entry(trigger).or_default();
                if awaits && !waiting.contains(&name) {
                    waiting.push(name);
                }
            }
        }
        for (name, text) in triggers::files(&interests) {
            append(self.root, &name, text.as_bytes())?;
        }
        // “-” is nobody; dpkg itself looks who does not want to be waited for.
        let lines = active.iter().map(|(trigger, waiting)| match waiting.is_empty() {
            true => format!("{trigger} -\n"),
            false => format!("{trigger} {}\n", waiting.join(" ")),
        });
        let text: String = lines.collect();
        if text.is_empty() {
            return Ok(());
        }
        append(self.root, "Unincorp", text.as_bytes())
    }
}

/// Tells dpkg that it is about to unpack a package of which nothing is in the tree yet.
///
/// # Errors
/// As [`Addition::reveal`].
pub(crate) fn announce(root: BorrowedFd<'_>, control: &Control) -> Result<(), Error> {
    write_half_installed(root, &control.identity, &control.stanza)
}

fn write_half_installed(
    root: BorrowedFd<'_>,
    identity: &Identity,
    fields: &Stanza,
) -> Result<(), Error> {
    let mut stanza = Stanza::default();
    stanza.push("Package", identity.name.as_str());
    stanza.push("Status", *b"install reinstreq half-installed");
    for name in ["Priority", "Section", "Maintainer", "Architecture", "Version", "Description"] {
        if let Some(value) = fields.get(name) {
            stanza.push(name, value);
        }
    }
    write_status(root, &[stanza])
}

/// Adds paragraphs to the status, in the place of those of the same names.
fn write_status(root: BorrowedFd<'_>, new: &[Stanza]) -> Result<(), Error> {
    let mut stanzas = read_status(root)?;
    for stanza in new {
        let name = stanza.text("Package").unwrap_or_default();
        // dpkg keeps them by name; the order in which it reads decides about ties later.
        let at = stanzas.partition_point(|one| one.text("Package").unwrap_or_default() < name);
        match stanzas.get_mut(at).filter(|one| one.text("Package") == Some(name)) {
            Some(old) => *old = stanza.clone(),
            None => stanzas.insert(at, stanza.clone()),
        }
    }
    replace_status(root, &stanzas)
}

fn read_status(root: BorrowedFd<'_>) -> Result<Vec<Stanza>, Error> {
    Stanza::parse(&read(root, STATUS)?)
        .map_err(|error| Error::Damaged { path: format!("/{STATUS}"), what: error.to_string() })
}

fn replace_status(root: BorrowedFd<'_>, stanzas: &[Stanza]) -> Result<(), Error> {
    let mut status = Vec::new();
    for stanza in stanzas {
        stanza.write_to(&mut status);
        status.push(b'\n');
    }
    let (parent, name) = STATUS.rsplit_once('/').unwrap_or(("", STATUS));
    replace(root, parent, name, &status)
}

/// Of packages that somebody was bringing in when he was ended, named as their files in `info` are,
/// those that dpkg knows. One whose `preinst` was running is dpkg's no longer then.
///
/// # Errors
/// The status is not what dpkg writes, or cannot be written.
pub(crate) fn settle(
    root: BorrowedFd<'_>,
    coming: &HashSet<String>,
) -> Result<HashSet<String>, Error> {
    let mut known = HashSet::new();
    let stanzas = read_status(root)?;
    let count = stanzas.len();
    let stay = |stanza: &Stanza| {
        let name = stanza.text("Package").unwrap_or_default();
        let full = format!("{name}:{}", stanza.text("Architecture").unwrap_or_default());
        let Some(stem) = [name, &full].into_iter().find(|stem| coming.contains(*stem)) else {
            return true;
        };
        let status = stanza.text("Status").unwrap_or_default();
        let knows = !status.ends_with(" not-installed") && !status.ends_with(" half-installed");
        if knows {
            known.insert(stem.to_owned());
        }
        knows
    };
    let stanzas: Vec<Stanza> = stanzas.into_iter().filter(stay).collect();
    if stanzas.len() < count {
        replace_status(root, &stanzas)?;
    }
    Ok(known)
}

/// Marks new packages as automatically installed, in apt's order, after those that it knows.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn mark(root: BorrowedFd<'_>, automatic: &[ExtendedState]) -> Result<(), Error> {
    if automatic.is_empty() {
        return Ok(());
    }
    let mut text = present(root, APT, MARKS)?;
    if !text.is_empty() && !text.ends_with(b"\n\n") {
        text.push(b'\n');
    }
    let mut sorted = automatic.to_vec();
    sorted.sort_by_key(|state| (bucket_order(&state.name), state.name.clone()));
    text.extend(ExtendedState::write(&sorted).bytes());
    replace(root, APT, MARKS, &text)
}

/// Adds text at the end of a file of `triggers`, or makes it.
fn append(root: BorrowedFd<'_>, name: &str, new: &[u8]) -> Result<(), Error> {
    let mut text = present(root, TRIGGERS, name)?;
    text.extend_from_slice(new);
    replace(root, TRIGGERS, name, &text)
}

/// The content of a file that may be missing.
fn present(root: BorrowedFd<'_>, parent: &str, name: &str) -> Result<Vec<u8>, Error> {
    match read(root, &format!("{parent}/{name}")) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// Replaces a file by one that is there completely or not at all.
fn replace(root: BorrowedFd<'_>, parent: &str, name: &str, data: &[u8]) -> Result<(), Error> {
    let directory = open_dir(root, parent)?;
    let new = format!("{name}-new");
    write(&directory, parent, &new, 0o644, None, data)?;
    rustix::fs::renameat(&directory, &new, &directory, name).map_err(|error| Error::Io {
        doing: "replace",
        path: format!("/{parent}/{name}"),
        source: error.into(),
    })
}
