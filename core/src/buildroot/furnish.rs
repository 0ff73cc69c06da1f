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
use crate::build::{Delivery, Furnisher};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::known::{Known, in_memory, is_of, rewound};
use crate::store::layer::{self, LayerKey};
use debmock_helper::protocol::{Place, Request, Tree};
use debmock_helper::store::RECORDS;
use std::sync::Arc;

/// Changes when the same packages on the same root would make another tree.
const FORMAT: &[u8] = b"3";
/// At most this many layers lie above a base: each one costs every look-up of a file.
const DEEPEST: usize = 8;
/// What a session has in the directory of its changes.
const UPPER: &str = "upper";
const WORK: &str = "work";
const SESSION: &str = "session";
/// Made again by whoever needs them: those of apt are larger than most layers, that of ldconfig
/// tells when files were made.
const CACHES: [&str; 3] = [
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/ldconfig/aux-cache",
];

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

    /// Makes the layer of `delivery` at `home`, above the trees of `base`.
    fn make_layer(&self, base: &Base, home: &Place, delivery: &Delivery<'_>) -> Result<()> {
        let (scope, plan) = (delivery.scope(), delivery.plan());
        let hashes = plan.install.iter().map(|one| one.sha256);
        // apt takes whole packages only.
        let mut known = match plan.order {
            Some(_) => Known::find(&self.zone, hashes, false, scope)?,
            None => Known::nothing(),
        };
        let mut is_flat = false;
        loop {
            match self.make_above(&self.stack(base), home, delivery, &known) {
                Ok(None) => return known.discredit(&self.zone, scope),
                Ok(Some(changed)) => {
                    let names = plan.install.iter().map(|one| one.name.as_str());
                    known.forget(&changed, &names.collect::<Vec<_>>(), scope)?;
                }
                Err(error) if is_of_layers(&error) && !is_flat => {
                    announce(scope);
                    is_flat = true;
                }
                Err(error) => return Err(error),
            }
            for part in [UPPER, WORK, SESSION] {
                self.zone.discard(layer::below(home, part), scope)?;
            }
            if is_flat {
                self.flatten_layer(base, layer::below(home, UPPER), scope)?;
            }
        }
    }

    /// Makes the layer at `home` of what `delivery` changes above `stack`. The places of packages
    /// that are not known after all: there is no layer then.
    fn make_above(
        &self,
        stack: &[Place],
        home: &Place,
        delivery: &Delivery<'_>,
        known: &Known,
    ) -> Result<Option<Vec<u32>>> {
        let (scope, records) = (delivery.scope(), in_memory(b"")?);
        let tree = Tree::Overlay { lower: stack.to_vec(), upper: Some(home.clone()) };
        let session = self.open_for_layer(tree, scope)?;
        let taking = (&*self.zone, known, &records);
        if let Some(changed) = delivery.bring_taking(&session, taking)? {
            session.end()?;
            return Ok(Some(changed));
        }
        self.become_layer(session, home, scope)?;
        let hashes = delivery.plan().install.iter().map(|one| one.sha256);
        if is_of(&records, hashes)? {
            let request = Request::Keep(layer::below(home, RECORDS));
            self.zone.helper().request(&request, &[rewound(&records)?])?.done()?;
        }
        Ok(None)
    }

    /// Ends a session; its changes become the tree of the layer.
    fn become_layer(&self, session: Session, home: &Place, scope: &Scope) -> Result<()> {
        for file in CACHES {
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
