//! The command line as a library: exit statuses and streams, without a sandbox.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use debmock::operation::CancelToken;
use debmock_cli::{Host, Streams};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Exit status, standard output, messages.
fn run(words: &[&str]) -> (u8, String, String) {
    let file = || tempfile::tempfile().unwrap();
    let streams = Streams { input: file(), output: file(), error: file() };
    let host = Host { streams, helper: None, cancel: CancelToken::new(), signals: None };
    let status = debmock_cli::run(words, &host);
    let text = |mut file: &File| {
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    };
    (status, text(&host.streams.output), text(&host.streams.error))
}

#[test]
fn help_and_version_are_data_and_succeed() {
    let (status, output, messages) = run(&["--version"]);
    assert_eq!((status, messages.as_str()), (0, ""));
    assert_eq!(output, format!("debmock {}\n", env!("CARGO_PKG_VERSION")));
    let (status, output, messages) = run(&["chroot", "--help"]);
    assert_eq!((status, messages.as_str()), (0, ""));
    assert!(output.contains("--enable-network"), "{output}");
}

#[test]
fn wrong_usage_is_status_5_and_a_message() {
    for words in [
        &["--bogus"][..],
        &[],
        &["nonsense"],
        &["scrub", "nothing"],
        &["chroot"],
        &["--init", "--clean"],
        &["-q", "-v", "list"],
        &["export", "file.zip"],
        &["copyin", "one"],
    ] {
        let (status, output, messages) = run(words);
        assert_eq!((status, output.as_str()), (5, ""), "{words:?}");
        assert!(!messages.is_empty(), "{words:?}");
    }
}

#[test]
fn a_uniqueext_that_names_nothing_is_wrong_usage() {
    for ext in ["", ".", "..", "-", "a/b", "../x", "a b"] {
        let ext = format!("--uniqueext={ext}");
        let (status, output, messages) = run(&["-r", "debian-bookworm", &ext, "clean"]);
        assert_eq!((status, output.as_str()), (5, ""), "{ext} {messages}");
        assert!(messages.contains("--uniqueext") && messages.contains("hint: "), "{messages}");
    }
}

#[test]
fn an_unknown_config_is_status_3_with_a_hint() {
    let (status, output, messages) = run(&["-r", "nosuch", "init"]);
    assert_eq!((status, output.as_str()), (3, ""));
    let lines: Vec<_> = messages.lines().collect();
    assert_eq!(lines[0], "error: no config is called \"nosuch\"");
    assert!(lines[1].starts_with("hint: "), "{messages}");
}

#[test]
fn chroot_keeps_125_for_failures_of_its_own() {
    let (status, ..) = run(&["-r", "nosuch", "chroot", "--", "true"]);
    assert_eq!(status, 125);
}

#[test]
fn mocks_spelling_reaches_the_same_command() {
    let (status, _, messages) = run(&["-r", "nosuch", "--init"]);
    assert_eq!(status, 3, "{messages}");
}

#[test]
fn config_show_gives_every_key_with_its_origin() {
    let (status, output, _) =
        run(&["-r", "debian-bookworm", "-o", "build.jobs=3", "config", "show"]);
    assert_eq!(status, 0);
    assert!(output.contains("build.jobs = 3  # option -o build.jobs\n"), "{output}");
    let (status, output, _) = run(&["-r", "debian-bookworm", "--json", "config", "show"]);
    assert_eq!(status, 0);
    let value: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(value["config"], "debian-bookworm");
}

#[test]
fn failures_with_json_are_json_too() {
    let (status, output, _) = run(&["--json", "-r", "nosuch", "init"]);
    let value: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(status, 3);
    assert_eq!(value["event"], "failed");
    assert_eq!(value["kind"], "config");
}

#[test]
fn output_that_cannot_be_written_is_status_1_and_a_message() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["chroot", "--help"],
        &["-r", "debian-bookworm", "config", "show"],
        &["-r", "debian-bookworm", "--json", "config", "show"],
    ] {
        let file = || tempfile::tempfile().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let streams = Streams { input: file(), output: full, error: file() };
        let host = Host { streams, helper: None, cancel: CancelToken::new(), signals: None };
        let status = debmock_cli::run(words, &host);
        let mut messages = String::new();
        let mut file = &host.streams.error;
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut messages).unwrap();
        assert_eq!(status, 1, "{words:?}");
        assert!(messages.contains("cannot write to standard output"), "{words:?} {messages}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let file = || tempfile::tempfile().unwrap();
    let streams = Streams::new(file().into(), writer.into(), file().into());
    let host = Host { streams, helper: None, cancel: CancelToken::new(), signals: None };
    assert_eq!(debmock_cli::run(["--help"], &host), 0);
    let mut messages = String::new();
    let mut file = &host.streams.error;
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut messages).unwrap();
    assert_eq!(messages, "");
}
