//! Packages into a layer whose files others can take: unpacked into a tree that nobody changes any
//! more, and configured above it.

use super::native::bring;
use super::order::Order;
use super::progress::Progress;
use super::{Apt, Plan, Planned};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::Zone;
use crate::store::known::{in_memory, rewound};
use debmock_helper::protocol::{Job, Place, Reply, Request, TakePlan, encode, unexpected};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A plan that is carried out in two parts.
pub(crate) struct Laying<'a> {
    plan: &'a Plan,
    order: &'a Order,
    progress: Mutex<Progress<'a>>,
    scope: &'a Scope,
}

/// Packages that are in the tree, and of which dpkg knows nothing.
#[derive(Debug)]
pub(crate) struct Laid {
    /// What there is left to do.
    left: Vec<File>,
    /// What was unpacked just now.
    records: File,
}

impl Laid {
    /// No packages.
    pub(crate) fn nothing() -> Result<Self> {
        Ok(Laid { left: Vec::new(), records: in_memory(b"")? })
    }
}

/// How a part of it ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// Well.
    Done(T),
    /// dpkg has to do all of it, for this reason.
    Declined(String),
    /// The packages at these places of the plan are not as they were unpacked.
    Changed(Vec<u32>),
}

impl<'a> Laying<'a> {
    /// Of a plan that can be carried out without apt, and without a package that has to be
    /// configured before others are unpacked; or nothing.
    pub(crate) fn of(plan: &'a Plan, scope: &'a Scope) -> Option<Self> {
        let order = plan.order.as_ref().filter(|order| order.is_in_one())?;
        let progress = Mutex::new(Progress::new(plan, scope));
        Some(Laying { plan, order, progress, scope })
    }

    /// What comes.
    pub(crate) fn packages(&self) -> &'a [Planned] {
        &self.plan.install
    }

    fn message(
        &self,
        layers: &[(String, Vec<u32>)],
        stack: &[Place],
        covered: Vec<String>,
    ) -> Result<File> {
        let packages = self.plan.install.iter().map(|one| {
            let Planned { name, version, architecture, sha256, .. } = one.clone();
            (name, version, architecture, sha256.to_string())
        });
        in_memory(&encode(&TakePlan {
            packages: packages.collect(),
            layers: layers.to_vec(),
            stack: stack.to_vec(),
            covered,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        })?)
    }

    /// Unpacks `packages`, whose files the store has, into the upper of the session of `apt`.
    ///
    /// # Errors
    /// As [`Apt::apply`].
    pub(crate) fn lay(&self, apt: &Apt<'_>, packages: &[Planned]) -> Result<End<Laid>> {
        let plan = self.message(&[], &[], Vec::new())?;
        let (left, records) = (in_memory(b"")?, in_memory(b"")?);
        let files = [plan.as_fd(), left.as_fd(), records.as_fd()];
        let channel = apt.session().job(Job::Lay, &files)?;
        let brought = bring(&channel, packages, apt.debs, &self.progress, self.scope);
        Ok(match brought.map_err(of_packages)? {
            None => End::Done(Laid { left: vec![left], records }),
            Some(why) => End::Declined(why),
        })
    }

    /// Adds packages of `layers` to what is laid, in the layer at `home` that is to lie on `stack`,
    /// where sessions have `covered` files of their own.
    ///
    /// # Errors
    /// The tree cannot be made.
    pub(crate) fn take(
        &self,
        zone: &Zone,
        home: &Place,
        laid: Laid,
        layers: &[(String, Vec<u32>)],
        (stack, covered): (&[Place], Vec<String>),
    ) -> Result<End<Laid>> {
        let plan = self.message(layers, stack, covered)?;
        let Laid { mut left, records } = laid;
        let taken = in_memory(b"")?;
        let files = [plan.as_fd(), rewound(&records)?, taken.as_fd()];
        let request = Request::Take { home: home.clone() };
        let channel = zone.helper().request(&request, &files)?;
        loop {
            let Some((reply, _)) = channel.receive(Duration::from_millis(100))? else { continue };
            match reply {
                Reply::Unpacked { name, .. } => {
                    let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                    progress.tell(crate::event::PackageAction::Unpacked, &name);
                }
                Reply::Done => break,
                Reply::Declined(why) => return Ok(End::Declined(why)),
                Reply::Changed(places) => return Ok(End::Changed(places)),
                Reply::Failed(failure) => return Err(of_packages(failure.into())),
                other => return Err(unexpected(&other).into()),
            }
        }
        // Not before: it works on a tree that whoever has failed removes. It is short.
        self.scope.check()?;
        left.push(taken);
        Ok(End::Done(Laid { left, records }))
    }

    /// Brings what is laid into dpkg's database and configures it.
    ///
    /// # Errors
    /// As [`Apt::apply`].
    pub(crate) fn install(&self, apt: &Apt<'_>, laid: &Laid) -> Result<End<()>> {
        apt.log.line(self.scope, "Unpacking without apt and dpkg, configuring with dpkg")?;
        let message = in_memory(&encode(&apt.message(self.plan, self.order))?)?;
        let left = laid.left.iter().map(rewound).collect::<Result<Vec<_>>>()?;
        let told = (self.plan, &self.progress);
        match apt.carry(Job::Install, (&message, &left), None, told, self.scope)? {
            None => apt.confirm(self.plan).map(End::Done),
            Some(why) => Ok(End::Declined(why)),
        }
    }
}

/// What is wrong with packages is not wrong with the root.
fn of_packages(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Buildroot => error.with_kind(ErrorKind::Package),
        _ => error,
    }
}
