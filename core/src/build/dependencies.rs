//! The dependencies of a build without the build.

use super::furnisher::furnish;
use super::rebuild::asks_for_fakeroot;
use super::{RebuildOptions, Workshop, source};
use crate::apt::{Apt, BuildDependencies, DependencyOptions, Installed, Plan, Task};
use crate::error::{IoContext, Result};
use crate::operation::Scope;
use crate::state::{LogFile, Stages};

/// Installs what a build with these options needs.
///
/// # Errors
/// [`crate::ErrorKind::Source`], [`crate::ErrorKind::Dependency`], [`crate::ErrorKind::Package`],
/// those of fetching.
pub fn install_dependencies(
    options: &RebuildOptions,
    workshop: &Workshop<'_>,
    log: &LogFile,
    scope: &Scope,
) -> Result<Plan> {
    let scratch = tempfile::tempdir().doing(|| "cannot make a temporary directory".into())?;
    let source = scope.stage("source", options.source.to_string(), || {
        source::get(&options.source, workshop, scratch.path().to_owned(), scope)
    })?;
    let dependencies = DependencyOptions {
        architecture: workshop.archive.architecture.clone(),
        profiles: options.profiles(workshop.config),
        any: options.build_type.any,
        all: options.build_type.all,
        add: options.add_depends.clone(),
        fakeroot: asks_for_fakeroot(&Installed::read(workshop.session)?),
    };
    let Workshop { session, archive, debs, transport, .. } = *workshop;
    let apt = Apt::new(session, archive, debs, transport, log)
        .parallel(workshop.parallel)
        .remember_in(workshop.plans)
        .caches_in(workshop.caches);
    let task = Task::Dependencies(BuildDependencies::of(&source.control, &dependencies)?);
    let _turn = session.package_turn(scope)?;
    let plan = scope.stage("resolve", task.words(), || apt.resolve(&task, scope))?;
    furnish(&plan, workshop, log, &Stages::default(), scope)?;
    Ok(plan)
}
