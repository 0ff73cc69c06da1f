//! What a session is like from inside, for every isolation mode and user; and that the library
//! leaves the process that uses it as it was.

use debmock::buildroot::{Access, Buildroot, BuildrootOptions, Run, Stdio};
use debmock::config::{Loader, Places};
use debmock::operation::Scope;
use debmock_helper::protocol::Program;
use debmock_tests::area::leftovers_of_this_test;
use debmock_tests::drive::{self, Drive};
use debmock_tests::machine::{self, Skip};
use debmock_tests::or_skip;
use debmock_tests::user::User;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A drive with an imported root for each kind of user and mode that this machine has.
fn everywhere() -> Result<Vec<(&'static str, Drive)>, Skip> {
    let mut drives = vec![("user", Drive::new(User::with_sub_ids()?, "userns")?)];
    if machine::is_root() {
        drives.push(("root", Drive::new(User::current(), "userns")?));
        drives.push(("simple", Drive::new(User::current(), "simple")?));
    }
    for (_, drive) in &drives {
        drive.import()?;
    }
    Ok(drives)
}

#[test]
fn ids_inside_are_never_the_hosts_but_in_simple() {
    for (name, drive) in or_skip!(everywhere()) {
        assert_eq!(drive.inside("root", "id -u; id -g"), "0\n0");
        assert_eq!(drive.inside("1000", "id -u; id -g"), "1000\n1000");
        assert_eq!(drive.inside("nobody", "id -u; id -gn"), "65534\nnogroup");
        let map = drive.inside("root", "cat /proc/self/uid_map /proc/self/gid_map");
        let caller = drive.area().user().uid;
        for line in map.lines() {
            let numbers: Vec<u32> =
                line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            if name == "simple" {
                assert_eq!(numbers[0], numbers[1]);
            } else {
                assert!(numbers[1] >= 100_000, "{name}: {line}");
                let range = numbers[1]..numbers[1] + numbers[2];
                assert!(!range.contains(&caller), "{name}: {line}");
                assert!(!range.contains(&0), "{name}: {line}");
                assert_eq!(numbers[2], 65_536);
            }
        }
    }
}

#[test]
fn a_users_variables_are_those_of_the_roots_user_database() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let line = "worker:x:1234:1234:A Worker:/home/worker:/bin/bash";
    let show = "echo $HOME $USER $LOGNAME $SHELL";
    let said = drive
        .steps(&[
            "run",
            "root",
            &format!("echo {line} >> /etc/passwd"),
            "run",
            "worker",
            show,
            "run",
            "1234",
            show,
            "run",
            "4711",
            show,
            "run",
            "root",
            show,
        ])
        .succeeded();
    let worker = "/home/worker worker worker /bin/bash";
    assert_eq!(said.of("out"), [worker, worker, "/ 4711 4711 /bin/sh", "/root root root /bin/sh"]);
}

#[test]
fn statuses_signals_streams_and_environment_are_as_asked() {
    for (name, drive) in or_skip!(everywhere()) {
        let said = drive
            .steps(&[
                "run",
                "root",
                "exit 7",
                "run",
                "root",
                "kill -TERM $$",
                "signal",
                "15",
                "exec sleep 100",
                "run",
                "root",
                "env",
                "run",
                "1000",
                "pwd; umask; echo no >&2",
                "try:run",
                "missing",
                "true",
            ])
            .succeeded();
        assert_eq!(said.of("exit"), ["7", "0", "0"], "{name}: {:#?}", said.lines);
        assert_eq!(said.of("signal"), ["15", "15"], "{name}");
        let out = said.of("out");
        let mut variables: Vec<&str> =
            out.iter().copied().filter(|line| line.contains('=')).collect();
        variables.sort_unstable();
        assert_eq!(
            variables,
            [
                "GIVEN=exactly",
                "HOME=/root",
                "LANG=C.UTF-8",
                "LC_ALL=C.UTF-8",
                "LOGNAME=root",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PWD=/",
                "SHELL=/bin/sh",
                "TERM=dumb",
                "USER=root",
            ]
        );
        assert_eq!(out[out.len() - 3..], ["/", "0022", "no"]);
        assert!(said.of("error")[0].contains("no user"), "{:#?}", said.lines);
        // standard streams are the caller's own
        let mut command = drive.command(&["plain", "1000", "cat; echo $?; exit 3"]);
        let input = drive.area().work().join("input");
        fs::write(&input, "typed\n").unwrap();
        let output = command.stdin(fs::File::open(&input).unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("typed\n0\nexit 3\n"), "{text}");
    }
}

#[test]
fn a_terminal_is_the_roots_own() {
    for (name, drive) in or_skip!(everywhere()) {
        let said = drive
            .steps(&[
                "pty",
                "1000",
                "tty; test -t 0 && test -t 1 && echo is; ls /dev/pts; : >/dev/tty && echo controls",
            ])
            .succeeded();
        let out: Vec<_> = said.of("out").iter().map(|line| line.trim()).collect();
        assert_eq!(out, ["/dev/pts/0", "is", "0  ptmx", "controls"], "{name}: {:#?}", said.lines);
        assert_eq!(said.of("exit"), ["0"]);
    }
}

#[test]
fn there_is_no_network_by_default() {
    for (name, drive) in or_skip!(everywhere()) {
        let out = drive.inside("root", "cat /proc/net/dev | wc -l; cat /sys/class/net/lo/operstate; ls /sys/class/net; cat /etc/resolv.conf; cat /proc/net/route | wc -l");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "3", "{name}: {out}");
        assert_eq!(lines[2], "lo", "{name}: {out}");
        assert_eq!(lines.len(), 4, "the resolver is not empty: {out}");
    }
}

#[test]
fn session_files_have_their_content_and_can_be_replaced_and_removed() {
    for (name, drive) in or_skip!(everywhere()) {
        let out = drive.inside(
            "root",
            "cat /etc/hostname; uname -n; cat /etc/hosts; /usr/sbin/policy-rc.d; echo $?",
        );
        assert_eq!(
            out,
            "debmock\ndebmock\n127.0.0.1\tlocalhost\n127.0.1.1\tdebmock\n::1\tlocalhost ip6-localhost ip6-loopback\n101",
            "{name}"
        );
        let change = "cd /etc && rm hosts && mv hostname elsewhere && ln -sf /run/x resolv.conf && \
                      echo mine > hosts && cat hosts elsewhere && readlink resolv.conf && rm /usr/sbin/policy-rc.d";
        assert_eq!(drive.inside("root", change), "mine\ndebmock\n/run/x");
        // what the user has changed stays so
        let out = drive.inside(
            "root",
            "cat /etc/hosts; test -e /etc/hostname || echo gone; readlink /etc/resolv.conf",
        );
        assert_eq!(out, "mine\ngone\n/run/x", "{name}");
    }
}

#[test]
fn devices_proc_and_sys_are_those_of_a_sandbox() {
    for (name, drive) in or_skip!(everywhere()) {
        for who in ["root", "1000"] {
            let out = drive.inside(
                who,
                "ls /dev | tr '\\n' ' '; echo; echo x > /dev/null && echo x > /dev/zero && head -c 4 /dev/zero | wc -c && \
                 head -c 4 /dev/urandom | wc -c; echo x > /dev/full; echo hi > /dev/stdout; touch /dev/shm/x && rm /dev/shm/x; \
                 ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; ls /sys; touch /sys/x; touch /proc/x; \
                 touch /sys/devices/system/cpu/x; grep -c . /proc/self/status > /dev/null && echo end",
            );
            let lines: Vec<_> = out.lines().collect();
            assert_eq!(
                lines[0].trim(),
                "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
            );
            assert_eq!(lines[1..3], ["4", "4"], "{name} {who}: {out}");
            assert!(out.contains("I/O error"), "{out}");
            assert!(out.contains("\nhi\n"), "{out}");
            assert!(out.contains("\ndebmock-helper\nclass\ndevices\n"), "{name} {who}: {out}");
            assert_eq!(lines.last(), Some(&"end"), "{out}");
            assert!(out.matches("touch: cannot touch").count() == 3, "{name} {who}: {out}");
        }
    }
}

/// `ischroot(1)` compares the two files; where it says no, libc6's postinst waits a second for an
/// init that is not there.
#[test]
fn maintainer_scripts_are_told_that_this_is_a_chroot() {
    for (name, drive) in or_skip!(everywhere()) {
        let compare =
            "test \"$(cat /proc/1/mountinfo)\" != \"$(cat /proc/self/mountinfo)\" && echo chroot";
        assert_eq!(drive.inside("root", compare), "chroot", "{name}");
        assert_eq!(drive.inside("1000", compare), "chroot", "{name}");
    }
}

#[test]
fn processes_end_with_the_session_and_orphans_are_reaped() {
    for (name, drive) in or_skip!(everywhere()) {
        let mut running = drive.start(&[
            "run",
            "root",
            "sleep 1000 & (sleep 1000 & exec setpriv --reuid 1000 --clear-groups sleep 1000 &) ; sh -c 'true &'; sleep 0.2; \
             grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
            "run", "root", "grep -c sleep /proc/[0-9]*/comm | grep -c ':1'",
            "close",
            "hold",
        ]);
        assert!(running.until("ok close"), "{:#?}", running.lines);
        assert!(running.lines.iter().any(|l| l == "out 0"), "{name}: {:#?}", running.lines);
        assert!(running.lines.iter().any(|l| l == "out 3"), "{name}: {:#?}", running.lines);
        // the helper alone is left, at once
        assert_eq!(drive::descendants(running.pid()).len(), 1, "{name}");
        running.kill();
        drive.area().assert_nothing_left();
    }
}

#[test]
fn a_background_process_that_goes_on_printing_holds_nobody() {
    for (name, drive) in or_skip!(everywhere()) {
        let endless = "(while :; do echo more; done) & echo first; exit 3";
        let said = drive.steps(&["run", "root", endless]).succeeded();
        assert_eq!(said.of("exit"), ["3"], "{name}");
        assert!(said.of("out").contains(&"first"), "{name}");
    }
}

#[test]
fn odd_hosts_get_the_same() {
    for (_, drive) in or_skip!(everywhere()) {
        for odd in ["ignore-sigchld", "odd-process"] {
            let said = drive
                .steps(&[
                    odd,
                    "run",
                    "root",
                    "umask; grep SigIgn /proc/self/status | tr -dc 0-9a-f; echo; exit 4",
                ])
                .succeeded();
            assert_eq!(said.of("exit"), ["4"], "{:#?}", said.lines);
            assert_eq!(said.of("out"), ["0022", "0000000000000000"]);
        }
        // a child that sleeps does not keep the session alive
        let mut running =
            drive.start(&["background", "root", "sleep 1000", "fork-sleeper", "close", "hold"]);
        assert!(running.until("ok close"));
        let sleeper: u32 =
            running.lines.iter().find_map(|l| l.strip_prefix("sleeper ")).unwrap().parse().unwrap();
        let left = drive::descendants(running.pid());
        assert_eq!(left.len(), 2, "helper and sleeper");
        running.kill();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(sleeper as i32),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        drive.area().assert_nothing_left();
    }
}

#[test]
fn handles_in_a_forked_child_say_so() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let said = drive.steps(&["forked", "run", "root", "echo alive"]).succeeded();
    assert_eq!(said.of("forked"), ["Some(Forked)"; 4], "{:#?}", said.lines);
    assert_eq!(said.out(), "alive");
}

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
    let said = drive.steps(&["run", "root", "echo mine"]).succeeded();
    let waiting = said.of("waiting");
    assert_eq!(waiting.len(), 1, "{:#?}", said.lines);
    assert!(waiting[0].contains(&format!("process {}", first.pid())), "{waiting:?}");
    assert!(waiting[0].contains("debmock-drive"), "{waiting:?}");
    assert_eq!(said.out(), "mine");
    first.finish().succeeded();
    drive.configure("lock_timeout = 0", "lock_timeout = 1");
    let mut first = drive.start(&["session", "hold"]);
    assert!(first.until("ok session"));
    let said = drive.steps(&["try:run", "root", "true", "try:clean"]).succeeded();
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

#[test]
fn a_buildroot_that_another_boot_left_is_refused_with_a_way_out() {
    for (name, drive) in or_skip!(everywhere()) {
        drive.inside("root", "echo changed > /file");
        let zone =
            fs::read_dir(drive.area().state().join("roots/v1")).unwrap().next().unwrap().unwrap();
        let mark = zone.path().join("tiny/boot");
        let layers =
            fs::read_dir(drive.area().cache().join("layers/v1")).unwrap().next().unwrap().unwrap();
        let layer = fs::read_dir(layers.path())
            .unwrap()
            .flatten()
            .find(|e| e.file_name().to_string_lossy().starts_with("import"))
            .unwrap();
        if !machine::is_root() {
            // the marks belong to a sub-id
            continue;
        }
        let this_boot = fs::read_to_string(&mark).unwrap();
        assert_eq!(fs::read_to_string(layer.path().join("boot")).unwrap(), this_boot);
        fs::write(&mark, "00000000-0000-0000-0000-000000000000").unwrap();
        let said = drive.steps(&["try:run", "root", "cat /file"]).succeeded();
        let errors = said.of("error");
        assert!(
            errors[0].contains("Buildroot") && errors[0].contains("debmock clean"),
            "{name}: {errors:?}"
        );
        // nobody takes it for good when it is an archive
        let tar = drive.area().work().join("damaged.tar");
        let said = drive.steps(&["try:export", &tar.to_string_lossy()]).succeeded();
        let errors = said.of("error");
        assert!(errors.len() == 1 && errors[0].contains("debmock clean"), "{name}: {errors:?}");
        assert!(!tar.exists(), "{name}");
        let said =
            drive.steps(&["clean", "run", "root", "test -e /file || echo fresh"]).succeeded();
        assert_eq!(said.out(), "fresh");
        // a doubtful layer is made again
        fs::write(layer.path().join("boot"), "00000000-0000-0000-0000-000000000000").unwrap();
        let said = drive.steps(&["try:run", "root", "true"]).succeeded();
        assert!(said.of("error")[0].contains("layer"), "{:#?}", said.lines);
        let tar = or_skip!(drive::root_tar());
        let said =
            drive.steps(&["import", &tar.to_string_lossy(), "run", "root", "echo new"]).succeeded();
        assert_eq!(said.out(), "new");
        // marks that are older than a minute go away while a helper idles
        for file in [&mark, &layer.path().join("boot")] {
            machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(file));
        }
        drive.steps(&["wait", "2500"]).succeeded();
        assert!(!mark.exists() || dirty(), "the mark of the buildroot is still there");
        assert!(
            !layer.path().join("boot").exists() || dirty(),
            "the mark of the layer is still there"
        );
        assert_eq!(drive.inside("root", "echo works"), "works");
        // but not that of a buildroot in use
        machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&mark));
        let mut running = drive.start(&["session", "hold"]);
        assert!(running.until("ok session"));
        machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&mark));
        let mut other = drive.command(&["wait", "2500"]);
        other.env("DRIVE_EXT", "other");
        drive::start(other).finish().succeeded();
        assert!(mark.exists());
        running.kill();
    }
}

/// Whether the machine has so much to write that nobody syncs on the side.
fn dirty() -> bool {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Dirty:")).unwrap_or("0 0");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) > 100_000
}

/// A mount namespace in which the state of a drive lies on an overlay, which cannot be the upper of
/// another one.
struct WithoutOverlays {
    holder: std::process::Child,
}

impl WithoutOverlays {
    fn of(drive: &Drive) -> Self {
        let lower = drive.area().path().join("lower");
        let memory = drive.area().path().join("memory");
        for folder in [&lower, &memory] {
            fs::create_dir(folder).unwrap();
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg("mount -t tmpfs none \"$1\"; mkdir \"$1/u\" \"$1/w\"; mount -t overlay -o lowerdir=\"$0\",upperdir=\"$1/u\",workdir=\"$1/w\" none \"$2\"; echo ready; exec cat")
            .arg(&lower)
            .arg(&memory)
            .arg(drive.area().state())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        WithoutOverlays { holder }
    }

    /// These steps, in there.
    fn start(&self, drive: &Drive, steps: &[&str]) -> drive::Running {
        let inner = drive.command(steps);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir("/")
            .env_clear()
            .env("SOURCE_DATE_EPOCH", EPOCH);
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        drive::start(command)
    }
}

/// When the roots of the tests below were changed, as their archives say.
const EPOCH: &str = "4000000000";

impl Drop for WithoutOverlays {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn where_overlays_cannot_be_mounted_the_root_is_copied() {
    or_skip!(machine::need_root());
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        let tar = or_skip!(drive::root_tar());
        let without = WithoutOverlays::of(&drive);
        let steps = [
            "import",
            &tar.to_string_lossy(),
            "run",
            "root",
            "rm /etc/debian_version; cat /etc/hostname; : > /dev/null; echo copied",
            "close",
            "run",
            "1000",
            "test -e /etc/debian_version || echo kept",
            "close",
            "clean",
            "run",
            "root",
            "cat /etc/debian_version",
            "close",
            "scrub",
        ];
        let said = without.start(&drive, &steps).finish().succeeded();
        let warnings = said.of("warning");
        assert!(warnings[0].contains("copied"), "{mode}: {:#?}", said.lines);
        assert_eq!(said.out(), "debmock\ncopied\nkept\ntiny", "{mode}: {:#?}", said.lines);
    }
}

#[test]
fn a_copied_root_is_exported_like_one_with_an_overlay() {
    or_skip!(machine::need_root());
    let tar = or_skip!(drive::root_tar());
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        let work = drive.area().work();
        let file = |name: &str| work.join(name).to_string_lossy().into_owned();
        // A root with a policy of its own, and without a resolver's configuration.
        let root = file("root.tar");
        fs::copy(&tar, &root).unwrap();
        machine::run(Command::new("tar").args(["--delete", "-f", &root, "./etc/resolv.conf"]));
        fs::create_dir_all(work.join("more/usr/sbin")).unwrap();
        fs::write(work.join("more/usr/sbin/policy-rc.d"), "of the root's own").unwrap();
        let more = file("more");
        machine::run(Command::new("tar").args([
            "-C",
            &more,
            "-rf",
            &root,
            "./usr/sbin/policy-rc.d",
        ]));
        // Nothing, what a session brings changed and deleted, something else changed.
        let scripts = [
            "cat /usr/sbin/policy-rc.d",
            "rm /etc/hosts; echo x >> /etc/hostname; touch -d @4000000001 /etc/hostname /etc",
            "mkdir /new; touch -d @4000000001 /new /; test ! -e /etc/hosts; cat /etc/hostname",
        ];
        let without = WithoutOverlays::of(&drive);
        let mut said = Vec::new();
        let mut archives = Vec::new();
        for kind in ["overlay", "copy"] {
            let run = |steps: &[&str]| match kind {
                "copy" => without.start(&drive, steps),
                _ => {
                    let mut command = drive.command(steps);
                    command.env("SOURCE_DATE_EPOCH", EPOCH);
                    drive::start(command)
                }
            };
            let (fresh, plain) = (file(&format!("{kind}.0.tar")), file(&format!("{kind}.1.tar")));
            run(&["import", &root, "export", &fresh]).finish().succeeded();
            run(&["run", "root", "true"]).finish().succeeded();
            run(&["export", &plain]).finish().succeeded();
            archives.push(fs::read(&fresh).unwrap());
            archives.push(fs::read(&plain).unwrap());
            for (number, script) in scripts.iter().enumerate() {
                let changed = file(&format!("{kind}.changed.{number}.tar"));
                said.push(run(&["run", "root", script, "close"]).finish().succeeded().out());
                // Killed with its helper in the middle of a session.
                let mut running = run(&["session", "hold"]);
                assert!(running.until("ok session"), "{:#?}", running.lines);
                let helpers = drive::descendants(running.pid());
                for pid in &helpers {
                    let pid = nix::unistd::Pid::from_raw(*pid as i32);
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
                running.kill();
                assert!(drive::gone_within(Duration::from_secs(20), &helpers).is_empty());
                run(&["export", &changed]).finish().succeeded();
                archives.push(fs::read(&changed).unwrap());
            }
        }
        assert!(said[0].contains("exit 101"), "{said:#?}");
        let (overlay, copy) = archives.split_at(archives.len() / 2);
        assert!(overlay[0] == overlay[1], "{mode}: a session has changed the root");
        for (number, (overlay, copy)) in overlay.iter().zip(copy).enumerate() {
            assert!(overlay == copy, "{mode}: archive {number} is another one");
        }
        assert_eq!(said[..scripts.len()], said[scripts.len()..]);
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
