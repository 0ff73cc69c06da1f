//! Snapshots of a buildroot: its changes, frozen under a name.
//!
//! A snapshot takes no time, whatever it holds: the changes move below a new, empty upper, where
//! nothing writes any more. Rolling back puts the buildroot on the trees that it stood on then.
//! Where overlays cannot be mounted the tree is copied instead.
//!
//! Snapshots belong to one buildroot and lie beside its changes; `clean` leaves them, `scrub`
//! removes them with the buildroot.

use super::base::{damaged, unwritable};
use super::{Base, Buildroot, Lower, Storage};
use crate::error::{Error, ErrorKind, Result};
use crate::event::seconds;
use crate::operation::Scope;
use crate::store::Held;
use debmock_helper::protocol::Place;
use debmock_helper::store::boot_id;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// Directory of the snapshots in that of the buildroot.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// Record of all of them.
const LIST: &str = "snapshots/list.json";
/// What the buildroot is to stand on without changes; `null` for what the config says.
const NEXT_BASE: &str = "base.next";
/// A complete tree that is to take the place of a copied root's.
pub(super) const NEXT_TREE: &str = "tree.next";
/// At most this many trees lie above a base. The kernel takes 500, but each one costs.
const DEEPEST: usize = 64;

/// The record of all snapshots takes at most these bytes: it is one message.
const LONGEST_LIST: usize = 120 * 1024;

/// A snapshot of a buildroot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, unique in its buildroot.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created: f64,
    /// What the buildroot stands on after it was rolled back to it.
    base: Base,
    /// Directory of its own.
    id: String,
    /// The boot in which it was made: what a machine that went down left of it nobody knows.
    boot: String,
}

impl Buildroot {
    /// The snapshots, oldest first. Takes no lock.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`] if their record is damaged.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let Some(text) = self.zone.read(self.place(LIST))? else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&text).map_err(|error| {
            Error::new(
                ErrorKind::Buildroot,
                format!("the record of the snapshots of the buildroot {} is damaged", self.name),
            )
            .with_source(error)
            .with_hint("remove the buildroot with `debmock scrub chroot`")
        })
    }

    /// Keeps the root as it is now under a name. Makes the buildroot if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open, [`ErrorKind::Usage`] for a name
    /// that is taken or cannot be one.
    pub fn snapshot(&self, name: &str, scope: &Scope) -> Result<()> {
        self.refuse_if_open("take a snapshot of")?;
        check_name(name)?;
        let lock = self.lock(scope)?;
        let mut all = self.snapshots()?;
        if all.iter().any(|one| one.name == name) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("the buildroot {} has a snapshot {name} already", self.name),
            )
            .with_hint("take another name, or remove that one with `debmock remove-snapshot`"));
        }
        let mut base = self.provide(&lock, scope)?;
        self.refuse_unsynced(None)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let id = format!("{:x}", now.as_nanos());
        let freezes = base.storage == Storage::Overlay && !self.is_unchanged()?;
        if freezes {
            if base.above.len() >= DEEPEST {
                return Err(Error::new(
                    ErrorKind::Buildroot,
                    format!("the buildroot {} stands on {DEEPEST} trees already", self.name),
                )
                .with_hint(way_down(&all)));
            }
            base.above.insert(0, Lower::Snapshot(id.clone()));
        }
        let (name, created, boot) = (name.to_owned(), seconds(now), boot_id());
        all.push(Snapshot { name, created, base: base.clone(), id: id.clone(), boot });
        let list = self.list_of(&all)?;
        let home = format!("{SNAPSHOTS}/{id}");
        self.zone.make_directory(self.place(&home))?;
        match base.storage {
            Storage::Overlay if !freezes => {}
            Storage::Overlay => {
                // First the record: whoever is killed in between leaves what `finish_freezing`
                // brings to its end.
                self.record(&base, scope)?;
                self.freeze(&id, scope)?;
            }
            Storage::Copy => scope.stage("copy", format!("the root of {}", self.name), || {
                let aside = self.place(&format!("{home}/tree.new"));
                self.zone.copy(self.place("tree"), aside.clone(), scope)?;
                self.zone.rename(aside, self.place(&format!("{home}/tree")))
            })?,
        }
        self.zone.write(self.place(LIST), &list)
    }

    /// Brings the root back to what it was when the snapshot was taken; what was changed since then
    /// is dropped, unless another snapshot has it.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session of this value is open, [`ErrorKind::Usage`] if there is
    /// no such snapshot, [`ErrorKind::Buildroot`] if a machine that went down may have damaged it.
    pub fn rollback(&self, name: &str, scope: &Scope) -> Result<()> {
        self.refuse_if_open("roll back")?;
        let _lock = self.lock(scope)?;
        self.finish(scope)?;
        let all = self.snapshots()?;
        let wanted = self.find(&all, name)?;
        self.refuse_unsynced(Some(wanted))?;
        self.refuse_gone(wanted)?;
        if wanted.base.storage == Storage::Copy {
            let tree = self.place(&format!("{SNAPSHOTS}/{}/tree", wanted.id));
            scope.stage("copy", format!("the snapshot {name}"), || {
                self.zone.discard(self.place("tree.new"), scope)?;
                self.zone.copy(tree, self.place("tree.new"), scope)
            })?;
            self.zone.rename(self.place("tree.new"), self.place(NEXT_TREE))?;
            // From here on whoever is killed leaves what the next use brings to its end.
            self.finish_copy(scope)?;
            self.record(&wanted.base, scope)?;
        } else {
            self.stand_without_changes(Some(&wanted.base), scope)?;
        }
        self.remove_unused(&all, scope)
    }

    /// Removes a snapshot. What the root or another snapshot stands on stays.
    ///
    /// # Errors
    /// As [`Buildroot::rollback`].
    pub fn remove_snapshot(&self, name: &str, scope: &Scope) -> Result<()> {
        self.refuse_if_open("remove a snapshot of")?;
        let _lock = self.lock(scope)?;
        self.finish(scope)?;
        let mut all = self.snapshots()?;
        self.find(&all, name)?;
        all.retain(|one| one.name != name);
        self.zone.write(self.place(LIST), &self.list_of(&all)?)?;
        self.tell_uses(None, scope)?;
        self.remove_unused(&all, scope)
    }

    fn find<'a>(&self, all: &'a [Snapshot], name: &str) -> Result<&'a Snapshot> {
        all.iter().find(|one| one.name == name).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
            let error = Error::new(
                ErrorKind::Usage,
                format!("the buildroot {} has no snapshot {name}", self.name),
            );
            match names.is_empty() {
                true => error.with_hint("take one with `debmock snapshot NAME`"),
                false => error.with_hint(format!("it has {}", names.join(", "))),
            }
        })
    }

    /// The record of all snapshots.
    fn list_of(&self, all: &[Snapshot]) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(all).map_err(|error| unwritable(&self.name, error))?;
        if text.len() > LONGEST_LIST {
            let message = format!("the buildroot {} has too many snapshots", self.name);
            return Err(Error::new(ErrorKind::Buildroot, message)
                .with_hint("remove some of them with `debmock remove-snapshot`"));
        }
        Ok(text)
    }

    /// Moves the changes to where the record says that they are.
    fn freeze(&self, id: &str, scope: &Scope) -> Result<()> {
        self.zone.rename(self.place("upper"), self.place(&format!("{SNAPSHOTS}/{id}/root")))?;
        self.zone.discard(self.place("work"), scope)
    }

    /// Brings to its end what killed processes began.
    pub(super) fn finish(&self, scope: &Scope) -> Result<()> {
        self.finish_dropping(scope)?;
        self.finish_flattening(scope)?;
        self.finish_freezing(scope)?;
        self.finish_copy(scope)
    }

    /// Drops the changes and stands on `base`, or on what the config says at the next use. Nothing
    /// is lost until that is recorded; from then on whoever is killed leaves what the next use brings
    /// to its end.
    pub(super) fn stand_without_changes(&self, base: Option<&Base>, scope: &Scope) -> Result<()> {
        // It stands there already. That works on a full disk, too.
        if base.is_some() && self.base()?.as_ref() == base {
            return self.drop_changes(scope);
        }
        let text = serde_json::to_vec(&base).map_err(|error| unwritable(&self.name, error))?;
        self.zone.write(self.place(NEXT_BASE), &text)?;
        self.finish_dropping(scope)
    }

    /// Ends what [`Buildroot::stand_without_changes`] began.
    fn finish_dropping(&self, scope: &Scope) -> Result<()> {
        let Some(text) = self.zone.read(self.place(NEXT_BASE))? else { return Ok(()) };
        let base: Option<Base> =
            serde_json::from_slice(&text).map_err(|error| damaged(&self.name, error))?;
        self.drop_changes(scope)?;
        match base {
            Some(base) => self.record(&base, scope)?,
            None => {
                self.zone.discard(self.place("base.json"), scope)?;
                self.tell_uses(None, scope)?;
            }
        }
        self.zone.discard(self.place(NEXT_BASE), scope)
    }

    /// Ends what a killed process began, if the record knows of a snapshot that is not there yet.
    fn finish_freezing(&self, scope: &Scope) -> Result<()> {
        let Some(Base { above, .. }) = self.base()? else { return Ok(()) };
        let Some(Lower::Snapshot(id)) = above.first() else { return Ok(()) };
        let home = self.zone.list(self.place(&format!("{SNAPSHOTS}/{id}")))?;
        if home.iter().any(|name| name == "root") || self.is_unchanged()? {
            return Ok(());
        }
        self.freeze(id, scope)
    }

    /// Puts a complete tree in the place of the one that is there, if a copied root is to go on
    /// with another one.
    fn finish_copy(&self, scope: &Scope) -> Result<()> {
        if !self.is_there(NEXT_TREE)? {
            return Ok(());
        }
        self.keep_doubt()?;
        for part in ["tree", "session"] {
            self.zone.discard(self.place(part), scope)?;
        }
        self.drop_mark(scope)?;
        self.zone.rename(self.place(NEXT_TREE), self.place("tree"))
    }

    /// Whether the buildroot has this tree; none is empty.
    pub(super) fn is_there(&self, tree: &str) -> Result<bool> {
        Ok(!self.zone.list(self.place(tree))?.is_empty())
    }

    /// Refuses what a machine that went down may have damaged: the changes of the root or, if
    /// there is one, the snapshot `wanted`.
    fn refuse_unsynced(&self, wanted: Option<&Snapshot>) -> Result<()> {
        let name = &self.name;
        let doubt = self.doubt()?;
        let (what, hint) = match wanted {
            None if doubt.is_some() => (
                format!("the buildroot {name}"),
                "drop what was changed in it with `debmock clean`".to_owned(),
            ),
            Some(one) if doubt.is_some_and(|boot| boot == one.boot) || self.is_doubtful(one)? => (
                format!("the snapshot {} of the buildroot {name}", one.name),
                format!(
                    "roll back to another one, or remove it with `debmock remove-snapshot {}`",
                    one.name
                ),
            ),
            _ => return Ok(()),
        };
        let message =
            format!("{what} was written shortly before the machine went down and may be damaged");
        Err(Error::new(ErrorKind::Buildroot, message).with_hint(hint))
    }

    /// The boot that wrote what nobody knows to be on the disk, unless it is this one.
    fn doubt(&self) -> Result<Option<String>> {
        let mark = self.zone.read(self.place("boot"))?;
        let mark = mark.map(|mark| String::from_utf8_lossy(&mark).into_owned());
        Ok(mark.filter(|mark| *mark != boot_id()))
    }

    /// The mark of a doubtful snapshot: sessions refuse trees beside which it lies.
    fn doubt_of(&self, one: &Snapshot) -> Place {
        self.place(&format!("{SNAPSHOTS}/{}/boot", one.id))
    }

    fn is_doubtful(&self, one: &Snapshot) -> Result<bool> {
        Ok(self.zone.read(self.doubt_of(one))?.is_some())
    }

    /// Marks the snapshots of a boot that may have lost some of them, before the mark of the
    /// buildroot goes with its changes.
    pub(super) fn keep_doubt(&self) -> Result<()> {
        let Some(boot) = self.doubt()? else { return Ok(()) };
        let all = self.snapshots()?;
        all.iter()
            .filter(|one| one.boot == boot)
            .try_for_each(|one| self.zone.write(self.doubt_of(one), boot.as_bytes()))
    }

    /// Takes the mark away that the buildroot was written in this boot, unless snapshots were, too: it
    /// is theirs then, until everything is on the disk.
    pub(super) fn drop_mark(&self, scope: &Scope) -> Result<()> {
        let boot = boot_id();
        if self.doubt()?.is_none() && self.snapshots()?.iter().any(|one| one.boot == boot) {
            return Ok(());
        }
        self.zone.discard(self.place("boot"), scope)
    }

    /// Refuses a snapshot that stands on a layer which somebody has removed.
    fn refuse_gone(&self, wanted: &Snapshot) -> Result<()> {
        for layer in wanted.layers() {
            if self.zone.read(Place::layer(format!("{layer}/layer.json")))?.is_none() {
                let message = format!(
                    "the layer {layer} of the snapshot {} is gone from the store",
                    wanted.name
                );
                return Err(Error::new(ErrorKind::Buildroot, message).with_hint(format!(
                    "remove it with `debmock remove-snapshot {}`",
                    wanted.name
                )));
            }
        }
        Ok(())
    }

    /// Removes what no snapshot and not the root stands on.
    pub(super) fn remove_unused(&self, all: &[Snapshot], scope: &Scope) -> Result<()> {
        let current = self.base()?;
        let stacks = all.iter().map(|one| &one.base).chain(&current);
        let mut used: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        used.extend(stacks.flat_map(|base| &base.above).filter_map(|lower| match lower {
            Lower::Snapshot(id) => Some(id.as_str()),
            Lower::Layer(_) => None,
        }));
        for id in self.zone.list(self.place(SNAPSHOTS))? {
            if id != "list.json" && !used.contains(&id.as_str()) {
                self.zone.discard(self.place(&format!("{SNAPSHOTS}/{id}")), scope)?;
            }
        }
        Ok(())
    }

    /// Removes the changes and the record of what the root stands on; the snapshots stay.
    pub(super) fn forget_all_but_snapshots(&self, _lock: &Held, scope: &Scope) -> Result<()> {
        // Snapshots may have what is not in the record any more.
        let all = self.snapshots()?;
        if all.is_empty() {
            self.zone.discard(Place::root(self.name.clone()), scope)?;
            return self.tell_uses(None, scope);
        }
        self.stand_without_changes(None, scope)?;
        self.remove_unused(&all, scope)
    }
}

impl Snapshot {
    /// Name and time of creation (`created`, seconds since 1970), the same in every language.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "name": self.name, "created": self.created })
    }

    /// The layers that it takes.
    pub(super) fn layers(&self) -> impl Iterator<Item = &str> {
        self.base.layers()
    }
}

/// How a buildroot comes to stand on fewer trees. Each snapshot that was taken of changes left one;
/// removing snapshots does not, as the root has the changes of all of them.
fn way_down(all: &[Snapshot]) -> &'static str {
    let lower = all.iter().any(|one| one.base.above.len() < DEEPEST);
    match lower {
        true => {
            "roll back to an earlier snapshot; or export the root and import it, which makes one \
             tree of all"
        }
        false => {
            "`debmock export root.tar` and then `debmock import root.tar` make one tree of all; \
             `debmock clean` drops all changes"
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
    if name.is_empty()
        || name.len() > 100
        || name.starts_with(['.', '-'])
        || !name.chars().all(plain)
    {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{name:?} cannot be the name of a snapshot"),
        )
        .with_hint("use letters, digits, and - _ . + ~, at most 100 of them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildroot::BaseOrigin;

    #[test]
    fn the_way_down_from_too_many_trees_leads_somewhere() {
        let snapshot = |trees: usize| Snapshot {
            name: "x".into(),
            created: 0.0,
            base: Base {
                layer: "base-1".into(),
                origin: BaseOrigin::Bootstrap,
                storage: Storage::Overlay,
                asked: None,
                above: vec![Lower::Snapshot("1".into()); trees],
            },
            id: "1".into(),
            boot: String::new(),
        };
        assert!(way_down(&[snapshot(3)]).contains("roll back"));
        for all in [vec![], vec![snapshot(DEEPEST)]] {
            let hint = way_down(&all);
            assert!(!hint.contains("roll back") && hint.contains("debmock import"), "{hint}");
        }
    }
}
