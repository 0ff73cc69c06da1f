//! The host's apt as a judge of what is to be installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use debmock::archive::state::{ArchiveState, sources_list};

/// What apt would install, as `name version`, in a root with the given dpkg status.
pub fn would_install(
    state: &ArchiveState,
    root: &Path,
    status: &str,
    wanted: &[&str],
) -> BTreeSet<String> {
    for folder in [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/dpkg",
        "var/lib/apt",
        "var/cache/apt/archives/partial",
    ] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("no {}: {e}", folder.display()));
    }
    let write = |name: &str, text: &str| {
        fs::write(root.join(name), text).unwrap_or_else(|e| panic!("cannot write {name}: {e}"));
    };
    write("var/lib/dpkg/status", status);
    write("etc/apt/sources.list", &sources_list(state));
    let conf = format!(
        "Dir \"{0}\";\nDir::State::lists \"{1}\";\nDir::State::status \"{0}/var/lib/dpkg/status\";\nAPT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\nAPT::Install-Recommends \"false\";\npkgCacheGen::ForceEssential \",\";\n",
        root.display(),
        state.lists.display(),
    );
    write("apt.conf", &conf);
    let output = Command::new("apt-get")
        .env("APT_CONFIG", root.join("apt.conf"))
        .env("LC_ALL", "C")
        .args(["-s", "-y", "install"])
        .args(wanted)
        .output()
        .unwrap_or_else(|e| panic!("this test compares with apt, which must be installed: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some(format!("{name} {version}"))
    };
    text.lines().filter_map(line).collect()
}
