//! A tiny distribution that really runs: the programs that dpkg, apt and maintainer scripts need,
//! taken from this machine and packed under the names of Debian's buildd set. A root made of it
//! has a shell, dpkg and apt, in a few megabytes, without any mirror.
//!
//! It is no copy of Debian: `libc6` holds every shared library that any of the programs needs, and
//! there is no compiler, no perl and no documentation. What it shows is that a root is made and
//! entered, that scripts run and that apt installs; what the real archive does is for `real_*`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::archive::ArchiveBuilder;
use crate::compression::Compression;
use crate::deb::{BuiltDeb, Deb};
use crate::machine::Skip;

/// Packages and their programs; all are Essential but the last two.
const PROGRAMS: [(&str, &[&str]); 12] = [
    ("dash", &["sh"]),
    (
        "coreutils",
        &[
            "cat",
            "chgrp",
            "chmod",
            "chown",
            "cp",
            "date",
            "dirname",
            "echo",
            "env",
            "expr",
            "false",
            "head",
            "id",
            "install",
            "ln",
            "ls",
            "mkdir",
            "mktemp",
            "mv",
            "nproc",
            "printf",
            "pwd",
            "readlink",
            "rm",
            "rmdir",
            "sha256sum",
            "sleep",
            "sort",
            "stat",
            "sync",
            "tail",
            "test",
            "touch",
            "tr",
            "true",
            "tty",
            "uname",
            "wc",
            "whoami",
        ],
    ),
    ("diffutils", &["cmp", "diff"]),
    ("findutils", &["find", "xargs"]),
    ("grep", &["grep"]),
    ("sed", &["sed"]),
    ("tar", &["tar"]),
    ("gzip", &["gzip"]),
    ("util-linux", &["mount", "umount", "setpriv", "su"]),
    (
        "dpkg",
        &[
            "dpkg",
            "dpkg-deb",
            "dpkg-divert",
            "dpkg-query",
            "dpkg-split",
            "dpkg-statoverride",
            "dpkg-trigger",
            "start-stop-daemon",
            "update-alternatives",
        ],
    ),
    ("gpgv", &["gpgv"]),
    ("apt", &["apt-cache", "apt-config", "apt-get", "apt-key", "apt-mark"]),
];

const VERSION: &str = "1.0-1";

/// The packages. They cannot be made on a machine without dpkg and apt.
pub fn debs() -> Result<Vec<BuiltDeb>, Skip> {
    let architecture = native();
    let mut libraries = BTreeMap::new();
    let mut debs = Vec::new();
    for (package, programs) in PROGRAMS {
        let mut deb = Deb::new(package, VERSION, &architecture).compression(Compression::Zstd);
        deb = match package {
            "apt" => deb.field("Depends", "libc6, gpgv").field("Priority", "important"),
            "gpgv" => deb.field("Depends", "libc6").field("Priority", "important"),
            // as Debian's: an essential package works even before its dependencies are configured
            _ => deb.essential().field("Pre-Depends", "libc6"),
        };
        for program in programs {
            let path = match find(program) {
                // later versions of apt verify without it
                Err(_) if *program == "apt-key" => continue,
                found => found?,
            };
            deb = add(deb, &path, &mut libraries);
        }
        match package {
            "dpkg" => {
                deb = deb.dir("/var/lib/dpkg/info", 0o755).dir("/var/lib/dpkg/updates", 0o755);
                // the tables of architectures, without which apt does not start
                for path in regular_files(Path::new("/usr/share/dpkg")) {
                    if path.ends_with("table") {
                        deb = deb.file(&path, 0o644, read(&path));
                    }
                }
                deb = deb.dir("/etc/dpkg/dpkg.cfg.d", 0o755).dir("/etc/alternatives", 0o755);
            }
            "apt" => {
                for dir in ["/usr/lib/apt/methods", "/usr/lib/apt/solvers", "/usr/lib/apt/planners"]
                {
                    for path in regular_files(Path::new(dir)) {
                        deb = add(deb, &path, &mut libraries);
                    }
                }
                for dir in ["apt.conf.d", "preferences.d", "sources.list.d", "trusted.gpg.d"] {
                    deb = deb.dir(&format!("/etc/apt/{dir}"), 0o755);
                }
                for dir in ["/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial"] {
                    deb = deb.dir(dir, 0o755);
                }
                deb = deb.dir("/var/log/apt", 0o755);
            }
            _ => {}
        }
        debs.push(deb.build());
    }
    debs.push(libc(&architecture, libraries)?);
    debs.push(base_files(&architecture));
    debs.push(base_passwd(&architecture));
    debs.push(
        Deb::new("build-essential", VERSION, &architecture).field("Depends", "dpkg, tar").build(),
    );
    Ok(debs)
}

/// An archive of that suite with the packages; more can be added.
pub fn archive(suite: &str) -> Result<ArchiveBuilder, Skip> {
    let builder = ArchiveBuilder::new(suite).architectures(&[&native()]);
    Ok(debs()?.into_iter().fold(builder, ArchiveBuilder::deb))
}

/// Debian's name of this machine's architecture.
pub fn native() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64".into(),
        "aarch64" => "arm64".into(),
        "arm" => "armhf".into(),
        "powerpc64" => "ppc64el".into(),
        other => other.into(),
    }
}

fn libc(architecture: &str, libraries: BTreeMap<String, Vec<u8>>) -> Result<BuiltDeb, Skip> {
    let mut deb = Deb::new("libc6", VERSION, architecture)
        .compression(Compression::Zstd)
        .field("Section", "libs")
        .field("Multi-Arch", "same");
    for (path, content) in libraries {
        deb = deb.file(&path, 0o755, content);
    }
    let ldconfig = find("ldconfig")?;
    Ok(add(deb, &ldconfig, &mut BTreeMap::new()).build())
}

fn base_files(architecture: &str) -> BuiltDeb {
    let mut deb = Deb::new("base-files", VERSION, architecture).essential();
    for dir in ["dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr", "var"] {
        deb = deb.dir(&format!("/{dir}"), 0o755);
    }
    for dir in ["bin", "lib", "lib64", "sbin"] {
        deb = deb.dir(&format!("/usr/{dir}"), 0o755);
        deb = deb.symlink(&format!("/{dir}"), &format!("usr/{dir}"));
    }
    deb.dir("/root", 0o700)
        .dir("/tmp", 0o1777)
        .dir("/var/tmp", 0o1777)
        .file("/etc/debian_version", 0o644, "tiny\n")
        .file("/usr/lib/os-release", 0o644, "ID=debian\nPRETTY_NAME=\"A tiny distribution\"\n")
        .symlink("/etc/os-release", "../usr/lib/os-release")
        .script(
            "postinst",
            "#!/bin/sh\nset -e\nmkdir -p /var/lib/tiny\necho \"$1\" > /var/lib/tiny/configured\n",
        )
        .build()
}

fn base_passwd(architecture: &str) -> BuiltDeb {
    let passwd = "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n\
                  nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    Deb::new("base-passwd", VERSION, architecture)
        .essential()
        .file("/etc/passwd", 0o644, passwd)
        .file("/etc/group", 0o644, "root:x:0:\nadm:x:4:\ntty:x:5:\nnogroup:x:65534:\n")
        .build()
}

fn find(program: &str) -> Result<String, Skip> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|dir| format!("{dir}/{program}"))
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| Skip(format!("this machine has no program {program} to pack")))
}

fn regular_files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|e| e.path().is_file())
        .map(|e| e.path().to_string_lossy().into_owned())
        .collect();
    files.sort();
    files
}

/// Adds a program of the host, links followed, and notes the libraries that it needs.
fn add(deb: Deb, path: &str, libraries: &mut BTreeMap<String, Vec<u8>>) -> Deb {
    let content = read(path);
    if content.starts_with(b"\x7fELF") {
        let ldd = Command::new("ldd").arg(path).output();
        let ldd = ldd.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        // "libc.so.6 => /lib/…/libc.so.6 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"
        for word in ldd.split_whitespace().filter(|w| w.starts_with('/')) {
            libraries.entry(merged(word)).or_insert_with(|| read(word));
        }
    }
    let mode = fs::metadata(path).map_or(0o755, |m| m.permissions().mode() & 0o7777);
    deb.file(&merged(path), mode, content)
}

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// The same path below `/usr`, as packages have it since directories are merged.
fn merged(path: &str) -> String {
    if path.starts_with("/usr/") { path.into() } else { format!("/usr{path}") }
}
