//! One tree of the layers of a root, where packages need it.
//!
//! A directory that comes from a layer cannot be renamed: dpkg cannot put a file where an installed
//! package has a directory, and some maintainer scripts fail. Then the packages are installed
//! again above a copy of the whole root. It is the upper of the same overlay, so that all else, from
//! snapshots to the layers that are made of it, stays as it is.

use super::{Base, Buildroot, ITS_OWN, Opening, Session, Storage, files};
use crate::error::{Error, Result};
use crate::operation::Scope;
use debmock_helper::protocol::Place;
use std::io;
use std::sync::Arc;

/// What programs of a root say of `EXDEV`; `LC_ALL` is `C.UTF-8` there.
pub(crate) const CROSSING: &str = "Invalid cross-device link";
/// An upper that is complete and is to take the place of the one that is there.
pub(super) const NEXT_UPPER: &str = "upper.next";
/// One that is being made.
pub(super) const FLAT: &str = "upper.flat";

/// Whether something failed because a directory of a layer cannot be renamed.
pub(crate) fn is_of_layers(error: &Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |one| one.source());
    causes.any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::CrossesDevices)
    })
}

/// Tells that something is done again, for which the root is copied.
pub(crate) fn announce(scope: &Scope) {
    let message = "a directory of a layer cannot be renamed, which these packages need: they are \
                   installed again in a copy of the whole root";
    scope.warn(message, None);
}

impl Buildroot {
    /// Carries out `work` in `session`, and once more above a copy of the root if it fails because
    /// of the layers.
    pub(super) fn with_flat<T>(
        &self,
        session: Arc<Session>,
        scope: &Scope,
        mut work: impl FnMut(&Session) -> Result<T>,
    ) -> Result<T> {
        match work(&session) {
            Err(error) if is_of_layers(&error) => match self.flatten_open(session, scope)? {
                Some(session) => work(&session),
                None => Err(error),
            },
            other => other,
        }
    }

    /// Opens the root anew above a copy of itself; nothing if others have it open, too, or if it is
    /// no overlay on the disk.
    fn flatten_open(&self, session: Arc<Session>, scope: &Scope) -> Result<Option<Arc<Session>>> {
        let Some(base) = self.base()?.filter(|base| base.storage == Storage::Overlay) else {
            return Ok(None);
        };
        if session.is_in_memory() || session.holder().is_some() {
            return Ok(None);
        }
        let Some(turn) = self.open.replace(ITS_OWN) else { return Ok(None) };
        announce(scope);
        session.end()?;
        let copied = scope.stage("copy", format!("the root of {}", self.name), || {
            let flat = self.place(FLAT);
            self.zone.discard(flat.clone(), scope)?;
            let (stack, upper) = (self.stack(&base), self.place("upper"));
            self.zone.flatten(stack, Some(upper), self.lent()?, flat.clone(), scope)?;
            self.zone.rename(flat, self.place(NEXT_UPPER))
        });
        if copied.is_err() {
            // The first failure counts.
            let _ = self.zone.discard(self.place(FLAT), &Scope::quiet());
        }
        copied?;
        self.finish_flattening(scope)?;
        let locks = session.locks();
        let session = Arc::new(self.open_recorded(&base, Opening::default(), locks, scope)?);
        turn.end(&session, false);
        Ok(Some(session))
    }

    /// Puts a complete upper in the place of the one that is there; whoever is killed before the
    /// end leaves what the next use brings to it.
    pub(super) fn finish_flattening(&self, scope: &Scope) -> Result<()> {
        // A copy that somebody was killed at.
        self.zone.discard(self.place(FLAT), scope)?;
        if !self.is_there(NEXT_UPPER)? {
            return Ok(());
        }
        for part in ["upper", "work"] {
            self.zone.discard(self.place(part), scope)?;
        }
        self.zone.rename(self.place(NEXT_UPPER), self.place("upper"))
    }

    /// Makes the upper of a layer, in its directory `home`, a copy of the trees of `base`.
    pub(super) fn flatten_layer(&self, base: &Base, upper: Place, scope: &Scope) -> Result<()> {
        self.zone.flatten(self.stack(base), None, self.lent()?, upper, scope)
    }

    /// Paths of the files that a session lays over the layers.
    fn lent(&self) -> Result<Vec<String>> {
        let files = files::session_files(&self.config.isolation.hostname, false)?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }
}
