//! Users and machines that cannot have what was asked for: no sub-ids, no `newuidmap`, no user
//! namespaces, no helper, no writable place. The message says what to do, and nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use debmock::ErrorKind;
use debmock_tests::area::Area;
use debmock_tests::machine::{self, Skip};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};
use debmock_tests::user::User;

/// A rig of that user; the archive can be read by everybody.
fn rig_of(user: User) -> Result<Rig, Skip> {
    let rig = Rig::of(Area::of(user), &tiny_archive()?);
    Ok(rig)
}

/// The same command after a shell command line, run by root in a mount namespace of its own.
fn after(setup: &str, inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec"]);
    command.arg(format!("{setup}\nexec \"$@\"")).arg("sh");
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap_or(Path::new("/"))).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_user_without_sub_ids_is_told_the_command() {
    let user = or_skip!(User::without_sub_ids());
    let rig = or_skip!(rig_of(user.clone()));
    let refused = said(rig.program(&["init"]));
    let range = format!("{} has no range of 65536 ids in /etc/subuid", user.name);
    refused.assert_refused(
        ErrorKind::Isolation,
        &[&range, "usermod --add-subuids", "--add-subgids", &user.name, "uidmap"],
    );
    rig.assert_nothing_lost();
    // the command that is shown is one that can be run: no range of anybody's is in it
    let hint = refused.text.split("--add-subuids ").nth(1).unwrap_or_default();
    let first: u64 = hint.split('-').next().unwrap_or_default().parse().unwrap_or(0);
    let taken = fs::read_to_string("/etc/subuid").unwrap_or_default();
    for line in taken.lines() {
        let fields: Vec<u64> = line.split(':').skip(1).filter_map(|f| f.parse().ok()).collect();
        assert!(first >= fields[0] + fields[1] || first + 65_536 <= fields[0], "{first}: {line}");
    }
}

#[test]
fn a_user_with_sub_ids_succeeds_from_a_home_of_mode_0700() {
    let rig = or_skip!(rig_of(or_skip!(User::with_sub_ids())));
    said(rig.program(&["init"])).assert_success();
    let out = said(rig.program(&["-q", "chroot", "--", "cat", "/var/lib/tiny/configured"]));
    assert_eq!(out.text.trim(), "configure");
    rig.assert_nothing_lost();
}

#[test]
fn a_machine_without_newuidmap_is_told_the_package() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig_of(or_skip!(User::with_sub_ids())));
    // hidden whatever PATH says: the places where it may be are covered
    let hide = "touch /run/debmock-test-empty 2>/dev/null || true\n\
                for p in /usr/bin /bin /usr/sbin /usr/local/bin; do for n in newuidmap newgidmap; do\n\
                if [ -e $p/$n ]; then mkdir -p /tmp/.empty-$$; mount --bind /dev/null $p/$n; fi\n\
                done; done; rmdir /tmp/.empty-$$";
    let refused = said(after(hide, &rig.program(&["init"])));
    refused.assert_refused(ErrorKind::Isolation, &["newuidmap", "package uidmap"]);
    rig.assert_nothing_lost();
    said(rig.program(&["init"])).assert_success();
}

#[test]
fn a_machine_whose_newuidmap_has_lost_its_rights_is_told_so() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig_of(or_skip!(User::with_sub_ids())));
    let plain = "cp /usr/bin/newuidmap /usr/bin/newgidmap \"$HOME\"/\n\
                 chmod 755 \"$HOME\"/newuidmap \"$HOME\"/newgidmap\n\
                 mount --bind \"$HOME\"/newuidmap /usr/bin/newuidmap\n\
                 mount --bind \"$HOME\"/newgidmap /usr/bin/newgidmap";
    let mut inner = rig.program(&["init"]);
    inner.env("HOME", rig.area.work());
    let refused = said(after(plain, &inner));
    refused
        .assert_refused(ErrorKind::Isolation, &["newuidmap", "setuid root", "--reinstall uidmap"]);
    rig.assert_nothing_lost();
    said(rig.program(&["init"])).assert_success();
}

#[test]
fn a_machine_without_user_namespaces_is_told_what_to_do() {
    or_skip!(machine::need_root());
    // a namespace in which no further one may be made stands for a kernel that forbids them
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces";
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let inner = rig.program(&["init"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-users=0,0,2000000000", "--map-groups=0,0,2000000000"]);
    command.args(["--setuid=0", "--setgid=0", "--mount", "sh", "-ec"]);
    command.arg(format!("{forbid}\nexec \"$@\"")).arg("sh");
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(rig.area.work()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let refused = said(command);
    refused.assert_refused(ErrorKind::Isolation, &["user namespace", "max_user_namespaces"]);
    rig.assert_nothing_lost();
    rig.assert_works();
}

#[test]
fn a_helper_that_is_missing_or_another_build_is_named() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let with_helper = |path: &Path| {
        let mut command = rig.program(&["init"]);
        command.env("DEBMOCK_HELPER", path);
        said(command)
    };
    let missing = rig.area.path().join("no-such-helper");
    let words = ["DEBMOCK_HELPER", "no-such-helper", "set it to the path"];
    with_helper(&missing).assert_refused(ErrorKind::Helper, &words);
    let other = rig.area.work().join("debmock-helper");
    for (text, words) in [
        ("#!/bin/sh\nexit 0\n", &["debmock-helper"][..]),
        ("#!/bin/sh\nhead -c 100000 /dev/zero >&0\n", &["debmock-helper"]),
        ("not a program at all", &["debmock-helper"]),
    ] {
        fs::write(&other, text).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
        with_helper(&other).assert_refused(ErrorKind::Helper, words);
        rig.assert_nothing_lost();
    }
    rig.assert_works();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    or_skip!(machine::need_root());
    let user = or_skip!(User::with_sub_ids());
    let rig = or_skip!(rig_of(user));
    let locked = rig.area.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let file = rig.area.path().join("file");
    fs::write(&file, "").unwrap();
    for (place, why) in
        [(locked.join("x"), "Permission denied"), (file.join("x"), "Not a directory")]
    {
        for variable in ["DEBMOCK_CACHE_DIR", "DEBMOCK_STATE_DIR"] {
            let mut command = rig.program(&["init"]);
            command.env(variable, &place);
            let refused = said(command);
            let text = place.display().to_string();
            refused.assert_refused(ErrorKind::Io, &[&text, why, variable]);
            rig.assert_nothing_lost();
        }
    }
    let mut command = rig.program(&["init"]);
    command.env("DEBMOCK_CACHE_DIR", "relative");
    said(command).assert_refused(ErrorKind::Config, &["DEBMOCK_CACHE_DIR", "relative"]);
    said(rig.program(&["init"])).assert_success();
}
