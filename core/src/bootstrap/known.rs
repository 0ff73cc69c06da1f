//! Packages that other layers have unpacked already.

use super::Recipe;
use super::job::follow;
use super::native::{in_memory, rewound};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::layer;
use crate::store::{Held, Zone};
use debmock_helper::protocol::{
    BootstrapPlan, ComposePlan, Place, Reply, Request, encode, unexpected,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;

/// What of a package set need not be unpacked anew.
#[derive(Debug)]
pub(super) struct Known {
    /// Layers, and the places in the package set of what each of them has.
    layers: Vec<(String, Vec<u32>)>,
    /// Keeps the layers from being removed.
    _locks: Vec<Held>,
}

impl Known {
    /// Looks through the layers of the zone.
    pub(super) fn find(zone: &Zone, recipe: &Recipe, scope: &Scope) -> Result<Self> {
        let hashes: Vec<String> =
            recipe.set.packages.iter().map(|package| package.sha256.to_string()).collect();
        let wanted = in_memory(&encode(&hashes)?)?;
        let channel = zone.helper().request(&Request::Known, &[wanted.as_fd()])?;
        let mut known = Known { layers: Vec::new(), _locks: Vec::new() };
        loop {
            let layer = match channel.reply()?.0 {
                Reply::Done => return Ok(known),
                Reply::Known { layer, packages } => (layer, packages),
                other => return Err(unexpected(&other).into()),
            };
            let held = known.layers.iter().any(|(held, _)| *held == layer.0);
            if !held {
                match layer::hold(zone, &layer.0, scope) {
                    Ok(lock) => known._locks.push(lock),
                    // Somebody removes it.
                    Err(error) if error.kind() == ErrorKind::Locked => continue,
                    Err(error) => return Err(error),
                }
            }
            known.layers.push(layer);
        }
    }

    /// The places of what is known.
    pub(super) fn places(&self) -> BTreeSet<u32> {
        self.layers.iter().flat_map(|(_, places)| places.iter().copied()).collect()
    }

    /// These have to be unpacked anew.
    fn forget(&mut self, places: &[u32]) {
        for (_, known) in &mut self.layers {
            known.retain(|place| !places.contains(place));
        }
    }

    /// Makes the tree `below` of `home` of what is known and of what was unpacked apart; `left` gets
    /// what there is to be configured. When the newest package was built, in seconds since 1970;
    /// nothing if packages turned out to be unknown: the tree is of no use then.
    pub(super) fn compose(
        &mut self,
        zone: &Zone,
        home: &Place,
        plan: BootstrapPlan,
        (apart, left): (&File, &File),
        scope: &Scope,
    ) -> Result<Option<u64>> {
        let names: Vec<String> = plan.packages.iter().map(|package| package.0.clone()).collect();
        let plan = ComposePlan { bootstrap: plan, layers: self.layers.clone() };
        let plan = in_memory(&encode(&plan)?)?;
        let files = [plan.as_fd(), rewound(apart)?, left.as_fd()];
        let request = Request::Compose { home: home.clone() };
        let channel = zone.helper().request(&request, &files)?;
        match follow(names.len(), &channel, scope)? {
            Reply::Composed { newest } => Ok(Some(newest)),
            Reply::Changed(places) => {
                let before = self.places().len();
                self.forget(&places);
                if self.places().len() == before {
                    return Err(Error::new(
                        ErrorKind::Store,
                        "packages of the store change while they are taken",
                    )
                    .with_hint("`debmock scrub layers` removes the layers that nobody uses"));
                }
                let changed: Vec<&str> = places
                    .iter()
                    .filter_map(|&place| names.get(place as usize).map(String::as_str))
                    .collect();
                scope.warn(
                    format!(
                        "what the store has of {} is not as it was unpacked; it is unpacked anew",
                        changed.join(", ")
                    ),
                    Some("`debmock scrub layers` removes the layers that nobody uses".into()),
                );
                Ok(None)
            }
            other => Err(unexpected(&other).into()),
        }
    }
}
