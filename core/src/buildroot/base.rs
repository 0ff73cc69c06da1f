//! Which layer a buildroot stands on.

use super::flatten::{FLAT, NEXT_UPPER};
use super::snapshot::{NEXT_TREE, SNAPSHOTS};
use super::{Asked, Buildroot};
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
    /// What the config asked for when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What lies between the base layer and the changes, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Lower>,
}

/// A tree between the base layer and the changes of a buildroot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lower {
    /// The layer of this key: packages that several buildroots may share.
    Layer(String),
    /// The frozen changes of this buildroot that have this id.
    Snapshot(String),
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

impl Base {
    /// The layers that it takes, the base layer among them.
    pub(super) fn layers(&self) -> impl Iterator<Item = &str> {
        let above = self.above.iter().filter_map(|lower| match lower {
            Lower::Layer(key) => Some(key.as_str()),
            Lower::Snapshot(_) => None,
        });
        above.chain([self.layer.as_str()])
    }

    /// Whether there is nothing of the buildroot's own among what it stands on.
    pub(super) fn has_only_layers(&self) -> bool {
        self.above.iter().all(|lower| matches!(lower, Lower::Layer(_)))
    }
}

impl Buildroot {
    /// The trees that the buildroot stands on, topmost first.
    pub(super) fn stack(&self, base: &Base) -> Vec<Place> {
        let above = base.above.iter().map(|lower| match lower {
            Lower::Layer(key) => Place::layer(format!("{key}/root")),
            Lower::Snapshot(id) => self.place(&format!("{SNAPSHOTS}/{id}/root")),
        });
        above.chain([Place::layer(format!("{}/root", base.layer))]).collect()
    }

    /// Records what the buildroot stands on.
    pub(super) fn record(&self, base: &Base, scope: &Scope) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(base).map_err(|error| unwritable(&self.name, error))?;
        // At no time does it stand on a layer of which nobody was told.
        self.tell_uses(Some(base), scope)?;
        self.zone.write(self.place("base.json"), &text)?;
        self.tell_uses(None, scope)
    }

    /// What the buildroot stands on; nothing if it has not been made.
    pub fn base(&self) -> Result<Option<Base>> {
        match self.zone.read(self.place("base.json"))? {
            None => Ok(None),
            Some(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| damaged(&self.name, error))
            }
        }
    }

    /// Makes the buildroot if it does not exist, and anew if the config asks for another one and
    /// nothing is lost by that.
    pub(super) fn provide(&self, _lock: &Held, scope: &Scope) -> Result<Base> {
        self.finish(scope)?;
        if let Some(base) = self.base()? {
            if base.storage == Storage::Copy && !self.is_there("tree")? {
                // Whoever was to put another tree in its place was killed: nothing is left to lose.
                return self.copy_again(&base, scope);
            }
            let differences = self.differences(&base);
            if differences.is_empty() {
                return Ok(base);
            }
            let found = format!("the root is one with {}", differences.join(", "));
            if !self.may_replace(&base)? {
                return Err(self.is_another(&base, &found));
            }
            scope.warn(format!("{found}; nothing was changed in it: it is made anew"), None);
        }
        let layer = bootstrap::provide(&self.zone, &self.config, scope)?;
        self.stand_on(layer.key(), BaseOrigin::Bootstrap, scope)
    }

    /// The tree of a copied root, from its base once more.
    fn copy_again(&self, base: &Base, scope: &Scope) -> Result<Base> {
        if base.origin == BaseOrigin::Import {
            return self.stand_on(&base.layer, base.origin, scope);
        }
        let layer = bootstrap::provide(&self.zone, &self.config, scope)?;
        self.stand_on(layer.key(), BaseOrigin::Bootstrap, scope)
    }

    /// How the base differs from what the config asks for now, in words.
    fn differences(&self, base: &Base) -> Vec<String> {
        let now = Asked::of(&self.config);
        base.asked.as_ref().map(|then| then.differences(&now)).unwrap_or_default()
    }

    /// Whether nothing is lost if the root stands on something else: it comes from packages, and
    /// nobody has opened it for writing. Of a copy that cannot be told.
    fn may_replace(&self, base: &Base) -> Result<bool> {
        if base.origin == BaseOrigin::Import || base.storage == Storage::Copy {
            return Ok(false);
        }
        Ok(base.above.is_empty() && self.is_unchanged()?)
    }

    fn is_another(&self, base: &Base, found: &str) -> Error {
        let name = &self.name;
        let message = format!("the buildroot {name} is not what the config asks for: {found}");
        let begin = match base.origin {
            BaseOrigin::Bootstrap => "`debmock clean` drops what was changed in it and begins anew",
            BaseOrigin::Import => {
                "`debmock import` puts another archive in its place, `debmock scrub chroot` removes it"
            }
        };
        Error::new(ErrorKind::Buildroot, message).with_hint(format!(
            "{begin}; `--uniqueext NAME` keeps it and makes another one beside it"
        ))
    }

    /// Puts the buildroot on a layer, without changes.
    pub(super) fn stand_on(&self, layer: &str, origin: BaseOrigin, scope: &Scope) -> Result<Base> {
        let kept = self.base().ok().flatten().filter(|base| {
            base.origin == BaseOrigin::Import && origin == base.origin && base.layer == layer
        });
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
        let asked = match origin {
            BaseOrigin::Bootstrap => Asked::of(&self.config),
            BaseOrigin::Import => Asked::of_import(&self.config),
        };
        let asked = kept.map_or(Some(asked), |kept| kept.asked);
        let layer = layer.to_owned();
        let base = Base { layer, origin, storage, asked, above: Vec::new() };
        self.record(&base, scope)?;
        Ok(base)
    }

    /// Removes everything that was changed since the base; it stays recorded.
    pub(super) fn drop_changes(&self, scope: &Scope) -> Result<()> {
        self.keep_doubt()?;
        // A copied tree before `session`, where the originals of what it borrows are kept: whoever
        // is killed in between leaves nothing that cannot be put back.
        let parts = [NEXT_UPPER, FLAT, NEXT_TREE, "upper", "work", "tree", "tree.new"];
        for part in parts.into_iter().chain(["session"]) {
            self.zone.discard(self.place(part), scope)?;
        }
        self.drop_mark(scope)
    }
}

/// The error of a record that cannot be put into words: the one that is there stays.
pub(super) fn unwritable(name: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot write the record of the buildroot {name}"))
        .with_source(error)
}

/// The error of a buildroot of which nobody knows what it stands on.
pub(super) fn damaged(name: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Buildroot, format!("the record of the buildroot {name} is damaged"))
        .with_source(error)
        .with_hint("remove it with `debmock scrub chroot`, with its --uniqueext if it has one")
}
