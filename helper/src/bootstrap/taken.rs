//! The records of the packages of one bootstrap, while they are collected.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::dpkgdb::Identity;
use crate::unpack::{Error, Problem, Record, Unpacked};

/// What was unpacked, as far as somebody else may take it.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<(Identity, Vec<u8>)>,
    newest: u64,
}

impl Taken {
    /// Records a package that was just unpacked.
    pub(crate) fn keep(&self, unpacked: &mut Unpacked, built: u64) -> Result<(), Error> {
        let record = Record::of(unpacked, built);
        self.record(&unpacked.control.identity, &record)
    }

    /// Adds a record.
    pub(crate) fn record(&self, identity: &Identity, record: &Record) -> Result<(), Error> {
        let bytes = record.encode().map_err(|error| {
            let problem = Problem::io("record what was unpacked", error);
            Error::new(format!("package {}", identity.name), problem)
        })?;
        self.add(identity.clone(), bytes, record.built);
        Ok(())
    }

    /// Adds a package that was recorded earlier.
    pub(crate) fn add(&self, identity: Identity, bytes: Vec<u8>, built: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.records.push((identity, bytes));
        inner.newest = inner.newest.max(built);
    }

    /// All but those.
    pub(super) fn without(mut self, gone: &HashSet<Identity>) -> Self {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.records.retain(|(identity, _)| !gone.contains(identity));
        self
    }

    /// When the newest of all was built, in seconds since 1970.
    pub(crate) fn newest(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).newest
    }

    /// The records, each under what `name` gives, by these names; those without one are left out.
    pub(crate) fn named(
        &self,
        name: impl Fn(&Identity) -> Option<String>,
    ) -> Vec<(String, Vec<u8>)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let named =
            inner.records.iter().filter_map(|(one, bytes)| Some((name(one)?, bytes.clone())));
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }
}
