//! Other tools as judges: installing them, and keeping what they made, under the hash of what it
//! was made from, so that a slow oracle runs once per machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::deb::hex;
use crate::machine::{self, Skip};

/// Where outputs are kept: `DEBMOCK_ORACLE_CACHE`, else `/var/cache/debmock-oracles` for root and
/// `$XDG_CACHE_HOME/debmock-oracles` for users.
pub fn cache_dir() -> PathBuf {
    if let Some(path) = std::env::var_os("DEBMOCK_ORACLE_CACHE") {
        return path.into();
    }
    if machine::is_root() {
        return "/var/cache/debmock-oracles".into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    base.unwrap_or_else(|| panic!("neither XDG_CACHE_HOME nor HOME is set")).join("debmock-oracles")
}

/// A directory that `make` has filled from these inputs, now or in an earlier run. Inputs are all
/// that the output depends on: versions of tools, options, hashes of packages, dates.
///
/// `make` gets an empty directory; the result appears complete or not at all. Two tests that want
/// the same wait for each other.
pub fn cached(name: &str, inputs: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let mut hash = Sha256::new();
    for input in inputs {
        // with lengths, so that ["ab", "c"] is not ["a", "bc"]
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input.as_bytes());
    }
    let key = &hex(&hash.finalize())[..32];
    let base = cache_dir();
    let path = base.join(format!("{name}-{key}"));
    if path.is_dir() {
        return path;
    }
    fs::create_dir_all(&base).unwrap_or_else(|e| panic!("cannot create {}: {e}", base.display()));
    let lock = base.join(format!(".{name}-{key}.lock"));
    let file = fs::File::create(&lock)
        .unwrap_or_else(|e| panic!("cannot create the lock {}: {e}", lock.display()));
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, e)| panic!("cannot lock {}: {e}", lock.display()));
    if path.is_dir() {
        return path;
    }
    // removed on a panic of `make`, and by the next run after a kill
    let aside = base.join(format!(".{name}-{key}.new"));
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir(&aside).unwrap_or_else(|e| panic!("cannot create {}: {e}", aside.display()));
    make(&aside);
    fs::write(aside.join("INPUTS"), inputs.join("\n") + "\n")
        .and_then(|()| fs::rename(&aside, &path))
        .unwrap_or_else(|e| panic!("cannot publish {}: {e}", path.display()));
    path
}

/// Makes a program available, from the Debian package of the same name.
pub fn need(program: &str) -> Result<(), Skip> {
    need_from(program, program)
}

/// Makes a program available, from that Debian package. As root it is installed; otherwise a
/// missing one is a reason to skip.
pub fn need_from(program: &str, package: &str) -> Result<(), Skip> {
    if machine::has(program) {
        return Ok(());
    }
    if !machine::is_root() {
        return Err(Skip(format!("{program} is missing: install the package {package}")));
    }
    let _lock = machine::lock("apt");
    if machine::has(program) {
        return Ok(());
    }
    let output = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
        .arg(package)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .map_err(|e| Skip(format!("{program} is missing, and apt-get cannot be run: {e}")))?;
    if machine::has(program) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|l| !l.is_empty()).unwrap_or("no error").to_string();
    Err(Skip(format!("{program} is missing, and package {package} did not bring it: {last}")))
}

/// The version of an installed Debian package, to be among the inputs of [`cached`] and in
/// reports.
pub fn version(package: &str) -> String {
    machine::run(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]))
}
