//! Packages brought into a root in two ways: as debmock does it, and by apt-get itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::run;
use crate::manifest::{Difference, Manifest};

/// What debmock logs where it leaves everything to apt and dpkg.
pub const LEFT: &str = "Left to apt and dpkg: ";
/// What it logs before it does not.
pub const NATIVE: &str = "Unpacking without apt and dpkg";

/// Paths whose content is made of chance, of the time or of what else apt did, with the reason.
const VARYING: &[(&str, &str)] = &[
    ("etc/machine-id", "random"),
    ("var/lib/dbus/machine-id", "random"),
    ("etc/ssh/ssh_host_", "random"),
    ("etc/ssl/certs/ssl-cert-snakeoil.pem", "random"),
    ("etc/ssl/private/ssl-cert-snakeoil.key", "random"),
    ("etc/ssl/certs/java/cacerts", "has the time"),
    ("var/cache/ldconfig/aux-cache", "has the times of files"),
    ("var/lib/dpkg/status-old", "what dpkg had before its last write"),
    ("var/log/", "what was done when"),
    ("etc/bind/rndc.key", "random"),
    ("etc/aliases.db", "has the number of its inode"),
    ("etc/ldap/slapd.d/", "has times and random numbers"),
    ("var/lib/ldap/", "has times and random numbers"),
    ("var/lib/mysql/", "has times and random numbers"),
    ("usr/share/info/dir.old", "what install-info had before its last write"),
];

/// Fails unless `packages` make the same of a root as `apt-get install` makes of another one; only
/// times and [`VARYING`] may differ. `call` gives a call of debmock for the root of that name. What
/// debmock logged.
pub fn assert_same_as_apt(
    folder: &Path,
    call: &dyn Fn(&str) -> Command,
    name: &str,
    packages: &[&str],
) -> String {
    compare_with_apt(folder, call, name, packages)
        .unwrap_or_else(|difference| panic!("{difference}"))
}

/// As [`assert_same_as_apt`].
///
/// # Errors
/// In which paths the roots differ, or how it failed, as text.
pub fn compare_with_apt(
    folder: &Path,
    call: &dyn Fn(&str) -> Command,
    name: &str,
    packages: &[&str],
) -> Result<String, String> {
    let (ours, theirs) = (format!("{name}-ours"), format!("{name}-apt"));
    let output = |command: &mut Command| {
        command.output().unwrap_or_else(|e| panic!("cannot run debmock: {e}"))
    };
    let native = output(call(&ours).args(["--json", "install"]).args(packages));
    let log = String::from_utf8_lossy(&native.stdout).into_owned();
    let apt = output(call(&theirs).args(["apt-cmd", "--", "install"]).args(packages));
    for (went, log) in [(native, log.as_str()), (apt, "")] {
        if !went.status.success() {
            let errors = String::from_utf8_lossy(&went.stderr);
            return Err(format!("{packages:?} cannot be installed:\n{log}\n{errors}"));
        }
    }
    let (ours, theirs) = (manifest(folder, call, &ours), manifest(folder, call, &theirs));
    let found: Vec<_> = theirs.differences(&ours).into_iter().filter(is_unexpected).collect();
    if found.is_empty() {
        return Ok(log);
    }
    let shown: Vec<_> = found.iter().take(40).map(ToString::to_string).collect();
    let left = log.split_once(LEFT).and_then(|(_, why)| why.lines().next());
    Err(format!(
        "with {packages:?} the root differs from that of apt-get in {} paths (first apt-get's; \
         left to apt and dpkg: {left:?}):\n{}",
        found.len(),
        shown.join("\n")
    ))
}

fn is_unexpected(one: &Difference) -> bool {
    let varies = VARYING.iter().any(|(path, _)| one.path.starts_with(path));
    let contents = one.fields.iter().all(|field| ["mtime", "size", "content"].contains(field));
    let is_log = one.path.starts_with("var/log/");
    let times = one.fields.iter().all(|field| *field == "mtime");
    !(times || varies && (contents || is_log))
}

fn manifest(folder: &Path, call: &dyn Fn(&str) -> Command, name: &str) -> Manifest {
    let path = folder.join(format!("{name}.tar"));
    run(call(name).arg("export").arg(&path));
    let file = fs::File::open(&path).unwrap_or_else(|e| panic!("cannot open {name}.tar: {e}"));
    let manifest = Manifest::of_tar(std::io::BufReader::with_capacity(1 << 20, file))
        .unwrap_or_else(|e| panic!("cannot read {name}.tar: {e}"));
    let _ = fs::remove_file(path);
    manifest
}
