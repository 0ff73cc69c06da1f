//! What becomes of a buildroot, for every isolation mode and user: who waits for whom, what is
//! restored, exported, copied and removed; and that the library leaves the process that uses it as
//! it was.

use debmock::buildroot::{Access, Buildroot, BuildrootOptions, Run, Stdio};
use debmock::config::{Loader, Places};
use debmock::operation::Scope;
use debmock_helper::protocol::Program;
use debmock_tests::area::leftovers_of_this_test;
use debmock_tests::drive::{self, Drive, everywhere};
use debmock_tests::machine;
use debmock_tests::or_skip;
use debmock_tests::user::User;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_second_process_waits_or_is_told_who_holds_the_buildroot() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let mut first = drive.start(&["session", "wait", "1500", "close"]);
    assert!(first.until("ok session"));
    let mut own = drive.command(&["run", "root", "echo other"]);
    own.env("DRIVE_EXT", "two");
    let tar = or_skip!(drive::root_tar());
    let mut import =
        drive.command(&["import", &tar.to_string_lossy(), "run", "root", "echo other"]);
    import.env("DRIVE_EXT", "two");
    let other = drive::start(import).finish().succeeded();
    assert_eq!(other.out(), "other");
    let said = drive.steps(&["clean", "run", "root", "echo mine"]).succeeded();
    let waiting = said.of("waiting");
    assert_eq!(waiting.len(), 1, "{:#?}", said.lines);
    assert!(waiting[0].contains(&format!("process {}", first.pid())), "{waiting:?}");
    assert!(waiting[0].contains("debmock-drive"), "{waiting:?}");
    assert_eq!(said.out(), "mine");
    first.finish().succeeded();
    drive.configure("lock_timeout = 0", "lock_timeout = 1");
    let mut first = drive.start(&["session", "hold"]);
    assert!(first.until("ok session"));
    let said = drive.steps(&["try:scrub", "try:clean"]).succeeded();
    let errors = said.of("error");
    assert_eq!(errors.len(), 2, "{:#?}", said.lines);
    for error in errors {
        assert!(error.contains("Locked") && error.contains(&first.pid().to_string()), "{error}");
        assert!(error.contains("--uniqueext"), "{error}");
    }
    first.kill();
    drive.steps(&["run", "root", "true"]).succeeded();
}

#[test]
fn clean_restores_and_export_gives_the_same_bytes() {
    for (name, drive) in or_skip!(everywhere()) {
        let work = drive.area().work();
        let file = |name: &str| work.join(name).to_string_lossy().into_owned();
        let (one, two, three) = (file("1.tar"), file("2.tar"), file("3.tar.zst"));
        drive.inside(
            "root",
            "rm -rf /usr/share; echo x > /etc/passwd.new; mkdir /new; rm /etc/hosts",
        );
        drive.steps(&["clean", "run", "root", "test -d /usr/share && test ! -e /new && test ! -e /etc/passwd.new && test -e /etc/hosts"]).succeeded();
        drive.inside("root", "mkdir -p /new/a && echo b > /new/a/b && ln /new/a/b /new/c && chown 1000:1000 /new/c && rm /etc/debian_version");
        drive
            .steps(&["export", &one, "run", "root", "true", "export", &two, "export", &three])
            .succeeded();
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "{name}: the bytes differ");
        // import what was exported, export again
        let four = file("4.tar");
        drive.steps(&["import", &one, "export", &four]).succeeded();
        assert!(
            fs::read(&one).unwrap() == fs::read(&four).unwrap(),
            "{name}: not the same after import"
        );
        assert_eq!(
            drive.inside(
                "1000",
                "cat /new/c; test -e /etc/debian_version || echo gone; stat -c %h:%u /new/a/b"
            ),
            "b\ngone\n2:1000"
        );
        drive.steps(&["import", &three, "run", "root", "cat /new/c", "export", &two]).succeeded();
        assert!(
            fs::read(&one).unwrap() == fs::read(&two).unwrap(),
            "{name}: not the same from zstd"
        );
    }
}

#[test]
fn files_go_in_and_come_out() {
    for (name, drive) in or_skip!(everywhere()) {
        let work = drive.area().work();
        fs::create_dir_all(work.join("in/deep")).unwrap();
        fs::write(work.join("in/deep/file"), "content").unwrap();
        std::os::unix::fs::symlink("deep/file", work.join("in/link")).unwrap();
        drive.area().user().own(&work.join("in"));
        let path = |name: &str| work.join(name).to_string_lossy().into_owned();
        let said = drive
            .steps(&[
                "copyin", &path("in"), "/var/tree", "copyin", &path("in/deep/file"), "/var/one",
                "run", "root", "cat /var/tree/link /var/one; stat -c %u:%g:%a /var/one /var/tree/deep/file; echo changed > /var/tree/deep/file",
                "copyout", "/var/tree", &path("out"), "copyout", "/var/one", &path("one"),
                "try:copyout", "/missing", &path("x"), "try:copyout", "/dev/null", &path("x"),
            ])
            .succeeded();
        assert_eq!(said.out(), "contentcontent0:0:644\n0:0:644", "{name}");
        assert_eq!(fs::read_to_string(work.join("out/deep/file")).unwrap(), "changed\n");
        assert_eq!(fs::read_to_string(work.join("one")).unwrap(), "content");
        let owner =
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(work.join("out/deep/file")).unwrap());
        assert_eq!(owner, drive.area().user().uid);
        assert_eq!(said.of("error").len(), 2, "{:#?}", said.lines);
    }
}

#[test]
fn scrub_removes_all_that_there_is_even_twice() {
    for (_, drive) in or_skip!(everywhere()) {
        let tar = or_skip!(drive::root_tar());
        let said = drive
            .steps(&[
                "run",
                "root",
                "mkdir -p /a/b/c; chmod 0 /a/b /a",
                "scrub",
                "scrub",
                "scrub-layers",
                "import",
                &tar.to_string_lossy(),
                "run",
                "root",
                "echo again",
            ])
            .succeeded();
        assert_eq!(said.out(), "again");
        for folder in ["debs/v1", "lists/v1"] {
            assert!(drive.area().cache().join(folder).is_dir(), "{folder} is held by helpers");
        }
    }
}

/// Descriptors, directory, mask, children and threads of this process.
fn own_state() -> (Vec<String>, std::path::PathBuf, u32, Vec<u32>, usize, String) {
    let mut descriptors: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some(format!("{} {}", entry.file_name().to_string_lossy(), target.display()))
        })
        .filter(|line| !line.contains("/proc/"))
        .collect();
    descriptors.sort();
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let signals: Vec<&str> = status
        .lines()
        .filter(|l| l.starts_with("Sig") || l.starts_with("Cap") || l.starts_with("Uid"))
        .collect();
    let directory = std::env::current_dir().unwrap();
    let signals = signals
        .join("\n")
        .replace("SigQ", "")
        .lines()
        .filter(|l| !l.starts_with(":"))
        .collect::<Vec<_>>()
        .join("\n");
    (descriptors, directory, mask.bits(), drive::descendants(std::process::id()), threads, signals)
}

#[test]
fn the_host_process_stays_as_it_was() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let text = fs::read_to_string(drive.area().path().join("tiny.toml")).unwrap();
    let options = || BuildrootOptions {
        helper: Some(Program { path: machine::helper(), arguments: Vec::new() }),
        places: Some(debmock::store::Places {
            cache: drive.area().cache(),
            state: drive.area().state(),
        }),
        ..BuildrootOptions::default()
    };
    let config =
        || Loader::at(Places::below(Path::new("/nonexistent"))).load_str("tiny", &text).unwrap();
    own_state();
    let before = own_state();
    let scope = Scope::quiet();
    for round in 0..3 {
        let root = Buildroot::new(config(), &options()).unwrap();
        let session = root.session(Access::default(), &scope).unwrap();
        // from several threads at once, in one session
        std::thread::scope(|threads| {
            for number in 0..8 {
                let (session, scope) = (&session, &scope);
                threads.spawn(move || {
                    let run = Run::new(["/bin/sh", "-c", &format!("echo {number}; exit {number}")]);
                    let (exit, output) = session.output(&run, 100, scope).unwrap();
                    assert_eq!(exit.status, Some(number));
                    assert_eq!(output, format!("{number}\n").as_bytes());
                });
            }
        });
        let again = root.session(Access::default(), &scope).unwrap();
        assert!(std::sync::Arc::ptr_eq(&session, &again), "sessions of one value are shared");
        assert_eq!(root.clean(&scope).unwrap_err().kind(), debmock::ErrorKind::Busy);
        let process =
            session.spawn(&Run::new(["/bin/sleep", "1000"]), Stdio::Terminal(24, 80)).unwrap();
        assert!(process.wait(Duration::ZERO).unwrap().is_none());
        drop(process);
        let missing = session.spawn(&Run::new(["/missing"]), Stdio::Terminal(24, 80));
        if let Ok(process) = missing {
            let error = process.wait(Duration::from_secs(10)).unwrap_err();
            assert_eq!(error.kind(), debmock::ErrorKind::Exec, "{round}");
        }
        drop((session, again, root));
    }
    assert_eq!(own_state(), before);
    assert!(leftovers_of_this_test().is_empty(), "{:?}", leftovers_of_this_test());
}
