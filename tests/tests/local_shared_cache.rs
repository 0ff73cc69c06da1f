//! Several state directories that share one cache, on the tiny distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use debmock_tests::deb::Deb;
use debmock_tests::machine;
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

/// What is told of buildroots.
fn told(rig: &Rig) -> Vec<PathBuf> {
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    let uses = zones.map(|zone| zone.path().join("locks/uses"));
    uses.flat_map(|uses| fs::read_dir(uses).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn a_buildroot_that_cannot_be_seen_keeps_its_layers_for_a_month() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let other = beside(&rig);
    let scrub = || said(rig.program(&["scrub", "layers"]));
    said(elsewhere(&rig, &other, &["init"])).assert_success();
    // As with a disk that is not mounted.
    let away = other.with_file_name("away");
    fs::rename(&other, &away).unwrap();
    scrub().assert_success();
    assert_eq!(rig.layers(), 1);
    let [one] = &told(&rig)[..] else { panic!("{:?}", told(&rig)) };
    let text = fs::read_to_string(one).unwrap();
    let (before, rest) = text.split_once("\"told\":").unwrap();
    let since: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let old = since.parse::<u64>().unwrap() - 31 * 86_400;
    fs::write(one, "{").unwrap();
    let damaged = scrub();
    assert!(
        damaged.code == Some(20) && damaged.text.contains("open that buildroot"),
        "{damaged:?}"
    );
    assert_eq!(rig.layers(), 1);
    fs::write(one, format!("{before}\"told\":{old}{}", &rest[since.len()..])).unwrap();
    scrub().assert_success();
    assert_eq!(rig.layers(), 0);
    fs::rename(&away, &other).unwrap();
    said(elsewhere(&rig, &other, &["scrub", "chroot"])).assert_success();
}

#[test]
fn another_directory_of_the_same_path_is_another_one() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let (shared, away) = (beside(&rig), beside(&rig).with_file_name("away"));
    // As in two containers, of which each has its own.
    said(elsewhere(&rig, &shared, &["init"])).assert_success();
    fs::rename(&shared, &away).unwrap();
    said(elsewhere(&rig, &shared, &["list"])).assert_success();
    said(elsewhere(&rig, &shared, &["scrub", "all"])).assert_success();
    assert_eq!(rig.layers(), 1);
    said(elsewhere(&rig, &shared, &["init"])).assert_success();
    assert_eq!(told(&rig).len(), 2);
    said(elsewhere(&rig, &shared, &["scrub", "chroot"])).assert_success();
    fs::remove_dir_all(&shared).unwrap();
    fs::rename(&away, &shared).unwrap();
    said(elsewhere(&rig, &shared, &["chroot", "--", "true"])).assert_success();
    said(elsewhere(&rig, &shared, &["scrub", "chroot"])).assert_success();
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
