//! Stages of an operation and their times, as events, as lines of `state.log`, and as numbers.

use crate::archive::date;
use crate::error::{IoContext, Result};
use crate::event::seconds;
use crate::operation::Scope;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// Its name, as in the events.
    pub name: String,
    /// From its start to its end.
    pub seconds: f64,
    /// Whether it succeeded.
    pub success: bool,
}

/// Records stages. Stages nest; each one counts in full.
#[derive(Debug, Default)]
pub struct Stages {
    file: Option<File>,
    times: Mutex<Vec<StageTime>>,
}

impl Stages {
    /// Records in memory and in the file `path`, which is replaced.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], [`crate::ErrorKind::NoSpace`].
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).doing(|| format!("cannot write {}", path.display()))?;
        Ok(Stages { file: Some(file), times: Mutex::default() })
    }

    /// Runs `work` as a stage.
    ///
    /// # Errors
    /// Those of `work`; [`crate::ErrorKind::Cancelled`] if nothing more shall begin.
    pub fn stage<T>(
        &self,
        scope: &Scope,
        name: &str,
        detail: impl Into<String>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let detail = detail.into();
        let started = Instant::now();
        self.note(&format!("start {name} {detail}"));
        let result = scope.stage(name, detail, work);
        let time = seconds(started.elapsed());
        let outcome = match &result {
            Ok(_) => "finish".to_owned(),
            Err(error) => format!("fail ({error})").replace('\n', " "),
        };
        self.note(&format!("{outcome} {name} after {time:.3} s"));
        let entry = StageTime { name: name.to_owned(), seconds: time, success: result.is_ok() };
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        result
    }

    fn note(&self, text: &str) {
        if let Some(mut file) = self.file.as_ref() {
            // The times also go to the result: a line that is lost does no harm.
            let line = format!("{} {}\n", date::format(date::now()), text.trim_end());
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// The stages that have ended, in the order of their ends.
    pub fn times(&self) -> Vec<StageTime> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stage that failed first: the innermost one.
    pub fn failed(&self) -> Option<String> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().find(|stage| !stage.success).map(|stage| stage.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn the_innermost_stage_is_the_one_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.log");
        let stages = Stages::create(&path).unwrap();
        let scope = Scope::quiet();
        stages.stage(&scope, "a", "", || Ok(())).unwrap();
        let inner = || Err::<(), _>(Error::new(ErrorKind::Build, "no"));
        stages.stage(&scope, "b", "x", || stages.stage(&scope, "c", "", inner)).unwrap_err();
        assert_eq!(stages.failed().as_deref(), Some("c"));
        let names: Vec<_> = stages.times().into_iter().map(|time| time.name).collect();
        assert_eq!(names, ["a", "c", "b"]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[2].ends_with("UTC start b x") && lines[4].contains("fail (no) c after"));
    }
}
