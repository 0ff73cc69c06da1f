//! Packages that are damaged or hostile: properly hashed and signed by an archive that may be
//! wrong or evil. Nothing outside the root is ever read, made or changed, and what is refused is
//! named.

use std::fs;
use std::path::Path;

use debmock::ErrorKind;
use debmock_tests::deb::{BuiltDeb, Deb, Hostile};
use debmock_tests::rig::{Rig, assert_says, tiny_archive};
use debmock_tests::{or_skip, tiny};

/// A package with a bit of sound content too, in every root (essential).
fn evil() -> Deb {
    Deb::new("evil", "1.0-1", &tiny::native()).essential().file("/usr/share/evil/x", 0o644, "x")
}

/// The rig's archive with one more package.
fn rig_with(deb: BuiltDeb) -> Result<Rig, debmock_tests::machine::Skip> {
    Rig::new(&tiny_archive()?.deb(deb))
}

/// Refused with these words and the name of the package; without the package all is well.
fn refused(way: Hostile, words: &[&str]) {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(rig_with(evil().hostile(way).build()));
    let words = [&["evil"], words].concat();
    rig.assert_refused(ErrorKind::Bootstrap, &words);
    assert_eq!(rig.layers(), 0);
    rig.mend(&sound);
    rig.assert_works();
}

/// Refused or harmless: whatever it says about `outside` stays in the root.
fn stays_inside(ways: impl Fn(&Path) -> Vec<Hostile>) {
    let probe = or_skip!(rig_with(evil().build()));
    let outside = probe.area.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret\n").unwrap();
    let sound = or_skip!(tiny_archive());
    for way in ways(&outside) {
        let mut rig = or_skip!(rig_with(evil().hostile(way.clone()).build()));
        if let Err(error) = rig.init().result {
            assert_says(&error, ErrorKind::Bootstrap, &["evil"]);
            rig.assert_nothing_lost();
        }
        let names: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "{way:?}");
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret\n", "{way:?}");
        let linked =
            std::os::unix::fs::MetadataExt::nlink(&fs::metadata(outside.join("secret")).unwrap());
        assert_eq!(linked, 1, "{way:?}");
        rig.mend(&sound);
        rig.with(|root, scope| root.clean(scope)).result.unwrap();
        rig.assert_works();
    }
}

#[test]
fn a_truncated_deb_is_named() {
    let whole = evil().build().bytes.len();
    for length in [0, 5, 8, 40, 68, 72, 130, 400, whole - 600, whole - 100, whole - 2] {
        refused(Hostile::TruncatedAt(length), &[]);
    }
}

#[test]
fn a_deb_with_absolute_paths_is_refused() {
    refused(Hostile::AbsolutePath("/etc/pwned".into()), &["/etc/pwned", "would leave the root"]);
}

#[test]
fn a_deb_with_dot_dot_is_refused() {
    for path in ["./../../etc/pwned", "../pwned", "./usr/../../pwned", "./usr/.."] {
        refused(Hostile::DotDot(path.into()), &[path, "would leave the root"]);
    }
}

#[test]
fn a_deb_with_symlink_escapes_stays_in_the_root() {
    stays_inside(|outside| {
        let text = outside.display().to_string();
        vec![
            Hostile::SymlinkThenWrite(text.clone()),
            Hostile::SymlinkThenWrite(format!("../../../../../../../..{text}")),
            Hostile::SymlinkThenWrite(format!("/proc/self/root{text}")),
            Hostile::SymlinkThenWrite(format!("/proc/1/root{text}")),
            Hostile::SymlinkThenReplace(format!("{text}/secret")),
        ]
    });
}

#[test]
fn a_deb_with_hard_link_escapes_stays_in_the_root() {
    stays_inside(|outside| {
        let text = outside.display().to_string();
        vec![
            Hostile::HardlinkOutside(format!("{text}/secret")),
            Hostile::HardlinkOutside(format!("./../../../../../../..{text}/secret")),
            Hostile::HardlinkThroughSymlink(text, "secret".into()),
        ]
    });
    let words = ["./stolen", "hard link", "/etc/shadow"];
    refused(Hostile::HardlinkOutside("/etc/shadow".into()), &words);
    refused(Hostile::HardlinkOutside("../../etc/shadow".into()), &words);
}

#[test]
fn a_deb_with_devices_is_refused() {
    for block in [true, false] {
        let way = Hostile::Device { block, major: 8, minor: 0 };
        refused(way, &["./dev/own", "device node"]);
    }
}

#[test]
fn a_deb_with_absurd_sizes_is_refused() {
    refused(Hostile::AbsurdTarSize(1 << 40), &["./absurd", "larger than allowed"]);
    refused(Hostile::AbsurdTarSize(u64::MAX / 2), &["bytes of data"]);
    refused(Hostile::AbsurdTarSize(1 << 20), &["truncated"]);
    refused(Hostile::AbsurdArSize(9_999_999_999), &[]);
    refused(Hostile::NameBomb(100_000), &["larger than allowed"]);
}

#[test]
fn a_deb_that_is_a_bomb_is_refused() {
    refused(Hostile::Bomb(3 << 30), &["./bomb", "larger than allowed"]);
    refused(Hostile::ControlBomb(1 << 30), &["control.tar", "allowed"]);
}

#[test]
fn a_deb_that_is_none_is_refused() {
    refused(Hostile::ArGarbage, &["is not a Debian package"]);
    refused(Hostile::FormatVersion, &["debian-binary", "format version"]);
    refused(Hostile::NoData, &["data.tar"]);
    refused(Hostile::NoControl, &["control.tar"]);
    refused(Hostile::DataGarbage, &["data.tar"]);
    refused(Hostile::FlippedByte, &["data.tar"]);
    refused(Hostile::BadTarChecksum, &["data.tar", "checksum"]);
}

#[test]
fn a_deb_that_is_another_than_its_index_entry_says_is_refused() {
    refused(Hostile::ControlName("other".into()), &["other", "does not belong to its index entry"]);
    refused(Hostile::ControlVersion("6.6".into()), &["6.6", "does not belong to its index entry"]);
    refused(Hostile::ControlArchitecture("s390x".into()), &["s390x", "does not belong"]);
}

#[test]
fn a_deb_with_hostile_control_files_is_refused() {
    refused(Hostile::ControlEscape("../../etc/pwned".into()), &["control.tar", "etc/pwned"]);
    refused(Hostile::ControlEscape("./sub/postinst".into()), &["control.tar", "sub/postinst"]);
    refused(Hostile::ControlSymlink("/etc/shadow".into()), &["control.tar", "postinst"]);
    refused(Hostile::ControlGarbage, &["control"]);
}

#[test]
fn odd_names_in_a_deb_never_reach_the_terminal() {
    let mut rig = or_skip!(rig_with(evil().hostile(Hostile::UnprintableName).build()));
    if let Err(error) = rig.init().result {
        assert_says(&error, ErrorKind::Bootstrap, &["evil"]);
    }
    rig.assert_nothing_lost();
    rig.mend(&or_skip!(tiny_archive()));
    rig.with(|root, scope| root.clean(scope)).result.unwrap();
    rig.assert_works();
}

#[test]
fn two_packages_with_one_file_are_both_named() {
    let other = Deb::new("other", "1", &tiny::native()).essential();
    let other = other.file("/usr/share/evil/x", 0o644, "y").build();
    let archive = or_skip!(tiny_archive()).deb(evil().build()).deb(other);
    let mut rig = or_skip!(Rig::new(&archive));
    let words = ["evil", "other", "usr/share/evil/x", "Replaces"];
    rig.assert_refused(ErrorKind::Bootstrap, &words);
    rig.mend(&or_skip!(tiny_archive()));
    rig.assert_works();
}

#[test]
fn a_maintainer_script_that_fails_is_named_with_what_it_said() {
    for (script, text) in [
        ("postinst", "#!/bin/sh\necho the disk is sad >&2\nexit 3\n"),
        ("preinst", "#!/bin/sh\necho the disk is sad >&2\nexit 3\n"),
    ] {
        let mut rig = or_skip!(rig_with(evil().script(script, text).build()));
        rig.assert_refused(ErrorKind::Bootstrap, &["evil", "the disk is sad"]);
        assert_eq!(rig.layers(), 0);
        rig.mend(&or_skip!(tiny_archive()));
        rig.assert_works();
    }
    // one that cannot even be started
    let mut rig = or_skip!(rig_with(evil().script("preinst", "#!/no/such/shell\n").build()));
    rig.assert_refused(ErrorKind::Bootstrap, &["evil"]);
    rig.mend(&or_skip!(tiny_archive()));
    rig.assert_works();
}

#[test]
fn a_package_that_is_damaged_in_the_store_is_fetched_again() {
    let sound = or_skip!(tiny_archive());
    let rig = or_skip!(Rig::new(&sound));
    rig.assert_works();
    let store = rig.area.cache().join("debs/v1");
    let debs = || {
        let folders = fs::read_dir(&store).unwrap().flatten().map(|entry| entry.path());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
        files.map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "deb"))
    };
    for path in debs() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(&path, bytes).unwrap();
    }
    let scrubbed = rig.with(|root, scope| {
        root.scrub(&[debmock::buildroot::Scrub::Chroot, debmock::buildroot::Scrub::Layers], scope)
    });
    scrubbed.result.unwrap();
    assert_eq!(rig.layers(), 0);
    let outcome = rig.init();
    outcome.result.unwrap();
    let warnings = outcome.warnings.join("\n");
    assert!(warnings.contains("dash 1.0-1 is damaged in the store and is fetched again"));
    rig.assert_works();
}
