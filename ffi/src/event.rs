//! Events.

use crate::border;
use crate::text::{borrowed, c_string};
use debmock::event::{Log, PackageAction, Unit, What};
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

/// Something that this version has no number for; its JSON tells it.
pub const DEBMOCK_EVENT_OTHER: u32 = 0;
/// A stage began: its stage, and as text what it works on. Stages nest.
pub const DEBMOCK_EVENT_STAGE_STARTED: u32 = 1;
/// A stage ended: its stage, seconds and success.
pub const DEBMOCK_EVENT_STAGE_FINISHED: u32 = 2;
/// A stage moved on: its stage, done, total and unit.
pub const DEBMOCK_EVENT_PROGRESS: u32 = 3;
/// A package was fetched, unpacked, configured, installed or removed: its action, package, version
/// and architecture.
pub const DEBMOCK_EVENT_PACKAGE: u32 = 4;
/// A line of a log: its log, and the line as text.
pub const DEBMOCK_EVENT_LOG_LINE: u32 = 5;
/// Lines of a log that the queue had no room for: its log and their count.
pub const DEBMOCK_EVENT_LINES_SKIPPED: u32 = 6;
/// Something that the user should know: text and hint.
pub const DEBMOCK_EVENT_WARNING: u32 = 7;
/// The operation waits for somebody else: what for as text, and the holder.
pub const DEBMOCK_EVENT_WAITING: u32 = 8;
/// A limit was reached: which one as text.
pub const DEBMOCK_EVENT_LIMIT_HIT: u32 = 9;

/// Progress counts bytes.
pub const DEBMOCK_UNIT_BYTES: u32 = 1;
/// Progress counts packages.
pub const DEBMOCK_UNIT_PACKAGES: u32 = 2;
/// Progress counts files.
pub const DEBMOCK_UNIT_FILES: u32 = 3;

/// The package was fetched.
pub const DEBMOCK_PACKAGE_FETCHED: u32 = 1;
/// The package was unpacked.
pub const DEBMOCK_PACKAGE_UNPACKED: u32 = 2;
/// The package was configured.
pub const DEBMOCK_PACKAGE_CONFIGURED: u32 = 3;
/// The package was installed.
pub const DEBMOCK_PACKAGE_INSTALLED: u32 = 4;
/// The package was removed.
pub const DEBMOCK_PACKAGE_REMOVED: u32 = 5;

/// The log of what the build printed.
pub const DEBMOCK_LOG_BUILD: u32 = 1;
/// The log of what happened to the root: bootstrap, apt, dpkg.
pub const DEBMOCK_LOG_ROOT: u32 = 2;
/// The output of a command.
pub const DEBMOCK_LOG_COMMAND: u32 = 3;

/// Something that started, moved or finished. Immutable: any number of threads may read it. One
/// that a callback gets lives until the callback returns; one of debmock_operation_next_event
/// belongs to the caller.
///
/// Functions that ask for something that this kind of event does not have give 0 or NULL. Strings
/// belong to the event.
#[derive(Debug)]
pub struct Event {
    event: debmock::event::Event,
    stage: Option<CString>,
    text: Option<CString>,
    hint: Option<CString>,
    holder: Option<CString>,
    package: Option<[CString; 3]>,
    json: OnceLock<Option<CString>>,
}

impl Event {
    pub(crate) fn new(event: debmock::event::Event) -> Self {
        let (mut stage, mut text, mut hint, mut holder, mut package) = Default::default();
        match &event.what {
            What::StageStarted { stage: name, detail } => {
                stage = Some(c_string(name));
                text = Some(c_string(detail));
            }
            What::StageFinished { stage: name, .. } | What::Progress { stage: name, .. } => {
                stage = Some(c_string(name));
            }
            What::Package { name, version, architecture, .. } => {
                package = Some([name, version, architecture].map(c_string));
            }
            What::LogLine { text: line, .. } => text = Some(c_string(line)),
            What::Warning { message, hint: advice } => {
                text = Some(c_string(message));
                hint = advice.as_ref().map(c_string);
            }
            What::Waiting { what, holder: who } => {
                text = Some(c_string(what));
                holder = Some(c_string(who));
            }
            What::LimitHit { limit } => text = Some(c_string(limit)),
            _ => {}
        }
        Event { event, stage, text, hint, holder, package, json: OnceLock::new() }
    }
}

/// Which kind of event: one of DEBMOCK_EVENT_….
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_kind(event: *const Event) -> u32 {
    border!(DEBMOCK_EVENT_OTHER; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::StageStarted { .. }) => DEBMOCK_EVENT_STAGE_STARTED,
            Some(What::StageFinished { .. }) => DEBMOCK_EVENT_STAGE_FINISHED,
            Some(What::Progress { .. }) => DEBMOCK_EVENT_PROGRESS,
            Some(What::Package { .. }) => DEBMOCK_EVENT_PACKAGE,
            Some(What::LogLine { .. }) => DEBMOCK_EVENT_LOG_LINE,
            Some(What::LinesSkipped { .. }) => DEBMOCK_EVENT_LINES_SKIPPED,
            Some(What::Warning { .. }) => DEBMOCK_EVENT_WARNING,
            Some(What::Waiting { .. }) => DEBMOCK_EVENT_WAITING,
            Some(What::LimitHit { .. }) => DEBMOCK_EVENT_LIMIT_HIT,
            _ => DEBMOCK_EVENT_OTHER,
        }
    })
}

/// The operation that it belongs to; unique in this process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_operation(event: *const Event) -> u64 {
    border!(0; { event.as_ref().map_or(0, |event| event.event.operation) })
}

/// Its number within the operation, from 0. Numbers may be missing, but never go back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_sequence(event: *const Event) -> u64 {
    border!(0; { event.as_ref().map_or(0, |event| event.event.sequence) })
}

/// When it happened: seconds since 1970, by the wall clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_time(event: *const Event) -> f64 {
    border!(0.0; { event.as_ref().map_or(0.0, |event| event.event.time) })
}

/// Seconds since the operation started, by the monotonic clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_elapsed(event: *const Event) -> f64 {
    border!(0.0; { event.as_ref().map_or(0.0, |event| event.event.elapsed) })
}

/// The name of the stage, which is stable: "fetch", "unpack", "build" and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_stage(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { borrowed(event.as_ref().and_then(|event| event.stage.as_ref())) })
}

/// Its text, for people: the kinds of events say what it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_text(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { borrowed(event.as_ref().and_then(|event| event.text.as_ref())) })
}

/// What to do about a warning; NULL if nobody knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_hint(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { borrowed(event.as_ref().and_then(|event| event.hint.as_ref())) })
}

/// Who holds what the operation waits for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_holder(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { borrowed(event.as_ref().and_then(|event| event.holder.as_ref())) })
}

/// How much of a stage is done, in its unit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_done(event: *const Event) -> u64 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::Progress { done, .. }) => *done,
            _ => 0,
        }
    })
}

/// How much there is to do, in the unit of the stage; 0 if that is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_total(event: *const Event) -> u64 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::Progress { total, .. }) => total.unwrap_or(0),
            _ => 0,
        }
    })
}

/// What progress counts: one of DEBMOCK_UNIT_….
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_unit(event: *const Event) -> u32 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::Progress { unit: Unit::Bytes, .. }) => DEBMOCK_UNIT_BYTES,
            Some(What::Progress { unit: Unit::Packages, .. }) => DEBMOCK_UNIT_PACKAGES,
            Some(What::Progress { unit: Unit::Files, .. }) => DEBMOCK_UNIT_FILES,
            _ => 0,
        }
    })
}

/// How long the stage that ended took, in seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_seconds(event: *const Event) -> f64 {
    border!(0.0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::StageFinished { seconds, .. }) => *seconds,
            _ => 0.0,
        }
    })
}

/// Whether the stage that ended succeeded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_success(event: *const Event) -> bool {
    border!(false; {
        let what = event.as_ref().map(|event| &event.event.what);
        matches!(what, Some(What::StageFinished { success: true, .. }))
    })
}

/// What was done to the package: one of DEBMOCK_PACKAGE_….
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_action(event: *const Event) -> u32 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::Package { action, .. }) => match action {
                PackageAction::Fetched => DEBMOCK_PACKAGE_FETCHED,
                PackageAction::Unpacked => DEBMOCK_PACKAGE_UNPACKED,
                PackageAction::Configured => DEBMOCK_PACKAGE_CONFIGURED,
                PackageAction::Installed => DEBMOCK_PACKAGE_INSTALLED,
                PackageAction::Removed => DEBMOCK_PACKAGE_REMOVED,
                _ => 0,
            },
            _ => 0,
        }
    })
}

unsafe fn package(event: *const Event, part: usize) -> *const c_char {
    // SAFETY: as for every entry point; this is the body of some.
    let event = unsafe { event.as_ref() };
    borrowed(event.and_then(|event| event.package.as_ref()).and_then(|parts| parts.get(part)))
}

/// The name of the binary package.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_package(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { package(event, 0) })
}

/// The version of the package.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_version(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { package(event, 1) })
}

/// The architecture of the package.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_architecture(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); { package(event, 2) })
}

/// The log that the line or the lines belong to: one of DEBMOCK_LOG_….
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_log(event: *const Event) -> u32 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::LogLine { log, .. } | What::LinesSkipped { log, .. }) => match log {
                Log::Build => DEBMOCK_LOG_BUILD,
                Log::Root => DEBMOCK_LOG_ROOT,
                Log::Command => DEBMOCK_LOG_COMMAND,
                _ => 0,
            },
            _ => 0,
        }
    })
}

/// How many lines were skipped; where the log is a file, it has them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_count(event: *const Event) -> u64 {
    border!(0; {
        match event.as_ref().map(|event| &event.event.what) {
            Some(What::LinesSkipped { count, .. }) => *count,
            _ => 0,
        }
    })
}

/// The whole event as a line of JSON, as `debmock --json` prints it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_json(event: *const Event) -> *const c_char {
    border!(std::ptr::null(); {
        let json = |event: &debmock::event::Event| serde_json::to_string(event).ok().map(c_string);
        borrowed(event.as_ref().and_then(|event| {
            event.json.get_or_init(|| json(&event.event)).as_ref()
        }))
    })
}

/// Frees an event and sets the variable to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_event_free(event: *mut *mut Event) {
    border!((); { border::free(event) })
}
