//! Oracle: with the same indexes apt chooses the packages that the solver chooses.
//!
//! Needs the real archive, as the host's apt is configured for it, and the host's apt. Ignored by
//! default because of the first: `cargo nextest run -p debmock --run-ignored only`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of a test")]

use debmock::archive::acquire::{Acquire, Refresh};
use debmock::archive::index::Packages;
use debmock::archive::state::{ArchiveState, Lists, sources_list};
use debmock::archive::transport::HostTransport;
use debmock::config::{ArchiveSource, ByHash, Keyring, Network};
use debmock::operation::{CancelToken, Scope};
use debmock::solve::{PackageSet, Request, solve};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The URI of the host's apt configuration that ends like this.
fn host_uri(end: &str) -> String {
    let folder = Path::new("/etc/apt/sources.list.d");
    let mut text = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        text += &std::fs::read_to_string(entry.path()).unwrap_or_default();
    }
    let commented = |line: &&str| !line.trim_start().starts_with('#');
    let words = text.lines().filter(commented).flat_map(str::split_whitespace);
    let uri = words
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.starts_with("http") && word.ends_with(end));
    uri.unwrap_or_else(|| panic!("this test needs a Debian archive (a URI that ends in {end}) in the host's apt configuration")).to_owned()
}

fn source(uri: &str, suite: &str) -> ArchiveSource {
    ArchiveSource {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        components: vec!["main".into()],
        architectures: Vec::new(),
        keyring: Keyring::Files { files: vec![KEYRING.into()], fingerprints: Vec::new() },
        trusted: false,
        // Mirrors for tests may be frozen.
        check_valid_until: false,
        check_date: true,
        valid_until_max: None,
        by_hash: ByHash::Auto,
        origin: Some("Debian".into()),
        presumed: false,
    }
}

fn state(cache: &Path, suite: &str) -> ArchiveState {
    let main = host_uri("/debian");
    let mut sources = vec![source(&main, suite)];
    if suite != "sid" {
        sources.push(source(&main, &format!("{suite}-updates")));
        sources.push(source(&host_uri("/debian-security"), &format!("{suite}-security")));
    }
    let scope = Scope::quiet();
    let transport = HostTransport::new(&Network::default(), CancelToken::new()).unwrap();
    let lists = Lists::open(cache).unwrap();
    let acquire = Acquire {
        transport: &transport,
        lists: &lists,
        builtin_keys: |_| None,
        parallel: 4,
        scope: &scope,
    };
    acquire.refresh(&sources, "amd64", Refresh::Always).unwrap()
}

/// What apt would install, as `name version`, in a root with the given dpkg status.
fn apt(state: &ArchiveState, root: &Path, status: &str, wanted: &[&str]) -> BTreeSet<String> {
    for folder in [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/dpkg",
        "var/lib/apt",
        "var/cache/apt/archives/partial",
    ] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    std::fs::write(root.join("etc/apt/sources.list"), sources_list(state)).unwrap();
    let conf = format!(
        "Dir \"{0}\";\nDir::State::lists \"{1}\";\nDir::State::status \"{0}/var/lib/dpkg/status\";\nAPT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\nAPT::Install-Recommends \"false\";\npkgCacheGen::ForceEssential \",\";\n",
        root.display(),
        state.lists.display(),
    );
    std::fs::write(root.join("apt.conf"), conf).unwrap();
    let output = Command::new("apt-get")
        .env("APT_CONFIG", root.join("apt.conf"))
        .env("LC_ALL", "C")
        .args(["-s", "-y", "install"])
        .args(wanted)
        .output()
        .expect("this test compares with apt, which must be installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some(format!("{name} {version}"))
    };
    text.lines().filter_map(line).collect()
}

fn ours(set: &PackageSet, phase: u32) -> BTreeSet<String> {
    let entries = set.packages.iter().filter(|entry| entry.phase == phase);
    entries.map(|entry| format!("{} {}", entry.name, entry.version)).collect()
}

fn compare(suite: &str, include: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let state = state(&folder.path().join("cache"), suite);
    let packages = Packages::load(&state).unwrap();
    let include_owned: Vec<String> = include.iter().map(|name| name.to_string()).collect();
    let set = solve(&packages, "amd64", &Request::buildd(&include_owned)).unwrap();

    let first = apt(&state, &folder.path().join("a"), "", &["?essential"]);
    assert_eq!(ours(&set, 0), first, "essential packages of {suite}");

    let mut status = String::new();
    for entry in set.packages.iter().filter(|entry| entry.phase == 0) {
        let package = packages
            .versions(&entry.name)
            .find(|package| package.version() == entry.version)
            .unwrap();
        let paragraph = String::from_utf8_lossy(package.paragraph().text()).into_owned();
        status += &format!("{}\nStatus: install ok installed\n\n", paragraph.trim_end());
    }
    let mut wanted = vec!["build-essential", "apt", "?and(?priority(required),?not(?essential))"];
    wanted.extend(include);
    let second = apt(&state, &folder.path().join("b"), &status, &wanted);
    assert_eq!(ours(&set, 1), second, "build packages of {suite} with {include:?}");
}

/// Needs only the host's apt.
#[test]
fn apt_takes_a_flat_local_archive() {
    use debmock::archive::checksum::Sha256;
    use debmock::archive::writer;
    let folder = tempfile::tempdir().unwrap();
    // apt quotes `_` and `+` in the names of its lists.
    let archive = folder.path().join("my_archive+1");
    std::fs::create_dir(&archive).unwrap();
    let control = "Package: dummy\nVersion: 1:0\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: x\n";
    let deb = writer::empty_deb(control, 0).unwrap();
    let entry = writer::Indexed {
        control,
        filename: "./dummy.deb",
        size: deb.len() as u64,
        sha256: Sha256::of(&deb),
    };
    let index = writer::packages(&[entry]).unwrap();
    let release = writer::release(&[("Suite", "local")], &[("Packages", index.as_bytes())], 0);
    std::fs::write(archive.join("dummy.deb"), deb).unwrap();
    std::fs::write(archive.join("Packages"), index).unwrap();
    std::fs::write(archive.join("Release"), release).unwrap();
    let source = ArchiveSource {
        components: Vec::new(),
        trusted: true,
        origin: None,
        ..source(&format!("copy:{}", archive.display()), "./")
    };
    let scope = Scope::quiet();
    let transport = HostTransport::new(&Network::default(), CancelToken::new()).unwrap();
    let lists = Lists::open(&folder.path().join("cache")).unwrap();
    let acquire = Acquire {
        transport: &transport,
        lists: &lists,
        builtin_keys: |_| None,
        parallel: 1,
        scope: &scope,
    };
    let state = acquire.refresh(&[source], "amd64", Refresh::Always).unwrap();
    let chosen = apt(&state, &folder.path().join("a"), "", &["dummy"]);
    assert_eq!(chosen, ["dummy 1:0".to_owned()].into());
}

macro_rules! suites {
    ($( $name:ident )*) => { $(
        #[test]
        #[ignore = "needs the real archive"]
        fn $name() {
            compare(stringify!($name), &[]);
        }
    )* };
}

suites! { bullseye bookworm trixie forky sid }

#[test]
#[ignore = "needs the real archive"]
fn larger_sets_with_many_alternatives() {
    compare(
        "bookworm",
        &[
            "debhelper",
            "dh-python",
            "python3-all-dev",
            "cmake",
            "meson",
            "default-jdk-headless",
            "golang-any",
            "libcurl4-openssl-dev",
            "texlive-latex-base",
            "mailutils",
            "openssh-server",
            "ca-certificates",
        ],
    );
}
