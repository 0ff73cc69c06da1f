//! Packages come into the root of a build.

use super::{Workshop, prepare};
use crate::apt::{Apt, End, Laid, Laying, Plan, Planned, counted};
use crate::archive::fetch::fetch;
use crate::buildroot::Session;
use crate::error::Result;
use crate::operation::Scope;
use crate::state::{LogFile, Stages};
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

    /// A line for the log.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) fn say(&self, line: &str) -> Result<()> {
        self.log.line(self.scope, line)
    }

    /// Gets the files of `packages`.
    ///
    /// # Errors
    /// Those of [`Apt::fetch`].
    pub(crate) fn fetch(&self, packages: &[Planned]) -> Result<()> {
        let Workshop { debs, transport, parallel, .. } = *self.workshop;
        let counted = counted(packages.len());
        self.stages.stage(self.scope, "fetch", &counted, || {
            fetch(packages, debs, transport, parallel, self.scope, |_, _| Ok(()))
        })
    }

    /// Unpacks `packages` into the upper of `session`.
    ///
    /// # Errors
    /// Those of [`Apt::apply`].
    pub(crate) fn lay(
        &self,
        laying: &Laying<'_>,
        session: &Session,
        packages: &[Planned],
    ) -> Result<End<Laid>> {
        laying.lay(&self.apt(session), packages)
    }

    /// Configures what is laid below the upper of `session`.
    ///
    /// # Errors
    /// Those of [`Apt::apply`].
    pub(crate) fn install(
        &self,
        laying: &Laying<'_>,
        session: &Session,
        laid: &Laid,
    ) -> Result<End<()>> {
        self.apply(session, |apt| laying.install(apt, laid))
    }

    fn apply<T>(&self, session: &Session, work: impl FnOnce(&Apt<'_>) -> Result<T>) -> Result<T> {
        self.stages.stage(self.scope, "apply", self.plan.counted(), || {
            prepare::before_packages(session, self.plan, self.log, self.scope)?;
            work(&self.apt(session))
        })
    }

    fn apt<'s>(&self, session: &'s Session) -> Apt<'s>
    where
        'a: 's,
    {
        let Workshop { archive, debs, transport, caches, parallel, .. } = *self.workshop;
        Apt::new(session, archive, debs, transport, self.log).parallel(parallel).caches_in(caches)
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
