//! Bytes that nobody meant: whatever is read is refused or understood, and never panics, never
//! takes absurd amounts of memory, and never leaves the root.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use debmock::ErrorKind;
use debmock::archive::index::Packages;
use debmock::archive::release::Release;
use debmock::archive::signature::Keys;
use debmock::config::{Keyring, Loader, Places};
use debmock_helper::dpkgdb::Identity;
use debmock_helper::protocol::{
    self, BootstrapPlan, Command, Control, Enter, Open, Reply, Request,
};
use debmock_helper::unpack::Unpacker;
use debmock_tests::compression::Compression;
use debmock_tests::deb::Deb;
use debmock_tests::key::TestKey;
use proptest::prelude::*;

/// Changes of a byte string: where (in thousandths of its length), and what is done there.
type Changes = Vec<(u16, u8)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((0_u16..1000, any::<u8>()), 1..6)
}

fn changed(bytes: &[u8], changes: &Changes) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, what) in changes {
        let at = bytes.len() * usize::from(*place) / 1000;
        match what % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *what),
            2 => drop(bytes.drain(at..bytes.len().min(at + usize::from(*what)))),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (what / 32);
                }
            }
        }
    }
    bytes
}

/// A line of `/proc/self/status`, in kilobytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// Fails if the work asks the kernel for more than so many megabytes.
fn within(megabytes: u64, work: impl FnOnce()) {
    let before = memory("VmPeak:");
    work();
    let grown = memory("VmPeak:") - before;
    assert!(grown < megabytes << 10, "{grown} kB more were asked for");
}

fn deb(compression: Compression) -> Vec<u8> {
    Deb::new("sound", "1.0-1", "amd64")
        .script("postinst", "#!/bin/sh\n")
        .conffile("/etc/sound.conf", "x\n")
        .file("/usr/bin/sound", 0o755, "y".repeat(5000))
        .hardlink("/usr/bin/second", "/usr/bin/sound")
        .symlink("/usr/lib/link", "../bin/sound")
        .compression(compression)
        .build()
        .bytes
}

/// Unpacks into a directory that has a neighbour, and looks at the neighbour.
fn unpack(bytes: &[u8]) {
    let area = tempfile::tempdir().unwrap();
    let (root, beside) = (area.path().join("root"), area.path().join("beside"));
    fs::create_dir(&root).unwrap();
    fs::write(&beside, "secret").unwrap();
    let opened = fs::File::open(&root).unwrap();
    let never = AtomicBool::new(false);
    let unpacker = Unpacker::new(opened.as_fd(), &never);
    let identity =
        Identity { name: "sound".into(), version: "1.0-1".into(), architecture: "amd64".into() };
    // refused or not: both are fine
    let _ = unpacker.unpack_deb(bytes, &identity, None);
    let mut names: Vec<_> =
        fs::read_dir(area.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["beside", "root"]);
    assert_eq!(fs::read_to_string(&beside).unwrap(), "secret");
}

fn in_release() -> &'static [u8] {
    static SIGNED: OnceLock<Vec<u8>> = OnceLock::new();
    SIGNED.get_or_init(|| TestKey::shared().clear_sign(release_text().as_bytes()))
}

fn release_text() -> String {
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    format!("Origin: Debian\nSuite: sid\nSHA256:\n {hash} 0 main/binary-amd64/Packages\n")
}

fn keys() -> Keys {
    let keyring = Keyring::Inline(TestKey::shared().armoured());
    Keys::load(&keyring, |_| None).unwrap()
}

fn decode_all(bytes: &[u8]) {
    let _ = protocol::decode::<Request>(bytes);
    let _ = protocol::decode::<Reply>(bytes);
    let _ = protocol::decode::<Command>(bytes);
    let _ = protocol::decode::<Control>(bytes);
    let _ = protocol::decode::<Enter>(bytes);
    let _ = protocol::decode::<Open>(bytes);
    let _ = protocol::decode::<BootstrapPlan>(bytes);
}

fn load_config(path: &Path) {
    let places = Places::below(&path.with_extension("nowhere"));
    if let Err(error) = Loader::at(places).load_file(path) {
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains("config.toml"), "which file? {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_deb_with_flipped_bits_never_panics_and_never_leaves_the_root(
        changes in changes(),
        compression in prop::sample::select(vec![
            Compression::Plain, Compression::Gzip, Compression::Xz, Compression::Zstd,
        ]),
    ) {
        unpack(&changed(&deb(compression), &changes));
    }

    #[test]
    fn a_signed_text_with_flipped_bits_is_refused_or_says_what_was_signed(changes in changes()) {
        let bytes = changed(in_release(), &changes);
        match keys().verify_inline(&bytes, "InRelease") {
            // a change outside the text, such as in the armour's comments
            Ok(text) => {
                let (got, signed) = (String::from_utf8_lossy(&text).into_owned(), release_text());
                prop_assert_eq!(got.trim_end(), signed.trim_end());
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Signature),
        }
    }

    #[test]
    fn any_bytes_as_release_or_index_or_signature_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), changes in changes(),
    ) {
        let _ = Release::parse(&bytes, "Release");
        let _ = Release::parse(&changed(release_text().as_bytes(), &changes), "Release");
        let _ = keys().verify_inline(&bytes, "InRelease");
        let _ = keys().verify_detached(b"text", &bytes, "Release");
        if let Ok(packages) = Packages::from_text(bytes, "http://mirror.example.org", "x") {
            for package in packages.iter() {
                let _ = (package.file_in_archive(), package.relations("Depends"));
            }
        }
    }

    #[test]
    fn any_bytes_as_keyring_never_panic(changes in changes(), armoured in any::<bool>()) {
        let key = TestKey::shared();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.gpg");
        let sound = if armoured { key.armoured().into_bytes() } else { key.certificate() };
        fs::write(&path, changed(&sound, &changes)).unwrap();
        let keyring = Keyring::Files { files: vec![path], fingerprints: Vec::new() };
        match Keys::load(&keyring, |_| None) {
            Ok(keys) => drop(keys.verify_inline(in_release(), "InRelease")),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
        }
    }

    #[test]
    fn any_bytes_from_the_other_side_of_the_socket_are_decoded_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300), changes in changes(),
    ) {
        let plan = BootstrapPlan {
            architecture: "amd64".into(),
            packages: vec![("a".into(), "1".into(), "amd64".into(), true); 3],
            hashes: vec!["00".repeat(32); 3],
            files: Vec::new(),
            passing_files: Vec::new(),
            threads: 2,
        };
        within(64, || {
            decode_all(&bytes);
            decode_all(&changed(&protocol::encode(&plan).unwrap(), &changes));
        });
    }

    #[test]
    fn any_bytes_as_config_are_refused_with_the_name_of_the_file(
        bytes in prop::collection::vec(any::<u8>(), 0..200), changes in changes(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let sound = "suite = \"sid\"\n[build]\njobs = 3\nprofiles = [\"nocheck\"]\n[[archives]]\n\
                     uri = \"http://mirror.example.org\"\nsuites = \"sid\"\n[limits]\nmemory = \"4G\"\n";
        for text in [bytes, changed(sound.as_bytes(), &changes)] {
            fs::write(&path, text).unwrap();
            load_config(&path);
        }
    }
}

#[test]
fn lengths_that_lie_take_no_memory() {
    within(64, || {
        // a variable-length integer of 2^63 in every place where a length may stand
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        for front in 0..40_u8 {
            for fill in 0..6 {
                let bytes = [&[front][..], &vec![1; fill], &huge, &[1; 20]].concat();
                decode_all(&bytes);
            }
        }
    });
}

#[test]
fn configs_that_are_no_files_or_endless_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    load_config(&folder.path().join("config.toml"));
    fs::create_dir(folder.path().join("config.toml")).unwrap();
    load_config(&folder.path().join("config.toml"));
    let path = folder.path().join("a.config.toml");
    for text in ["[".repeat(100_000), format!("x = {}", "[".repeat(100_000)), "a.".repeat(50_000)] {
        fs::write(&path, text).unwrap();
        load_config(&path);
    }
}
