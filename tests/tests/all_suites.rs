//! What `tests/run oracle-all` needs of the mirror, and the tree oracle for the suites that
//! `oracle_tree.rs` leaves out.

use std::fs;
use std::process::Command;

use debmock_tests::area::Area;
use debmock_tests::machine::{self, run};
use debmock_tests::user::User;
use debmock_tests::{or_skip, root};

#[test]
fn the_mirror_has_every_suite() {
    let mirror = or_skip!(machine::mirror());
    let area = Area::new();
    for suite in ["bullseye", "bookworm", "trixie", "forky", "sid"] {
        let file = area.work().join(suite);
        let uri = format!("{}dists/{suite}/InRelease", mirror.uri);
        run(Command::new("/usr/lib/apt/apt-helper").arg("download-file").arg(uri).arg(&file));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("\nCodename: {suite}\n")), "{suite}");
    }
}

fn equals_mmdebstraps(suite: &str) {
    let oracle = or_skip!(root::by_mmdebstrap(suite));
    root::assert_same(&Area::new(), suite, &oracle);
    let user = or_skip!(User::with_sub_ids());
    root::assert_same(&Area::of(user), suite, &oracle);
}

#[test]
fn bullseye_equals_mmdebstraps() {
    equals_mmdebstraps("bullseye");
}

#[test]
fn forky_equals_mmdebstraps() {
    equals_mmdebstraps("forky");
}

#[test]
fn sid_equals_mmdebstraps() {
    equals_mmdebstraps("sid");
}
