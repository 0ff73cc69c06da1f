//! Tests of what users see.

use super::*;
use debmock::event::{PackageAction, Unit};
use debmock::operation::{CancelToken, run};
use debmock::{Error, ErrorKind};
use std::io::{Read, Seek, SeekFrom};

/// What a screen of `style` shows of the events and the failure of `work`: standard output and
/// messages.
fn shown(
    style: Style,
    work: impl FnOnce(&debmock::operation::Scope) -> debmock::Result<()> + Send,
) -> (String, String) {
    let file = || tempfile::tempfile().unwrap();
    let streams = Streams { input: file(), output: file(), error: file() };
    let mut screen = Screen::new(&streams, style);
    let result = run(CancelToken::new(), |event| screen.event(event), work);
    if let Err(error) = result {
        screen.failure(&error, error.kind().exit_code());
    }
    let text = |mut file: File| {
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // Times differ from run to run.
        text.lines()
            .map(|line| line.split(" in ").next().unwrap_or(line).to_owned() + "\n")
            .collect()
    };
    (text(streams.output), text(streams.error))
}

fn work(scope: &debmock::operation::Scope) -> debmock::Result<()> {
    scope.stage("fetch", "2 packages", || {
        scope.emit(What::Progress {
            stage: "fetch".into(),
            done: 1,
            total: Some(2),
            unit: Unit::Packages,
        });
        scope.emit(What::Package {
            action: PackageAction::Fetched,
            name: "hello".into(),
            version: "2.10-3".into(),
            architecture: "amd64".into(),
        });
        Ok(())
    })?;
    scope.warn("the mirror is slow", Some("choose another".into()));
    scope.stage("build", "hello 2.10-3", || {
        scope.line(Log::Build, "cc -o hello");
        scope.line(Log::Build, "hello.c:1: \x1b]0;title\x07error");
        Err(Error::new(ErrorKind::Build, "dpkg-buildpackage ended with status 2")
            .with_hint("the build directory is still there: `debmock shell`")
            .context("cannot build hello 2.10-3"))
    })
}

#[test]
fn plain_lines_name_stages_and_the_end_of_the_log() {
    let (output, messages) = shown(Style::default(), work);
    assert_eq!(output, "");
    let messages: Vec<_> = messages.lines().collect();
    assert_eq!(
        messages,
        [
            "fetch: 2 packages",
            "fetch: done",
            "warning: the mirror is slow",
            "hint: choose another",
            "build: hello 2.10-3",
            "build: failed after 0 ms",
            "the last lines of the log:",
            "  | cc -o hello",
            "  | hello.c:1: ]0;titleerror",
            "stage that failed: build: hello 2.10-3",
            "error: cannot build hello 2.10-3",
            "  caused by: dpkg-buildpackage ended with status 2",
            "hint: the build directory is still there: `debmock shell`",
        ]
    );
}

#[test]
fn quiet_shows_the_failure_alone() {
    let (output, messages) = shown(Style { quiet: true, ..Style::default() }, work);
    assert_eq!(output, "");
    assert!(messages.lines().any(|line| line.starts_with("error: ")), "{messages}");
    assert!(!messages.contains("fetch") && !messages.contains("warning"), "{messages}");
}

#[test]
fn verbose_shows_packages_and_logs_once() {
    let (_, messages) = shown(Style { verbose: true, ..Style::default() }, work);
    assert!(messages.contains("fetched hello 2.10-3 amd64\n"), "{messages}");
    assert_eq!(messages.matches("cc -o hello").count(), 1, "{messages}");
}

#[test]
fn json_is_one_object_a_line_and_ends_with_the_failure() {
    let (output, messages) = shown(Style { json: true, ..Style::default() }, work);
    let values: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(values.iter().all(|value| value["schema"] == 1 && value["event"].is_string()));
    let last = values.last().unwrap();
    assert_eq!(last["event"], "failed");
    assert_eq!(last["kind"], "build");
    assert_eq!(last["stage"], "build");
    assert_eq!(last["exit_status"], 10);
    assert!(messages.starts_with("error: cannot build hello 2.10-3\n"), "{messages}");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let file = || tempfile::tempfile().unwrap();
    let output = File::from(std::os::fd::OwnedFd::from(writer));
    let streams = Streams { input: file(), output, error: file() };
    let mut screen = Screen::new(&streams, Style::default());
    screen.data("one");
    screen.data("two");
}

/// Text as a hostile package or archive would like to have it shown.
const EVIL: &str = "a\x1b]0;title\x07\u{9b}2J\r\u{202e}\x7fb";

#[test]
fn nothing_that_is_shown_commands_the_terminal() {
    let evil = |scope: &debmock::operation::Scope| {
        scope.stage(EVIL, EVIL, || {
            scope.warn(EVIL, Some(EVIL.into()));
            scope.line(Log::Root, EVIL);
            let [name, version, architecture] = [EVIL; 3].map(str::to_owned);
            let action = PackageAction::Removed;
            scope.emit(What::Package { action, name, version, architecture });
            scope.emit(What::Waiting { what: EVIL.into(), holder: EVIL.into() });
            scope.emit(What::LimitHit { limit: EVIL.into() });
            Err(Error::new(ErrorKind::Build, EVIL)
                .with_hint(format!("it said last:\n{EVIL}\nerror: not ours"))
                .context(EVIL))
        })
    };
    for style in [
        Style::default(),
        Style { verbose: true, ..Style::default() },
        Style { json: true, ..Style::default() },
        Style { quiet: true, ..Style::default() },
    ] {
        let (output, messages) = shown(style, evil);
        for text in [&output, &messages] {
            let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || turns_text(*c));
            assert_eq!(bad, None, "{style:?}: {text:?}");
        }
        // What was said stays readable, and does not pass for a message of its own.
        assert!(messages.contains("\n    a]0;title2Jb\n    error: not ours\n"), "{messages}");
        if style.json {
            let last: serde_json::Value =
                serde_json::from_str(output.lines().last().unwrap()).unwrap();
            assert_eq!(last["message"], EVIL);
        }
    }
}

#[test]
fn data_does_not_command_the_terminal() {
    let file = || tempfile::tempfile().unwrap();
    let streams = Streams { input: file(), output: file(), error: file() };
    let mut screen = Screen::new(&streams, Style::default());
    screen.data(&format!("name\t{EVIL}\nnext"));
    let mut output = streams.output;
    output.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "name\ta]0;title2Jb\nnext\n");
}
