//! Packages come into the root of a build.

use super::{Workshop, prepare};
use crate::apt::{Apt, Plan, Planned, Taking, counted};
use crate::archive::fetch::fetch;
use crate::buildroot::Session;
use crate::error::Result;
use crate::operation::Scope;
use crate::state::{LogFile, Stages};
use crate::store::Zone;
use crate::store::known::Known;
use std::fs::File;
use std::sync::Arc;

/// Opens a root anew with packages in it.
pub trait Furnisher {
    /// Ends `session`, which has changed nothing that has to stay, and opens its root with what
    /// `delivery` brings: from a layer that has it, which is made if there is none.
    ///
    /// # Errors
    /// Those of [`Delivery::bring`], and [`ErrorKind::Locked`](crate::ErrorKind::Locked) if another
    /// process is still making the same layer when the config's time to wait has run out.
    fn furnish(&self, session: &Session, delivery: &Delivery<'_>) -> Result<Arc<Session>>;
}

/// Packages on their way into a root.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    plan: &'a Plan,
    workshop: &'a Workshop<'a>,
    log: &'a LogFile,
    stages: &'a Stages,
    scope: &'a Scope,
}

impl<'a> Delivery<'a> {
    /// What comes and goes.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Where it is told.
    pub fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// Fetches the packages and brings them into the root that `session` has open.
    ///
    /// # Errors
    /// Those of [`Apt::fetch`] and [`Apt::apply`].
    pub fn bring(&self, session: &Session) -> Result<()> {
        self.fetch(&self.plan.install)?;
        self.apply(session, |apt| apt.apply(self.plan, self.scope))
    }

    /// As [`Delivery::bring`]; what is known in `zone` need not be fetched, and what others may take
    /// is written to a file. The places in the plan of what is not known after all: what was made is
    /// of no use then.
    ///
    /// # Errors
    /// Those of [`Delivery::bring`].
    pub(crate) fn bring_taking(
        &self,
        session: &Session,
        (zone, known, records): (&Zone, &Known, &File),
    ) -> Result<Option<Vec<u32>>> {
        let fetch = |packages: &[Planned]| self.fetch(packages);
        let taking = Taking { zone, known, records, fetch: &fetch };
        let (all, known) = (&self.plan.install, known.places());
        let new = (0..).zip(all).filter(|(place, _)| !known.contains(place));
        let new: Vec<Planned> = new.map(|(_, package)| package.clone()).collect();
        if !known.is_empty() {
            let (known, all) = (known.len(), all.len());
            let line = format!("Taking {known} of {all} packages from layers that have them");
            self.log.line(self.scope, line)?;
        }
        self.fetch(&new)?;
        self.apply(session, |apt| apt.apply_taking(self.plan, Some(&taking), self.scope))
    }

    /// Gets the files of `packages`.
    fn fetch(&self, packages: &[Planned]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        let Workshop { debs, transport, parallel, .. } = *self.workshop;
        let counted = counted(packages.len());
        self.stages.stage(self.scope, "fetch", &counted, || {
            fetch(packages, debs, transport, parallel, self.scope, |_, _| Ok(()))
        })
    }

    fn apply<T>(&self, session: &Session, work: impl FnOnce(&Apt<'_>) -> Result<T>) -> Result<T> {
        self.stages.stage(self.scope, "apply", self.plan.counted(), || {
            prepare::before_packages(session, self.plan, self.log, self.scope)?;
            let Workshop { archive, debs, transport, caches, parallel, .. } = *self.workshop;
            let apt = Apt::new(session, archive, debs, transport, self.log);
            work(&apt.parallel(parallel).caches_in(caches))
        })
    }
}

/// Carries out `plan`: in the open root, or, if that may be opened anew, by opening it so. The
/// session that is open then, unless it is the same.
pub(super) fn furnish(
    plan: &Plan,
    workshop: &Workshop<'_>,
    log: &LogFile,
    stages: &Stages,
    scope: &Scope,
) -> Result<Option<Arc<Session>>> {
    if plan.is_empty() {
        return Ok(None);
    }
    let delivery = Delivery { plan, workshop, log, stages, scope };
    match workshop.furnisher {
        None => delivery.bring(workshop.session).map(|()| None),
        Some(furnisher) => stages.stage(scope, "furnish", plan.counted(), || {
            furnisher.furnish(workshop.session, &delivery).map(Some)
        }),
    }
}
