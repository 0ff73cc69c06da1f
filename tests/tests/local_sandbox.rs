//! What a session is like from inside, for every isolation mode and user.

use debmock_tests::drive::{self, Drive, everywhere};
use debmock_tests::or_skip;
use debmock_tests::user::User;
use std::fs;

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

/// One process waits inside to become the next program, and is as mortal as all others there.
#[test]
fn whoever_ends_or_stops_all_that_it_sees_does_not_harm_the_next_program() {
    for (name, drive) in or_skip!(everywhere()) {
        // Where the next one is not there yet, kill finds nobody and says so.
        let all = |signal: &str| format!("kill -{signal} -1 2>/dev/null; echo {signal}");
        let (kill, stop) = (all("KILL"), all("STOP"));
        let steps = [&kill, "echo one", &stop, "echo two", &stop, &kill, "echo three"];
        let steps: Vec<&str> = steps.iter().flat_map(|script| ["run", "root", script]).collect();
        let said = drive.steps(&steps).succeeded();
        assert_eq!(said.out(), "KILL\none\nSTOP\ntwo\nSTOP\nKILL\nthree", "{name}");
        assert_eq!(said.of("exit"), ["0"; 7], "{name}: {:#?}", said.lines);
    }
}
