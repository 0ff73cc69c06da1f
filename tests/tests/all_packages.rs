//! The package oracle for every kind of source; `oracle_packages.rs` has two of them.

use debmock_tests::or_skip;
use debmock_tests::package::Workshop;

#[test]
fn packages_of_every_kind_equal_sbuilds() {
    let workshop = or_skip!(Workshop::new());
    for (source, kind) in [
        ("hello", "debhelper's own choice"),
        ("libmnl", "autotools"),
        ("double-conversion", "cmake"),
        ("libinih", "meson"),
        ("python-colorama", "python"),
        ("libtext-glob-perl", "perl"),
        ("media-types", "arch:all"),
        ("at", "fakeroot: files of user daemon"),
        ("cron", "fakeroot: a file of group crontab"),
    ] {
        eprintln!("{source} ({kind})");
        workshop.assert_same(source);
    }
}
