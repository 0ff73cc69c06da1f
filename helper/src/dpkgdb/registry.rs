//! Makes unpacked packages known to dpkg, one after the other.
//!
//! Scripts ask dpkg what is installed, and do different things for packages that are not there
//! yet. So a package enters the status at the moment at which dpkg would have unpacked it,
//! although its files are in the tree since long.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use super::info::{Record, info_name, open_dir, read, write};
use super::status::STATUS;
use super::triggers::{self, Interest};
use super::{Error, Identity, Stanza};

const TRIGGERS: &str = "var/lib/dpkg/triggers";

/// The packages of a database in the order in which dpkg comes to know them.
#[derive(Debug)]
pub(crate) struct Registry<'a> {
    root: BorrowedFd<'a>,
    packages: Vec<Record>,
    /// How many of them are in the status.
    known: usize,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        root: BorrowedFd<'a>,
        mut packages: Vec<Record>,
        order: &[Identity],
    ) -> Result<Self, Error> {
        let places: HashMap<&Identity, usize> =
            order.iter().enumerate().map(|(place, identity)| (identity, place)).collect();
        packages.sort_by_key(|package| {
            let identity = &package.summary.identity;
            (places.get(identity).copied().unwrap_or(usize::MAX), identity.clone())
        });
        let registry = Self::resume(root, packages);
        registry.write_triggers()?;
        registry.write_status(b"")?;
        Ok(registry)
    }

    /// That of a root of whose packages dpkg knows none yet; they are in their order.
    pub(crate) fn resume(root: BorrowedFd<'a>, packages: Vec<Record>) -> Self {
        Self { root, packages, known: 0 }
    }

    /// The packages in their order.
    pub(crate) fn packages(&self) -> &[Record] {
        &self.packages
    }

    /// Adds the first `count` packages to the status as unpacked, as far as they are not in it
    /// already, and marks the triggers that unpacking them activates in packages that are
    /// configured. dpkg must not run meanwhile.
    ///
    /// # Errors
    /// The status is not what dpkg writes, or cannot be written.
    pub(crate) fn reveal(&mut self, count: usize) -> Result<(), Error> {
        let count = count.min(self.packages.len());
        if count <= self.known {
            return Ok(());
        }
        let new = &self.packages[self.known..count];
        let text = read(self.root, STATUS)?;
        let mut stanzas = Stanza::parse(&text).map_err(|error| Error::Damaged {
            path: format!("/{STATUS}"),
            what: error.to_string(),
        })?;
        for stanza in &mut stanzas {
            self.mark_pending(stanza, new);
        }
        stanzas.extend(new.iter().map(|package| package.summary.stanza.clone()));
        let mut status = Vec::with_capacity(text.len() + new.len() * 1000);
        for stanza in &stanzas {
            stanza.write_to(&mut status);
            status.push(b'\n');
        }
        self.known = count;
        self.write_triggers()?;
        self.write_status(&status)
    }

    /// The state that dpkg gives a configured package when `new` ones activate its triggers.
    fn mark_pending(&self, stanza: &mut Stanza, new: &[Record]) {
        let status = stanza.text("Status").unwrap_or_default();
        if !["install ok installed", "install ok triggers-pending"].contains(&status) {
            return;
        }
        let Ok(identity) = Identity::of(stanza) else { return };
        let name = info_name(stanza, &identity);
        let known = &self.packages[..self.known];
        let Some(interested) = known.iter().find(|one| one.summary.info_name == name) else {
            return;
        };
        let mut pending: Vec<String> = stanza
            .text("Triggers-Pending")
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let before = pending.len();
        for Interest { trigger, .. } in &interested.interests {
            let active = new.iter().any(|package| {
                package.activates.iter().any(|(name, _)| name == trigger)
                    || triggers::activates(trigger, &package.files)
            });
            if active && !pending.contains(trigger) {
                pending.push(trigger.clone());
            }
        }
        if pending.len() > before {
            stanza.set("Status", b"install ok triggers-pending");
            stanza.set("Triggers-Pending", pending.join(" ").as_bytes());
        }
    }

    fn write_triggers(&self) -> Result<(), Error> {
        let mut interests = Vec::new();
        for package in &self.packages[..self.known] {
            let name = &package.summary.info_name;
            interests.extend(package.interests.iter().map(|one| (one.clone(), name.clone())));
        }
        let directory = open_dir(self.root, TRIGGERS)?;
        write(&directory, TRIGGERS, "Unincorp", 0o644, None, b"")?;
        for (name, text) in triggers::files(&interests) {
            write(&directory, TRIGGERS, &name, 0o644, None, text.as_bytes())?;
        }
        Ok(())
    }

    fn write_status(&self, text: &[u8]) -> Result<(), Error> {
        let (parent, name) = STATUS.rsplit_once('/').unwrap_or(("", STATUS));
        write(&open_dir(self.root, parent)?, parent, name, 0o644, None, text)
    }
}
