//! Makes source packages (`dsc(5)`, `dpkg-source(1)`): formats 1.0, 3.0 (quilt) and 3.0 (native),
//! and hostile ones.
//!
//! The default `debian/rules` uses make, a shell and dpkg-dev only, all of which any buildd root
//! has, so that such a source builds without a single build dependency.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::compression::Compression;
use crate::deb::hex;
use crate::key::TestKey;
use crate::tarball::{self, Entry};

/// The source format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `1.0` with an upstream tarball and a diff; native when the version has no revision.
    V1,
    /// `3.0 (quilt)`.
    Quilt,
    /// `3.0 (native)`.
    Native,
}

impl Format {
    /// As the field `Format` and `debian/source/format` have it.
    pub fn name(self) -> &'static str {
        match self {
            Format::V1 => "1.0",
            Format::Quilt => "3.0 (quilt)",
            Format::Native => "3.0 (native)",
        }
    }
}

/// One way to spoil a source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// The `.dsc` lists, beside its own files, one of that name, such as `../../etc/passwd` or
    /// `/etc/passwd`, with true size and hashes of these bytes.
    NamesFileOutside(String, Vec<u8>),
    /// The SHA-256 of the first file is wrong.
    WrongHash,
    /// The size of the first file is wrong.
    WrongSize,
    /// Only MD5 sums are listed.
    WeakHashesOnly,
    /// The first file is listed but not there.
    MissingFile,
    /// The upstream tarball ends after that many bytes; the `.dsc` describes the short file.
    TruncatedTarball(usize),
    /// The upstream (or native) tarball has a file of that absolute name.
    AbsolutePath(String),
    /// The upstream tarball has a file of that name with `..` in it.
    DotDot(String),
    /// The upstream tarball has a symlink to that directory and a file through it.
    SymlinkThenWrite(String),
    /// `debian` is a symlink to that host directory.
    DebianSymlink(String),
    /// The upstream tarball has a hard link to that name.
    HardlinkOutside(String),
    /// A patch (or the diff) that writes to that name. Not for native packages.
    PatchOutside(String),
    /// A file of that many zero bytes in the upstream tarball.
    Bomb(u64),
    /// The `.dsc` is no control file.
    DscGarbage,
    /// The `.dsc` says that it is another source.
    OtherName(String),
}

/// A source package under construction.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    version: String,
    format: Format,
    binaries: Vec<(String, String)>,
    fields: Vec<(String, String)>,
    upstream: Vec<Entry>,
    debian: Vec<Entry>,
    patches: Vec<(String, String)>,
    rules: Option<String>,
    compression: Compression,
    hostile: Vec<Hostile>,
    signer: Option<TestKey>,
}

/// A finished source package.
#[derive(Clone, Debug)]
pub struct BuiltSource {
    /// `NAME_VERSION.dsc`.
    pub dsc_name: String,
    /// All files, the `.dsc` first.
    pub files: Vec<(String, Vec<u8>)>,
    /// Fields of the `.dsc`, without the lists of files.
    pub fields: Vec<(String, String)>,
    /// Name of the source package.
    pub name: String,
}

impl BuiltSource {
    /// Writes the files into a directory and returns the path of the `.dsc`.
    pub fn write(&self, dir: &std::path::Path) -> std::path::PathBuf {
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            std::fs::write(&path, bytes)
                .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        }
        dir.join(&self.dsc_name)
    }
}

impl Source {
    /// Starts a source package with one binary package of the same name, `Architecture: any`.
    pub fn new(name: &str, version: &str, format: Format) -> Source {
        Source {
            name: name.into(),
            version: version.into(),
            format,
            binaries: vec![(name.into(), "any".into())],
            fields: Vec::new(),
            upstream: Vec::new(),
            debian: Vec::new(),
            patches: Vec::new(),
            rules: None,
            compression: if format == Format::V1 { Compression::Gzip } else { Compression::Xz },
            hostile: Vec::new(),
            signer: None,
        }
    }

    /// Replaces the binary packages: names with their `Architecture`.
    pub fn binaries(mut self, binaries: &[(&str, &str)]) -> Source {
        self.binaries = binaries.iter().map(|(n, a)| (n.to_string(), a.to_string())).collect();
        self
    }

    /// Adds a field to the source paragraph, such as `Build-Depends` or `Rules-Requires-Root`.
    pub fn field(mut self, name: &str, value: &str) -> Source {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Adds an upstream file; `path` is relative to the source tree.
    pub fn file(mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Source {
        self.upstream.push(Entry::file(path, content).mode(mode));
        self
    }

    /// Adds a file below `debian/`.
    pub fn debian_file(mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Source {
        self.debian.push(Entry::file(format!("debian/{path}"), content).mode(mode));
        self
    }

    /// Adds a quilt patch: its name and a unified diff with one leading path component.
    pub fn patch(mut self, name: &str, diff: &str) -> Source {
        self.patches.push((name.into(), diff.into()));
        self
    }

    /// Replaces `debian/rules`.
    pub fn rules(mut self, text: &str) -> Source {
        self.rules = Some(text.into());
        self
    }

    /// Sets the compression of tarballs.
    pub fn compression(mut self, compression: Compression) -> Source {
        self.compression = compression;
        self
    }

    /// Wraps the `.dsc` in a signature, as Debian's are.
    pub fn signed_by(mut self, key: &TestKey) -> Source {
        self.signer = Some(key.clone());
        self
    }

    /// Spoils the package; may be called several times.
    pub fn hostile(mut self, way: Hostile) -> Source {
        self.hostile.push(way);
        self
    }

    /// The version without epoch.
    fn plain_version(&self) -> &str {
        self.version.split_once(':').map_or(self.version.as_str(), |v| v.1)
    }

    fn upstream_version(&self) -> &str {
        self.plain_version().rsplit_once('-').map_or(self.plain_version(), |v| v.0)
    }

    fn is_native(&self) -> bool {
        self.format == Format::Native || self.upstream_version() == self.plain_version()
    }

    /// The whole source tree, names relative to it: for tests that build from a directory.
    pub fn tree(&self) -> Vec<Entry> {
        let mut entries = self.upstream.clone();
        entries.extend(self.debian_tree());
        entries
    }

    /// Writes the source tree into a directory.
    pub fn write_tree(&self, dir: &std::path::Path) {
        for entry in self.tree() {
            let path = dir.join(&entry.path);
            let parent = path.parent().unwrap_or(dir);
            std::fs::create_dir_all(parent)
                .unwrap_or_else(|e| panic!("cannot create {}: {e}", parent.display()));
            if let tarball::Kind::File(content) = &entry.kind {
                use std::os::unix::fs::PermissionsExt;
                std::fs::write(&path, content)
                    .and_then(|()| {
                        let mode = std::fs::Permissions::from_mode(entry.mode);
                        std::fs::set_permissions(&path, mode)
                    })
                    .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
            }
        }
    }

    fn debian_tree(&self) -> Vec<Entry> {
        let mut source = vec![
            ("Source".to_string(), self.name.clone()),
            ("Section".into(), "misc".into()),
            ("Priority".into(), "optional".into()),
            ("Maintainer".into(), "Test Kit <kit@example.org>".into()),
            ("Standards-Version".into(), "4.6.2".into()),
        ];
        if !self.fields.iter().any(|(name, _)| name == "Rules-Requires-Root") {
            source.push(("Rules-Requires-Root".into(), "no".into()));
        }
        source.extend(self.fields.iter().cloned());
        let mut control = crate::deb::paragraph(&source);
        for (name, architecture) in &self.binaries {
            control.push_str(&format!(
                "\nPackage: {name}\nArchitecture: {architecture}\nDepends: ${{misc:Depends}}\n\
                 Description: made by a test\n It does nothing.\n"
            ));
        }
        let changelog = format!(
            "{} ({}) unstable; urgency=medium\n\n  * Made by a test.\n\n \
             -- Test Kit <kit@example.org>  Tue, 02 Jan 2024 03:04:05 +0000\n",
            self.name, self.version
        );
        let rules = self.rules.clone().unwrap_or_else(|| self.default_rules());
        let mut entries = vec![
            Entry::file("debian/changelog", changelog),
            Entry::file("debian/control", control),
            Entry::file("debian/rules", rules).mode(0o755),
        ];
        if self.format != Format::V1 {
            let format = format!("{}\n", self.format.name());
            entries.push(Entry::file("debian/source/format", format));
        }
        let mut patches = self.patches.clone();
        for way in &self.hostile {
            if let (Hostile::PatchOutside(target), Format::Quilt) = (way, self.format) {
                patches.push(("outside".into(), new_file_diff(target, "pwned\n")));
            }
        }
        if !patches.is_empty() {
            let series: String = patches.iter().map(|(name, _)| format!("{name}\n")).collect();
            entries.push(Entry::file("debian/patches/series", series));
            for (name, diff) in patches {
                entries.push(Entry::file(format!("debian/patches/{name}"), diff));
            }
        }
        entries.extend(self.debian.iter().cloned());
        entries
    }

    /// Installs one file per package with the shell and packs with dpkg-deb.
    fn default_rules(&self) -> String {
        let pack = |binaries: Vec<&(String, String)>| -> String {
            binaries
                .iter()
                .map(|(name, _)| {
                    format!(
                        "\trm -rf debian/{name}\n\
                         \tmkdir -p debian/{name}/DEBIAN debian/{name}/usr/share/doc/{name}\n\
                         \techo built > debian/{name}/usr/share/doc/{name}/built\n\
                         \tfind debian/{name} -mindepth 1 -newermt @$(SOURCE_DATE_EPOCH) \
                         -print0 | xargs -0r touch -h -d @$(SOURCE_DATE_EPOCH)\n\
                         \tdpkg-gencontrol -p{name} -Pdebian/{name}\n\
                         \tdpkg-deb --root-owner-group --build debian/{name} ..\n"
                    )
                })
                .collect()
        };
        let all = pack(self.binaries.iter().filter(|b| b.1 == "all").collect());
        let any = pack(self.binaries.iter().filter(|b| b.1 != "all").collect());
        let names: Vec<&str> = self.binaries.iter().map(|b| b.0.as_str()).collect();
        let names = names.iter().map(|n| format!("debian/{n} ")).collect::<String>();
        format!(
            "#!/usr/bin/make -f\n\
             export SOURCE_DATE_EPOCH ?= {epoch}\n\
             build build-arch build-indep:\n\
             clean:\n\trm -rf {names}debian/files debian/substvars\n\
             binary-indep: build-indep\n{all}\
             binary-arch: build-arch\n{any}\
             binary: binary-indep binary-arch\n\
             .PHONY: build build-arch build-indep clean binary-indep binary-arch binary\n",
            epoch = tarball::MTIME
        )
    }

    /// Makes the files.
    pub fn build(&self) -> BuiltSource {
        let (name, version) = (&self.name, self.plain_version());
        let top = format!("{name}-{}", self.upstream_version());
        let ext = self.compression.extension();
        let mut files = Vec::new();
        if self.is_native() {
            let tar = self.tar(&top, &self.tree(), true);
            files.push((format!("{name}_{version}.tar{ext}"), tar));
        } else {
            let tar = self.tar(&top, &self.upstream, true);
            files.push((format!("{name}_{}.orig.tar{ext}", self.upstream_version()), tar));
            if self.format == Format::V1 {
                let diff = Compression::Gzip.bytes(self.diff(&top).as_bytes());
                files.push((format!("{name}_{version}.diff.gz"), diff));
            } else {
                let tar = self.tar("", &self.debian_tree(), false);
                files.push((format!("{name}_{version}.debian.tar{ext}"), tar));
            }
        }
        for way in &self.hostile {
            match way {
                Hostile::TruncatedTarball(n) => files[0].1.truncate(*n),
                Hostile::NamesFileOutside(name, bytes) => files.push((name.clone(), bytes.clone())),
                _ => {}
            }
        }
        let fields = self.dsc_fields();
        let mut dsc = self.dsc(&fields, &files);
        if let Some(key) = &self.signer {
            dsc = String::from_utf8_lossy(&key.clear_sign(dsc.as_bytes())).into_owned();
        }
        files.retain(|(name, _)| {
            let outside = self
                .hostile
                .iter()
                .any(|w| matches!(w, Hostile::NamesFileOutside(n, _) if n == name));
            !outside
        });
        if self.hostile.contains(&Hostile::MissingFile) {
            files.remove(0);
        }
        let dsc_name = format!("{name}_{version}.dsc");
        files.insert(0, (dsc_name.clone(), dsc.into_bytes()));
        BuiltSource { dsc_name, files, fields, name: name.clone() }
    }

    /// A tarball of entries below the directory `top`; the first tarball takes hostile entries.
    fn tar(&self, top: &str, entries: &[Entry], first: bool) -> Vec<u8> {
        let prefix = if top.is_empty() { String::new() } else { format!("{top}/") };
        let mut all = Vec::new();
        if !top.is_empty() {
            all.push(Entry::dir(prefix.clone()));
        }
        for entry in entries {
            let mut entry = entry.clone();
            entry.path = format!("{prefix}{}", entry.path);
            all.push(entry);
        }
        let mut all = tarball::with_parents(&all);
        for way in self.hostile.iter().filter(|_| first) {
            match way {
                Hostile::AbsolutePath(path) => all.push(Entry::file(path.clone(), "pwned\n")),
                Hostile::DotDot(path) => {
                    all.push(Entry::file(format!("{prefix}{path}"), "pwned\n"));
                }
                Hostile::SymlinkThenWrite(dir) => {
                    all.push(Entry::symlink(format!("{prefix}escape"), dir.clone()));
                    all.push(Entry::file(format!("{prefix}escape/pwned"), "pwned\n"));
                }
                Hostile::DebianSymlink(dir) => {
                    all.retain(|e| !e.path.starts_with(&format!("{prefix}debian/")));
                    all.push(Entry::symlink(format!("{prefix}debian"), dir.clone()));
                }
                Hostile::HardlinkOutside(target) => {
                    all.push(Entry::hardlink(format!("{prefix}stolen"), target.clone()));
                }
                Hostile::Bomb(size) => {
                    let kind = tarball::Kind::Zeros(*size);
                    all.push(Entry::new(format!("{prefix}bomb"), kind));
                }
                _ => {}
            }
        }
        self.compression.stream(|w| tarball::write_entries(&all, w))
    }

    /// The diff of format 1.0, which adds `debian/`. It cannot carry modes: dpkg-source makes
    /// `debian/rules` executable by itself.
    fn diff(&self, top: &str) -> String {
        let mut diff = String::new();
        for entry in self.debian_tree() {
            if let tarball::Kind::File(content) = &entry.kind {
                let text = String::from_utf8_lossy(content);
                let path = format!("{top}/{}", entry.path);
                diff.push_str(
                    &new_file_diff(&path, &text).replace("--- a/", &format!("--- {top}.orig/")),
                );
            }
        }
        for way in &self.hostile {
            if let Hostile::PatchOutside(target) = way {
                diff.push_str(&new_file_diff(target, "pwned\n"));
            }
        }
        diff
    }

    fn dsc_fields(&self) -> Vec<(String, String)> {
        let mut name = self.name.clone();
        for way in &self.hostile {
            if let Hostile::OtherName(other) = way {
                name = other.clone();
            }
        }
        let names: Vec<&str> = self.binaries.iter().map(|b| b.0.as_str()).collect();
        let mut architectures: Vec<&str> = self.binaries.iter().map(|b| b.1.as_str()).collect();
        architectures.sort_unstable();
        architectures.dedup();
        let list: String = self
            .binaries
            .iter()
            .map(|(n, a)| format!("\n {n} deb misc optional arch={a}"))
            .collect();
        let mut fields = vec![
            ("Format".to_string(), self.format.name().to_string()),
            ("Source".into(), name),
            ("Binary".into(), names.join(", ")),
            ("Architecture".into(), architectures.join(" ")),
            ("Version".into(), self.version.clone()),
            ("Maintainer".into(), "Test Kit <kit@example.org>".into()),
            ("Standards-Version".into(), "4.6.2".into()),
        ];
        fields.extend(
            self.fields
                .iter()
                .filter(|(n, _)| n.starts_with("Build-") || n == "Testsuite")
                .cloned(),
        );
        fields.push(("Package-List".into(), list));
        fields
    }

    fn dsc(&self, fields: &[(String, String)], files: &[(String, Vec<u8>)]) -> String {
        if self.hostile.contains(&Hostile::DscGarbage) {
            return "no control file\n:::\n\n".into();
        }
        let mut fields = fields.to_vec();
        let spoiled = self.hostile.contains(&Hostile::WrongSize);
        let mut list = |name: &str, sum: &dyn Fn(&[u8]) -> String| {
            let lines: String = files
                .iter()
                .enumerate()
                .map(|(i, (file, bytes))| {
                    let size = bytes.len() + usize::from(spoiled && i == 0);
                    format!("\n {} {size} {file}", sum(bytes))
                })
                .collect();
            fields.push((name.into(), lines));
        };
        if !self.hostile.contains(&Hostile::WeakHashesOnly) {
            list("Checksums-Sha1", &|b| hex(&Sha1::digest(b)));
            list("Checksums-Sha256", &|b| hex(&Sha256::digest(b)));
        }
        list("Files", &|b| hex(&Md5::digest(b)));
        if self.hostile.contains(&Hostile::WrongHash)
            && let Some(sums) = fields.iter_mut().find(|(n, _)| n == "Checksums-Sha256")
        {
            // the first digit after "\n "
            let other = if sums.1.as_bytes()[2] == b'0' { "1" } else { "0" };
            sums.1.replace_range(2..3, other);
        }
        crate::deb::paragraph(&fields)
    }
}

/// A diff that creates a file. The names are of the form `a/PATH` and PATH with one component to
/// strip.
fn new_file_diff(path: &str, text: &str) -> String {
    let lines = text.lines().count();
    let body: String = text.lines().map(|l| format!("+{l}\n")).collect();
    let old = path.split_once('/').map_or(path, |p| p.1);
    format!("--- a/{old}\n+++ {path}\n@@ -0,0 +1,{lines} @@\n{body}")
}
