//! Roots that are copies of their base, because overlays cannot be mounted.

use debmock_tests::area::Area;
use debmock_tests::copies::WithoutOverlays;
use debmock_tests::drive::{self, Drive};
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip, oracle};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// When the roots of the tests below were changed, as their archives say.
const EPOCH: &str = "4000000000";

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
        let said = without.start(&drive, &steps, EPOCH).finish().succeeded();
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
    without.start(&drive, &["import", &tar.to_string_lossy(), "close"], EPOCH).finish().succeeded();
    let state = drive.area().state();
    let seen = without.seen(&state);
    let record = machine::run(Command::new("find").arg(&seen).args(["-name", "base.json"]));
    let home = Path::new(record.trim()).parent().unwrap();
    let look = |command| {
        let said =
            without.start(&drive, &["run", "root", command, "close"], EPOCH).finish().succeeded();
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
                "copy" => without.start(&drive, steps, EPOCH),
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

#[test]
fn snapshots_of_a_copied_root_are_those_of_one_with_an_overlay() {
    or_skip!(machine::need_root());
    let tar = or_skip!(drive::root_tar());
    let root = tar.to_string_lossy();
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        let work = drive.area().work();
        let without = WithoutOverlays::of(&drive);
        let mut all = Vec::new();
        for kind in ["overlay", "copy"] {
            let file = |number: u32| work.join(format!("{kind}.{number}.tar"));
            let names: Vec<String> =
                (0..7).map(|number| file(number).to_string_lossy().into_owned()).collect();
            let first = "mkdir -p /srv/a/b /srv/gone; echo one > /srv/a/one; ln /srv/a/one /srv/two; rm -r /var/lib/tiny";
            let second = "rm -r /srv/a /srv/gone; mkdir /srv/a; echo file > /srv/gone; ln -s two /srv/three; chown 5:6 /srv/two; chmod 4711 /srv/two";
            let third = "rm -r /srv; echo lost > /lost";
            let steps = [
                "import",
                &root,
                "export",
                &names[0],
                "run",
                "root",
                first,
                "snapshot",
                "first",
                "export",
                &names[1],
                "run",
                "root",
                second,
                "export",
                &names[2],
                "snapshot",
                "second",
                "run",
                "root",
                third,
                "export",
                &names[3],
                "rollback",
                "first",
                "export",
                &names[4],
                "rollback",
                "second",
                "remove-snapshot",
                "first",
                "clean",
                "export",
                &names[5],
                "rollback",
                "second",
                "export",
                &names[6],
                "remove-snapshot",
                "second",
            ];
            // All times are one: two roots are never changed at the same moment.
            let running = match kind {
                "copy" => without.start(&drive, &steps, "1"),
                _ => {
                    let mut command = drive.command(&steps);
                    command.env("SOURCE_DATE_EPOCH", "1");
                    drive::start(command)
                }
            };
            let said = running.finish().succeeded();
            let copied = said.of("warning").iter().any(|warning| warning.contains("copied"));
            assert_eq!(copied, kind == "copy", "{:#?}", said.lines);
            let archives: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).unwrap()).collect();
            assert!(archives[0] != archives[1] && archives[1] != archives[2], "{mode} {kind}");
            assert!(archives[4] == archives[1], "{mode} {kind}: rolled back to the first");
            assert!(archives[5] == archives[0], "{mode} {kind}: clean");
            assert!(archives[6] == archives[2], "{mode} {kind}: rolled back to the second");
            all.push(archives);
        }
        for (number, (overlay, copy)) in all[0].iter().zip(&all[1]).enumerate() {
            assert!(overlay == copy, "{mode}: archive {number} is another one");
        }
    }
}

#[test]
fn a_copy_shares_its_blocks_where_the_file_system_can() {
    or_skip!(machine::need_root());
    for (kind, package) in [("btrfs", "btrfs-progs"), ("xfs", "xfsprogs")] {
        or_skip!(oracle::need_from(&format!("mkfs.{kind}"), package));
        if !Path::new("/dev/loop-control").exists() || !knows(kind) {
            let why = format!("this machine mounts no {kind} from a file");
            machine::report_skip(&machine::test_name(), &machine::Skip(why));
            continue;
        }
        let area = Area::new();
        let (image, top) = (area.path().join("image"), area.path().join("top"));
        fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        fs::create_dir(&top).unwrap();
        machine::run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        // The mount lives and dies with a thread that has a namespace of its own.
        std::thread::scope(|threads| {
            let looked = threads.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
                machine::run(Command::new("mount").args(["--make-rprivate", "/"]));
                machine::run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&top));
                let tree = top.join("tree");
                fs::create_dir(&tree).unwrap();
                let content: Vec<u8> = (0..96_u32 << 18)
                    .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
                    .collect();
                fs::write(tree.join("large"), &content).unwrap();
                let open = |path: &Path| std::os::fd::OwnedFd::from(fs::File::open(path).unwrap());
                let free = || {
                    rustix::fs::syncfs(open(&top)).unwrap();
                    let disk = rustix::fs::fstatvfs(open(&top)).unwrap();
                    disk.f_bfree * disk.f_bsize
                };
                let before = free();
                debmock_helper::store::copy_tree(&open(&tree), &open(&top), "copy").unwrap();
                let taken = before.saturating_sub(free());
                assert!(taken < content.len() as u64 / 4, "{kind}: {taken} bytes were copied");
                assert!(fs::read(top.join("copy/large")).unwrap() == content);
                // A change of one is none of the other.
                fs::write(tree.join("large"), "changed").unwrap();
                assert!(fs::read(top.join("copy/large")).unwrap() == content);
                machine::run(Command::new("umount").arg(&top));
            });
            looked.join().unwrap();
        });
    }
}

/// Whether this kernel knows a file system; it may have to load it first.
fn knows(kind: &str) -> bool {
    let _ = Command::new("modprobe").args(["-q", kind]).status();
    let all = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    all.lines().any(|line| line.trim() == kind)
}
