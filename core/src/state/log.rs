//! Log files: each line goes to the file first and becomes an event afterwards.

use crate::error::{IoContext, Result};
use crate::event::{Log, What};
use crate::operation::Scope;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines at the end of a log that are kept for error messages.
const TAIL: usize = 200;
/// Characters of a line that are kept for error messages.
const TAIL_LINE: usize = 1000;

/// A log of a build or of an operation on a root.
#[derive(Debug)]
pub struct LogFile {
    log: Log,
    path: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    tail: VecDeque<String>,
}

impl LogFile {
    /// Starts the file `path`; one that exists is replaced.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], [`crate::ErrorKind::NoSpace`].
    pub fn create(path: &Path, log: Log) -> Result<Self> {
        let file = File::create(path).doing(|| format!("cannot write {}", path.display()))?;
        Ok(LogFile::with(log, Some(path.to_owned()), Some(file)))
    }

    /// A log that exists as events only.
    pub fn events_only(log: Log) -> Self {
        LogFile::with(log, None, None)
    }

    fn with(log: Log, path: Option<PathBuf>, file: Option<File>) -> Self {
        LogFile { log, path, inner: Mutex::new(Inner { file, tail: VecDeque::new() }) }
    }

    /// Where it is, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Adds one line, with or without its end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`], [`crate::ErrorKind::NoSpace`] if the file cannot be written.
    pub fn line(&self, scope: &Scope, line: impl AsRef<[u8]>) -> Result<()> {
        let line = line.as_ref();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        self.keep(line, &text)?;
        scope.line(self.log, text);
        Ok(())
    }

    fn keep(&self, line: &[u8], text: &str) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut inner.file {
            // One write for each line: what the build printed before a crash is in the file.
            let bytes = [line, b"\n"].concat();
            file.write_all(&bytes).doing(|| {
                let path = self.path.as_deref().unwrap_or(Path::new("a log"));
                format!("cannot write {}", path.display())
            })?;
        }
        if inner.tail.len() == TAIL {
            inner.tail.pop_front();
        }
        inner.tail.push_back(text.chars().take(TAIL_LINE).collect());
        Ok(())
    }

    /// `scope`, with the lines of this log that others send as events kept here too.
    pub fn listen(self: &Arc<Self>, scope: &Scope) -> Scope {
        let log = Arc::clone(self);
        scope.witnessed(move |what| {
            if let What::LogLine { log: of, text } = what
                && *of == log.log
            {
                // What cannot be written here fails the next line that is written by name.
                let _ = log.keep(text.as_bytes(), text);
            }
        })
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tail.iter().skip(inner.tail.len().saturating_sub(count)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_reach_the_file_unchanged_and_the_end_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("build.log");
        let log = LogFile::create(&path, Log::Build).unwrap();
        let scope = Scope::quiet();
        log.line(&scope, b"a \xff\n").unwrap();
        for number in 0..TAIL {
            log.line(&scope, number.to_string()).unwrap();
        }
        log.line(&scope, "ü".repeat(2 * TAIL_LINE)).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert!(written.starts_with(b"a \xff\n0\n1\n"));
        assert_eq!(log.tail(2)[0], (TAIL - 1).to_string());
        assert_eq!(log.tail(1)[0].chars().count(), TAIL_LINE);
        assert_eq!(log.tail(10 * TAIL).len(), TAIL);
    }
}
