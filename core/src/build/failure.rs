//! The error of a build that failed: the lines that matter.

use crate::buildroot::Exit;
use crate::error::{Error, ErrorKind, Result};
use crate::state::LogFile;

/// What follows a failure without saying anything about it.
fn is_echo(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || line.starts_with("dpkg-buildpackage: info:")
        || line.starts_with("Command: ")
        || line.starts_with("debian/rules ")
        || line.starts_with("dpkg-buildpackage: error:")
        || line.contains(": Leaving directory")
        || line.contains(": Entering directory")
        || (line.starts_with("make") && line.contains("***"))
        || line.starts_with("ninja: build stopped")
}

/// What people look for in a log.
const COMPLAINTS: &[&str] = &[
    "error",
    "fail",
    "cannot ",
    "can't ",
    "not found",
    "no such file",
    "undefined reference",
    "killed",
    "no space left",
    "fatal",
    "abort",
];

fn is_complaint(line: &str) -> bool {
    // Compilers that are told to take a warning for an error have not complained.
    let line = line.to_ascii_lowercase().replace("-werror", "");
    COMPLAINTS.iter().any(|word| line.contains(word))
}

/// Of the last lines of a log those that tell why it ended, at most `most`.
fn that_matter(tail: &[String], most: usize) -> Vec<&str> {
    let lines: Vec<&str> = tail.iter().map(String::as_str).filter(|line| !is_echo(line)).collect();
    // The last complaint, with what stands around it.
    let last = lines.iter().rposition(|line| is_complaint(line)).unwrap_or(lines.len());
    let end = (last + 3).min(lines.len());
    if lines.len() - end <= most / 2 {
        return lines[lines.len().saturating_sub(most)..].to_vec();
    }
    // Far from the end it may be about something else: what was said last may say more.
    let around = &lines[end.saturating_sub(most / 2)..end];
    let ending = &lines[lines.len() - (most - around.len()).saturating_sub(1)..];
    around.iter().chain(&["…"]).chain(ending).copied().collect()
}

/// An error unless the build succeeded.
pub(super) fn of_build(exit: &Exit, title: &str, log: &LogFile) -> Result<()> {
    let how = match (exit.status, exit.signal) {
        (Some(0), _) => return Ok(()),
        (_, Some(signal)) => format!("dpkg-buildpackage was ended by signal {signal}"),
        (status, _) => format!("dpkg-buildpackage failed with status {}", status.unwrap_or(-1)),
    };
    let lines = that_matter(&log.tail(200), 12).join("\n  ");
    let error = Error::new(ErrorKind::Build, format!("{title} does not build: {how}"))
        .with_source(format!("the last lines that matter are\n  {lines}"));
    Err(of_full_disk(error, log))
}

/// The error of a stage whose programs said at the end that the disk is full (LC_ALL is C.UTF-8
/// inside); else the error as it is.
pub(super) fn of_full_disk(error: Error, log: &LogFile) -> Error {
    let full = |line: &String| {
        line.contains("No space left on device") || line.contains("Disk quota exceeded")
    };
    if !log.tail(40).iter().any(full) {
        return error;
    }
    error.with_kind(ErrorKind::NoSpace).with_hint(
        "free some space, for example with `debmock clean` or `debmock scrub layers`, and build \
         again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_repeats_the_failure_is_left_out() {
        let log: Vec<String> =
            "gcc -c a.c\na.c:1:1: error: unknown type name\n    1 | x y;\n      | ^\n\
            make[1]: *** [Makefile:2: a.o] Error 1\nmake[1]: Leaving directory '/x'\n\
            dpkg-buildpackage: error: debian/rules binary subprocess returned exit status 2"
                .lines()
                .map(str::to_owned)
                .collect();
        assert_eq!(
            that_matter(&log, 12),
            ["gcc -c a.c", "a.c:1:1: error: unknown type name", "    1 | x y;", "      | ^"]
        );
        assert_eq!(that_matter(&log, 2).len(), 2);
        assert!(that_matter(&[], 2).is_empty());
    }

    #[test]
    fn a_word_long_before_the_end_does_not_hide_the_end() {
        let mut log = vec!["checking for strerror... yes".to_owned()];
        log.extend((0..30).map(|n| format!("gcc -Werror=format-security -c {n}.c")));
        log.push("test 7: wanted 1, got 2".into());
        let shown = that_matter(&log, 12);
        assert_eq!(shown.len(), 12);
        assert_eq!(shown.last(), Some(&"test 7: wanted 1, got 2"));
        assert!(shown.contains(&"checking for strerror... yes") && shown.contains(&"…"));
    }
}
