//! Roots of a Debian suite from this machine's mirror, by debmock and by mmdebstrap, as archives
//! that [`crate::manifest`] compares.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::area::Area;
use crate::deb::hex;
use crate::machine::{self, Mirror, Skip, run};
use crate::manifest::Manifest;
use crate::oracle;

/// `SOURCE_DATE_EPOCH` of the roots: 2025-06-15 15:06:40 UTC. Packages of the newer suites have
/// files from after it, so that clamping has something to do.
pub const EPOCH: u64 = 1_750_000_000;

/// What mmdebstrap takes from the machine that it runs on, and debmock must not, or a root would
/// depend on where it was made. Everything else is the same.
pub const ACCEPTED: [(&str, &str); 3] = [
    ("etc/apt/sources.list", "mmdebstrap writes the lines it was given, debmock its config's"),
    ("etc/hostname", "mmdebstrap copies the host's name, debmock writes the config's"),
    ("etc/resolv.conf", "mmdebstrap copies the host's; debmock mounts one per session"),
];

/// What else differs in a suite, for the same reason.
const ACCEPTED_IN: [(&str, &str, &str); 2] = [
    ("bullseye", "var/cache/apt/archives/partial", HOSTS_APT),
    ("bullseye", "var/lib/apt/lists/partial", HOSTS_APT),
];
const HOSTS_APT: &str = "the host's apt, which mmdebstrap runs, gives its partial directories to \
    the host's user _apt (42 since bookworm); in bullseye that user is 100";

/// URI and suite of the archives of a Debian suite: itself, updates and security.
pub fn archives(mirror: &Mirror, suite: &str) -> Result<Vec<(String, String)>, Skip> {
    let mut archives = vec![(mirror.uri.clone(), suite.to_owned())];
    // unstable gets its security fixes as uploads
    if suite != "sid" {
        archives.push((mirror.uri.clone(), format!("{suite}-updates")));
        let security = mirror.security.clone().ok_or_else(|| {
            Skip("apt has no index of Debian's security archive: add it to the sources".into())
        })?;
        archives.push((security, format!("{suite}-security")));
    }
    Ok(archives)
}

/// Lines of `sources.list(5)` for a suite, for mmdebstrap. Dates are not checked: mirrors of test
/// machines may be frozen.
fn sources(mirror: &Mirror, suite: &str) -> Result<Vec<String>, Skip> {
    let keyring = mirror.keyring.display();
    let options = format!("signed-by={keyring} check-valid-until=no check-date=no");
    let line = |(uri, suite)| format!("deb [{options}] {uri} {suite} main");
    Ok(archives(mirror, suite)?.into_iter().map(line).collect())
}

/// Digest of the signed Release files of a suite as the mirror has them now: it names the package
/// set that apt can choose from.
pub fn digest(mirror: &Mirror, suite: &str) -> Result<String, Skip> {
    let area = Area::new();
    let file = area.work().join("InRelease");
    let mut hash = Sha256::new();
    for (uri, suite) in archives(mirror, suite)? {
        let uri = format!("{uri}dists/{suite}/InRelease");
        run(Command::new("/usr/lib/apt/apt-helper").args(["download-file", &uri]).arg(&file));
        hash.update(read(&file));
        let _ = fs::remove_file(&file);
    }
    Ok(hex(&hash.finalize()))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The tar archive of mmdebstrap's buildd variant of a suite, made at most once for a state of the
/// mirror and a version of mmdebstrap; both are written down beside it, in `INPUTS`.
pub fn by_mmdebstrap(suite: &str) -> Result<PathBuf, Skip> {
    machine::need_root()?;
    oracle::need("mmdebstrap")?;
    let mirror = machine::mirror()?;
    let sources = sources(&mirror, suite)?;
    let version = format!("mmdebstrap {}", oracle::version("mmdebstrap"));
    let epoch = format!("SOURCE_DATE_EPOCH {EPOCH}");
    let digest = format!("InRelease {}", digest(&mirror, suite)?);
    let mut inputs = vec![version.as_str(), suite, &epoch, &digest];
    inputs.extend(sources.iter().map(String::as_str));
    let dir = oracle::cached(&format!("mmdebstrap-{suite}"), &inputs, |dir| {
        run(Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=buildd", "--format=tar", suite])
            .arg(dir.join("root.tar"))
            .args(&sources)
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .env("LC_ALL", "C.UTF-8"));
    });
    Ok(dir.join("root.tar"))
}

/// A call of debmock for a suite's root, which says nothing but errors.
pub fn debmock(area: &Area, suite: &str) -> Command {
    let mut command = debmock_talking(area, suite);
    command.arg("--quiet");
    command
}

/// A call of debmock for a suite's root. Dates are not checked, as for mmdebstrap.
pub fn debmock_talking(area: &Area, suite: &str) -> Command {
    let mut command = area.debmock();
    command.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
    command.args(["-o", "check_valid_until=false", "-o", "check_date=false"]);
    command.args(["-r", &format!("debian-{suite}")]);
    command
}

/// The tar archive that debmock exports of a new root of a suite.
pub fn by_debmock(area: &Area, suite: &str) -> PathBuf {
    let file = area.work().join(format!("{suite}.tar"));
    run(debmock(area, suite).arg("init"));
    run(debmock(area, suite).arg("export").arg(&file));
    file
}

/// Fails unless debmock's root of a suite is mmdebstrap's but for the accepted differences.
pub fn assert_same(area: &Area, suite: &str, oracle: &Path) {
    let manifest = |path: &Path| {
        let file =
            fs::File::open(path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
        Manifest::of_tar(std::io::BufReader::with_capacity(1 << 20, file))
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    };
    let theirs = manifest(oracle);
    let ours = manifest(&by_debmock(area, suite));
    // an empty or cut archive would be equal to another
    assert!(theirs.len() > 5_000, "mmdebstrap's root of {suite} has {} paths", theirs.len());
    let mut accepted = ACCEPTED.to_vec();
    accepted.extend(ACCEPTED_IN.iter().filter(|one| one.0 == suite).map(|one| (one.1, one.2)));
    let found = theirs.unexpected(&ours, &accepted);
    assert!(
        found.is_empty(),
        "the root of {suite} differs from mmdebstrap's in {} paths (first mmdebstrap's):\n{}",
        found.len(),
        found.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
}
