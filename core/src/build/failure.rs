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
    let line = line.to_ascii_lowercase();
    COMPLAINTS.iter().any(|word| line.contains(word))
}

/// Of the last lines of a log those that tell why it ended, at most `most`.
fn that_matter(tail: &[String], most: usize) -> Vec<&str> {
    let lines: Vec<&str> = tail.iter().map(String::as_str).filter(|line| !is_echo(line)).collect();
    // The last complaint, with what stands around it.
    let last = lines.iter().rposition(|line| is_complaint(line)).unwrap_or(lines.len());
    let end = (last + 3).min(lines.len());
    lines[end.saturating_sub(most)..end].to_vec()
}

/// An error unless the build succeeded.
pub(super) fn of_build(exit: &Exit, title: &str, log: &LogFile) -> Result<()> {
    let how = match (exit.status, exit.signal) {
        (Some(0), _) => return Ok(()),
        (_, Some(signal)) => format!("dpkg-buildpackage was ended by signal {signal}"),
        (status, _) => format!("dpkg-buildpackage failed with status {}", status.unwrap_or(-1)),
    };
    let tail = log.tail(200);
    let full = tail.iter().any(|line| line.contains("No space left on device"));
    let kind = if full { ErrorKind::NoSpace } else { ErrorKind::Build };
    let lines = that_matter(&tail, 12).join("\n  ");
    Err(Error::new(kind, format!("{title} does not build: {how}"))
        .with_source(format!("the last lines that matter are\n  {lines}")))
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
}
