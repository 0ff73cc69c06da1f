//! Rollbacks that were killed, and machines that went down, on the tiny distribution.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use debmock::ErrorKind;
use debmock_tests::machine;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};

/// The directory of the only buildroot.
fn home(rig: &Rig) -> PathBuf {
    let zone = fs::read_dir(rig.area.state().join("roots/v1")).unwrap().flatten().next();
    zone.unwrap().path().join("tiny")
}

fn inside(rig: &Rig, script: &str) -> String {
    let said = said(rig.program(&["-q", "chroot", "--", "sh", "-c", script]));
    said.assert_success();
    said.text
}

fn succeeds(rig: &Rig, arguments: &[&str]) {
    said(rig.program(arguments)).assert_success();
}

/// As if it had been killed after it had said what it was about to do.
#[test]
fn a_rollback_that_was_begun_is_brought_to_its_end() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let begin = |base: &[u8]| {
        let next = home(&rig).join("base.next");
        fs::write(&next, base).unwrap();
        let owner = fs::metadata(home(&rig).join("base.json")).unwrap();
        chown(&next, Some(owner.uid()), Some(owner.gid())).unwrap();
    };
    inside(&rig, "echo first > /srv/file");
    succeeds(&rig, &["snapshot", "first"]);
    let base = fs::read(home(&rig).join("base.json")).unwrap();
    inside(&rig, "echo second > /srv/file");
    succeeds(&rig, &["snapshot", "second"]);
    for arguments in [&["-q", "chroot", "--", "cat", "/srv/file"][..], &["snapshot", "third"]] {
        inside(&rig, "echo lost > /srv/file");
        begin(&base);
        succeeds(&rig, arguments);
        assert_eq!(inside(&rig, "cat /srv/file"), "first\n");
        assert!(!home(&rig).join("base.next").exists());
    }
    // What is asked for later counts more than what was begun.
    begin(&base);
    succeeds(&rig, &["rollback", "second"]);
    assert_eq!(inside(&rig, "cat /srv/file"), "second\n");
    begin(&base);
    succeeds(&rig, &["clean"]);
    assert_eq!(inside(&rig, "ls /srv"), "");
    rig.assert_nothing_lost();
}

/// Makes every mark of this boot one of another.
fn go_down(folder: &Path, boot: &str) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir()
            && !["upper", "root", "work"].iter().any(|one| name == *one)
        {
            go_down(&path, boot);
        } else if name == "boot" || name == "list.json" {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace(boot, "00000000-0000-0000-0000-000000000000")).unwrap();
        }
    }
}

#[test]
fn a_snapshot_that_never_reached_the_disk_is_doubtful_whatever_happened_to_the_root_since() {
    or_skip!(machine::need_root());
    for after in [&["rollback", "lost"][..], &["clean"]] {
        let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
        inside(&rig, "echo mine > /srv/file");
        succeeds(&rig, &["snapshot", "lost"]);
        let boot = fs::read_to_string(home(&rig).join("boot")).unwrap();
        succeeds(&rig, after);
        go_down(&home(&rig), &boot);
        said(rig.program(&["rollback", "lost"]))
            .assert_refused(ErrorKind::Buildroot, &["lost", "went down", "remove-snapshot"]);
        succeeds(&rig, &["clean"]);
        said(rig.program(&["rollback", "lost"]))
            .assert_refused(ErrorKind::Buildroot, &["lost", "went down", "remove-snapshot"]);
        succeeds(&rig, &["remove-snapshot", "lost"]);
        rig.assert_works();
    }
}

#[test]
fn a_snapshot_whose_layer_is_gone_costs_no_changes() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    succeeds(&rig, &["init"]);
    succeeds(&rig, &["snapshot", "lost"]);
    inside(&rig, "echo mine > /srv/file");
    let list = home(&rig).join("snapshots/list.json");
    let text = fs::read_to_string(&list).unwrap();
    let layer = text.split('"').find(|word| word.starts_with("base-")).unwrap().to_owned();
    fs::write(&list, text.replace(&layer, "base-00000000000000000000000000000000")).unwrap();
    said(rig.program(&["rollback", "lost"]))
        .assert_refused(ErrorKind::Buildroot, &["gone from the store", "remove-snapshot lost"]);
    assert_eq!(inside(&rig, "cat /srv/file"), "mine\n");
    succeeds(&rig, &["remove-snapshot", "lost"]);
    rig.assert_nothing_lost();
}
