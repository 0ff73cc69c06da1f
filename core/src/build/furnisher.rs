//! Packages come into the root of a build.

use super::{Workshop, prepare};
use crate::apt::{Apt, Plan};
use crate::buildroot::Session;
use crate::error::Result;
use crate::operation::Scope;
use crate::state::{LogFile, Stages};
use std::sync::Arc;

/// Opens a root anew with packages in it.
pub trait Furnisher {
    /// Ends `session`, which has changed nothing that has to stay, and opens its root with what
    /// `plan` brings: from a layer that has it, which `apply` makes, in a session of its own, if
    /// there is none.
    ///
    /// # Errors
    /// Those of `apply`, and [`ErrorKind::Locked`](crate::ErrorKind::Locked) if another process is
    /// still making the same layer when the config's time to wait has run out.
    fn furnish(
        &self,
        session: &Session,
        plan: &Plan,
        scope: &Scope,
        apply: &mut dyn FnMut(&Session) -> Result<()>,
    ) -> Result<Arc<Session>>;
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
    let counted = plan.counted();
    let mut apply = |session: &Session| {
        let Workshop { archive, debs, transport, caches, .. } = *workshop;
        let apt = Apt::new(session, archive, debs, transport, log)
            .parallel(workshop.parallel)
            .caches_in(caches);
        stages.stage(scope, "fetch", &counted, || apt.fetch(plan, scope))?;
        stages.stage(scope, "apply", &counted, || {
            prepare::before_packages(session, plan, log, scope)?;
            apt.apply(plan, scope)
        })
    };
    match workshop.furnisher {
        None => apply(workshop.session).map(|()| None),
        Some(furnisher) => stages.stage(scope, "furnish", &counted, || {
            furnisher.furnish(workshop.session, plan, scope, &mut apply).map(Some)
        }),
    }
}
