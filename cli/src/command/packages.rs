//! Packages in a buildroot, and builds.

use crate::Call;
use crate::arguments::{CleanupWhen, How, Source};
use crate::words;
use debmock::apt::Plan;
use debmock::build::{BinNmu, BuildResult, BuildType, RebuildOptions, ResultDir, SourceSpec};
use debmock::buildroot::Buildroot;
use debmock::config::CleanupAfter;
use debmock::operation::Scope;
use debmock::{Error, ErrorKind, Result};
use serde_json::json;
use std::path::Path;

pub fn install(call: &mut Call<'_>, packages: &[String]) -> Result<u8> {
    planned(call, |root, scope| root.install(packages, scope))
}

pub fn remove(call: &mut Call<'_>, packages: &[String]) -> Result<u8> {
    planned(call, |root, scope| root.remove(packages, scope))
}

pub fn update(call: &mut Call<'_>) -> Result<u8> {
    planned(call, |root, scope| root.update(scope))
}

pub fn apt(call: &mut Call<'_>, words: &[String]) -> Result<u8> {
    // What apt-get prints is what the user asked for.
    call.screen.show_logs();
    planned(call, |root, scope| root.apt(words, scope))
}

pub fn install_dependencies(call: &mut Call<'_>, source: &Source) -> Result<u8> {
    let options = options(source, ResultDir::Below("results".into()))?;
    planned(call, |root, scope| root.install_dependencies(&options, scope))
}

fn planned(
    call: &mut Call<'_>,
    work: impl FnOnce(&Buildroot, &Scope) -> Result<Plan> + Send,
) -> Result<u8> {
    let root = call.buildroot()?;
    let plan = call.watch(|scope| work(&root, scope))?;
    if call.screen.is_json() {
        let value = json!({
            "schema": debmock::event::SCHEMA, "event": "planned",
            "installed": plan.install, "removed": plan.remove,
        });
        return written(call.screen.json(&value));
    }
    let what = if plan.is_empty() { "nothing to do".to_owned() } else { plan.counted() };
    call.screen.say(&format!("{}: {what}", root.name()));
    Ok(0)
}

pub fn rebuild(call: &mut Call<'_>, source: &Source, how: &How) -> Result<u8> {
    let place = match &how.resultdir {
        Some(folder) => ResultDir::Exactly(folder.clone()),
        None => ResultDir::Below("results".into()),
    };
    let mut options = options(source, place)?;
    options.build_type.source = how.source_too;
    options.nocheck = how.nocheck;
    options.jobs = how.jobs;
    options.dist.clone_from(&how.dist);
    options.cleanup_after = how.cleanup_after.map(|when| match when {
        CleanupWhen::Always => CleanupAfter::Always,
        CleanupWhen::Success => CleanupAfter::Success,
        CleanupWhen::Never => CleanupAfter::Never,
    });
    options.binnmu = how.binnmu.map(|number| BinNmu {
        number,
        message: how.binnmu_message.clone(),
        maintainer: None,
        timestamp: None,
    });
    let root = call.buildroot()?;
    let result = call.watch(|scope| root.rebuild(options, scope))?;
    if call.screen.is_json() {
        let value = json!({
            "schema": debmock::event::SCHEMA, "event": "built",
            "resultdir": result.resultdir, "result": result,
        });
        return written(call.screen.json(&value));
    }
    call.screen.say(&summary(&result));
    Ok(0)
}

fn options(source: &Source, place: ResultDir) -> Result<RebuildOptions> {
    let mut options = RebuildOptions::new(SourceSpec::parse(&source.source)?, place);
    let neither = !source.arch_any && !source.arch_all;
    options.build_type = BuildType {
        any: (source.arch_any || neither) && !source.no_arch_any,
        all: (source.arch_all || neither) && !source.no_arch_all,
        source: false,
    };
    options.profiles.clone_from(&source.profiles);
    options.add_depends.clone_from(&source.add_depends);
    options.extra_packages.clone_from(&source.extra_packages);
    options.extra_repositories.clone_from(&source.extra_repositories);
    Ok(options)
}

/// What was built, where it is, how long it took.
fn summary(result: &BuildResult) -> String {
    let count = match result.packages().len() {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    let here = std::env::current_dir().unwrap_or_default();
    let place: &Path = result.resultdir.strip_prefix(&here).unwrap_or(&result.resultdir);
    format!(
        "built {} {} for {} in {}: {count} in {}",
        result.name,
        result.version,
        result.architecture,
        words::seconds(result.seconds),
        place.display(),
    )
}

fn written(result: std::io::Result<()>) -> Result<u8> {
    result.map(|()| 0).map_err(|error| {
        Error::new(ErrorKind::Io, "cannot write to standard output").with_source(error)
    })
}
