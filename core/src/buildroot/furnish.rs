//! Packages of a build as a layer of their own, made once for all builds that need the same.
//!
//! What apt chose for a set of dependencies follows from what the root is made of, and what dpkg
//! makes of it follows from both. So the packages go into a layer between the base and the changes
//! of the buildroot, under a key of all that decides what is in it, and the next build that needs
//! exactly these packages on that root downloads, unpacks and configures nothing. The package that
//! carries the dependencies while apt chooses is not in it, or no two sources could share one.

use super::flatten::{announce, is_of_layers};
use super::{Base, Buildroot, ITS_OWN, Lower, Opening, Session, Storage};
use crate::apt::{End, Laid, Laying, Plan, Planned};
use crate::build::{Delivery, Furnisher};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::known::Known;
use crate::store::layer::{self, LayerKey};
use debmock_helper::protocol::{Place, Tree};
use debmock_helper::store::{BELOW, RECORDS};
use std::sync::Arc;

/// Changes when the same packages on the same root would make another tree.
const FORMAT: &[u8] = b"2";
/// At most this many layers lie above a base: each one costs every look-up of a file.
const DEEPEST: usize = 8;
/// What a session has in the directory of its changes.
const UPPER: &str = "upper";
const WORK: &str = "work";
const SESSION: &str = "session";
/// Made again by apt whenever it is asked; larger than most layers.
const APT_CACHES: [&str; 2] = ["/var/cache/apt/pkgcache.bin", "/var/cache/apt/srcpkgcache.bin"];

impl Furnisher for Buildroot {
    fn furnish(&self, session: &Session, delivery: &Delivery<'_>) -> Result<Arc<Session>> {
        let scope = delivery.scope();
        let base = self.base()?.ok_or_else(|| self.vanished())?;
        let key = self.key_of(&base, delivery.plan());
        let limit = self.config.lock_timeout;
        let layer = layer::provide(&self.zone, &key, limit, scope, |home| {
            self.make_layer(&base, home, delivery)
        })?;
        let Some(turn) = self.open.replace(ITS_OWN) else {
            // Another thread has joined the session meanwhile: it goes on under its feet.
            delivery.bring(session)?;
            return self.open.now().ok_or_else(|| self.vanished());
        };
        session.end()?;
        self.drop_changes(scope)?;
        let mut furnished = base;
        furnished.above.insert(0, Lower::Layer(layer.key().to_owned()));
        self.record(&furnished, scope)?;
        let memory = match session.is_in_memory() {
            true => self.config.build.in_memory.unwrap_or(0),
            false => 0,
        };
        let opening = Opening { memory, ..Opening::default() };
        let session = Arc::new(self.open_recorded(&furnished, opening, session.locks(), scope)?);
        turn.end(&session, false);
        if session.is_in_memory() {
            self.keep_building(Some(Arc::clone(&session)));
        }
        Ok(session)
    }
}

impl Buildroot {
    /// Whether a layer may come between the trees of the root and its changes, of which there are
    /// none yet.
    pub(super) fn takes_layers(&self) -> Result<bool> {
        let takes = |base: Base| base.storage == Storage::Overlay && base.above.len() < DEEPEST;
        Ok(self.base()?.is_some_and(takes))
    }

    /// Whether nobody has changed anything above the trees that the root stands on.
    pub(super) fn is_unchanged(&self) -> Result<bool> {
        Ok(self.zone.list(self.place("upper"))?.is_empty())
    }

    fn vanished(&self) -> Error {
        Error::new(
            ErrorKind::Buildroot,
            format!("the buildroot {} was removed while it was in use", self.name),
        )
        .with_hint("run the command again: the buildroot is made anew")
    }

    /// The key of the layer that `plan` makes above the trees of `base`.
    fn key_of(&self, base: &Base, plan: &Plan) -> LayerKey {
        let mut parts = vec![FORMAT.to_vec()];
        parts.extend(self.stack(base).into_iter().map(|place| place.path.into_bytes()));
        parts.extend(plan.install.iter().map(|one| {
            let (name, version, architecture) = (&one.name, &one.version, &one.architecture);
            let mark = if one.automatic { "automatic" } else { "manual" };
            format!("+ {name} {version} {architecture} {} {mark}", one.sha256).into_bytes()
        }));
        parts.extend(
            plan.remove
                .iter()
                .map(|one| format!("- {} {} {}", one.name, one.version, one.purge).into_bytes()),
        );
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        LayerKey::of("packages", &parts)
    }

    /// Makes the layer of `delivery` at `home`, above the trees of `base`: in two parts, of which
    /// others can take the lower one's files, or in one, where that cannot be.
    fn make_layer(&self, base: &Base, home: &Place, delivery: &Delivery<'_>) -> Result<()> {
        let scope = delivery.scope();
        let stack = self.stack(base);
        if let Some(laying) = Laying::of(delivery.plan(), scope) {
            match self.make_in_two(&stack, home, delivery, &laying) {
                Ok(None) => return Ok(()),
                // In one part, one wave can come after the scripts of another.
                Ok(Some(why)) => delivery.say(&format!("Not from two trees: {why}"))?,
                // In one part what is unpacked is in no lower tree.
                Err(error) if is_of_layers(&error) => {}
                Err(error) => return Err(error),
            }
            self.clear(home, scope)?;
        }
        let apply = |session: &Session| delivery.bring(session);
        match self.make_above(&stack, home, scope, apply) {
            Err(error) if is_of_layers(&error) => {}
            other => return other,
        }
        announce(scope);
        self.clear(home, scope)?;
        self.flatten_layer(base, layer::below(home, UPPER), scope)?;
        self.make_above(&stack, home, scope, apply)
    }

    /// Removes whatever was made of a layer.
    fn clear(&self, home: &Place, scope: &Scope) -> Result<()> {
        let mut parts = [UPPER, WORK, SESSION, BELOW, RECORDS].into_iter();
        parts.try_for_each(|part| self.zone.discard(layer::below(home, part), scope))
    }

    /// Unpacks packages, or takes them from layers that have them, into one tree, and lets their
    /// scripts run above it. The reason, if that cannot be: what was made then is of no use.
    fn make_in_two(
        &self,
        stack: &[Place],
        home: &Place,
        delivery: &Delivery<'_>,
        laying: &Laying<'_>,
    ) -> Result<Option<String>> {
        let (scope, packages) = (delivery.scope(), laying.packages());
        let hashes = packages.iter().map(|one| one.sha256);
        let mut known = Known::find(&self.zone, hashes, scope)?;
        let laid = loop {
            let places = known.places();
            let is_known = |(place, _): &(u32, &Planned)| places.contains(place);
            let (old, new): (Vec<_>, Vec<_>) = (0..).zip(packages).partition(is_known);
            let new: Vec<Planned> = new.into_iter().map(|(_, one)| one.clone()).collect();
            if !old.is_empty() {
                let (old, all) = (old.len(), packages.len());
                delivery
                    .say(&format!("Taking {old} of {all} packages from layers that have them"))?;
            }
            let end = match self.lay(stack, home, delivery, laying, &new)? {
                End::Done(laid) => {
                    let covered = self.files_of_layers()?.into_iter().map(|file| file.path);
                    let below = (stack, covered.collect());
                    laying.take(&self.zone, home, laid, known.layers(), below)?
                }
                other => other,
            };
            match end {
                End::Done(laid) => break laid,
                End::Declined(why) => return Ok(Some(why)),
                End::Changed(places) => {
                    let names: Vec<&str> = packages.iter().map(|one| one.name.as_str()).collect();
                    known.forget(&places, &names, scope)?;
                    self.zone.discard(layer::below(home, BELOW), scope)?;
                }
            }
        };
        let stack = [&[layer::below(home, BELOW)], stack].concat();
        let session = self.open_above(&stack, home, scope)?;
        match delivery.install(laying, &session, &laid)? {
            End::Declined(why) => session.end().map(|()| Some(why)),
            _ => self.become_layer(session, home, scope).map(|()| None),
        }
    }

    /// Unpacks `packages` into the tree `below` of `home`; there is none if there are none.
    fn lay(
        &self,
        stack: &[Place],
        home: &Place,
        delivery: &Delivery<'_>,
        laying: &Laying<'_>,
        packages: &[Planned],
    ) -> Result<End<Laid>> {
        if packages.is_empty() {
            return Laid::nothing().map(End::Done);
        }
        let scope = delivery.scope();
        delivery.fetch(packages)?;
        let session = self.open_above(stack, home, scope)?;
        let laid = delivery.lay(laying, &session, packages)?;
        session.end()?;
        self.zone.rename(layer::below(home, UPPER), layer::below(home, BELOW))?;
        self.zone.discard(layer::below(home, WORK), scope)?;
        Ok(laid)
    }

    /// A session whose changes go to `home`, above `stack`.
    fn open_above(&self, stack: &[Place], home: &Place, scope: &Scope) -> Result<Session> {
        let tree = Tree::Overlay { lower: stack.to_vec(), upper: Some(home.clone()) };
        self.open_for_layer(tree, scope)
    }

    /// Makes the layer at `home` of what `apply` changes above `stack`.
    fn make_above(
        &self,
        stack: &[Place],
        home: &Place,
        scope: &Scope,
        apply: impl FnOnce(&Session) -> Result<()>,
    ) -> Result<()> {
        let session = self.open_above(stack, home, scope)?;
        apply(&session)?;
        self.become_layer(session, home, scope)
    }

    /// Ends a session; its changes become the tree of the layer.
    fn become_layer(&self, session: Session, home: &Place, scope: &Scope) -> Result<()> {
        for file in APT_CACHES {
            session.remove(file)?;
        }
        session.end()?;
        // The kernel's marks in it speak to an overlay of which it is the upper, and no other.
        self.zone.rename(layer::below(home, UPPER), layer::below(home, "root"))?;
        for part in [WORK, SESSION] {
            self.zone.discard(layer::below(home, part), scope)?;
        }
        Ok(())
    }
}
