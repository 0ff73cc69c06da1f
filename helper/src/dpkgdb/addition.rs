//! New packages beside those that a root has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::BorrowedFd;

use super::info::{INFO, Record, open_dir, read, write};
use super::status::STATUS;
use super::triggers::{self, Interest};
use super::{Error, ExtendedState, Identity, Stanza, Summary, bucket_order};

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
        self.known = count;
        self.write_triggers(new.clone())?;
        let new: Vec<Stanza> =
            self.packages[new].iter().map(|package| package.summary.stanza.clone()).collect();
        self.write_status(&new)
    }

    /// Tells dpkg that it is about to unpack a package, as it is while `preinst` runs.
    ///
    /// # Errors
    /// As [`Addition::reveal`].
    pub(crate) fn announce(&self, at: usize) -> Result<(), Error> {
        let Some(summary) = self.summary(at) else { return Ok(()) };
        let mut stanza = Stanza::default();
        stanza.push("Package", summary.identity.name.as_str());
        stanza.push("Status", *b"install reinstreq half-installed");
        for name in ["Priority", "Section", "Maintainer", "Architecture", "Description"] {
            if let Some(value) = summary.stanza.get(name) {
                stanza.push(name, value);
            }
        }
        self.write_status(&[stanza])
    }

    /// Takes back what [`Addition::announce`] told.
    ///
    /// # Errors
    /// As [`Addition::reveal`].
    pub(crate) fn withdraw(&self, at: usize) -> Result<(), Error> {
        let Some(summary) = self.summary(at) else { return Ok(()) };
        let mut stanza = Stanza::default();
        stanza.push("Package", summary.identity.name.as_str());
        stanza.push("Status", *b"install ok not-installed");
        self.write_status(&[stanza])
    }

    /// Paths of the packages that dpkg knows, without a leading slash.
    pub(crate) fn known_paths(&self) -> HashSet<Vec<u8>> {
        let known = self.packages.iter().take(self.known);
        let paths = known.flat_map(|package| &package.files);
        paths.map(|path| path.get(1..).unwrap_or_default().to_vec()).collect()
    }

    /// Removes what `info` has of packages that dpkg does not know.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn forget_unknown(&mut self) -> Result<(), Error> {
        let info = open_dir(self.root, INFO)?;
        for package in self.packages.drain(self.known..) {
            let scripts = package.summary.scripts.iter().map(String::as_str);
            for file in scripts.chain(["md5sums", "list"]) {
                let name = format!("{}.{file}", package.summary.info_name);
                match rustix::fs::unlinkat(&info, &name, rustix::fs::AtFlags::empty()) {
                    Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                    Err(error) => {
                        let path = format!("/{INFO}/{name}");
                        return Err(Error::Io { doing: "remove", path, source: error.into() });
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds paragraphs, in the place of those of the same names.
    fn write_status(&self, new: &[Stanza]) -> Result<(), Error> {
        let text = read(self.root, STATUS)?;
        let damaged = |error: super::StanzaError| Error::Damaged {
            path: format!("/{STATUS}"),
            what: error.to_string(),
        };
        let mut stanzas = Stanza::parse(&text).map_err(damaged)?;
        for stanza in new {
            let name = stanza.text("Package").unwrap_or_default();
            // dpkg keeps them by name; the order in which it reads decides about ties later.
            let at = stanzas.partition_point(|one| one.text("Package").unwrap_or_default() < name);
            match stanzas.get_mut(at).filter(|one| one.text("Package") == Some(name)) {
                Some(old) => *old = stanza.clone(),
                None => stanzas.insert(at, stanza.clone()),
            }
        }
        let mut status = Vec::with_capacity(text.len() + 2000 * new.len());
        for stanza in &stanzas {
            stanza.write_to(&mut status);
            status.push(b'\n');
        }
        let (parent, name) = STATUS.rsplit_once('/').unwrap_or(("", STATUS));
        replace(self.root, parent, name, &status)
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
        let directory = open_dir(self.root, TRIGGERS)?;
        for (name, text) in triggers::files(&interests) {
            append(self.root, &directory, &name, text.as_bytes())?;
        }
        // “-” is nobody; dpkg itself looks who does not want to be waited for.
        let lines = active.iter().map(|(trigger, waiting)| match waiting.is_empty() {
            true => format!("{trigger} -\n"),
            false => format!("{trigger} {}\n", waiting.join(" ")),
        });
        let text: String = lines.collect();
        append(self.root, &directory, "Unincorp", text.as_bytes())
    }
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
fn append(
    root: BorrowedFd<'_>,
    directory: &std::os::fd::OwnedFd,
    name: &str,
    new: &[u8],
) -> Result<(), Error> {
    let mut text = present(root, TRIGGERS, name)?;
    text.extend_from_slice(new);
    write(directory, TRIGGERS, name, 0o644, None, &text)
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
