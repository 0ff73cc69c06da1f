//! The Debian mirror of this machine, on which all `real_*` tests stand.

use std::process::Command;

use debmock_tests::area::Area;
use debmock_tests::machine::{self, run};
use debmock_tests::{or_skip, oracle};

#[test]
fn the_suite_of_the_host_is_signed_by_debian() {
    let mirror = or_skip!(machine::mirror());
    or_skip!(oracle::need("gpgv"));
    let area = Area::new();
    let file = area.work().join("InRelease");
    let uri = format!("{}dists/{}/InRelease", mirror.uri, mirror.codename);
    run(Command::new("/usr/lib/apt/apt-helper").arg("download-file").arg(uri).arg(&file));
    run(Command::new("gpgv").arg("--keyring").args([&mirror.keyring, &file]));
}
