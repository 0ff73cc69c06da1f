//! Packages with difficult maintainer scripts: debmock makes of a root what apt-get makes of it.

use debmock_tests::area::Area;
use debmock_tests::install::{LEFT, NATIVE, assert_same_as_apt};
use debmock_tests::machine;
use debmock_tests::{or_skip, root};

/// Sets that are installed at once, and what has to stand in the way of doing it natively.
const GROUPS: &[(&[&str], Option<&str>)] = &[
    (&["man-db", "dbus", "systemd", "ca-certificates", "cron", "debhelper"], None),
    (&["locales", "git", "fontconfig"], None),
    (&["dh-python", "python3-all", "python3-setuptools"], None),
    (&["tex-common", "exim4-daemon-light", "openssh-server"], None),
    (&["emacs-nox", "sgml-base", "apache2"], None),
    (&["postgresql-common"], Some("dpkg-divert")),
];

#[test]
fn packages_with_difficult_scripts_are_as_apt_installs_them() {
    or_skip!(machine::need_root());
    or_skip!(machine::mirror());
    let area = Area::new();
    for (number, (packages, reason)) in GROUPS.iter().enumerate() {
        let call = |name: &str| {
            let mut command = root::debmock_talking(&area, "bookworm");
            command.args(["--uniqueext", name]);
            command
        };
        let log = assert_same_as_apt(&area.work(), &call, &format!("g{number}"), packages);
        assert!(log.contains(NATIVE), "{packages:?} were not even tried natively");
        match reason {
            None => assert!(!log.contains(LEFT), "{packages:?} were left to apt"),
            Some(reason) => {
                let line = log.split(LEFT).nth(1).unwrap_or_default();
                assert!(line.contains(reason), "{packages:?} should be left to apt: {line:.200}");
            }
        }
    }
}
