//! Errors from what apt and dpkg print.

use crate::buildroot::{CROSSING, Exit};
use crate::error::{Error, ErrorKind};
use crate::state::LogFile;
use std::io;

/// Words of apt that mean that a demand cannot be met, whatever is tried.
const UNSATISFIABLE: &[&str] = &[
    "unmet dependencies",
    "Unable to locate package",
    "Couldn't find any package",
    "has no installation candidate",
    "was not found",
    "held broken packages",
    "Unable to satisfy",
    "is not available",
];

/// How complaints of apt about its command line begin.
const MISUSED: &[&str] =
    &["E: Invalid operation", "E: Command line option", "E: Option ", "E: Configuration item"];

/// Whether apt did not understand what it was asked.
fn is_misuse<'a>(mut lines: impl Iterator<Item = &'a str>) -> bool {
    lines.any(|line| MISUSED.iter().any(|words| line.starts_with(words)))
}

/// apt did not understand its command line.
fn misuse(doing: &str, lines: &[&str]) -> Error {
    Error::new(ErrorKind::Usage, doing)
        .with_source(text(lines))
        .with_hint("apt-get(8) describes what apt-get takes")
}

/// Lines that explain nothing.
const IDLE: &[&str] = &[
    "Reading package lists...",
    "Building dependency tree...",
    "Reading state information...",
    "Some packages could not be installed. This may mean that you have",
    "requested an impossible situation or if you are using the unstable",
    "distribution that some required packages have not yet been created",
    "or been moved out of Incoming.",
    "The following information may help to resolve the situation:",
    "Note, using file",
    "Solving dependencies...",
];

/// apt could not resolve; `doing` is the sentence that says what.
pub(super) fn of_resolving(doing: &str, output: &[String]) -> Error {
    let lines = explanation(output);
    if is_misuse(lines.iter().copied()) {
        return misuse(doing, &lines);
    }
    let unsatisfiable =
        lines.iter().any(|line| UNSATISFIABLE.iter().any(|words| line.contains(words)));
    let kind = if unsatisfiable { ErrorKind::Dependency } else { ErrorKind::Package };
    let error = Error::new(kind, doing).with_source(text(&lines));
    match kind {
        ErrorKind::Dependency => error.with_hint(
            "check the archives of the config, and run `debmock update` if the index files may be old",
        ),
        _ => error,
    }
}

/// The lines of apt's output that say why.
fn explanation(output: &[String]) -> Vec<&str> {
    let lines: Vec<&str> = output
        .iter()
        .map(String::as_str)
        .filter(|line| !line.trim().is_empty() && !line.starts_with('\''))
        .filter(|line| !IDLE.iter().any(|idle| line.starts_with(idle)))
        .collect();
    // What stands before is the list of what apt would have done.
    let start = lines
        .iter()
        .position(|line| line.ends_with("have unmet dependencies:") || line.starts_with("E: "));
    lines[start.unwrap_or(0)..].to_vec()
}

/// Lines of apt that an error repeats, and characters of each. Some packages depend on one of a
/// hundred others.
const LINES: usize = 20;
const LETTERS: usize = 240;

fn text(lines: &[&str]) -> String {
    let short = |line: &&str| match line.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => (*line).to_owned(),
    };
    match lines {
        [] => "apt-get failed without a word".to_owned(),
        [one] => short(&one.trim_start_matches("E: ")),
        many => {
            let mut shown: Vec<String> = many.iter().take(LINES).map(short).collect();
            if let Some(more) = many.len().checked_sub(LINES).filter(|more| *more > 0) {
                shown.push(format!("… and {more} lines more"));
            }
            format!("apt-get says\n  {}", shown.join("\n  "))
        }
    }
}

/// apt or dpkg failed while they changed the root.
pub(super) fn of_applying(doing: &str, log: &LogFile, exit: &Exit) -> Error {
    let lines = last_words(log);
    let misused: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| line.starts_with("E: ")).collect();
    // With this status apt ends when it has done nothing.
    if exit.status == Some(100) && is_misuse(misused.iter().copied()) {
        return misuse(&format!("`{doing}` fails"), &misused);
    }
    let how = match (exit.status, exit.signal) {
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        (status, _) => format!("failed with status {}", status.unwrap_or(-1)),
    };
    failed(format!("apt-get {how} ({doing})"), log)
}

/// dpkg or a script failed, which `what` says.
pub(super) fn of_configuring(doing: &str, log: &LogFile, what: &Error) -> Error {
    failed(format!("{what} ({doing})"), log)
}

/// The first complaint at the end of the log is the cause, what follows are its consequences.
fn last_words(log: &LogFile) -> Vec<String> {
    let mut tail = log.tail(60);
    let start = tail.iter().position(|line| {
        line.starts_with("dpkg: error") || line.starts_with("E: ") || line.contains("No space left")
    });
    let start = start.map_or(tail.len().saturating_sub(10), |start| start.saturating_sub(5));
    let mut lines = tail.split_off(start);
    lines.truncate(15);
    lines
}

fn failed(what: String, log: &LogFile) -> Error {
    let lines = last_words(log);
    let full = lines.iter().any(|line| line.contains("No space left on device"));
    let kind = if full { ErrorKind::NoSpace } else { ErrorKind::Package };
    let words = format!("its last words were\n  {}", lines.join("\n  "));
    let error = match lines.iter().any(|line| line.contains(CROSSING)) {
        true => {
            Error::new(kind, what).with_source(io::Error::new(io::ErrorKind::CrossesDevices, words))
        }
        false => Error::new(kind, what).with_source(words),
    };
    match (full, log.path()) {
        (true, _) => error.with_hint("free some space and run the command again"),
        (false, Some(path)) => error.with_hint(format!("the whole log is {}", path.display())),
        (false, None) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn apts_explanation_is_kept_and_its_small_talk_is_not() {
        let output = lines(
            "Reading package lists...\nBuilding dependency tree...\n\
             Some packages could not be installed. This may mean that you have\n\
             requested an impossible situation or if you are using the unstable\n\
             The following packages have unmet dependencies:\n x : Depends: y but it is not installable\n\
             E: Unable to correct problems, you have held broken packages.",
        );
        let error = of_resolving("cannot install x", &output);
        assert_eq!(error.kind(), ErrorKind::Dependency);
        assert_eq!(
            error.to_string(),
            "cannot install x: apt-get says\n  The following packages have unmet dependencies:\n   \
             x : Depends: y but it is not installable\n  \
             E: Unable to correct problems, you have held broken packages."
        );
    }

    #[test]
    fn what_apt_says_at_length_is_cut() {
        let long = format!("E: {}\n", "x | ".repeat(500)) + &"E: y\n".repeat(50);
        let error = of_resolving("cannot install x", &lines(&long)).to_string();
        assert!(error.contains("…\n  E: y") && error.ends_with("… and 31 lines more"), "{error}");
        assert!(error.len() < 1000, "{error}");
    }

    #[test]
    fn one_complaint_is_one_line() {
        let error = of_resolving("cannot install x", &lines("a\nE: Unable to locate package x"));
        assert_eq!(error.kind(), ErrorKind::Dependency);
        assert_eq!(error.to_string(), "cannot install x: Unable to locate package x");
        let error = of_resolving("x", &lines("E: Command line option --foo is not understood"));
        assert_eq!(error.kind(), ErrorKind::Usage);
        let error = of_resolving("x", &lines("E: Invalid operation frobnicate: it was not found"));
        assert_eq!(error.kind(), ErrorKind::Usage);
        let error = of_resolving("cannot install x", &lines("E: dpkg was interrupted"));
        assert_eq!(error.kind(), ErrorKind::Package);
    }
}
