//! The package oracle for every kind of source; `oracle_packages.rs` has two of them.

use debmock_tests::or_skip;
use debmock_tests::package::Workshop;

#[test]
fn packages_of_every_kind_equal_sbuilds() {
    let workshop = or_skip!(Workshop::new());
    let mut failed = Vec::new();
    for (source, kind) in [
        ("hello", "debhelper's own choice"),
        ("bc", "autotools"),
        ("cmocka", "cmake"),
        ("libslirp", "meson"),
        ("libcap-ng", "python: an extension module"),
        ("libtry-tiny-perl", "perl"),
        ("ucf", "arch:all"),
        ("base-files", "fakeroot: directories of group staff"),
        ("cron", "fakeroot: files of group crontab"),
    ] {
        eprintln!("{source} ({kind})");
        // all of them, since each takes minutes; the reason is printed where it panics
        if std::panic::catch_unwind(|| workshop.assert_same(source)).is_err() {
            failed.push(source);
        }
    }
    assert!(failed.is_empty(), "not sbuild's packages: {failed:?}");
}
