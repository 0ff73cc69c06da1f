//! The oracle of the solver: with the same indexes apt chooses the packages that it chooses.

use std::collections::BTreeSet;
use std::path::Path;

use debmock::archive::acquire::{Acquire, Refresh};
use debmock::archive::index::Packages;
use debmock::archive::state::{ArchiveState, Lists};
use debmock::archive::transport::HostTransport;
use debmock::config::{ArchiveSource, ByHash, Keyring, Network};
use debmock::operation::{CancelToken, Scope};
use debmock::solve::{PackageSet, Request, solve};
use debmock_tests::apt::would_install;
use debmock_tests::machine::{self, Skip};
use debmock_tests::{or_skip, root};

fn state(cache: &Path, suite: &str) -> Result<ArchiveState, Skip> {
    let mirror = machine::mirror()?;
    let source = |(uri, suite): (String, String)| ArchiveSource {
        uri: uri.trim_end_matches('/').to_owned(),
        suite,
        components: vec!["main".into()],
        architectures: Vec::new(),
        keyring: Keyring::Files { files: vec![mirror.keyring.clone()], fingerprints: Vec::new() },
        trusted: false,
        // mirrors of test machines may be frozen
        check_valid_until: false,
        check_date: false,
        valid_until_max: None,
        by_hash: ByHash::Auto,
        origin: Some("Debian".into()),
        presumed: false,
    };
    let sources: Vec<_> = root::archives(&mirror, suite)?.into_iter().map(source).collect();
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
    Ok(acquire.refresh(&sources, "amd64", Refresh::Always).unwrap())
}

fn ours(set: &PackageSet, phase: u32) -> BTreeSet<String> {
    let entries = set.packages.iter().filter(|entry| entry.phase == phase);
    entries.map(|entry| format!("{} {}", entry.name, entry.version)).collect()
}

fn compare(suite: &str, include: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let state = or_skip!(state(&folder.path().join("cache"), suite));
    let packages = Packages::load(&state).unwrap();
    let include_owned: Vec<String> = include.iter().map(|name| name.to_string()).collect();
    let set = solve(&packages, "amd64", &Request::buildd(&include_owned), &Scope::quiet()).unwrap();

    let first = would_install(&state, &folder.path().join("a"), "", &["?essential"]);
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
    let second = would_install(&state, &folder.path().join("b"), &status, &wanted);
    assert_eq!(ours(&set, 1), second, "build packages of {suite} with {include:?}");
}

macro_rules! suites {
    ($( $name:ident )*) => { $(
        #[test]
        fn $name() {
            compare(stringify!($name), &[]);
        }
    )* };
}

suites! { bullseye bookworm trixie forky sid }

#[test]
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
