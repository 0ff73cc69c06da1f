//! Archives that cannot be believed: signatures, keys, hashes, sizes, dates, dependencies. Each
//! is refused with a message that says what, where and what to do, and the next run succeeds once
//! the archive is mended.

use std::fs;

use debmock::ErrorKind;
use debmock_tests::archive::{Files, Lie, Signing};
use debmock_tests::deb::Deb;
use debmock_tests::key::{Flavour, TestKey};
use debmock_tests::rig::{Rig, tiny_archive};
use debmock_tests::{or_skip, tiny};

/// Refused as it is with the words, and fine once it is properly signed by the shared key.
fn signature_is_refused(signing: Signing, files: Files, words: &[&str]) {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound.clone().signing(signing).files(files)));
    rig.trust(&TestKey::shared().certificate());
    rig.assert_refused(ErrorKind::Signature, words);
    assert_eq!(rig.layers(), 0);
    rig.mend(&sound);
    rig.trust(&TestKey::shared().certificate());
    rig.assert_works();
}

#[test]
fn a_wrong_signature_stops_everything() {
    let key = TestKey::shared();
    let words = ["dists/tiny/InRelease", "wrong", "changed after it was signed"];
    signature_is_refused(Signing::Corrupted(key.clone()), Files::Both, &words);
    signature_is_refused(Signing::OverOtherText(key.clone()), Files::Both, &words);
    let words = ["dists/tiny/Release", "wrong", "changed after it was signed"];
    signature_is_refused(Signing::Corrupted(key), Files::Detached, &words);
}

#[test]
fn a_missing_signature_stops_everything() {
    let words = ["dists/tiny/InRelease", "has no signature", "trusted = true"];
    signature_is_refused(Signing::Unsigned, Files::Both, &words);
}

#[test]
fn a_weak_signature_stops_everything() {
    let words = ["dists/tiny/InRelease", "not accepted", "SHA1", "stronger digest"];
    signature_is_refused(Signing::WeakDigest(TestKey::shared()), Files::Both, &words);
}

#[test]
fn text_beside_the_signed_text_stops_everything() {
    let evil = || "Suite: evil".to_string();
    for signing in [
        Signing::TextBefore(TestKey::shared(), evil()),
        Signing::TextAfter(TestKey::shared(), evil()),
    ] {
        signature_is_refused(signing, Files::Inline, &["dists/tiny/InRelease"]);
    }
}

#[test]
fn an_unknown_key_stops_everything() {
    let stranger = TestKey::fresh();
    let words = ["dists/tiny/InRelease", "not trusted", "trusted.gpg", "keyring"];
    signature_is_refused(Signing::By(vec![stranger]), Files::Both, &words);
}

/// A keyring whose only key is no longer good.
fn key_is_refused(flavour: Flavour, words: &[&str]) {
    let sound = or_skip!(tiny_archive());
    let key = TestKey::new(flavour);
    let mut rig = or_skip!(Rig::new(&sound.clone().signed_by(&key)));
    rig.assert_refused(ErrorKind::Signature, words);
    rig.mend(&sound);
    rig.assert_works();
}

#[test]
fn an_expired_key_stops_everything() {
    for flavour in [Flavour::Expired, Flavour::ExpiredSubkey] {
        key_is_refused(flavour, &["dists/tiny/InRelease", "xpired on 20", "update the keyring"]);
    }
}

#[test]
fn a_revoked_key_stops_everything() {
    for flavour in [Flavour::Revoked, Flavour::RevokedSubkey] {
        key_is_refused(flavour, &["dists/tiny/InRelease", "revoked", "update the keyring"]);
    }
}

/// An archive that lies in one way is refused, and works when it no longer lies.
fn lie_is_refused(lie: Lie, kind: ErrorKind, words: &[&str]) {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound.clone().lie(lie)));
    rig.assert_refused(kind, words);
    assert_eq!(rig.layers(), 0);
    // what was refused is not kept
    let partial = rig.area.cache().join("debs/v1/partial");
    assert_eq!(fs::read_dir(&partial).into_iter().flatten().count(), 0);
    rig.mend(&sound);
    rig.assert_works();
}

fn dash() -> String {
    "dash".into()
}

#[test]
fn a_hash_that_does_not_match_stops_everything() {
    let words = ["dash 1.0-1", "pool/main/d/dash/dash_1.0-1", "SHA-256", "instead of", "another"];
    lie_is_refused(Lie::DebHash(dash()), ErrorKind::Archive, &words);
    let words = ["dists/tiny/main/binary-", "SHA-256", "Release file names", "another"];
    lie_is_refused(Lie::IndexHash, ErrorKind::Archive, &words);
}

#[test]
fn a_size_that_does_not_match_stops_everything() {
    let words = ["dash 1.0-1", "pool/main/d/dash/dash_1.0-1", "bytes instead of the", "another"];
    lie_is_refused(Lie::DebSize(dash()), ErrorKind::Archive, &words);
    lie_is_refused(Lie::DebTruncated(dash(), 100), ErrorKind::Archive, &words);
    let words = ["dists/tiny/main/binary-", "bytes instead of the", "another"];
    lie_is_refused(Lie::IndexSize, ErrorKind::Archive, &words);
}

#[test]
fn a_missing_file_of_the_archive_is_named() {
    let words = ["dash 1.0-1", "pool/main/d/dash/dash_1.0-1", "does not exist", "debmock update"];
    lie_is_refused(Lie::DebMissing(dash()), ErrorKind::Archive, &words);
    let words = ["the index", "dists/tiny/main/binary-", "missing", "try again later"];
    lie_is_refused(Lie::IndexMissing, ErrorKind::Archive, &words);
}

#[test]
fn an_index_that_is_no_index_is_named() {
    lie_is_refused(Lie::IndexGarbage, ErrorKind::Archive, &["Packages", "no package"]);
}

#[test]
fn weak_hashes_alone_stop_everything() {
    let words = ["dists/tiny/InRelease", "SHA256"];
    lie_is_refused(Lie::WeakHashesOnly, ErrorKind::Archive, &words);
}

#[test]
fn a_file_name_that_leaves_the_archive_stops_everything() {
    for path in ["../../../../../../etc/passwd", "/etc/passwd", "pool/../../x"] {
        let lie = Lie::DebFilename(dash(), path.into());
        lie_is_refused(lie, ErrorKind::Archive, &["dash", path]);
    }
}

#[test]
fn an_index_past_its_valid_until_is_refused_and_the_config_is_the_way_around() {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound.clone().expired()));
    let words = ["dists/tiny/InRelease", "is expired", "23 days ago", "check_valid_until = false"];
    rig.assert_refused(ErrorKind::Archive, &words);
    assert_eq!(rig.layers(), 0);
    let fresh = or_skip!(Rig::new(&sound.clone().expired()));
    // the way around that the message names, for the archive and for the whole config
    rig.set_archive("check_valid_until = false\n");
    rig.assert_works();
    let mut whole = fresh;
    whole.set("check_valid_until = false\n");
    whole.assert_works();
}

#[test]
fn an_index_from_the_future_is_refused() {
    let sound = or_skip!(tiny_archive());
    let tomorrow = debmock_tests::machine::now() + 86_400;
    let future = sound.clone().date(tomorrow).valid_until(Some(tomorrow + 86_400));
    let mut rig = or_skip!(Rig::new(&future));
    rig.assert_refused(ErrorKind::Archive, &["dists/tiny/InRelease", "from the future", "clock"]);
    rig.mend(&sound);
    rig.assert_works();
}

#[test]
fn a_mirror_that_went_back_in_time_is_warned_of_and_the_newer_index_kept() {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound));
    rig.assert_works();
    let yesterday = debmock_tests::machine::now() - 86_400;
    let more = Deb::new("more", "1", &tiny::native()).essential().build();
    rig.rewrite(&sound.clone().date(yesterday).deb(more));
    let outcome = rig.with(|root, scope| root.clean(scope).and_then(|()| root.init(scope)));
    outcome.result.unwrap();
    let warnings = outcome.warnings.join("\n");
    assert!(warnings.contains("older than the one that was seen before"), "{warnings}");
    assert_eq!(rig.layers(), 1, "the older index was used");
    rig.assert_works();
}

#[test]
fn a_missing_dependency_is_named_with_who_needs_it() {
    let sound = or_skip!(tiny_archive());
    let needy = Deb::new("needy", "1", &tiny::native())
        .essential()
        .field("Depends", "libmissing1 (>= 2.0), dash");
    let mut rig = or_skip!(Rig::new(&sound.clone().deb(needy.clone().build())));
    rig.assert_refused(ErrorKind::Dependency, &["needy", "libmissing1 (>= 2.0)"]);
    // there, but too old
    let old = Deb::new("libmissing1", "1.9", &tiny::native()).build();
    rig.mend(&sound.clone().deb(needy.clone().build()).deb(old));
    rig.assert_refused(ErrorKind::Dependency, &["needy", "libmissing1 (>= 2.0)", "1.9"]);
    let new = Deb::new("libmissing1", "2.0", &tiny::native()).build();
    rig.mend(&sound.clone().deb(needy.build()).deb(new));
    rig.assert_works();
}

#[test]
fn a_package_of_the_config_that_the_archive_has_not_is_named() {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound));
    rig.set("[packages]\ninclude = [\"no-such-package\"]\n");
    rig.assert_refused(ErrorKind::Dependency, &["no-such-package"]);
    rig.mend(&sound.deb(Deb::new("no-such-package", "1", &tiny::native()).build()));
    rig.assert_works();
}

#[test]
fn a_keyring_that_is_missing_or_garbage_is_named() {
    let sound = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&sound));
    let good = TestKey::shared().certificate();
    for bad in [&b"no key at all"[..], b""] {
        rig.trust(bad);
        rig.assert_refused(ErrorKind::Config, &["trusted.gpg"]);
    }
    fs::remove_file(&rig.archive.keyring).unwrap();
    rig.assert_refused(ErrorKind::Config, &["trusted.gpg", "cannot read the keyring"]);
    rig.trust(&good);
    rig.assert_works();
}
