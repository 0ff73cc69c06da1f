//! Packages in a buildroot, and builds.

use crate::Call;
use crate::arguments::{CleanupWhen, How, Source};
use crate::words;
use debmock::apt::{Plan, Task};
use debmock::build::{BinNmu, BuildResult, BuildType, RebuildOptions, ResultDir, SourceSpec};
use debmock::buildroot::Buildroot;
use debmock::config::CleanupAfter;
use debmock::operation::Scope;
use debmock::{ErrorKind, Result};
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

pub fn install_dependencies(call: &mut Call<'_>, source: &str, what: &Source) -> Result<u8> {
    let options = options(source, what, ResultDir::Below("results".into()))?;
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
        call.screen.json(&value);
        return Ok(0);
    }
    if plan.is_empty() && matches!(plan.task, Task::Command(_)) {
        // apt has said what it did.
        return Ok(0);
    }
    let what = if plan.is_empty() { "nothing to do".to_owned() } else { plan.counted() };
    call.screen.say(&format!("{}: {what}", root.name()));
    Ok(0)
}

pub fn rebuild(
    call: &mut Call<'_>,
    sources: &[String],
    what: &Source,
    how: &How,
    go_on: bool,
) -> Result<u8> {
    if let Some(size) = &how.in_memory {
        call.global.options.push(format!("build.in_memory={size}"));
    }
    let several = sources.len() > 1;
    let place = match &how.resultdir {
        Some(folder) if several => ResultDir::Below(folder.clone()),
        Some(folder) => ResultDir::Exactly(folder.clone()),
        None => ResultDir::Below("results".into()),
    };
    // All of them before the first is built: a slip in the last one shows at once.
    let builds = sources
        .iter()
        .map(|source| how_to_build(source, what, how, place.clone()))
        .collect::<Result<Vec<_>>>()?;
    let root = call.buildroot()?;
    let mut status = 0;
    let mut report = Vec::new();
    for (options, source) in builds.into_iter().zip(sources) {
        if status != 0 && !go_on {
            report.push(format!("- {source}: not tried"));
            continue;
        }
        match build(call, &root, options) {
            Ok(line) => report.push(format!("✓ {source}: {line}")),
            // One failure is the caller's to show; nothing goes on after Ctrl-C.
            Err(error) if !several || error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let own = error.kind().exit_code();
                call.screen.failure(&error, own);
                status = if status == 0 { own } else { status };
                report.push(format!("✗ {source}: {}", error.message()));
            }
        }
    }
    if several {
        report.iter().for_each(|line| call.screen.say(line));
    }
    Ok(status)
}

/// Builds one source, and says what was built.
fn build(call: &mut Call<'_>, root: &Buildroot, options: RebuildOptions) -> Result<String> {
    let result = call.watch(|scope| root.rebuild(options, scope))?;
    let line = summary(&result);
    if call.screen.is_json() {
        let value = json!({
            "schema": debmock::event::SCHEMA, "event": "built",
            "resultdir": result.resultdir, "result": result,
        });
        call.screen.json(&value);
    } else {
        call.screen.say(&line);
    }
    Ok(line)
}

fn how_to_build(
    source: &str,
    what: &Source,
    how: &How,
    place: ResultDir,
) -> Result<RebuildOptions> {
    let mut options = options(source, what, place)?;
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
    Ok(options)
}

fn options(source: &str, what: &Source, place: ResultDir) -> Result<RebuildOptions> {
    let mut options = RebuildOptions::new(SourceSpec::parse(source)?, place);
    let neither = !what.arch_any && !what.arch_all;
    options.build_type = BuildType {
        any: (what.arch_any || neither) && !what.no_arch_any,
        all: (what.arch_all || neither) && !what.no_arch_all,
        source: false,
    };
    options.profiles.clone_from(&what.profiles);
    options.add_depends.clone_from(&what.add_depends);
    options.extra_packages.clone_from(&what.extra_packages);
    options.extra_repositories.clone_from(&what.extra_repositories);
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
