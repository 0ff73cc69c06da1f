//! Binary packages of a source by debmock and by sbuild, from the same base, to be compared byte
//! by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::area::Area;
use crate::deb::hex;
use crate::machine::{self, Skip, run};
use crate::user::User;
use crate::{oracle, root};

/// The suite of the sources and of the root.
const SUITE: &str = "bookworm";

/// What both put into `DEB_BUILD_OPTIONS`, which `.buildinfo` files record.
const JOBS: &str = "2";

/// A root to build in, a user with sub-ids (sbuild without root needs them) and a mirror.
#[derive(Debug)]
pub struct Workshop {
    area: Area,
    tar: PathBuf,
    /// What the results depend on besides the source.
    inputs: Vec<String>,
    mirror: machine::Mirror,
    sources: String,
}

impl Workshop {
    /// Makes a root, and exports it for sbuild.
    ///
    /// # Errors
    /// This machine has no root, mirror or sbuild.
    pub fn new() -> Result<Self, Skip> {
        let user = User::with_sub_ids()?;
        oracle::need("sbuild")?;
        let mirror = machine::mirror()?;
        let digest = root::digest(&mirror, SUITE)?;
        let area = Area::of(user);
        let tar = root::by_debmock(&area, SUITE);
        let inputs = vec![
            format!("sbuild {}", oracle::version("sbuild")),
            format!("root {}", sha256(&tar)),
            format!("InRelease {digest}"),
            format!("DEB_BUILD_OPTIONS=parallel={JOBS}"),
        ];
        let packed = area.work().join("Sources.xz");
        download(&format!("{}dists/{SUITE}/main/source/Sources.xz", mirror.uri), &packed);
        let mut sources = String::new();
        let file = fs::File::open(&packed).unwrap_or_else(|e| panic!("cannot open Sources: {e}"));
        liblzma::read::XzDecoder::new(file)
            .read_to_string(&mut sources)
            .unwrap_or_else(|e| panic!("cannot unpack Sources: {e}"));
        Ok(Workshop { area, tar, inputs, mirror, sources })
    }

    /// Fails unless both give the same packages from a source of the suite.
    pub fn assert_same(&self, source: &str) {
        let stanza = self.stanza(source);
        let theirs = self.by_sbuild(source, &stanza);
        let ours = self.by_debmock(source, &stanza);
        let (packages, expected) = (packages(&ours), packages(&theirs));
        assert!(!expected.is_empty(), "sbuild made no package of {source}");
        if packages != expected {
            let mut said = format!("{source}: debmock {packages:#?}\nsbuild {expected:#?}\n");
            for (name, hash) in &expected {
                if packages.get(name).is_some_and(|ours| ours != hash) {
                    said += &explain(&theirs.join(name), &ours.join(name));
                }
            }
            panic!("{said}");
        }
        let (ours, theirs) = (buildinfo(&ours), buildinfo(&theirs));
        for field in [
            "Source",
            "Binary",
            "Architecture",
            "Version",
            "Build-Architecture",
            "Build-Path",
            "Installed-Build-Depends",
            "Environment",
        ] {
            assert_eq!(ours.get(field), theirs.get(field), "{field} of the .buildinfo of {source}");
        }
        for field in ["Checksums-Md5", "Checksums-Sha1", "Checksums-Sha256"] {
            assert_eq!(
                checksums(&ours, field),
                checksums(&theirs, field),
                "{field} of the .buildinfo of {source}"
            );
        }
    }

    /// The fields of a source in the suite's `Sources`.
    pub fn stanza(&self, source: &str) -> BTreeMap<String, String> {
        let start = format!("Package: {source}\n");
        self.sources
            .split("\n\n")
            .find(|stanza| stanza.starts_with(&start))
            .map(fields)
            .unwrap_or_else(|| panic!("{SUITE} has no source {source}"))
    }

    fn by_sbuild(&self, source: &str, stanza: &BTreeMap<String, String>) -> PathBuf {
        let hashes = &stanza["Checksums-Sha256"];
        let mut inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        inputs.extend([source, hashes]);
        oracle::cached(&format!("sbuild-{source}"), &inputs, |dir| {
            let work = self.area.work().join(format!("sbuild-{source}"));
            fs::create_dir(&work).unwrap_or_else(|e| panic!("cannot create a directory: {e}"));
            self.area.user().own(&work);
            let mut dsc = PathBuf::new();
            for line in hashes.lines().filter(|line| !line.trim().is_empty()) {
                let mut words = line.split_whitespace();
                let (hash, name) = (words.next().unwrap_or(""), words.nth(1).unwrap_or(""));
                let file = work.join(name);
                download(&format!("{}{}/{name}", self.mirror.uri, stanza["Directory"]), &file);
                assert_eq!(sha256(&file), hash, "{name} is not what Sources says");
                self.area.user().own(&file);
                if name.ends_with(".dsc") {
                    dsc = file;
                }
            }
            // The exported root has no indexes, and the machine's clock or mirror may be frozen.
            let update = "apt-get -q -o Acquire::Check-Date=false update";
            let mut sbuild = self.area.command("sbuild");
            sbuild
                .args(["--chroot-mode=unshare", "--dist", SUITE, "--arch-any", "--arch-all"])
                .arg(format!("--chroot={}", self.tar.display()))
                .args(["--build-path=/build/reproducible-path", "--no-source"])
                .args(["--no-apt-update", "--no-apt-upgrade", "--no-apt-distupgrade"])
                .args(["--no-run-lintian", "--no-run-piuparts", "--no-run-autopkgtest"])
                .arg(format!("--chroot-setup-commands={update}"))
                .arg(dsc)
                .env("DEB_BUILD_OPTIONS", format!("parallel={JOBS}"))
                // sbuild would pass it on to the build
                .env_remove("LANG")
                .current_dir(&work);
            run(&mut sbuild);
            for entry in fs::read_dir(&work).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".deb") || name.ends_with(".buildinfo") {
                    fs::copy(entry.path(), dir.join(&name))
                        .unwrap_or_else(|e| panic!("cannot keep {name}: {e}"));
                }
            }
        })
    }

    fn by_debmock(&self, source: &str, stanza: &BTreeMap<String, String>) -> PathBuf {
        let results = self.area.work().join(format!("debmock-{source}"));
        run(root::debmock(&self.area, SUITE)
            .args(["rebuild", "-j", JOBS, "--resultdir"])
            .arg(&results)
            .arg(format!("{source}={}", stanza["Version"])));
        results
    }
}

fn download(uri: &str, file: &Path) {
    run(Command::new("/usr/lib/apt/apt-helper").args(["download-file", uri]).arg(file));
}

fn sha256(path: &Path) -> String {
    let mut file =
        fs::File::open(path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hex(&hash.finalize()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(e) => panic!("cannot read {}: {e}", path.display()),
        }
    }
}

/// Names and hashes of the packages in a directory.
fn packages(dir: &Path) -> BTreeMap<String, String> {
    names(dir, ".deb").into_iter().map(|name| (name.clone(), sha256(&dir.join(name)))).collect()
}

fn names(dir: &Path, end: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("no {}: {e}", dir.display()));
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(end)).collect()
}

/// What differs in two packages, as diffoscope shows it.
fn explain(theirs: &Path, ours: &Path) -> String {
    if let Err(why) = oracle::need_from("diffoscope", "diffoscope-minimal") {
        return why.to_string();
    }
    let output = Command::new("diffoscope")
        .args(["--max-report-size=20000", "--text=-"])
        .args([theirs, ours])
        .output();
    output.map_or_else(|e| e.to_string(), |o| String::from_utf8_lossy(&o.stdout).into_owned())
}

/// The only stanza of the only `.buildinfo` of a directory.
fn buildinfo(dir: &Path) -> BTreeMap<String, String> {
    let names = names(dir, ".buildinfo");
    assert_eq!(names.len(), 1, "{} has {names:?}", dir.display());
    let path = dir.join(&names[0]);
    fields(&fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", names[0])))
}

/// Fields of a stanza; continuation lines with their newlines.
fn fields(stanza: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    let mut last = String::new();
    for line in stanza.lines() {
        if let Some(rest) = line.strip_prefix(' ') {
            let value = fields.entry(last.clone()).or_default();
            value.push('\n');
            value.push_str(rest);
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.to_owned();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    fields
}

/// Lines of a checksum field but that of the `.dsc`, which only a build with `--source` lists.
fn checksums<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> Vec<&'a str> {
    let value = fields.get(name).map_or("", String::as_str);
    value.lines().filter(|line| !line.ends_with(".dsc") && !line.trim().is_empty()).collect()
}
