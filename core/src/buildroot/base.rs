//! Which layer a buildroot stands on.

use super::Buildroot;
use crate::bootstrap;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::Held;
use debmock_helper::protocol::Place;
use serde::{Deserialize, Serialize};

/// What a buildroot stands on; kept in the store beside its upper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Base {
    /// Key of the base layer.
    pub layer: String,
    /// Where that came from.
    pub origin: BaseOrigin,
    /// How the buildroot keeps its changes.
    pub storage: Storage,
}

/// Where a base layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BaseOrigin {
    /// Made from packages, as the config says; chosen anew after `clean`.
    Bootstrap,
    /// Imported; kept until another is imported or the buildroot is scrubbed.
    Import,
}

/// How a buildroot keeps its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Storage {
    /// In an upper directory above the base layer.
    Overlay,
    /// In a copy of the base layer.
    Copy,
}

impl Buildroot {
    /// What the buildroot stands on; nothing if it has not been made.
    pub fn base(&self) -> Result<Option<Base>> {
        match self.zone.read(self.place("base.json"))? {
            None => Ok(None),
            Some(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Error::new(
                    ErrorKind::Buildroot,
                    format!("the record of the buildroot {} is damaged", self.name),
                )
                .with_source(error)
                .with_hint("remove it with `debmock scrub chroot`")
            }),
        }
    }

    /// Makes the buildroot if it does not exist.
    pub(super) fn provide(&self, _lock: &Held, scope: &Scope) -> Result<Base> {
        if let Some(base) = self.base()? {
            return Ok(base);
        }
        let layer = bootstrap::provide(&self.zone, &self.config, scope)?;
        self.stand_on(layer.key(), BaseOrigin::Bootstrap, scope)
    }

    /// Puts the buildroot on a layer, without changes.
    pub(super) fn stand_on(&self, layer: &str, origin: BaseOrigin, scope: &Scope) -> Result<Base> {
        self.drop_changes(scope)?;
        self.zone.make_directory(Place::root(self.name.clone()))?;
        let storage = match self.zone.probe_overlay() {
            Ok(()) => Storage::Overlay,
            Err(error) if error.kind() == ErrorKind::Isolation => {
                scope.warn(
                    format!("{error}; the root is copied, which takes longer and more space"),
                    Some("`debmock doctor` says what overlays need".into()),
                );
                Storage::Copy
            }
            Err(error) => return Err(error),
        };
        if storage == Storage::Copy {
            scope.stage("copy", format!("the base of {}", self.name), || {
                let from = Place::layer(format!("{layer}/root"));
                self.zone.copy(from, self.place("tree.new"), scope)?;
                self.zone.rename(self.place("tree.new"), self.place("tree"))
            })?;
        }
        let base = Base { layer: layer.to_owned(), origin, storage };
        let text = serde_json::to_vec_pretty(&base).unwrap_or_default();
        self.zone.write(self.place("base.json"), &text)?;
        Ok(base)
    }

    /// Removes everything that was changed since the base; it stays recorded.
    pub(super) fn drop_changes(&self, scope: &Scope) -> Result<()> {
        // A copied tree before `session`, where the originals of what it borrows are kept: whoever
        // is killed in between leaves nothing that cannot be put back.
        for part in ["upper", "work", "tree", "tree.new", "session", "boot"] {
            self.zone.discard(self.place(part), scope)?;
        }
        Ok(())
    }
}
