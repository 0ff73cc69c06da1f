//! The same small packages by us and by the host's dpkg: the trees must be equal, database and
//! all, both when everything is unpacked and after dpkg has configured it.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use tar::EntryType;

use super::{Bootstrap, Plan, PlannedPackage};
use crate::dpkgdb::{Identity, State, installed};
use crate::pack::{Devices, ExportOptions, export};
use crate::unpack::Arrival;
use crate::unpack::fixture::{NEVER, Site, Tar, deb};

struct Package {
    identity: Identity,
    deb: Vec<u8>,
}

fn package(fields: &str, files: &[(&str, &str)], data: Tar) -> Package {
    let text = format!(
        "{fields}\nMaintainer: Nobody <nobody@example.org>\nInstalled-Size: 1\n\
         Description: a test with a blank at the end \n of one line\n .\n and more\n"
    );
    let mut control = Tar::new().dir("./").file("./control", text.as_bytes());
    for (name, data) in files {
        control = control.file(&format!("./{name}"), data.as_bytes());
    }
    let stanza = crate::dpkgdb::Stanza::parse_one(text.as_bytes()).unwrap();
    let identity = Identity::of(&stanza).unwrap();
    Package { identity, deb: deb(&control.done(), &data.done()) }
}

fn dpkg(root: &Path, arguments: &[&str]) {
    let output = Command::new("dpkg")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .arg(format!("--root={}", root.display()))
        .args(["--force-not-root", "--force-unsafe-io", "--no-triggers", "--log=/dev/null"])
        .args(arguments)
        .output()
        .expect("this test compares with dpkg; install the package dpkg");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dpkg {arguments:?}: {error}");
}

fn packages() -> Vec<Package> {
    let native = Command::new("dpkg").arg("--print-architecture").output();
    let native = native.expect("this test compares with dpkg; install the package dpkg").stdout;
    let native = String::from_utf8(native).unwrap();
    let native = native.trim();
    vec![
        package(
            "Package: empty\nVersion: 1\nArchitecture: all",
            &[],
            Tar::new().dir("./").dir("./usr/").symlink("./usr/dangling", "nowhere"),
        ),
        package(
            "Package: plain\nVersion: 1:1.0-1\nArchitecture: all\nSection: misc\nX-Own: field",
            &[("conffiles", "/etc/plain/a.conf\n/etc/plain/b.conf\n"), ("postrm", "#!/bin/sh\n")],
            Tar::new()
                .dir("./")
                .dir("./etc/")
                .dir("./etc/plain/")
                .file("./etc/plain/a.conf", b"a\n")
                .file("./etc/plain/b.conf", b"b\n")
                .dir("./usr/")
                .dir("./usr/bin/")
                .file("./usr/bin/tool", b"tool\n")
                .link(EntryType::Link, "./usr/bin/tool2", "./usr/bin/tool")
                .symlink("./usr/bin/tool3", "tool"),
        ),
        package(
            &format!("Package: same\nVersion: 2\nArchitecture: {native}\nMulti-Arch: same"),
            &[
                ("md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/lib/same\n"),
                ("triggers", "# none\nactivate-noawait named\n"),
                ("shlibs", "libsame 1 same\n"),
            ],
            Tar::new().dir("./").dir("./usr/").dir("./usr/lib/").file("./usr/lib/same", b""),
        ),
        package(
            "Package: watcher\nVersion: 3~rc1\nArchitecture: all\nDepends: plain, same (>= 1)",
            &[
                ("conffiles", "remove-on-upgrade /etc/old.conf\n/etc/new.conf\n"),
                ("triggers", "interest-noawait named\ninterest /usr/share/watched\n"),
            ],
            Tar::new().dir("./").dir("./etc/").file("./etc/new.conf", b"new\n"),
        ),
    ]
}

/// The tree as an archive in which all times are equal: dpkg's own files are as old as the test.
fn bytes(root: &Path, exclude: &[&str]) -> Vec<u8> {
    let root = fs::File::open(root).unwrap();
    let mut bytes = Vec::new();
    let options = ExportOptions {
        source_date_epoch: 0,
        devices: Devices::Synthesised,
        exclude,
        ..ExportOptions::default()
    };
    export(root.as_fd(), &mut bytes, options).unwrap();
    bytes
}

fn assert_same(ours: &Path, theirs: &Path, exclude: &[&str]) {
    let (one, two) = (bytes(ours, exclude), bytes(theirs, exclude));
    if one == two {
        return;
    }
    let list = |bytes: &[u8]| -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = String::new();
                let _ = std::io::Read::read_to_string(&mut entry, &mut content);
                let header = entry.header();
                let mode = header.mode().unwrap();
                format!("{} {mode:o} {content}", entry.path().unwrap().display())
            })
            .collect()
    };
    let (one, two) = (list(&one), list(&two));
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    panic!("only ours: {:#?}\nonly dpkg's: {:#?}", only(&one, &two), only(&two, &one));
}

#[test]
fn a_native_unpack_is_what_dpkg_does() {
    let site = Site::new();
    let packages = packages();
    let theirs = site.outside();
    for directory in ["info", "updates", "triggers", "alternatives"] {
        fs::create_dir_all(theirs.join("var/lib/dpkg").join(directory)).unwrap();
    }
    fs::write(theirs.join("var/lib/dpkg/status"), "").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut names = Vec::new();
    for package in &packages {
        let path = site.root().join(&package.identity.name);
        fs::write(&path, &package.deb).unwrap();
        let moved = theirs.parent().unwrap().join(&package.identity.name);
        fs::rename(&path, &moved).unwrap();
        let file = fs::File::open(&moved).unwrap();
        sender.send(Arrival { file, identity: package.identity.clone() }).unwrap();
        names.push(moved.to_str().unwrap().to_owned());
    }
    drop(sender);
    let planned = |package: &Package| PlannedPackage {
        identity: package.identity.clone(),
        auto: package.identity.name == "same",
    };
    let plan = Plan {
        architecture: "amd64".into(),
        packages: packages.iter().map(planned).collect(),
        ..Plan::default()
    };
    let root = fs::File::open(site.root()).unwrap();
    let bootstrap = Bootstrap::new(root.as_fd(), &plan, 2, &NEVER);
    let mut staged = bootstrap.unpack(&receiver, &mut |_| {}).unwrap();
    staged.registry.reveal(packages.len()).unwrap();

    let mut arguments = vec!["--unpack"];
    arguments.extend(names.iter().map(String::as_str));
    dpkg(&theirs, &arguments);
    // Everything but the database's own order, which any run of dpkg sets.
    let frame = ["etc/apt", "etc/dpkg", "etc/fstab", "tmp", "var/cache", "var/log", "var/lib/apt"];
    let lists = ["var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock"];
    let other = [
        "var/lib/dpkg/arch",
        "var/lib/dpkg/status",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/parts",
    ];
    assert_same(&site.root(), &theirs, &[&frame[..], &lists, &other].concat());
    let states = installed(root.as_fd()).unwrap();
    assert_eq!(states.len(), packages.len());
    assert!(states.iter().all(|one| one.state == State::Unpacked && !one.held));

    let without_arch = ["var/lib/dpkg/arch", "var/lib/dpkg/status-old", "var/lib/dpkg/parts"];
    for root in [&site.root(), &theirs] {
        dpkg(root, &["--configure", "--pending"]);
    }
    assert_same(&site.root(), &theirs, &[&frame[..], &lists, &without_arch].concat());
    let states = installed(root.as_fd()).unwrap();
    assert!(states.iter().all(|one| one.state == State::Installed), "{states:?}");
}
