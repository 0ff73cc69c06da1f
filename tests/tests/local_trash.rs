//! What is removed is deleted beside the work: nobody waits for it but who scrubs, one process
//! deletes at a time, and what it leaves the next command takes up.

use debmock_tests::area::nothing_within;
use debmock_tests::drive::Drive;
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// Paths below the zone of buildroots.
fn zone(drive: &Drive) -> PathBuf {
    let mut zones = fs::read_dir(drive.area().state().join("roots/v1")).unwrap();
    zones.next().unwrap().unwrap().path()
}

fn trash(drive: &Drive) -> Vec<String> {
    let entries = fs::read_dir(zone(drive).join("trash")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

/// Whoever has this lock is the one that empties the trash.
fn hold_the_broom(drive: &Drive) -> File {
    let path = zone(drive).join("locks/.sweep");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.unwrap();
    // the helper is somebody else
    file.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
    let lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nothing_within(Duration::from_secs(30), || {
        let taken = fcntl(&file, FcntlArg::F_OFD_SETLK(&lock));
        taken.err().map(|error| format!("somebody sweeps: {error}")).into_iter().collect()
    });
    file
}

#[test]
fn clean_waits_for_no_deletion_and_the_next_command_takes_it_up() {
    or_skip!(machine::need_root());
    for mode in ["userns", "simple"] {
        let drive = or_skip!(Drive::new(User::current(), mode));
        or_skip!(drive.import());
        let deep = "cd /var; i=0; while [ $i -lt 100 ]; do mkdir d && cd d && echo x > f; \
                    i=$((i+1)); done; chmod 0 .";
        drive.inside("root", deep);
        let broom = hold_the_broom(&drive);
        drive.steps(&["clean"]).succeeded();
        // as if whoever deleted had been killed
        assert!(!trash(&drive).is_empty(), "{mode}: clean has waited");
        let said = drive.inside("root", "test ! -e /var/d && echo clean");
        assert_eq!(said, "clean", "{mode}");
        assert!(!trash(&drive).is_empty(), "{mode}");
        drop(broom);
        drive.inside("root", "true");
        nothing_within(Duration::from_secs(30), || trash(&drive));
        drive.area().assert_nothing_left();
    }
}

#[test]
fn scrub_waits_until_everything_is_gone() {
    // the trash belongs to a sub-id
    or_skip!(machine::need_root());
    for user in [User::with_sub_ids(), Ok(User::current())] {
        let drive = or_skip!(Drive::new(or_skip!(user), "userns"));
        or_skip!(drive.import());
        drive.inside("root", "mkdir -p /var/a/b/c; chmod 0 /var/a/b");
        let broom = hold_the_broom(&drive);
        drive.steps(&["clean"]).succeeded();
        assert!(!trash(&drive).is_empty());
        let mut scrubbing = drive.start(&["scrub"]);
        assert!(scrubbing.until("waiting the trash"), "{:#?}", scrubbing.lines);
        drop(broom);
        scrubbing.finish().succeeded();
        assert_eq!(trash(&drive), Vec::<String>::new());
        drive.area().assert_nothing_left();
    }
}
