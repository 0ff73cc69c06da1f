//! Packages of a build as a layer of their own, made once for all builds that need the same.
//!
//! What apt chose for a set of dependencies follows from what the root is made of, and what dpkg
//! makes of it follows from both. So the packages go into a layer between the base and the changes
//! of the buildroot, under a key of all that decides what is in it, and the next build that needs
//! exactly these packages on that root downloads, unpacks and configures nothing. The package that
//! carries the dependencies while apt chooses is not in it, or no two sources could share one.

use super::flatten::{announce, is_of_layers};
use super::{Base, Buildroot, ITS_OWN, Lower, Opening, Session, Storage};
use crate::apt::Plan;
use crate::build::Furnisher;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::layer::{self, LayerKey};
use debmock_helper::protocol::{Place, Tree};
use std::sync::Arc;

/// Changes when the same packages on the same root would make another tree.
const FORMAT: &[u8] = b"2";
/// At most this many layers lie above a base: each one costs every look-up of a file.
const DEEPEST: usize = 8;
/// Made again by apt whenever it is asked; larger than most layers.
const APT_CACHES: [&str; 2] = ["/var/cache/apt/pkgcache.bin", "/var/cache/apt/srcpkgcache.bin"];

impl Furnisher for Buildroot {
    fn furnish(
        &self,
        session: &Session,
        plan: &Plan,
        scope: &Scope,
        apply: &mut dyn FnMut(&Session) -> Result<()>,
    ) -> Result<Arc<Session>> {
        let base = self.base()?.ok_or_else(|| self.vanished())?;
        let key = self.key_of(&base, plan);
        let limit = self.config.lock_timeout;
        let layer = layer::provide(&self.zone, &key, limit, scope, |home| {
            self.make_layer(&base, home, scope, apply)
        })?;
        let Some(turn) = self.open.replace(ITS_OWN) else {
            // Another thread has joined the session meanwhile: it goes on under its feet.
            apply(session)?;
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

    fn make_layer(
        &self,
        base: &Base,
        home: &Place,
        scope: &Scope,
        apply: &mut dyn FnMut(&Session) -> Result<()>,
    ) -> Result<()> {
        if let Err(error) = self.apply_above(base, home, scope, apply) {
            if !is_of_layers(&error) {
                return Err(error);
            }
            announce(scope);
            for part in ["upper", "work", "session"] {
                self.zone.discard(layer::below(home, part), scope)?;
            }
            self.flatten_layer(base, layer::below(home, "upper"), scope)?;
            self.apply_above(base, home, scope, apply)?;
        }
        // The kernel's marks in it speak to an overlay of which it is the upper, and no other.
        self.zone.rename(layer::below(home, "upper"), layer::below(home, "root"))?;
        for part in ["work", "session"] {
            self.zone.discard(layer::below(home, part), scope)?;
        }
        Ok(())
    }

    /// Lets `apply` change the upper in `home` above the trees of `base`.
    fn apply_above(
        &self,
        base: &Base,
        home: &Place,
        scope: &Scope,
        apply: &mut dyn FnMut(&Session) -> Result<()>,
    ) -> Result<()> {
        let tree = Tree::Overlay { lower: self.stack(base), upper: Some(home.clone()) };
        let session = self.open_for_layer(tree, scope)?;
        apply(&session)?;
        for file in APT_CACHES {
            session.remove(file)?;
        }
        session.end()
    }
}
