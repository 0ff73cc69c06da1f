//! Packages that are damaged or hostile: properly hashed and signed by an archive that may be
//! wrong or evil. Nothing outside the root is ever read, made or changed, and what is refused is
//! named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use debmock::ErrorKind;
use debmock_tests::deb::{BuiltDeb, Deb, Hostile};
use debmock_tests::rig::{Rig, assert_says, said, said_on_terminal, tiny_archive};
use debmock_tests::{or_skip, tiny};

/// A package with a bit of sound content too, in every root (essential).
fn evil() -> Deb {
    Deb::new("evil", "1.0-1", &tiny::native()).essential().file("/usr/share/evil/x", 0o644, "x")
}

/// The rig's archive with one more package.
fn rig_with(deb: BuiltDeb) -> Result<Rig, debmock_tests::machine::Skip> {
    Rig::new(&tiny_archive()?.deb(deb))
}

/// Each refused with its words and the name of the package; without the package all is well.
fn refused(ways: &[(Hostile, &[&str])]) {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound));
    for (way, words) in ways {
        rig.mend(&sound.clone().deb(evil().hostile(way.clone()).build()));
        rig.assert_refused(ErrorKind::Bootstrap, &[&["evil"], *words].concat());
        assert_eq!(rig.layers(), 0, "{way:?}");
    }
    rig.mend(&sound);
    rig.assert_works();
}

/// Refused or harmless: whatever it says about `outside` stays in the root.
fn stays_inside(ways: impl Fn(&Path) -> Vec<Hostile>) {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound));
    let outside = rig.area.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret\n").unwrap();
    for way in ways(&outside) {
        rig.mend(&sound.clone().deb(evil().hostile(way.clone()).build()));
        if let Err(error) = rig.init().result {
            assert_says(&error, ErrorKind::Bootstrap, &["evil"]);
            rig.assert_nothing_lost();
        }
        let names: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "{way:?}");
        let secret = outside.join("secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret\n", "{way:?}");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{way:?}");
        rig.with(|root, scope| root.clean(scope)).result.unwrap();
    }
    rig.mend(&sound);
    rig.assert_works();
}

#[test]
fn a_truncated_deb_is_named() {
    let whole = evil().build().bytes.len();
    let lengths = [0, 5, 8, 40, 68, 72, 130, 400, whole - 600, whole - 100, whole - 2];
    refused(&lengths.map(|length| (Hostile::TruncatedAt(length), &[][..])));
}

#[test]
fn a_deb_with_absolute_paths_is_refused() {
    let words = &["/etc/pwned", "would leave the root"];
    refused(&[(Hostile::AbsolutePath("/etc/pwned".into()), words)]);
}

#[test]
fn a_deb_with_dot_dot_is_refused() {
    let outside = "would leave the root";
    refused(&[
        (Hostile::DotDot("./../../etc/pwned".into()), &["./../../etc/pwned", outside]),
        (Hostile::DotDot("../pwned".into()), &["../pwned", outside]),
        (Hostile::DotDot("./usr/../../pwned".into()), &["./usr/../../pwned", outside]),
        (Hostile::DotDot("./usr/..".into()), &["./usr/..", outside]),
    ]);
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
    let words = &["./stolen", "hard link", "/etc/shadow"];
    refused(&[
        (Hostile::HardlinkOutside("/etc/shadow".into()), words),
        (Hostile::HardlinkOutside("../../etc/shadow".into()), words),
    ]);
}

#[test]
fn a_deb_with_devices_is_refused() {
    let device = |block| Hostile::Device { block, major: 8, minor: 0 };
    let words = &["./dev/own", "device node"];
    refused(&[(device(true), words), (device(false), words)]);
}

#[test]
fn a_deb_with_absurd_sizes_is_refused() {
    refused(&[
        (Hostile::AbsurdTarSize(1 << 40), &["./absurd", "larger than allowed"]),
        (Hostile::AbsurdTarSize(u64::MAX / 2), &["bytes of data"]),
        (Hostile::AbsurdTarSize(1 << 20), &["truncated"]),
        (Hostile::AbsurdArSize(9_999_999_999), &[]),
        (Hostile::NameBomb(100_000), &["larger than allowed"]),
    ]);
}

#[test]
fn a_deb_that_is_a_bomb_is_refused() {
    refused(&[
        (Hostile::Bomb(1 << 28), &["./bomb", "larger than allowed"]),
        (Hostile::ControlBomb(1 << 28), &["control.tar", "allowed"]),
    ]);
}

#[test]
fn a_deb_that_is_none_is_refused() {
    refused(&[
        (Hostile::ArGarbage, &["is not a Debian package"]),
        (Hostile::FormatVersion, &["debian-binary", "format version"]),
        (Hostile::NoData, &["data.tar"]),
        (Hostile::NoControl, &["control.tar"]),
        (Hostile::DataGarbage, &["data.tar"]),
        (Hostile::FlippedByte, &["data.tar"]),
        (Hostile::BadTarChecksum, &["data.tar", "checksum"]),
    ]);
}

#[test]
fn a_deb_that_is_another_than_its_index_entry_says_is_refused() {
    let why = "does not belong to its index entry";
    refused(&[
        (Hostile::ControlName("other".into()), &["other", why]),
        (Hostile::ControlVersion("6.6".into()), &["6.6", why]),
        (Hostile::ControlArchitecture("s390x".into()), &["s390x", why]),
    ]);
}

#[test]
fn a_deb_with_hostile_control_files_is_refused() {
    let escape = |path: &str| Hostile::ControlEscape(path.into());
    refused(&[
        (escape("../../etc/pwned"), &["control.tar", "etc/pwned"]),
        (escape("./sub/postinst"), &["control.tar", "sub/postinst"]),
        (Hostile::ControlSymlink("/etc/shadow".into()), &["control.tar", "postinst"]),
        (Hostile::ControlGarbage, &["control"]),
    ]);
}

#[test]
fn odd_names_in_a_deb_never_reach_the_terminal() {
    let mut rig = or_skip!(rig_with(evil().hostile(Hostile::UnprintableName).build()));
    if let Err(error) = rig.init().result {
        assert_says(&error, ErrorKind::Bootstrap, &["evil"]);
    }
    rig.assert_nothing_lost();
    let clean = |rig: &Rig| rig.with(|root, scope| root.clean(scope)).result.unwrap();
    let sound = or_skip!(tiny_archive());
    // A script that says more than it should, before it fails and is quoted.
    let script = "#!/bin/sh\n\
        printf 'Removing \\033]0;pwned\\007 (1) ...\\n'\n\
        printf 'the disk \\033[2Jis\\r\\302\\2332J sad\\033[6n\\n'\n\
        exit 3\n";
    for (deb, quoted) in [
        (evil().hostile(Hostile::UnprintableName), ""),
        (evil().script("postinst", script), "the disk [2Jis2J sad[6n"),
    ] {
        rig.mend(&sound.clone().deb(deb.build()));
        for arguments in [&["init"][..], &["-v", "init"], &["-q", "init"]] {
            let program = || {
                clean(&rig);
                let mut program = rig.program(arguments);
                program.env("NO_COLOR", "1");
                program
            };
            for said in [said(program()), said_on_terminal(program())] {
                said.assert_harmless();
                assert!(said.text.contains(quoted), "{arguments:?}: {:?}", said.text);
            }
        }
    }
    rig.mend(&sound);
    clean(&rig);
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
