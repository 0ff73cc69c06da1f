//! What happens while debmock works, as typed records.
//!
//! One stream serves every language: Rust values, JSON lines, C structs and Python objects are
//! renderings of [`Event`]. Fields and variants are only ever added.

use serde::Serialize;
use std::time::Duration;

/// Version of the JSON form of events.
pub const SCHEMA: u32 = 1;

/// A typed, timestamped record of something that started, moved or finished.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Version of this record's JSON form.
    pub schema: u32,
    /// The operation that it belongs to; unique in this process.
    pub operation: u64,
    /// Counts up from 0 within the operation.
    pub sequence: u64,
    /// Wall-clock time, seconds since the epoch.
    pub time: f64,
    /// Seconds since the operation started, from the monotonic clock.
    pub elapsed: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What an [`Event`] tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A stage began. Stages nest.
    StageStarted {
        /// Its name, stable: `indexes`, `resolve`, `fetch`, `unpack`, `configure`, `build`, …
        stage: String,
        /// What it works on, for people.
        detail: String,
    },
    /// A stage ended.
    StageFinished {
        /// The name that started.
        stage: String,
        /// How long it took.
        seconds: f64,
        /// Whether it succeeded.
        success: bool,
    },
    /// A stage moved on.
    Progress {
        /// The stage.
        stage: String,
        /// How much is done, in `unit`.
        done: u64,
        /// How much there is, where known.
        total: Option<u64>,
        /// `bytes`, `packages` or `files`.
        unit: Unit,
    },
    /// A package was fetched, unpacked, configured, installed or removed.
    Package {
        /// What was done to it.
        action: PackageAction,
        /// Binary package name.
        name: String,
        /// Version.
        version: String,
        /// Architecture.
        architecture: String,
    },
    /// One line of a log.
    LogLine {
        /// The log that it is also written to.
        log: Log,
        /// The line without its end.
        text: String,
    },
    /// Log lines that the queue had no room for; the file has them.
    LinesSkipped {
        /// The log that has them.
        log: Log,
        /// How many.
        count: u64,
    },
    /// Something that the user should know, but that does not stop the operation.
    Warning {
        /// What it is.
        message: String,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The operation waits for somebody else.
    Waiting {
        /// For what.
        what: String,
        /// Who holds it.
        holder: String,
    },
    /// A limit was reached.
    LimitHit {
        /// Which: `wall`, `silence`, `memory`, `disk`, `processes`.
        limit: String,
    },
}

/// What [`What::Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packages.
    Packages,
    /// Files.
    Files,
}

/// What was done to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum PackageAction {
    Fetched,
    Unpacked,
    Configured,
    Installed,
    Removed,
}

/// The logs of a build or an operation on a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Log {
    /// What the build printed.
    Build,
    /// What happened to the root: bootstrap, apt, dpkg.
    Root,
    /// What a command printed.
    Command,
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
