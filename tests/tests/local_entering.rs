//! A session that one process has open and another one of the same user enters: what they share,
//! what ends with whom, and who stays outside.

use debmock::ErrorKind;
use debmock_tests::drive::{Drive, Running, descendants, everywhere, gone_within};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, said_on_terminal, tiny_archive};
use debmock_tests::user::User;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A driver that holds a session.
fn holder(drive: &Drive, first: &[&str]) -> Running {
    let mut holder = drive.start(&[first, &["session", "hold"]].concat());
    assert!(holder.until("ok session"), "{:#?}", holder.lines);
    holder
}

/// The only door below the state directory.
fn door(drive: &Drive) -> PathBuf {
    fn find(folder: &Path) -> Option<PathBuf> {
        let mut entries = fs::read_dir(folder).ok()?.flatten();
        entries.find_map(|entry| {
            let kind = entry.file_type().ok()?;
            match entry.file_name() == "door" && kind.is_socket() {
                true => Some(entry.path()),
                // a root is neither looked through nor needed
                false if kind.is_dir() && entry.file_name() != "upper" => find(&entry.path()),
                false => None,
            }
        })
    }
    find(&drive.area().state()).expect("there is a door")
}

#[test]
fn a_second_process_enters_an_open_session_and_ends_alone() {
    for (name, drive) in or_skip!(everywhere()) {
        let mut first = holder(&drive, &["run", "root", "echo one > /dev/shm/mark"]);
        let steps = ["run", "root", "cat /dev/shm/mark; echo two > /dev/shm/mark; exit 7"];
        let said = drive.steps(&steps).succeeded();
        assert_eq!(said.out(), "one", "{name}");
        assert_eq!(said.of("exit"), ["7"], "{name}: {:#?}", said.lines);
        let whose = format!("entered the session that process {} ", first.pid());
        assert!(said.of("root")[0].starts_with(&whose), "{name}: {:#?}", said.lines);
        assert!(said.of("waiting").is_empty(), "{name}: {:#?}", said.lines);
        // What one of them brings in the other one takes out.
        let file = drive.area().work().join("file");
        let file = file.to_string_lossy();
        drive.steps(&["write", "/tmp/x", "three", "run", "root", "true"]).succeeded();
        drive.steps(&["copyout", "/tmp/x", &file]).succeeded();
        assert_eq!(fs::read_to_string(&*file).unwrap(), "three", "{name}");
        let said = drive.steps(&["pty", "root", "tty; cat /dev/shm/mark"]).succeeded();
        assert!(said.out().starts_with("/dev/pts/"), "{name}: {:#?}", said.lines);
        assert!(said.out().ends_with("two"), "{name}: {:#?}", said.lines);
        first.kill();
        // Of a killed owner only the socket is left, which is nobody's.
        let said = drive.steps(&["run", "root", "test -e /dev/shm/mark"]).succeeded();
        assert_eq!(said.of("exit"), ["1"], "{name}: {:#?}", said.lines);
        assert!(said.of("root").is_empty(), "{name}: {:#?}", said.lines);
        drive.area().assert_nothing_left();
    }
}

#[test]
fn a_session_ends_with_its_owner_and_says_so_to_others() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let mut first = holder(&drive, &[]);
    let steps = ["run", "root", "echo ready; sleep 1000"];
    let mut second = drive.start(&steps);
    assert!(second.until("out ready"));
    let pid = format!("process {}", first.pid());
    first.kill();
    let said = second.finish();
    let errors = said.of("error");
    assert!(!said.status.success() && errors.len() == 1, "{:#?}", said.lines);
    assert!(errors[0].contains("Buildroot") && errors[0].contains(&pid), "{errors:?}");
    assert!(errors[0].contains("has ended with its owner"), "{errors:?}");
    drive.area().assert_nothing_left();
}

#[test]
fn what_a_visitor_started_ends_with_it_and_nothing_else_does() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let first = holder(&drive, &["background", "root", "exec sleep 2001"]);
    let script = "exec sleep 2002";
    for steps in [
        &["background", "root", script, "hold"][..],
        // A child that was forked without exec keeps every descriptor.
        &["background", "root", script, "fork-sleeper", "hold"],
    ] {
        let mut second = drive.start(steps);
        assert!(second.until("start hold"));
        let count = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c";
        let counted = |number: &str| {
            let said = drive.steps(&["run", "root", &format!("{count} ^{number}$")]).succeeded();
            said.out()
        };
        assert_eq!((counted("2001"), counted("2002")), ("1".into(), "1".into()), "{steps:?}");
        let sleeper = second.lines.iter().find_map(|line| line.strip_prefix("sleeper "));
        let sleeper = sleeper.map(|pid| pid.parse::<i32>().unwrap());
        second.kill();
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            counted("2002") == "0"
        });
        assert!(gone, "{steps:?}");
        assert_eq!(counted("2001"), "1", "{steps:?}");
        if let Some(sleeper) = sleeper {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(sleeper),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
    let theirs = descendants(first.pid());
    drop(first);
    assert!(gone_within(Duration::from_secs(5), &theirs).is_empty());
    drive.area().assert_nothing_left();
}

#[test]
fn the_door_is_for_the_same_user_and_the_same_build() {
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    or_skip!(drive.import());
    let mut first = holder(&drive, &[]);
    let door = door(&drive);
    let meta = fs::metadata(&door).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    let other = or_skip!(User::without_sub_ids());
    let seen = other.command("stat").arg(&door).output().unwrap();
    assert!(!seen.status.success(), "{seen:?}");
    // Who is behind this one is of another build.
    use std::os::unix::fs::MetadataExt;
    fs::remove_file(&door).unwrap();
    let listener = seqpacket(&door);
    chown(&door, Some(meta.uid()), Some(meta.gid())).unwrap();
    let stranger = std::thread::spawn(move || {
        use nix::sys::socket::{MsgFlags, accept, recv, send};
        use std::os::fd::AsRawFd;
        let visitor = accept(listener.as_raw_fd()).unwrap();
        let mut hello = [0; 200];
        recv(visitor, &mut hello, MsgFlags::empty()).unwrap();
        send(visitor, b"DEBMOCK\0from elsewhere", MsgFlags::empty()).unwrap();
    });
    let said = drive.steps(&["try:session"]).succeeded();
    stranger.join().unwrap();
    let errors = said.of("error");
    assert!(errors[0].contains("Helper") && errors[0].contains("from elsewhere"), "{errors:?}");
    assert!(errors[0].contains(&format!("process {}", first.pid())), "{errors:?}");
    first.kill();
}

/// A socket at `path` that listens.
fn seqpacket(path: &Path) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
    };
    use std::os::fd::AsRawFd;
    let listener =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    // an address has no room for long paths
    let folder = fs::File::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let address = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    bind(listener.as_raw_fd(), &UnixAddr::new(address.as_str()).unwrap()).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    listener
}

/// A command that runs until its input ends, in a session of its own.
fn chroot(rig: &Rig) -> Child {
    let mut command = rig.program(&["-q", "chroot", "--", "sh", "-c", "echo ready; cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    child
}

#[test]
fn shells_enter_and_what_needs_the_root_for_itself_waits() {
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    rig.set("lock_timeout = 1\n");
    let mut first = chroot(&rig);
    let pid = format!("process {}", first.id());
    let Said { code, text } = said_on_terminal(rig.program(&["-v", "shell", "tty; exit 5"]));
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("/dev/pts/") && text.contains(&pid), "{text}");
    for words in [
        &["clean"][..],
        &["snapshot", "x"],
        &["install", "hello"],
        &["update"],
        &["installdeps", "hello"],
        &["rebuild", "hello"],
    ] {
        let refused = said(rig.program(words));
        refused.assert_refused(ErrorKind::Locked, &[&pid, "--uniqueext"]);
    }
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    rig.assert_works();
    rig.assert_nothing_lost();
}
