//! Users and machines that cannot have what was asked for: no sub-ids, no `newuidmap`, no user
//! namespaces, no helper, no writable place. The message says what to do, and nothing is left.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use debmock::ErrorKind;
use debmock_tests::area::{Area, nothing_within};
use debmock_tests::machine::{self, Skip};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};
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
    let hide = "for p in /usr/bin /bin /usr/sbin /usr/local/bin; do\n\
                for n in newuidmap newgidmap; do\n\
                if [ -f $p/$n ]; then mount --bind /dev/null $p/$n; fi; done; done";
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
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let inner = rig.program(&["init"]);
    // a namespace in which no further one may be made stands for a kernel that forbids them; all
    // ids are mapped in it, and the second exec gives back the capabilities that the first lost
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let script = format!("read go && exec sh -ec '{forbid}' sh \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--mount", "sh", "-ec", &script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(rig.area.work()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let process = Path::new("/proc").join(child.id().to_string());
    nothing_within(Duration::from_secs(5), || {
        let entered = fs::read_link(process.join("ns/user")).is_ok_and(|its| its != own);
        if entered { Vec::new() } else { vec!["it is not in its namespace".into()] }
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(process.join(map), "0 0 4294967295\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let refused = Said { code: output.status.code(), text };
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
