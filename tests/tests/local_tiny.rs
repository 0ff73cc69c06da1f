//! The tiny distribution, unpacked by the host's dpkg and entered by chroot: its programs run.

use std::fs;
use std::process::Command;

use debmock_tests::area::Area;
use debmock_tests::deb::Deb;
use debmock_tests::machine::{self, run};
use debmock_tests::{or_skip, oracle, tiny};

#[test]
fn dpkg_and_apt_of_the_tiny_distribution_run() {
    or_skip!(machine::need_root());
    or_skip!(oracle::need_from("dpkg-deb", "dpkg"));
    let debs = or_skip!(tiny::debs());
    let area = Area::new();
    let root = area.path().join("root");
    fs::create_dir(&root).unwrap();
    // links of merged directories first, then everything else through them
    for first in [true, false] {
        for deb in debs.iter().filter(|d| (d.field("Package") == Some("base-files")) == first) {
            let path = area.work().join(&deb.file_name);
            fs::write(&path, &deb.bytes).unwrap();
            run(Command::new("dpkg-deb").arg("--extract").args([&path, &root]));
        }
    }
    let archives = root.join("debs");
    fs::create_dir(&archives).unwrap();
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    for deb in &debs {
        fs::write(archives.join(&deb.file_name), &deb.bytes).unwrap();
    }
    let inside = |script: &str| {
        run(Command::new("chroot")
            .arg(&root)
            .args(["/bin/sh", "-ec", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    inside("ldconfig && dpkg --force-depends --force-unsafe-io --install /debs/*.deb");
    assert_eq!(inside("cat /var/lib/tiny/configured"), "configure\n");
    assert_eq!(inside("dpkg --audit"), "");
    // apt installs from an archive in the root
    let more = Deb::new("more", "1", "all").field("Depends", "dash").file("/opt/more", 0o644, "x");
    let archive = or_skip!(tiny::archive("sid")).deb(more.build()).write(&root.join("srv"));
    fs::copy(&archive.keyring, root.join("etc/apt/trusted.gpg.d/tiny.gpg")).unwrap();
    fs::write(root.join("etc/apt/sources.list"), "deb file:/srv sid main\n").unwrap();
    inside(
        "apt-get -o APT::Sandbox::User=root update && \
         apt-get -o APT::Sandbox::User=root install -y more",
    );
    assert_eq!(inside("cat /opt/more"), "x");
}
