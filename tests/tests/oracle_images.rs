//! Images for others, with podman and skopeo as judges.

use debmock_tests::machine::{self, Skip};
use debmock_tests::rig::{Rig, said, tiny_archive};
use debmock_tests::{or_skip, oracle};
use std::path::Path;
use std::process::Command;

/// podman with a storage of its own.
fn podman(home: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(home.join("storage")).arg("--runroot").arg(home.join("run"));
    // Others need a storage on a file system that can carry them, or a cgroup of their own.
    command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
    command.current_dir("/");
    command
}

fn tools() -> Result<(), Skip> {
    machine::need_root()?;
    ["podman", "skopeo", "runc"].into_iter().try_for_each(oracle::need)
}

#[test]
fn others_load_copy_and_run_what_was_exported() {
    or_skip!(tools());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let run = |script: &str| {
        said(rig.program(&["chroot", "--", "sh", "-c", script])).assert_success();
    };
    run("mkdir -p /srv/a; echo one > /srv/a/one; echo two > /srv/two; rm -r /var/lib/tiny");
    said(rig.program(&["snapshot", "first"])).assert_success();
    run("rm -r /srv/a; mkdir /srv/a; echo three > /srv/a/three; chown 7:8 /srv/two");
    let work = rig.area.work();
    let file = |name: &str| work.join(name).to_string_lossy().into_owned();
    let (plain, image, archive) = (file("a.tar"), file("a.oci"), file("a.oci.tar"));
    let (flat, gzip) = (file("flat.oci.tar"), file("gzip.oci.tar"));
    said(rig.program(&["export", &plain])).assert_success();
    said(rig.program(&["export", &image])).assert_success();
    said(rig.program(&["export", &archive])).assert_success();
    said(rig.program(&["export", "--flatten", &flat])).assert_success();
    said(rig.program(&["export", "--compression", "gzip", &gzip])).assert_success();
    let wanted = std::fs::read(&plain).unwrap();
    let inspected = machine::run(Command::new("skopeo").args(["inspect", &format!("oci:{image}")]));
    assert_eq!(inspected.matches("sha256:").count(), 4, "three layers: {inspected}");
    for (number, archive) in [&archive, &flat, &gzip].into_iter().enumerate() {
        let home = work.join(format!("podman{number}"));
        let loaded = machine::run(podman(&home).args(["load", "-q", "-i", archive]));
        let name = loaded.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let script = "cat /srv/a/three /srv/two; ls /srv/a; stat -c %u:%g /srv/two; \
             test -e /var/lib/tiny || echo gone";
        let ran = machine::run(
            podman(&home)
                .args(["run", "--rm", "--network", "none", "--log-driver", "none"])
                .args(["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"])
                .args([&name, "sh", "-c", script]),
        );
        assert_eq!(ran, "three\ntwo\nthree\n7:8\ngone\n", "{archive}");
        let _ = podman(&home).args(["rmi", "-f", &name]).output();
    }
    // What they make of it is still the same root.
    let (copy, squashed) = (file("copy.oci"), file("copy.tar"));
    machine::run(Command::new("skopeo").args([
        "copy",
        "-q",
        "--dest-compress-format",
        "gzip",
        &format!("oci:{image}"),
        &format!("oci:{copy}:name"),
    ]));
    machine::run(Command::new("skopeo").args([
        "copy",
        "-q",
        &format!("oci-archive:{archive}"),
        &format!("oci-archive:{squashed}"),
    ]));
    for source in [&copy, &squashed] {
        let back = file("back.tar");
        said(rig.program(&["import", source])).assert_success();
        said(rig.program(&["export", &back])).assert_success();
        assert!(std::fs::read(&back).unwrap() == wanted, "{source}");
    }
}
