//! A hostile build tries to leave: from root inside and from the build user, in both modes.

use debmock_tests::drive::{self, Drive, Said};
use debmock_tests::machine;
use debmock_tests::or_skip;
use debmock_tests::user::User;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What the host has and a sandbox must not find.
struct Bait {
    child: Child,
    port: String,
    key: String,
}

impl Bait {
    fn new(probe: &Path) -> Bait {
        let key = format!("debmock-secret-{}", std::process::id());
        let mut child = Command::new(probe)
            .args(["host", &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Bait { child, port, key }
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn tries(user: User, mode: &str) {
    let drive = or_skip!(Drive::new(user, mode));
    let probe = or_skip!(drive::probe(drive.area(), "escape"));
    or_skip!(drive.import());
    let bait = Bait::new(&probe);
    let secret = drive.area().path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o666)).unwrap();
    let disk = fs::metadata("/").unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(disk), nix::sys::stat::minor(disk));
    let script = format!(
        "escape try {} {} {} {major} {minor} {mode}",
        secret.display(),
        bait.port,
        bait.key
    );
    for who in ["root", "1000"] {
        let said = drive
            .steps(&[
                "copyin",
                &probe.to_string_lossy(),
                "/usr/bin/escape",
                "run",
                who,
                &script,
                // and the session is none the worse for it
                "run",
                "root",
                "echo still here; echo x > /dev/null",
            ])
            .succeeded();
        let escaped: Vec<_> = said.lines.iter().filter(|l| l.contains("ESCAPED")).collect();
        assert!(escaped.is_empty(), "{mode}, {who}:\n{escaped:#?}");
        assert_eq!(said.of("exit"), ["0", "0"], "{who}: {:#?}", said.lines);
        let held = said.of("out").iter().filter(|line| line.starts_with("held ")).count();
        let least = if mode == "simple" { 100 } else { 250 };
        assert!(held > least, "only {held} tries by {who}:\n{}", said.lines.join("\n"));
        assert!(said.out().contains("still here"));
        assert!(
            said.out().contains("held reboot") && said.out().contains("held sockets of family 40")
        );
    }
    drive.area().assert_nothing_left();
}

#[test]
fn nothing_leaves_a_user_namespace_of_root() {
    or_skip!(machine::need_root());
    tries(User::current(), "userns");
}

#[test]
fn nothing_leaves_real_root() {
    or_skip!(machine::need_root());
    tries(User::current(), "simple");
}

#[test]
fn nothing_leaves_a_user_namespace_of_a_user() {
    tries(or_skip!(User::with_sub_ids()), "userns");
}

/// Who replaces the place of a mount by a link finds that only the mount itself is taken away.
#[test]
fn a_planted_link_does_not_unmount_what_protects() {
    or_skip!(machine::need_root());
    for mode in ["simple", "userns"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        or_skip!(drive.import());
        let count =
            "grep -c ' /proc' /proc/self/mountinfo; grep -c /var/x/deep /proc/self/mountinfo; true";
        let said = drive
            .steps(&[
                "run",
                "root",
                count,
                "attached",
                "/var/x/deep",
                "root",
                "mv /var/x /var/y && mkdir /var/x && ln -s /proc/sys /var/x/deep",
                "run",
                "root",
                count,
                "attached",
                "/var/z",
                "root",
                "grep -c /var/z /proc/self/mountinfo; ls -d /var/z; echo x > /var/z/file; true",
            ])
            .succeeded();
        let out = said.of("out");
        assert_eq!(out[0], out[2], "masks are gone: {:?}", said.lines);
        assert_eq!(&out[1..2], &out[3..4], "{:?}", said.lines);
        assert!(said.out().contains("Read-only file system"), "{:?}", said.lines);
    }
}

/// A terminal of the host's, as a shell has it: its own session, with a sandbox's command on it.
#[test]
fn nothing_is_typed_into_the_hosts_terminal() {
    or_skip!(machine::need_root());
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        let probe = or_skip!(drive::probe(drive.area(), "escape"));
        or_skip!(drive.import());
        let probe = probe.to_string_lossy().into_owned();
        drive.steps(&["copyin", &probe, "/usr/bin/escape"]).succeeded();
        for who in ["root", "1000"] {
            let pty = nix::pty::openpty(None, None).unwrap();
            let steps = drive.command(&["plain", who, "test -t 0 && escape terminal"]);
            // setsid --ctty makes the terminal the controlling one of the driver
            let mut command = Command::new("setsid");
            command.args(["--ctty", "--wait"]).arg(steps.get_program()).args(steps.get_args());
            command.env_clear();
            for (name, value) in steps.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            let slave = |fd: &OwnedFd| Stdio::from(fd.as_fd().try_clone_to_owned().unwrap());
            command.stdin(slave(&pty.slave)).stderr(slave(&pty.slave)).stdout(Stdio::piped());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}");
            assert!(said.contains("held terminal injection"), "{mode} {who}:\n{said}");
            assert!(!said.contains("ESCAPED"), "{mode} {who}:\n{said}");
            // nothing waits to be read as if it had been typed
            drop(command);
            let mut flags =
                [nix::poll::PollFd::new(pty.slave.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut flags, 100u16).unwrap(), 0);
        }
    }
}

fn planted() -> Option<(Drive, std::path::PathBuf)> {
    let drive = match Drive::new(User::current(), "userns") {
        Ok(drive) => drive,
        Err(why) => {
            machine::report_skip(&machine::test_name(), &why);
            return None;
        }
    };
    if let Err(why) = drive.import() {
        machine::report_skip(&machine::test_name(), &why);
        return None;
    }
    // world-readable and world-writable: only the sandbox stands between
    let secret = drive.area().path().join("outside");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "untouched").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(secret.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    Some((drive, secret))
}

fn failures(said: &Said) -> usize {
    said.of("error").len()
}

#[test]
fn planted_links_lead_nowhere_when_files_are_read_and_copied_out() {
    let Some((drive, outside)) = planted() else { return };
    let plant = format!(
        "cd /var; ln -s {0} dir; ln -s {0}/file file; ln -s ../../../../../../{0}/file up; \
         ln -s /proc/1/root/{0}/file magic; ln -s /proc/self/fd/0 fd; mkdir real; \
         ln -s {0} real/dir; ln -s {0}/file real/file; echo ok > real/ok",
        outside.display()
    );
    drive.inside("root", &plant);
    let work = drive.area().work();
    let mut steps = Vec::new();
    let out = work.join("out").to_string_lossy().into_owned();
    for path in
        ["/var/file", "/var/up", "/var/magic", "/var/fd", "/var/dir/file", "/var/real/dir/file"]
    {
        steps.extend(["try:read", path, "try:copyout", path, &out]);
    }
    steps.extend(["try:list", "/var/dir", "try:copyout", "/var/dir", &out]);
    let tree = work.join("tree").to_string_lossy().into_owned();
    steps.extend(["copyout", "/var/real", &tree]);
    let said = drive.steps(&steps).succeeded();
    assert_eq!(failures(&said), 14, "{:#?}", said.lines);
    assert!(!said.out().contains("untouched"));
    assert!(!work.join("out").exists());
    // links come out as links, nothing is followed
    assert_eq!(fs::read_to_string(work.join("tree/ok")).unwrap(), "ok\n");
    assert!(fs::symlink_metadata(work.join("tree/dir")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(work.join("tree/file")).unwrap().is_symlink());
}

/// A link that is named itself stands for what it leads to, as if the root were `/`: the host's
/// file of that name is never meant.
#[test]
fn a_link_that_is_copied_out_leads_on_inside_the_root_only() {
    let Some((drive, outside)) = planted() else { return };
    let outside = outside.display().to_string();
    drive.inside(
        "root",
        &format!(
            "mkdir -p /var/tree {outside}; echo inside > {outside}/file; echo passwd > /etc/here; \
             ln -s ../../../../../etc/here /var/up; ln -s {outside}/file /var/file; \
             ln -s /var/file /var/chain; ln -s {outside}/file /var/tree/link; ln -s tree /var/dir; \
             ln -s loop /var/loop; mkfifo /var/pipe; ln -s pipe /var/topipe"
        ),
    );
    let work = drive.area().work();
    let at = |name: &str| work.join(name).to_string_lossy().into_owned();
    let said = drive
        .steps(&[
            "copyout",
            "/var/up",
            &at("up"),
            "copyout",
            "/var/chain",
            &at("chain"),
            "copyout",
            "/var/dir",
            &at("dir"),
            "try:copyout",
            "/var/loop",
            &at("loop"),
            "try:copyout",
            "/var/topipe",
            &at("topipe"),
        ])
        .succeeded();
    assert_eq!(failures(&said), 2, "{:#?}", said.lines);
    assert_eq!(fs::read_to_string(work.join("up")).unwrap(), "passwd\n");
    assert_eq!(fs::read_to_string(work.join("chain")).unwrap(), "inside\n");
    assert!(fs::symlink_metadata(work.join("chain")).unwrap().is_file());
    assert!(fs::symlink_metadata(work.join("dir")).unwrap().is_dir());
    assert!(fs::symlink_metadata(work.join("dir/link")).unwrap().is_symlink());
    let hidden = fs::read_dir(&work).unwrap().flatten();
    assert!(!hidden.into_iter().any(|e| e.file_name().to_string_lossy().starts_with(".debmock")));
}

#[test]
fn planted_links_lead_nowhere_when_files_are_written_and_removed() {
    let Some((drive, outside)) = planted() else { return };
    drive
        .inside("root", &format!("cd /var; ln -s {0} dir; ln -s {0}/file file", outside.display()));
    let source = drive.area().work().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "changed").unwrap();
    let source = source.to_string_lossy().into_owned();
    let file = format!("{source}/file");
    let said = drive
        .steps(&[
            "try:write",
            "/var/file",
            "changed",
            "try:write",
            "/var/dir/file",
            "changed",
            "try:write",
            "/var/dir/new",
            "new",
            "try:makedir",
            "/var/dir/sub",
            "try:remove",
            "/var/dir/file",
            "try:copyin",
            &file,
            "/var/dir/file",
            "try:copyin",
            &source,
            "/var/dir",
            "try:remove",
            "/var/dir",
        ])
        .succeeded();
    assert!(said.lines.iter().any(|l| l == "ok end"));
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something appeared outside");
}

/// The host's own destination may hold a link that an earlier copy brought out.
#[test]
fn a_copy_that_comes_out_does_not_follow_a_link_on_the_host() {
    let Some((drive, outside)) = planted() else { return };
    drive.inside("root", "echo evil > /var/file; mkdir /var/tree; echo evil > /var/tree/file");
    let work = drive.area().work();
    symlink(outside.join("file"), work.join("file")).unwrap();
    symlink(outside.join("missing"), work.join("tree")).unwrap();
    let (file, tree) = (work.join("file"), work.join("tree"));
    let said = drive
        .steps(&[
            "copyout",
            "/var/file",
            &file.to_string_lossy(),
            "try:copyout",
            "/var/tree",
            &tree.to_string_lossy(),
            "copyout",
            "/var/tree",
            &work.join("other").to_string_lossy(),
        ])
        .succeeded();
    // The file takes the place of the link; a directory takes nobody's place.
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), "evil\n");
    let errors = said.of("error");
    assert!(errors.len() == 1 && errors[0].contains("Usage"), "{:#?}", said.lines);
    assert_eq!(fs::read_link(&tree).unwrap(), outside.join("missing"));
    assert_eq!(fs::read_to_string(work.join("other/file")).unwrap(), "evil\n");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something appeared outside");
}

#[test]
fn set_id_bits_and_device_nodes_stay_inside() {
    or_skip!(machine::need_root());
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        or_skip!(drive.import());
        let work = drive.area().work();
        let probe = or_skip!(drive::probe(drive.area(), "node"));
        let said = drive
            .steps(&["copyin", &probe.to_string_lossy(), "/usr/bin/node", "run", "root", SETUID])
            .succeeded();
        assert_eq!(said.of("exit"), ["0"], "{mode}: {:#?}", said.lines);
        // A user namespace cannot make nodes: one is put there by the host.
        let roots = drive.area().state().join("roots/v1");
        let mut uppers = fs::read_dir(roots).unwrap().flatten().flat_map(|zone| {
            let roots = fs::read_dir(zone.path()).unwrap().flatten();
            roots.map(|root| root.path().join("upper/var/t")).filter(|path| path.is_dir())
        });
        let planted = uppers.next().expect("the directory is in the upper").join("planted");
        let all = Mode::from_bits_truncate(0o666);
        mknod(&planted, SFlag::S_IFCHR, all, makedev(1, 5)).unwrap();
        let said = drive
            .steps(&[
                "copyout",
                "/var/t/sh",
                &work.join("sh").to_string_lossy(),
                "try:copyout",
                "/var/t/planted",
                &work.join("planted").to_string_lossy(),
                "try:copyout",
                "/var/t/zero",
                &work.join("zero").to_string_lossy(),
                "copyout",
                "/var/t",
                &work.join("t").to_string_lossy(),
            ])
            .succeeded();
        assert_eq!(failures(&said), 2, "{mode}: {:#?}", said.lines);
        let names = |path: &Path| {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        // Everything but devices came out, and nothing but its content.
        assert!(!work.join("planted").exists() && !work.join("zero").exists());
        assert_eq!(names(&work.join("t")), ["plain", "sh", "sticky"], "{mode}");
        assert_eq!(fs::read_to_string(work.join("t/plain")).unwrap(), "plain\n");
        assert!(fs::metadata(work.join("t/sh")).unwrap().len() > 1000);
        for (name, bits) in [("sh", 0o755), ("t/sh", 0o755), ("t/sticky", 0o777)] {
            let meta = fs::metadata(work.join(name)).unwrap();
            assert_eq!(meta.mode() & 0o6777, bits, "{mode} {name}");
            assert_eq!(meta.uid(), 0, "{mode} {name}");
        }
    }
}

/// Programs with set-ID bits, and an attempt to make a device.
const SETUID: &str = "mkdir /var/t && cp /bin/sh /var/t/sh && chmod 6755 /var/t/sh && \
    echo plain > /var/t/plain && mkdir /var/t/sticky && chmod 7777 /var/t/sticky && \
    test -u /var/t/sh && { node /var/t/zero; true; }";

/// A root that turned its own files into traps must not hang or mislead what reads them.
#[test]
fn a_passwd_that_is_a_trap_is_refused() {
    let Some((drive, _)) = planted() else { return };
    for trap in [
        "ln -sf /proc/self/mem /etc/passwd",
        "rm -f /etc/passwd; mkdir /etc/passwd",
        "ln -sf /dev/zero /etc/passwd",
    ] {
        drive.steps(&["run", "root", trap]).succeeded();
        let said =
            drive.steps(&["try:run", "builder", "true", "run", "root", "echo alive"]).succeeded();
        assert_eq!(failures(&said), 1, "{trap}: {:#?}", said.lines);
        assert!(said.out().contains("alive"));
    }
}
