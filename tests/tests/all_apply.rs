//! Many packages with difficult maintainer scripts, each in a root of its own. Takes long.

use debmock_tests::area::Area;
use debmock_tests::install::{LEFT, compare_with_apt};
use debmock_tests::machine::{self, run};
use debmock_tests::{or_skip, root};

const PACKAGES: &[&str] = &[
    "adduser",
    "apache2",
    "avahi-daemon",
    "bash-completion",
    "bind9",
    "ca-certificates",
    "console-setup",
    "cron",
    "cups",
    "dbus",
    "debhelper",
    "default-mta",
    "dictionaries-common",
    "emacs-nox",
    "exim4-daemon-light",
    "fontconfig",
    "git",
    "gnupg",
    "golang-go",
    "grub-common",
    "initramfs-tools",
    "kmod",
    "libapache2-mod-php",
    "libnss-systemd",
    "libpam-systemd",
    "lighttpd",
    "locales",
    "logrotate",
    "man-db",
    "mariadb-server",
    "nginx",
    "openjdk-17-jre-headless",
    "openssh-server",
    "polkitd",
    "postfix",
    "postgresql-common",
    "procps",
    "python3",
    "python3-minimal",
    "rsyslog",
    "ruby",
    "samba-common",
    "sgml-base",
    "shared-mime-info",
    "slapd",
    "sudo",
    "systemd",
    "tex-common",
    "tzdata",
    "ucf",
    "udev",
    "unattended-upgrades",
    "vim",
    "x11-common",
    "xfonts-utils",
    "xml-core",
];

#[test]
fn every_package_is_as_apt_installs_it() {
    or_skip!(machine::need_root());
    or_skip!(machine::mirror());
    let area = Area::new();
    let call = |name: &str| {
        let mut command = root::debmock_talking(&area, "bookworm");
        command.args(["--uniqueext", name]);
        command
    };
    let (mut left, mut failures) = (Vec::new(), Vec::new());
    for package in PACKAGES {
        match compare_with_apt(&area.work(), &call, package, &[package]) {
            Ok(log) if log.contains(LEFT) => left.push(*package),
            Ok(_) => {}
            Err(difference) => failures.push(difference),
        }
        for root in ["ours", "apt"] {
            run(call(&format!("{package}-{root}")).arg("clean"));
        }
    }
    assert!(failures.is_empty(), "{} packages:\n{}", failures.len(), failures.join("\n"));
    assert!(left.len() < PACKAGES.len() / 3, "too many are left to apt: {left:?}");
    println!("left to apt and dpkg: {left:?}");
}
