//! A second debmock at work on the same buildroot, and damaged records of an earlier one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use debmock::ErrorKind;
use debmock_tests::machine;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};

/// A process that holds the buildroot until it is told to go.
struct Holder(Child);

impl Holder {
    fn of(rig: &Rig) -> Holder {
        let script = "echo ready; cat; echo gone > /var/tmp/gone";
        let mut command = rig.program(&["-q", "chroot", "--", "sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Holder(child)
    }

    fn release(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_second_debmock_on_the_same_buildroot_is_told_who_is_first() {
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    rig.set("lock_timeout = 1\n");
    let holder = Holder::of(&rig);
    let pid = format!("process {}", holder.0.id());
    let refused = said(rig.program(&["clean"]));
    refused.assert_refused(ErrorKind::Locked, &[&pid, "--uniqueext"]);
    // what it suggests works
    said(rig.program(&["--uniqueext", "mine", "init"])).assert_success();
    holder.release();
    let gone = said(rig.program(&["-q", "chroot", "--", "cat", "/var/tmp/gone"]));
    assert_eq!(gone.text.trim(), "gone");
    rig.assert_works();
}

#[test]
fn a_second_debmock_waits_by_default_and_then_works() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let holder = Holder::of(&rig);
    let pid = format!("process {}", holder.0.id());
    let mut second = rig.program(&["chroot", "--", "cat", "/var/tmp/gone"]);
    let mut second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // it says for whom it waits, and only then may the first one go
    let mut errors = BufReader::new(second.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(&pid) {
        assert!(errors.read_line(&mut text).unwrap() > 0, "it did not wait: {text}");
    }
    holder.release();
    let output = second.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "gone");
    rig.assert_nothing_lost();
}

#[test]
fn two_that_make_the_same_root_at_once_make_one_layer() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let start = |name: &str| {
        let mut command = rig.program(&["--uniqueext", name, "init"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = ["a", "b", "c"].iter().map(|name| start(name)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(rig.layers(), 1);
    rig.assert_nothing_lost();
}

#[test]
fn a_damaged_record_of_a_buildroot_is_named_and_clean_mends_it() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let zones = fs::read_dir(rig.area.state().join("roots/v1")).unwrap().flatten();
    let record = zones.map(|zone| zone.path().join("tiny/base.json")).find(|p| p.exists()).unwrap();
    for bad in [
        "",
        "{",
        "\0\0\0\0",
        "{\"layer\": 5}",
        "{\"layer\":\"../../x\",\"origin\":\"import\",\"storage\":\"overlay\"}",
    ] {
        fs::write(&record, bad).unwrap();
        let refused = said(rig.program(&["init"]));
        if refused.code != Some(0) {
            refused.assert_refused(ErrorKind::Buildroot, &["tiny", "debmock"]);
        }
        said(rig.program(&["scrub", "chroot"])).assert_success();
        rig.assert_works();
    }
}

#[test]
fn a_layer_that_is_gone_from_under_a_buildroot_is_named_and_clean_mends_it() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    for layer in zones.flat_map(|zone| fs::read_dir(zone.path()).unwrap().flatten()) {
        if layer.file_name().to_string_lossy().starts_with("base-") {
            fs::remove_dir_all(layer.path()).unwrap();
        }
    }
    let refused = said(rig.program(&["chroot", "--", "true"]));
    assert_eq!(refused.code, Some(125), "{}", refused.text);
    assert!(refused.text.contains("hint:"), "{}", refused.text);
    said(rig.program(&["clean"])).assert_success();
    rig.assert_works();
}
