//! Several state directories that share one cache, on the tiny distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use debmock_tests::deb::Deb;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};

/// The program with another state directory.
fn elsewhere(rig: &Rig, state: &Path, arguments: &[&str]) -> Command {
    let mut command = rig.program(arguments);
    command.env("DEBMOCK_STATE_DIR", state);
    command
}

fn beside(rig: &Rig) -> PathBuf {
    rig.area.state().with_file_name("other-state")
}

#[test]
fn a_layer_stays_as_long_as_a_buildroot_of_any_state_directory_stands_on_it() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let other = beside(&rig);
    let scrub = || said(elsewhere(&rig, &other, &["scrub", "layers"])).assert_success();
    said(rig.program(&["init"])).assert_success();
    scrub();
    assert_eq!(rig.layers(), 1);
    let seen = || -> Said { said(rig.program(&["-q", "chroot", "--", "ls", "/usr/bin/dpkg"])) };
    seen().assert_success();
    said(rig.program(&["snapshot", "kept"])).assert_success();
    said(rig.program(&["clean"])).assert_success();
    scrub();
    assert_eq!(rig.layers(), 1, "a snapshot stands on it");
    said(rig.program(&["rollback", "kept"])).assert_success();
    seen().assert_success();
    said(rig.program(&["scrub", "chroot"])).assert_success();
    scrub();
    assert_eq!(rig.layers(), 0);
}

#[test]
fn a_buildroot_whose_state_directory_is_gone_keeps_no_layer() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let other = beside(&rig);
    said(elsewhere(&rig, &other, &["init"])).assert_success();
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(rig.layers(), 1);
    // As its owner would: the trees belong to sub-ids.
    said(elsewhere(&rig, &other, &["scrub", "chroot"])).assert_success();
    fs::rename(&other, other.with_file_name("moved-state")).unwrap();
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(rig.layers(), 0);
}

#[test]
fn the_same_layer_is_made_once_for_all_state_directories() {
    let slow = Deb::new("slow", "1", "all").script("postinst", "#!/bin/sh\nsleep 3\n").build();
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive()).deb(slow)));
    rig.set("[packages]\ninclude = [\"slow\"]\n");
    let folders = ["one", "two", "three"].map(|name| rig.area.state().with_file_name(name));
    let start = |state: &PathBuf| {
        let mut command = elsewhere(&rig, state, &["init"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let [first, others @ ..] = &folders;
    let mut all = vec![start(first)];
    while !is_making(&rig) && all[0].try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    all.extend(others.iter().map(start));
    let (mut made, mut waited) = (0, 0);
    for child in all {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        made += usize::from(text.contains("\nconfigure: done"));
        waited += usize::from(text.contains("waiting") && text.contains("process "));
    }
    assert_eq!((made, waited), (1, 2));
}

/// Whether somebody is making a layer.
fn is_making(rig: &Rig) -> bool {
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).into_iter().flatten().flatten();
    let mut layers = zones.flat_map(|zone| fs::read_dir(zone.path()).into_iter().flatten());
    layers.any(|layer| {
        layer.is_ok_and(|layer| layer.file_name().to_string_lossy().starts_with("making-"))
    })
}
