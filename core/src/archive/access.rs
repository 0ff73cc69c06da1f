//! The archives of a config, ready to be asked.

use super::acquire::{Acquire, Refresh};
use super::fetch;
use super::index::Packages;
use super::state::{ArchiveState, Lists};
use super::transport::HostTransport;
use crate::config::{self, ArchiveSource, Config, builtin_keys};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::solve::PackageEntry;
use crate::store::{Places, debs::Debs};
use std::path::Path;

/// A config's archives with the stores of what was fetched from them.
pub struct Archives<'a> {
    config: &'a Config,
    transport: HostTransport,
    lists: Lists,
    debs: Debs,
}

impl std::fmt::Debug for Archives<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archives(of {})", self.config.name)
    }
}

impl<'a> Archives<'a> {
    /// Opens the stores below `places`; no connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for certificates that cannot be read, those
    /// of the file system for the stores.
    pub fn open(config: &'a Config, places: &Places, scope: &Scope) -> Result<Self> {
        Ok(Archives {
            config,
            transport: HostTransport::new(&config.network, scope.cancel_token().clone())?,
            lists: Lists::open(&places.cache)?,
            debs: Debs::open(&places.cache)?,
        })
    }

    /// What the archives offer now, as old as the config allows.
    ///
    /// # Errors
    /// Those of [`Acquire::refresh`].
    pub fn state(&self, scope: &Scope) -> Result<ArchiveState> {
        self.state_with(&[], self.refresh(), scope)
    }

    /// When servers are asked, as the config says.
    pub fn refresh(&self) -> Refresh {
        match self.config.refresh {
            config::Refresh::Always => Refresh::Always,
            config::Refresh::After(age) => Refresh::OlderThan(age),
            config::Refresh::Never => Refresh::Never,
        }
    }

    /// What the archives offer, asked as `refresh` says, with further archives, which come first:
    /// of two packages with the same version apt takes theirs.
    ///
    /// # Errors
    /// Those of [`Acquire::refresh`]; [`ErrorKind::Archive`] if no suite has packages for the
    /// config's architecture.
    pub fn state_with(
        &self,
        extra: &[ArchiveSource],
        refresh: Refresh,
        scope: &Scope,
    ) -> Result<ArchiveState> {
        let architecture = self.config.architecture.as_str();
        scope.stage("indexes", format!("of {}", self.config.name), || {
            let acquire = self.acquire(scope);
            if !extra.is_empty() && refresh == Refresh::Never {
                // They were named for this call: nobody can have fetched them before.
                acquire.refresh(extra, architecture, Refresh::Always)?;
            }
            let all: Vec<_> = extra.iter().chain(&self.config.archives).cloned().collect();
            let state = acquire.refresh(&all, architecture, refresh)?;
            if state.suites.iter().all(|suite| suite.indexes.is_empty()) {
                let mut suites: Vec<_> = all.iter().map(|source| source.suite.as_str()).collect();
                suites.retain(|suite| *suite != "/");
                return Err(Error::new(
                    ErrorKind::Archive,
                    format!("no archive has packages for {architecture} ({})", suites.join(", ")),
                )
                .with_hint("check `architecture`, `suite` and `components` in the config: a release has not every architecture, and some are on mirrors of their own"));
            }
            Ok(state)
        })
    }

    /// The parts for calls that need them one by one.
    pub fn acquire<'s>(&'s self, scope: &'s Scope) -> Acquire<'s> {
        Acquire {
            transport: &self.transport,
            lists: &self.lists,
            builtin_keys,
            parallel: self.config.network.parallel,
            scope,
        }
    }

    /// The packages of a state.
    ///
    /// # Errors
    /// An index that cannot be read.
    pub fn packages(&self, state: &ArchiveState) -> Result<Packages> {
        Packages::load(state)
    }

    /// Gets packages into the store; `deliver` is told of each one as soon as it is there.
    ///
    /// # Errors
    /// Those of [`fetch::fetch`].
    pub fn fetch(
        &self,
        packages: &[PackageEntry],
        scope: &Scope,
        deliver: impl Fn(&PackageEntry, &Path) -> Result<()> + Sync,
    ) -> Result<()> {
        let parallel = self.config.network.parallel;
        fetch::fetch(packages, &self.debs, &self.transport, parallel, scope, deliver)
    }

    /// How files are got.
    pub fn transport(&self) -> &HostTransport {
        &self.transport
    }

    /// The store of index files.
    pub fn lists(&self) -> &Lists {
        &self.lists
    }

    /// The store of package files.
    pub fn debs(&self) -> &Debs {
        &self.debs
    }
}
