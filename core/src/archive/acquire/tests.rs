//! Refreshing from an archive that misbehaves.

use super::*;
use crate::archive::checksum::Sha256;
use crate::archive::date;
use crate::archive::testing::Signer;
use crate::archive::transport::tests::{Behaviour, Hasty, Server};
use crate::config::{ByHash, Keyring};
use crate::event::What;
use crate::operation::{CancelToken, run};

pub(crate) fn source(uri: &str, suite: &str) -> ArchiveSource {
    ArchiveSource::new(uri, suite, &["main"], Keyring::BuiltIn("test".into()))
}

const PACKAGES: &str = "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a_1_amd64.deb\nSize: 3\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";

struct Archive {
    server: Server,
    signer: Signer,
    cache: tempfile::TempDir,
}

impl Archive {
    fn new() -> Self {
        Archive {
            server: Server::start(),
            signer: Signer::new(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// Two sources of the host's apt for one suite: that of the distribution, and one of which
    /// nobody knows whose it is, served below `/other`.
    fn of_the_host(&self) -> [ArchiveSource; 2] {
        let own = ArchiveSource { origin: Some("Test".into()), presumed: true, ..self.source() };
        let other = ArchiveSource { uri: self.server.url("/other"), ..own.clone() };
        [own, other]
    }

    fn serve_other(&self, file: &str, text: impl Into<Vec<u8>>) {
        self.server.set(&format!("/other/dists/test/{file}"), Behaviour::File(text.into()));
    }

    fn source(&self) -> ArchiveSource {
        ArchiveSource {
            keyring: Keyring::Inline(self.signer.certificate()),
            ..source(&self.server.url("/debian"), "test")
        }
    }

    fn release(packages: &[u8], plain: &[u8], date: i64) -> String {
        format!(
            "Origin: Test\nSuite: test\nDate: {}\nArchitectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n {} {} main/binary-amd64/Packages.gz\n",
            date::format(date),
            Sha256::of(plain),
            plain.len(),
            Sha256::of(packages),
            packages.len(),
        )
    }

    fn publish(&self, date: i64) -> Vec<u8> {
        let packed = gzip(PACKAGES.as_bytes());
        let text = Self::release(&packed, PACKAGES.as_bytes(), date);
        self.serve("InRelease", self.signer.sign_inline(&text).into_bytes());
        self.serve("main/binary-amd64/Packages.gz", packed.clone());
        packed
    }

    fn serve(&self, path: &str, bytes: Vec<u8>) {
        self.server.set(&format!("/debian/dists/test/{path}"), Behaviour::File(bytes));
    }

    /// State, warnings.
    fn refresh(
        &self,
        source: ArchiveSource,
        refresh: Refresh,
    ) -> Result<(ArchiveState, Vec<String>)> {
        self.refresh_all(&[source], refresh)
    }

    fn refresh_all(
        &self,
        sources: &[ArchiveSource],
        refresh: Refresh,
    ) -> Result<(ArchiveState, Vec<String>)> {
        let mut warnings = Vec::new();
        let state = run(
            CancelToken::new(),
            |event| {
                if let What::Warning { message, .. } = &event.what {
                    warnings.push(message.clone());
                }
            },
            |scope| {
                let transport = Hasty::new();
                let lists = Lists::open(self.cache.path())?;
                let acquire = Acquire {
                    transport: &transport,
                    lists: &lists,
                    builtin_keys: |_| None,
                    parallel: 4,
                    scope,
                };
                acquire.refresh(sources, "amd64", refresh)
            },
        )?;
        Ok((state, warnings))
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn without_a_change_only_one_conditional_request_is_made() {
    let archive = Archive::new();
    archive.publish(date::now());
    let (first, warnings) = archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(archive.server.requests().len(), 2);
    assert_eq!(std::fs::read_to_string(&first.suites[0].indexes[0].path).unwrap(), PACKAGES);
    let names: Vec<_> = std::fs::read_dir(&first.lists)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for end in [
        "_debian_dists_test_InRelease",
        "_debian_dists_test_main_binary-amd64_Packages",
        "lock",
        "partial",
        "auxfiles",
    ] {
        assert!(names.iter().any(|name| name.ends_with(end)), "{end} {names:?}");
    }
    let (second, _) = archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(second.lists, first.lists);
    assert_eq!(archive.server.requests(), ["/debian/dists/test/InRelease"]);
    archive.refresh(archive.source(), Refresh::OlderThan(Duration::from_secs(600))).unwrap();
    archive.refresh(archive.source(), Refresh::Never).unwrap();
    assert!(archive.server.requests().is_empty());
}

const IN_RELEASE: &str = "/debian/dists/test/InRelease";

impl Archive {
    /// A signed Release file that is valid until then.
    fn limited(&self, until: i64) -> Vec<u8> {
        let packed = gzip(PACKAGES.as_bytes());
        let text = Self::release(&packed, PACKAGES.as_bytes(), date::now() - 1000);
        let limit = format!("Valid-Until: {}\nSuite: test\n", date::format(until));
        self.signer.sign_inline(&text.replace("Suite: test\n", &limit)).into_bytes()
    }

    /// Where the store keeps the Release file.
    fn kept(&self) -> std::path::PathBuf {
        let objects = std::fs::read_dir(self.cache.path().join("lists/v1/objects")).unwrap();
        let signed = |path: &std::path::PathBuf| {
            String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("BEGIN PGP")
        };
        objects.map(|entry| entry.unwrap().path()).find(signed).unwrap()
    }
}

#[test]
fn that_nothing_has_changed_is_no_answer_to_who_has_nothing() {
    let archive = Archive::new();
    archive.publish(date::now());
    archive.server.set(IN_RELEASE, Behaviour::Unchanged);
    let error = archive.refresh(archive.source(), Refresh::Always).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Archive);
    assert!(error.to_string().contains("304"), "{error}");
    // Nor is it for an index, of which nobody asks whether it has changed.
    archive.publish(date::now());
    let index = "/debian/dists/test/main/binary-amd64/Packages.gz";
    archive.server.set(index, Behaviour::Unchanged);
    let error = archive.refresh(archive.source(), Refresh::Always).unwrap_err();
    assert!(error.to_string().contains("304"), "{error}");
    archive.publish(date::now());
    archive.refresh(archive.source(), Refresh::Always).unwrap();
}

#[test]
fn what_the_store_has_lost_is_not_asked_for_conditionally() {
    let archive = Archive::new();
    archive.publish(date::now());
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    let sound = std::fs::read(archive.kept()).unwrap();
    archive.server.set(IN_RELEASE, Behaviour::Stale(sound.clone()));
    std::fs::remove_file(archive.kept()).unwrap();
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(std::fs::read(archive.kept()).unwrap(), sound);
    // What is damaged is as good as lost.
    let damaged = String::from_utf8_lossy(&sound).replace("Origin: Test", "Origin: Evil");
    std::fs::write(archive.kept(), damaged).unwrap();
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(std::fs::read(archive.kept()).unwrap(), sound);
}

#[test]
fn a_mirror_that_keeps_an_expired_file_for_unchanged_is_asked_again() {
    let archive = Archive::new();
    archive.publish(date::now());
    let now = date::now();
    let expired = archive.limited(now - 100);
    archive.server.set(IN_RELEASE, Behaviour::File(expired.clone()));
    let lenient = ArchiveSource { check_valid_until: false, ..archive.source() };
    archive.refresh(lenient, Refresh::Always).unwrap();
    // It has no other one.
    archive.server.set(IN_RELEASE, Behaviour::Stale(expired));
    let error = archive.refresh(archive.source(), Refresh::Always).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    // It has, and says so to who does not ask whether anything has changed.
    archive.server.set(IN_RELEASE, Behaviour::Stale(archive.limited(now + 10_000)));
    archive.server.requests();
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(archive.server.requests(), [IN_RELEASE, IN_RELEASE]);
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(archive.server.requests(), [IN_RELEASE]);
}

#[test]
fn an_older_release_file_is_not_used() {
    let archive = Archive::new();
    let now = date::now();
    archive.publish(now);
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    archive.publish(now - 1000);
    let (state, warnings) = archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert_eq!(state.suites[0].release.date(), Some(now));
    assert!(warnings[0].contains("older"), "{warnings:?}");
}

#[test]
fn release_with_a_signature_apart_will_do() {
    let archive = Archive::new();
    archive.publish(date::now());
    let text = Archive::release(&gzip(PACKAGES.as_bytes()), PACKAGES.as_bytes(), date::now());
    archive.server.remove("/debian/dists/test/InRelease");
    archive.serve("Release", text.clone().into_bytes());
    let error = archive.refresh(archive.source(), Refresh::Always).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature);
    archive.serve("Release.gpg", archive.signer.sign_detached(&text));
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    archive.serve("Release", text.replace("Test", "Evil").into_bytes());
    assert_eq!(
        archive.refresh(archive.source(), Refresh::Always).unwrap_err().kind(),
        ErrorKind::Signature
    );
}

#[test]
fn what_was_verified_once_counts_with_the_same_keys_only() {
    let archive = Archive::new();
    archive.publish(date::now());
    let keys = archive.cache.path().join("keys.asc");
    let source = ArchiveSource {
        keyring: Keyring::Files { files: vec![keys.clone()], fingerprints: Vec::new() },
        ..archive.source()
    };
    std::fs::write(&keys, archive.signer.certificate()).unwrap();
    let first = archive.refresh(source.clone(), Refresh::Always).unwrap().0;
    let again = archive.refresh(source.clone(), Refresh::Never).unwrap().0;
    assert_eq!(first.digest, again.digest);
    // the very value that was made before
    assert!(std::sync::Arc::ptr_eq(&first.suites[0].release, &again.suites[0].release));
    std::fs::write(&keys, Signer::new().certificate()).unwrap();
    let error = archive.refresh(source.clone(), Refresh::Never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature, "{error}");
    let other = ArchiveSource { keyring: Keyring::Inline(Signer::new().certificate()), ..source };
    let error = archive.refresh(other.clone(), Refresh::Never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature, "{error}");
    let trusted = ArchiveSource { trusted: true, ..other.clone() };
    archive.refresh(trusted, Refresh::Never).unwrap();
    // what counted without a signature does not count as verified
    let error = archive.refresh(other, Refresh::Never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature, "{error}");
}

#[test]
fn every_broken_link_of_the_chain_is_an_error() {
    let archive = Archive::new();
    let packed = archive.publish(date::now());
    let fails = |why: &str| {
        let error = archive.refresh(archive.source(), Refresh::Always).unwrap_err();
        assert!(error.to_string().contains(why), "{error:?}");
        assert!(error.hint().is_some(), "{error:?}");
    };
    let index = "main/binary-amd64/Packages.gz";
    archive.serve(index, packed[1..].to_vec());
    fails("instead of the");
    let mut other = packed.clone();
    *other.last_mut().unwrap() ^= 1;
    archive.serve(index, other);
    fails("has the SHA-256");
    archive.server.remove(&format!("/debian/dists/test/{index}"));
    fails("is missing");
    // A signed bomb: the index decodes to more than the Release file says.
    let bomb = gzip(&vec![b'\n'; 1_000_000]);
    let text = Archive::release(&bomb, b"small", date::now());
    archive.serve("InRelease", archive.signer.sign_inline(&text).into_bytes());
    archive.serve(index, bomb);
    fails("decodes to more than");
    let text = Archive::release(b"garbage", b"small", date::now());
    archive.serve("InRelease", archive.signer.sign_inline(&text).into_bytes());
    archive.serve(index, b"garbage".to_vec());
    fails("cannot be decoded");
    archive.serve("InRelease", b"<html>hello</html>".to_vec());
    fails("has no signature");
    archive.server.remove("/debian/dists/test/InRelease");
    fails("neither InRelease nor Release");
    // None of this spoils the store.
    archive.publish(date::now());
    archive.refresh(archive.source(), Refresh::Always).unwrap();
}

#[test]
fn a_source_of_another_origin_is_left_out() {
    let archive = Archive::new();
    archive.publish(date::now());
    let source = ArchiveSource { origin: Some("Debian".into()), ..archive.source() };
    let error = archive.refresh(source, Refresh::Always).unwrap_err();
    assert!(error.to_string().contains("no archive is left"), "{error}");
}

#[test]
fn a_source_of_nobody_knows_whom_is_left_out_if_another_one_has_the_suite() {
    let archive = Archive::new();
    archive.publish(date::now());
    let sources = archive.of_the_host();
    let left_out = |why: &str| {
        for refresh in [Refresh::Always, Refresh::Never] {
            let (state, warnings) = archive.refresh_all(&sources, refresh).unwrap();
            assert_eq!(state.suites.len(), 1, "{why}");
            let url = archive.server.url("/other/dists/test/");
            let told = |w: &String| w.starts_with(&format!("{url} is left out: "));
            assert_eq!(warnings.iter().filter(|w| told(w)).count(), 1, "{warnings:?}");
            assert!(refresh == Refresh::Never || warnings[0].contains(why), "{warnings:?}");
        }
    };
    left_out("neither InRelease nor Release");
    archive.server.set("/other/dists/test/InRelease", Behaviour::Fails(403, 1000, Vec::new()));
    left_out("403");
    let text = Archive::release(b"x", b"x", date::now()).replace("Origin: Test", "Origin: Else");
    archive.serve_other("InRelease", Signer::new().sign_inline(&text));
    left_out("not trusted");
    archive.serve_other("InRelease", archive.signer.sign_inline(&text));
    left_out("its Origin is \"Else\", not \"Test\"");
    // It alone is not enough, whatever is wrong with it.
    let alone = archive.refresh(sources[1].clone(), Refresh::Always).unwrap_err();
    assert!(alone.to_string().contains("its Origin is \"Else\""), "{alone}");
    assert!(alone.hint().unwrap().contains("archives"), "{alone:?}");
    archive.server.remove("/other/dists/test/InRelease");
    archive.server.remove("/debian/dists/test/InRelease");
    assert!(archive.refresh_all(&sources, Refresh::Always).is_err());
}

#[test]
fn another_sources_release_file_is_asked_for_again_only_if_it_has_changed() {
    let archive = Archive::new();
    archive.publish(date::now());
    let text = Archive::release(b"x", b"x", date::now()).replace("Origin: Test", "Origin: Else");
    archive.serve_other("InRelease", archive.signer.sign_inline(&text));
    let sources = archive.of_the_host();
    archive.refresh_all(&sources, Refresh::Always).unwrap();
    archive.server.requests();
    let within = Refresh::OlderThan(Duration::from_secs(600));
    let (_, warnings) = archive.refresh_all(&sources, within).unwrap();
    assert!(warnings[0].contains("left out"), "{warnings:?}");
    assert!(archive.server.requests().is_empty());
}

#[test]
fn a_source_that_was_the_distributions_is_never_just_left_out() {
    let archive = Archive::new();
    archive.publish(date::now());
    let sources = archive.of_the_host();
    // Its other keys sign what says that it is the distribution's.
    let text = Archive::release(b"x", b"x", date::now());
    archive.serve_other("InRelease", Signer::new().sign_inline(&text));
    let error = archive.refresh_all(&sources, Refresh::Always).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature);
    // It was verified once, and is broken or gone now.
    let packed = gzip(PACKAGES.as_bytes());
    let text = Archive::release(&packed, PACKAGES.as_bytes(), date::now());
    archive.serve_other("InRelease", archive.signer.sign_inline(&text));
    archive.serve_other("main/binary-amd64/Packages.gz", packed);
    assert_eq!(archive.refresh_all(&sources, Refresh::Always).unwrap().0.suites.len(), 2);
    archive.serve_other("InRelease", "<html>hello</html>");
    assert!(archive.refresh_all(&sources, Refresh::Always).is_err());
    archive.server.remove("/other/dists/test/InRelease");
    let error = archive.refresh_all(&sources, Refresh::Always).unwrap_err();
    assert!(error.to_string().contains("neither InRelease") && error.hint().is_some());
}

#[test]
fn updates_and_security_are_never_left_out() {
    let archive = Archive::new();
    archive.publish(date::now());
    let [own, other] = archive.of_the_host();
    for (end, what) in [("security", "security updates"), ("updates", "updates")] {
        let suite = format!("test-{end}");
        let pocket = ArchiveSource { suite, presumed: false, ..other.clone() };
        let error = archive.refresh_all(&[own.clone(), pocket], Refresh::Always).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(hint.contains(&format!("nothing is made without its {what}")), "{hint}");
        assert!(hint.contains("archives"), "{hint}");
    }
}

#[test]
fn a_source_whose_components_no_other_one_has_is_never_left_out() {
    let archive = Archive::new();
    archive.publish(date::now());
    let [own, mut other] = archive.of_the_host();
    other.components.push("contrib".into());
    assert!(archive.refresh_all(&[own, other], Refresh::Always).is_err());
}

#[test]
fn an_architecture_that_one_source_lacks_comes_from_the_others() {
    let archive = Archive::new();
    archive.publish(date::now());
    let text = Archive::release(b"x", b"x", date::now())
        .replace("amd64", "arm64")
        .replace("Suite: test", "Suite: test-updates");
    archive.server.set(
        "/other/dists/test-updates/InRelease",
        Behaviour::File(archive.signer.sign_inline(&text).into_bytes()),
    );
    let [own, other] = archive.of_the_host();
    let updates = ArchiveSource { suite: "test-updates".into(), presumed: false, ..other };
    let (state, warnings) = archive.refresh_all(&[own, updates], Refresh::Always).unwrap();
    let indexes: Vec<_> = state.suites.iter().map(|suite| suite.indexes.len()).collect();
    assert_eq!(indexes, [1, 0]);
    assert!(warnings[0].contains("no packages for main on amd64"), "{warnings:?}");
}

#[test]
fn a_trusted_source_needs_no_signature_and_a_component_that_is_absent_is_told() {
    let archive = Archive::new();
    archive.publish(date::now());
    archive.server.remove("/debian/dists/test/InRelease");
    archive.serve(
        "Release",
        Archive::release(&gzip(PACKAGES.as_bytes()), PACKAGES.as_bytes(), date::now()).into_bytes(),
    );
    let source = ArchiveSource {
        trusted: true,
        components: vec!["main".into(), "nope".into()],
        ..archive.source()
    };
    let (state, warnings) = archive.refresh(source, Refresh::Always).unwrap();
    assert_eq!(state.suites[0].indexes.len(), 1);
    assert!(warnings[0].contains("nope"), "{warnings:?}");
}

#[test]
fn never_without_anything_in_the_store_says_what_to_do() {
    let archive = Archive::new();
    let error = archive.refresh(archive.source(), Refresh::Never).unwrap_err();
    assert!(error.hint().unwrap().contains("debmock update"));
}

#[test]
fn indexes_are_taken_by_hash_where_the_archive_offers_it() {
    let archive = Archive::new();
    let packed = gzip(PACKAGES.as_bytes());
    let text = Archive::release(&packed, PACKAGES.as_bytes(), date::now())
        .replace("Components:", "Acquire-By-Hash: yes\nComponents:");
    archive.serve("InRelease", archive.signer.sign_inline(&text).into_bytes());
    let hashed = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256::of(&packed));
    archive.serve(&hashed, packed.clone());
    archive.refresh(archive.source(), Refresh::Always).unwrap();
    assert!(archive.server.requests()[1].ends_with(&hashed));
    // A mirror that promises it but does not have it: the name will do.
    let other = Archive { cache: tempfile::tempdir().unwrap(), ..archive };
    other.server.remove(&format!("/debian/dists/test/{hashed}"));
    other.serve("main/binary-amd64/Packages.gz", packed);
    let source = ArchiveSource { by_hash: ByHash::Force, ..other.source() };
    assert!(other.refresh(source, Refresh::Always).is_err());
    other.refresh(other.source(), Refresh::Always).unwrap();
}
