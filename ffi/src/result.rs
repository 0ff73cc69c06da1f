//! Results of long calls.

use crate::border;
use crate::session::Session;
use crate::text::{borrowed, c_path, c_string};
use debmock::apt::Plan;
use debmock::build::BuildResult;
use debmock::buildroot::{Exit, Listing, Snapshot};
use debmock::config::Known;
use debmock::host::Diagnosis;
use serde_json::{Value, json};
use std::ffi::{CString, c_char};
use std::sync::Arc;

/// The call has nothing to tell but its success.
pub const DEBMOCK_RESULT_NONE: u32 = 0;
/// Packages that came and went: debmock_install and its relatives.
pub const DEBMOCK_RESULT_PLAN: u32 = 1;
/// What was built: debmock_rebuild.
pub const DEBMOCK_RESULT_BUILD: u32 = 2;
/// How a program ended: debmock_session_run, debmock_process_wait.
pub const DEBMOCK_RESULT_EXIT: u32 = 3;
/// A session: debmock_session_open_start.
pub const DEBMOCK_RESULT_SESSION: u32 = 4;
/// What there is, as JSON only: debmock_list, debmock_list_snapshots, debmock_import_layers,
/// debmock_configs.
pub const DEBMOCK_RESULT_LIST: u32 = 5;
/// What this machine can do: debmock_doctor.
pub const DEBMOCK_RESULT_DOCTOR: u32 = 6;

/// What came of a long call. Immutable: any number of threads may read it.
///
/// Functions that ask for something that this kind of result does not have give 0 or NULL. Strings
/// belong to the result.
#[derive(Debug)]
pub struct Outcome {
    kind: Kind,
    json: CString,
}

#[derive(Debug)]
enum Kind {
    None,
    Plan { installed: usize, removed: usize },
    Build(Box<Build>),
    Exit { exit: Exit, output: Vec<u8> },
    Session(Arc<debmock::buildroot::Session>),
    List,
    Doctor { usable: bool },
}

/// A build with its names as C wants them.
#[derive(Debug)]
struct Build {
    result: BuildResult,
    name: CString,
    version: CString,
    architecture: CString,
    resultdir: CString,
    failed_stage: Option<CString>,
    changes: Option<CString>,
    buildinfo: Option<CString>,
    packages: Vec<CString>,
    logs: Vec<CString>,
}

fn with_schema(mut value: Value) -> CString {
    if let Value::Object(members) = &mut value {
        members.insert("schema".into(), debmock::event::SCHEMA.into());
    }
    c_string(value.to_string())
}

impl Outcome {
    fn new(kind: Kind, value: Value) -> Self {
        Outcome { kind, json: with_schema(value) }
    }

    pub(crate) fn none() -> Self {
        Outcome::new(Kind::None, json!({}))
    }

    pub(crate) fn plan(plan: &Plan) -> Self {
        let kind = Kind::Plan { installed: plan.install.len(), removed: plan.remove.len() };
        Outcome::new(kind, json!({"installed": plan.install, "removed": plan.remove}))
    }

    pub(crate) fn build(result: BuildResult) -> Self {
        let value = json!({"resultdir": result.resultdir.to_string_lossy(), "result": result});
        let path = |name: &String| c_path(&result.path(name));
        let build = Build {
            name: c_string(&result.name),
            version: c_string(&result.version),
            architecture: c_string(&result.architecture),
            resultdir: c_path(&result.resultdir),
            failed_stage: result.failed_stage.as_ref().map(c_string),
            changes: result.changes.as_ref().map(path),
            buildinfo: result.buildinfo.as_ref().map(path),
            packages: result.packages().iter().map(|package| c_path(package)).collect(),
            logs: result.logs.iter().map(path).collect(),
            result,
        };
        Outcome::new(Kind::Build(Box::new(build)), value)
    }

    pub(crate) fn exit(exit: Exit, output: Vec<u8>) -> Self {
        let value = serde_json::to_value(exit).unwrap_or_default();
        Outcome::new(Kind::Exit { exit, output }, value)
    }

    pub(crate) fn session(session: Arc<debmock::buildroot::Session>) -> Self {
        Outcome::new(Kind::Session(session), json!({}))
    }

    pub(crate) fn list(listing: &Listing) -> Self {
        Outcome::new(Kind::List, json!({"store": listing}))
    }

    pub(crate) fn layers(keys: &[String]) -> Self {
        Outcome::new(Kind::List, json!({"layers": keys}))
    }

    pub(crate) fn snapshots(snapshots: &[Snapshot]) -> Self {
        let snapshots: Vec<Value> = snapshots.iter().map(Snapshot::to_json).collect();
        Outcome::new(Kind::List, json!({"snapshots": snapshots}))
    }

    pub(crate) fn configs(configs: &[Known]) -> Self {
        let configs: Vec<Value> = configs.iter().map(Known::to_json).collect();
        Outcome::new(Kind::List, json!({"configs": configs}))
    }

    pub(crate) fn doctor(diagnosis: &Diagnosis) -> Self {
        Outcome::new(Kind::Doctor { usable: diagnosis.is_usable() }, diagnosis.to_json())
    }

    /// The session of a call that opened one.
    pub(crate) fn into_session(self) -> Option<Arc<debmock::buildroot::Session>> {
        match self.kind {
            Kind::Session(session) => Some(session),
            _ => None,
        }
    }
}

unsafe fn build<'a>(result: *const Outcome) -> Option<&'a Build> {
    // SAFETY: as for every entry point; this is the body of many.
    match unsafe { result.as_ref() }.map(|result| &result.kind) {
        Some(Kind::Build(build)) => Some(build),
        _ => None,
    }
}

/// Which kind of result: one of DEBMOCK_RESULT_….
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_kind(result: *const Outcome) -> u32 {
    border!(DEBMOCK_RESULT_NONE; {
        match result.as_ref().map(|result| &result.kind) {
            None | Some(Kind::None) => DEBMOCK_RESULT_NONE,
            Some(Kind::Plan { .. }) => DEBMOCK_RESULT_PLAN,
            Some(Kind::Build(_)) => DEBMOCK_RESULT_BUILD,
            Some(Kind::Exit { .. }) => DEBMOCK_RESULT_EXIT,
            Some(Kind::Session(_)) => DEBMOCK_RESULT_SESSION,
            Some(Kind::List) => DEBMOCK_RESULT_LIST,
            Some(Kind::Doctor { .. }) => DEBMOCK_RESULT_DOCTOR,
        }
    })
}

/// All of the result as a JSON object, without what a program printed. "schema" is its version;
/// members are only ever added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_json(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(result.as_ref().map(|result| &result.json)) })
}

/// How many packages came.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_installed_count(result: *const Outcome) -> usize {
    border!(0; {
        match result.as_ref().map(|result| &result.kind) {
            Some(Kind::Plan { installed, .. }) => *installed,
            _ => 0,
        }
    })
}

/// How many packages went.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_removed_count(result: *const Outcome) -> usize {
    border!(0; {
        match result.as_ref().map(|result| &result.kind) {
            Some(Kind::Plan { removed, .. }) => *removed,
            _ => 0,
        }
    })
}

/// The exit status of the program; -1 if a signal ended it, and for other results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_exit_status(result: *const Outcome) -> i32 {
    border!(-1; {
        match result.as_ref().map(|result| &result.kind) {
            Some(Kind::Exit { exit, .. }) => exit.status.unwrap_or(-1),
            _ => -1,
        }
    })
}

/// The signal that ended the program; 0 if none did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_signal(result: *const Outcome) -> i32 {
    border!(0; {
        match result.as_ref().map(|result| &result.kind) {
            Some(Kind::Exit { exit, .. }) => exit.signal.unwrap_or(0),
            _ => 0,
        }
    })
}

/// What the program printed, if debmock_run_options.capture asked for it, and its length in bytes,
/// which size may be NULL for. It does not end with NUL. Belongs to the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_output(
    result: *const Outcome,
    size: *mut usize,
) -> *const u8 {
    border!(std::ptr::null(); {
        let output = match result.as_ref().map(|result| &result.kind) {
            Some(Kind::Exit { output, .. }) => Some(output),
            _ => None,
        };
        if !size.is_null() {
            size.write(output.map_or(0, Vec::len));
        }
        output.map_or(std::ptr::null(), |output| output.as_ptr())
    })
}

/// The name of the source package that was built.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_name(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).map(|build| &build.name)) })
}

/// The version of the packages that were built.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_version(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).map(|build| &build.version)) })
}

/// The architecture that was built for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_architecture(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).map(|build| &build.architecture)) })
}

/// The directory that all files of the build are in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_dir(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).map(|build| &build.resultdir)) })
}

/// The stage that failed, of the result that an error has; NULL after a success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_failed_stage(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); {
        borrowed(build(result).and_then(|build| build.failed_stage.as_ref()))
    })
}

/// The path of the .changes file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_changes(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).and_then(|build| build.changes.as_ref())) })
}

/// The path of the .buildinfo file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_buildinfo(result: *const Outcome) -> *const c_char {
    border!(std::ptr::null(); {
        borrowed(build(result).and_then(|build| build.buildinfo.as_ref()))
    })
}

/// The path of a binary package that was built, counted from 0; NULL behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_package(
    result: *const Outcome,
    index: usize,
) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).and_then(|build| build.packages.get(index))) })
}

/// The path of a log of the build, counted from 0; NULL behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_log(result: *const Outcome, index: usize) -> *const c_char {
    border!(std::ptr::null(); { borrowed(build(result).and_then(|build| build.logs.get(index))) })
}

/// How long the build took, in seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_seconds(result: *const Outcome) -> f64 {
    border!(0.0; { build(result).map_or(0.0, |build| build.result.seconds) })
}

/// How long a stage of the build took in all, in seconds; 0 for one that was not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_stage_seconds(
    result: *const Outcome,
    stage: *const c_char,
) -> f64 {
    border!(0.0; {
        match (build(result), border::optional_text(stage, "stage")) {
            (Some(build), Ok(Some(stage))) => build.result.stage_seconds(stage),
            _ => 0.0,
        }
    })
}

/// Whether any isolation mode works on this machine for this user.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_usable(result: *const Outcome) -> bool {
    border!(false; {
        let kind = result.as_ref().map(|result| &result.kind);
        matches!(kind, Some(Kind::Doctor { usable: true }))
    })
}

/// The session that debmock_session_open_start opened. Each call gives a handle of its own; free
/// it with debmock_session_free. The session ends with the last of its handles, this result
/// included.
///
/// Fails with DEBMOCK_ERR_USAGE for other results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_session(
    result: *const Outcome,
    session: *mut *mut Session,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, {
        let slot = border::out(session, std::ptr::null_mut(), "session")?;
        let Kind::Session(session) = &border::handle(result, "result")?.kind else {
            return Err(debmock::Error::new(
                debmock::ErrorKind::Usage,
                "the result is not that of opening a session",
            ));
        };
        *slot = border::boxed(Session::new(Arc::clone(session)));
        Ok(())
    })
}

/// Frees a result and sets the variable to NULL. The files of a build stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_result_free(result: *mut *mut Outcome) {
    border!((); { border::free(result) })
}
