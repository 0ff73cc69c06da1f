//! What overlays cannot do: a directory that comes from a layer cannot be renamed.

use std::fs;

use debmock_tests::archive::ArchiveBuilder;
use debmock_tests::deb::{BuiltDeb, Deb};
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::Skip;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};

/// A package with a directory.
fn with_directory() -> BuiltDeb {
    let deb = Deb::new("turn", "1", "all").file("/usr/share/turn/place/inner", 0o644, "inner");
    deb.file("/usr/share/turn/other", 0o640, "other").build()
}

/// The same package with a file in its place: dpkg renames the directory to make room.
fn with_file() -> BuiltDeb {
    let deb = Deb::new("turn", "2", "all").file("/usr/share/turn/place", 0o644, "a file\n");
    deb.file("/usr/share/turn/other", 0o640, "other").build()
}

/// One who needs the file.
fn archive() -> Result<ArchiveBuilder, Skip> {
    let source =
        Source::new("needs", "1-1", Format::Quilt).field("Build-Depends", "turn (>= 2)").build();
    let fakeroot = Deb::new("fakeroot", "1", "all").build();
    Ok(tiny_archive()?.deb(fakeroot).source(source))
}

fn inside(rig: &Rig, script: &str) -> String {
    let said = said(rig.program(&["-q", "chroot", "--", "sh", "-c", script]));
    said.assert_success();
    said.text
}

fn assert_copied(said: &Said, times: usize) {
    said.assert_success();
    let copies = said.text.matches("a copy of the whole root").count();
    assert_eq!(copies, times, "{}", said.text);
}

#[test]
fn packages_that_overlays_cannot_hold_are_installed_in_a_copy_of_the_root() {
    let builder = or_skip!(archive());
    let mut rig = or_skip!(Rig::new(&builder.clone().deb(with_directory())));
    let program = |rig: &Rig, arguments: &[&str]| said(rig.program(arguments));
    program(&rig, &["install", "turn"]).assert_success();
    inside(&rig, "mkdir /srv/mine; echo kept > /srv/mine/file; ln /srv/mine/file /srv/mine/again");
    program(&rig, &["snapshot", "before"]).assert_success();
    inside(&rig, "rm -r /opt; rm /etc/debian_version; echo own > /etc/own; chmod 700 /srv");
    let list = "cd /; ls -lnAR --time-style=+%s bin boot etc opt srv usr/bin usr/share/turn 2>&1; \
                cat etc/hosts";
    let before = inside(&rig, list);
    rig.mend(&builder.deb(with_file()));
    let update = program(&rig, &["update"]);
    assert_copied(&update, 1);
    assert_eq!(inside(&rig, "cat /usr/share/turn/place; dpkg --audit"), "a file\n");
    // All the rest is what it was.
    let rest = |text: &str| {
        let lines = text.split("usr/share/turn").next().unwrap_or_default().lines();
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rest(&inside(&rig, list)), rest(&before));
    assert_eq!(inside(&rig, "stat -c %h /srv/mine/again; test -e /usr/sbin/policy-rc.d"), "2\n");
    program(&rig, &["rollback", "before"]).assert_success();
    assert_eq!(inside(&rig, "cat /usr/share/turn/place/inner; ls /srv"), "innermine\n");
    program(&rig, &["clean"]).assert_success();
    rig.assert_nothing_lost();
}

#[test]
fn a_layer_of_packages_that_overlays_cannot_hold_has_a_copy_of_the_root() {
    let builder = or_skip!(archive());
    let mut rig = or_skip!(Rig::new(&builder.clone().deb(with_directory())));
    rig.set("[packages]\ninclude = [\"turn\"]\n");
    said(rig.program(&["export", "base.tar"])).assert_success();
    // What is imported stays when the archive changes.
    said(rig.program(&["import", "base.tar"])).assert_success();
    rig.mend(&builder.deb(with_file()));
    let refresh = ["-o", "refresh=\"always\"", "installdeps", "needs"];
    assert_copied(&said(rig.program(&refresh)), 1);
    let look = "cat /usr/share/turn/place; dpkg --audit; grep -c debmock /etc/hosts; \
                test -e /usr/sbin/policy-rc.d && echo policy";
    let seen = inside(&rig, look);
    assert!(seen.starts_with("a file\n") && seen.ends_with("policy\n"), "{seen}");
    said(rig.program(&["export", "made.tar"])).assert_success();
    // The next root takes the layer.
    said(rig.program(&["clean"])).assert_success();
    assert_copied(&said(rig.program(&["installdeps", "needs"])), 0);
    assert_eq!(inside(&rig, look), seen);
    said(rig.program(&["export", "again.tar"])).assert_success();
    let read = |name: &str| fs::read(rig.area.work().join(name)).unwrap();
    assert!(read("made.tar") == read("again.tar"), "two exports of the same layer differ");
    rig.assert_nothing_lost();
}

#[test]
fn a_base_whose_scripts_overlays_cannot_hold_is_one_tree() {
    // Stands for a program that knows rename(2) only.
    let script = "#!/bin/sh\n\
                  [ \"$(stat -f -c %T /opt)\" != overlayfs ] && exit\n\
                  echo 'rename: Invalid cross-device link' >&2\n\
                  exit 1\n";
    let deb = Deb::new("moves", "1", "all").script("postinst", script).build();
    let builder = or_skip!(archive()).deb(deb);
    let mut rig = or_skip!(Rig::new(&builder));
    rig.set("[packages]\ninclude = [\"moves\"]\n");
    assert_copied(&said(rig.program(&["init"])), 1);
    assert_eq!(inside(&rig, "dpkg-query -W -f '${Status}' moves"), "install ok installed");
    rig.assert_nothing_lost();
}
