//! Roots that are copies of their base, because overlays cannot be mounted.

use debmock_tests::drive::{self, Drive};
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
fn a_copied_root_whose_tree_was_being_replaced_is_usable() {
    or_skip!(machine::need_root());
    let drive = or_skip!(Drive::new(User::current(), "userns"));
    let tar = or_skip!(drive::root_tar());
    let without = WithoutOverlays::of(&drive);
    without.start(&drive, &["import", &tar.to_string_lossy(), "close"]).finish().succeeded();
    let state = drive.area().state();
    let seen = format!("/proc/{}/root{}", without.holder.id(), state.display());
    let record = machine::run(Command::new("find").args([&seen, "-name", "base.json"]));
    let home = Path::new(record.trim()).parent().unwrap();
    let look = |command| {
        let said = without.start(&drive, &["run", "root", command, "close"]).finish().succeeded();
        said.out()
    };
    assert_eq!(look("echo changed > /etc/changed; cat /etc/debian_version"), "tiny");
    // Killed between the end of the old tree and the new one: that is complete, and comes.
    fs::rename(home.join("tree"), home.join("tree.next")).unwrap();
    assert_eq!(look("cat /etc/changed"), "changed");
    assert!(!home.join("tree.next").exists());
    // Killed before it was complete.
    fs::rename(home.join("tree"), home.join("tree.new")).unwrap();
    assert_eq!(look("cat /etc/debian_version; test ! -e /etc/changed"), "tiny");
    let again = home.join("tree/etc/debian_version");
    assert!(again.is_file() && !home.join("tree.new").exists());
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
