//! Files in and out of a root that are no ordinary ones: sparse, endless, closed, nested too deep;
//! and callers with an odd umask or a full output.

use debmock::ErrorKind;
use debmock::buildroot::Access;
use debmock::operation::{CancelToken, watch};
use debmock_tests::drive::{self, Drive};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, tiny_archive};
use debmock_tests::user::User;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

/// A file of that many bytes, all but the last of which are a hole.
fn sparse(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"e", size - 1).unwrap();
}

fn bytes_on_disk(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn hidden(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".debmock")).collect()
}

#[test]
fn sparse_files_stay_sparse_in_and_out() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let work = drive.area().work();
    let folder = work.join("folder");
    fs::create_dir(&folder).unwrap();
    sparse(&work.join("file"), 1 << 40);
    sparse(&folder.join("file"), 300 << 20);
    let at = |name: &str| work.join(name).display().to_string();
    drive
        .steps(&[
            "copyin",
            &at("file"),
            "/var/file",
            "copyin",
            &at("folder"),
            "/var/folder",
            "copyout",
            "/var/file",
            &at("file.out"),
            "copyout",
            "/var/folder",
            &at("folder.out"),
        ])
        .succeeded();
    for (name, size) in [("file.out", 1 << 40), ("folder.out/file", 300 << 20)] {
        let path = work.join(name);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        assert!(bytes_on_disk(&path) < 1 << 20, "{name}: {}", bytes_on_disk(&path));
        let mut last = [0];
        File::open(&path).unwrap().read_exact_at(&mut last, size - 1).unwrap();
        assert_eq!(&last, b"e");
    }
    let zones = fs::read_dir(drive.area().state().join("roots/v1")).unwrap().flatten();
    let uppers = zones.map(|zone| zone.path().join("tiny/upper/var"));
    for upper in uppers {
        for name in ["file", "folder/file"] {
            assert!(bytes_on_disk(&upper.join(name)) < 1 << 20, "{name}");
        }
    }
}

#[test]
fn an_umask_that_closes_everything_and_closed_directories_hinder_no_copy() {
    for user in [User::with_sub_ids(), Ok(User::current())] {
        let drive = or_skip!(Drive::new(or_skip!(user), "userns"));
        or_skip!(drive.import());
        drive.inside(
            "root",
            "mkdir -p /var/tree/closed/in /var/tree/read; echo x > /var/tree/read/file; \
             echo y > /var/tree/closed/in/file; chmod 0 /var/tree/closed; \
             chmod 555 /var/tree/read /var/tree",
        );
        let out = drive.area().work().join("out");
        let steps = drive.command(&["copyout", "/var/tree", &out.display().to_string()]);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0777; exec \"$@\"", "sh"]);
        command.arg(steps.get_program()).args(steps.get_args()).env_clear();
        for (name, value) in steps.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        drive::start(command).finish().succeeded();
        let mode = |path: &str| fs::metadata(out.join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode(""), mode("read"), mode("closed")), (0o555, 0o555, 0));
        assert_eq!(hidden(&drive.area().work()), Vec::<String>::new());
        // whoever clears up after the test may be somebody to whom modes apply
        let open = ["-R", "u+rwX"];
        assert!(Command::new("chmod").args(open).arg(&out).status().unwrap().success());
        assert_eq!(fs::read_to_string(out.join("closed/in/file")).unwrap(), "y\n");
    }
}

#[test]
fn a_tree_that_is_nested_too_deep_is_refused_in_a_short_sentence() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    drive.inside(
        "root",
        "mkdir /var/deep; cd /var/deep; i=0; \
         while [ $i -lt 600 ]; do mkdir d && cd d || exit; i=$((i+1)); done",
    );
    let work = drive.area().work();
    let (out, tar) = (work.join("out"), work.join("out.tar"));
    let said = drive
        .steps(&[
            "try:copyout",
            "/var/deep",
            &out.display().to_string(),
            "try:export",
            &tar.display().to_string(),
        ])
        .succeeded();
    let errors = said.of("error");
    assert_eq!(errors.len(), 2, "{:#?}", said.lines);
    for error in errors {
        assert!(error.contains("nested deeper than 512 levels"), "{error}");
        assert!(error.len() < 600, "{error}");
    }
    assert!(!out.exists() && !tar.exists());
    assert_eq!(hidden(&work), Vec::<String>::new());
}

#[test]
fn an_archive_that_is_no_file_is_refused_at_once() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let pipe = drive.area().work().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for archive in [Path::new("/dev/zero"), &pipe] {
        let said = drive.steps(&["try:import", &archive.display().to_string()]).succeeded();
        let error = said.of("error").join("");
        assert!(error.contains("Usage") && error.contains("regular file"), "{error}");
    }
    assert_eq!(drive.inside("root", "echo alive"), "alive");
}

#[test]
fn a_copy_of_a_tree_without_end_can_be_cancelled() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.init().result.unwrap();
    let folder = rig.area.work().join("folder");
    fs::create_dir(&folder).unwrap();
    sparse(&folder.join("file"), 200 << 30);
    let root = rig.buildroot().unwrap();
    let cancel = CancelToken::new();
    let session =
        watch(cancel.child(), |_| {}, |scope| root.session(Access::default(), scope)).unwrap();
    let error = watch(
        cancel.clone(),
        |event| {
            // it works, and tells nothing for a while
            if event.is_none() {
                cancel.cancel();
            }
        },
        |scope| session.copy_in(&folder, "/var/folder", scope),
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    session.write_text("/var/alive", b"x", 0o644).unwrap();
    drop((session, root));
    rig.assert_nothing_lost();
}

#[test]
fn a_full_output_is_not_taken_for_a_full_store() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.init().result.unwrap();
    let mut command = rig.program(&["chroot", "--", "echo", "x"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(!text.contains("scrub") && !text.contains("hint:"), "{text}");
}
