//! Makes signed Debian archives: `pool/`, `dists/SUITE/`, indexes in any compression, `by-hash`,
//! `InRelease`, `Release` and `Release.gpg`; sound ones, and ones that lie in one named way.
//!
//! ```no_run
//! use debmock_tests::{archive::ArchiveBuilder, deb::Deb};
//! let archive = ArchiveBuilder::new("bookworm")
//!     .deb(Deb::new("hello", "1.0-1", "amd64").build())
//!     .write(std::path::Path::new("/tmp/archive"));
//! println!("{}", archive.source_line());
//! ```
//!
//! Several suites may share a directory: call [`ArchiveBuilder::write`] with the same path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use openpgp::types::HashAlgorithm;
use sequoia_openpgp as openpgp;
use sha1::Sha1;
use sha2::Sha256;

use crate::compression::Compression;
use crate::deb::{BuiltDeb, hex, paragraph};
use crate::dsc::BuiltSource;
use crate::key::{self, TestKey};

/// How the Release file is signed.
#[derive(Clone, Debug)]
pub enum Signing {
    /// By each of these keys, as it should be.
    By(Vec<TestKey>),
    /// By that key, then one bit of each signature is flipped.
    Corrupted(TestKey),
    /// The signatures are sound signatures by that key, of another Release file.
    OverOtherText(TestKey),
    /// The digest is SHA-1.
    WeakDigest(TestKey),
    /// By that key, but `InRelease` has these unsigned lines before the signed text.
    TextBefore(TestKey, String),
    /// By that key, but `InRelease` has these unsigned lines after the signature.
    TextAfter(TestKey, String),
    /// There is an `InRelease` without signature, and no `Release.gpg`.
    Unsigned,
}

/// Which files carry the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// `InRelease`, `Release` and `Release.gpg`.
    Both,
    /// `InRelease` only.
    Inline,
    /// `Release` and `Release.gpg` only, as on old archives.
    Detached,
}

/// One way for an archive to be wrong, beyond its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The index says another SHA-256 for the `.deb` of that package than its bytes have.
    DebHash(String),
    /// The index says another size for the `.deb` of that package.
    DebSize(String),
    /// The `.deb` of that package is not there.
    DebMissing(String),
    /// The `.deb` of that package has only that many of its bytes; the index describes all.
    DebTruncated(String, usize),
    /// The index has that name of file for that package, such as `../../etc/passwd`.
    DebFilename(String, String),
    /// `Sources` lists, for each source, one more file of that name, such as `../../etc/passwd`.
    SourceFilename(String),
    /// `Sources` has that directory for each source, such as `../../etc`.
    SourceDirectory(String),
    /// `Sources` has that version for each source, such as `1:/../../etc`.
    SourceVersion(String),
    /// `Sources` has other hashes for the files of each source than their bytes have.
    SourceHash,
    /// One byte of each index file is flipped after the Release file was written.
    IndexHash,
    /// The Release file says another size for each index.
    IndexSize,
    /// The index files are not there, though the Release file lists them.
    IndexMissing,
    /// The Release file lists MD5 sums only.
    WeakHashesOnly,
    /// The index is no index, but is properly hashed and signed.
    IndexGarbage,
    /// The Release file has no Date.
    NoDate,
    /// The Release file is for that suite and codename instead.
    OtherSuite(String),
}

/// An archive of one suite under construction.
#[derive(Clone, Debug)]
pub struct ArchiveBuilder {
    suite: String,
    codename: String,
    origin: String,
    label: String,
    version: Option<String>,
    architectures: Vec<String>,
    debs: Vec<(String, BuiltDeb)>,
    sources: Vec<(String, BuiltSource)>,
    compressions: Vec<Compression>,
    by_hash: bool,
    date: u64,
    valid_until: Option<u64>,
    fields: Vec<(String, String)>,
    signing: Signing,
    files: Files,
    lies: Vec<Lie>,
}

/// A written archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The directory that holds `dists/` and `pool/`.
    pub root: PathBuf,
    /// The suite as in the directory's name.
    pub suite: String,
    /// Its components.
    pub components: Vec<String>,
    /// The certificates of the keys that signed, as a keyring file beside `dists/`.
    pub keyring: PathBuf,
}

impl Archive {
    /// `file:` URI of the archive.
    pub fn uri(&self) -> String {
        format!("file:{}", self.root.display())
    }

    /// A one-line source for a URI of this archive, such as one of a test server.
    pub fn source_line_at(&self, uri: &str) -> String {
        let (keyring, suite) = (self.keyring.display(), &self.suite);
        format!("deb [signed-by={keyring}] {uri} {suite} {}", self.components.join(" "))
    }

    /// A one-line source (`sources.list(5)`) for the `file:` URI.
    pub fn source_line(&self) -> String {
        self.source_line_at(&self.uri())
    }

    /// `dists/SUITE`.
    pub fn dist(&self) -> PathBuf {
        self.root.join("dists").join(&self.suite)
    }
}

impl ArchiveBuilder {
    /// Starts a suite as Debian's: origin and label `Debian`, architecture amd64, indexes in xz
    /// and gz with by-hash, dated now, valid for a week, signed by [`TestKey::shared`].
    pub fn new(suite: &str) -> ArchiveBuilder {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        ArchiveBuilder {
            suite: suite.into(),
            codename: suite.into(),
            origin: "Debian".into(),
            label: "Debian".into(),
            version: None,
            architectures: vec!["amd64".into()],
            debs: Vec::new(),
            sources: Vec::new(),
            compressions: vec![Compression::Xz, Compression::Gzip],
            by_hash: true,
            date: now,
            valid_until: Some(now + 7 * 86_400),
            fields: Vec::new(),
            signing: Signing::By(vec![TestKey::shared()]),
            files: Files::Both,
            lies: Vec::new(),
        }
    }

    /// Sets the codename; the default is the suite.
    pub fn codename(mut self, codename: &str) -> Self {
        self.codename = codename.into();
        self
    }

    /// Sets origin and label.
    pub fn origin(mut self, origin: &str, label: &str) -> Self {
        self.origin = origin.into();
        self.label = label.into();
        self
    }

    /// Sets the version of the release.
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the architectures that have indexes. Packages for `all` are in each of them.
    pub fn architectures(mut self, architectures: &[&str]) -> Self {
        self.architectures = architectures.iter().map(|a| a.to_string()).collect();
        self
    }

    /// Adds a package to component `main`.
    pub fn deb(self, deb: BuiltDeb) -> Self {
        self.deb_in("main", deb)
    }

    /// Adds a package to a component.
    pub fn deb_in(mut self, component: &str, deb: BuiltDeb) -> Self {
        self.debs.push((component.into(), deb));
        self
    }

    /// Adds a source package to component `main`.
    pub fn source(mut self, source: BuiltSource) -> Self {
        self.sources.push(("main".into(), source));
        self
    }

    /// Sets the compressions of the indexes.
    pub fn compressions(mut self, compressions: &[Compression]) -> Self {
        self.compressions = compressions.to_vec();
        self
    }

    /// Whether to offer `Acquire-By-Hash`. With it the plain names hold the same files.
    pub fn by_hash(mut self, by_hash: bool) -> Self {
        self.by_hash = by_hash;
        self
    }

    /// Sets `Date`, seconds since 1970.
    pub fn date(mut self, date: u64) -> Self {
        self.date = date;
        self
    }

    /// Sets or removes `Valid-Until`, seconds since 1970.
    pub fn valid_until(mut self, until: Option<u64>) -> Self {
        self.valid_until = until;
        self
    }

    /// Dated 30 days ago, valid until 23 days ago.
    pub fn expired(self) -> Self {
        let date = self.date - 30 * 86_400;
        self.date(date).valid_until(Some(date + 7 * 86_400))
    }

    /// Adds a field to the Release file, such as `NotAutomatic: yes`.
    pub fn release_field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Sets how the Release file is signed.
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// Signed by that key alone.
    pub fn signed_by(self, key: &TestKey) -> Self {
        self.signing(Signing::By(vec![key.clone()]))
    }

    /// Sets which files carry the signature.
    pub fn files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    /// Makes it wrong; may be called several times.
    pub fn lie(mut self, lie: Lie) -> Self {
        self.lies.push(lie);
        self
    }

    fn components(&self) -> Vec<String> {
        let mut all: BTreeSet<String> = self.debs.iter().map(|(c, _)| c.clone()).collect();
        all.extend(self.sources.iter().map(|(c, _)| c.clone()));
        all.insert("main".into());
        all.into_iter().collect()
    }

    /// Writes the archive below `root`, which may exist, and returns where it is. Files of this
    /// suite that are there already are replaced: that is how a mirror moves on.
    pub fn write(&self, root: &Path) -> Archive {
        let dist = root.join("dists").join(&self.suite);
        let mut indexes = BTreeMap::new();
        for component in self.components() {
            for architecture in &self.architectures {
                let text = self.packages(root, &component, architecture);
                indexes.insert(format!("{component}/binary-{architecture}/Packages"), text);
            }
            let text = self.write_sources(root, &component);
            indexes.insert(format!("{component}/source/Sources"), text);
        }
        let mut listed = Vec::new();
        for (name, text) in indexes {
            let mut text = text.into_bytes();
            if self.lies.contains(&Lie::IndexGarbage) {
                text = b"\x00\x01 this is no index\n:::\n\nPackage\n".to_vec();
            }
            // the plain form is listed even where it is not offered, as in Debian's archive
            listed.push((name.clone(), text.clone()));
            for compression in &self.compressions {
                let bytes = compression.bytes(&text);
                let name = format!("{name}{}", compression.extension());
                self.write_index(&dist, &name, &bytes);
                if *compression != Compression::Plain {
                    listed.push((name, bytes));
                }
            }
        }
        let release = self.release(&listed);
        self.write_release(&dist, &release);
        let keyring = root.join(format!("{}-keyring.gpg", self.suite));
        let keys: Vec<u8> = self.keys().iter().flat_map(TestKey::certificate).collect();
        put(&keyring, &keys);
        Archive {
            root: root.to_path_buf(),
            suite: self.suite.clone(),
            components: self.components(),
            keyring,
        }
    }

    fn keys(&self) -> Vec<TestKey> {
        match &self.signing {
            Signing::By(keys) => keys.clone(),
            Signing::Corrupted(key)
            | Signing::OverOtherText(key)
            | Signing::WeakDigest(key)
            | Signing::TextBefore(key, _)
            | Signing::TextAfter(key, _) => vec![key.clone()],
            Signing::Unsigned => vec![TestKey::shared()],
        }
    }

    fn packages(&self, root: &Path, component: &str, architecture: &str) -> String {
        let mut paragraphs = Vec::new();
        for (_, deb) in self.debs.iter().filter(|(c, _)| c == component) {
            let own = deb.field("Architecture").unwrap_or("");
            if own != architecture && own != "all" {
                continue;
            }
            let package = deb.field("Package").unwrap_or("");
            let source = deb.field("Source").unwrap_or(package);
            let source = source.split(' ').next().unwrap_or(package);
            let mut path = format!("{}/{}", pool(component, source), deb.file_name);
            let mut bytes = deb.bytes.as_slice();
            let mut size = bytes.len();
            let mut sha256 = hex(&Sha256::digest(bytes));
            let mut present = true;
            for lie in &self.lies {
                match lie {
                    Lie::DebHash(p) if p == package => sha256 = hex(&Sha256::digest(b"other")),
                    Lie::DebSize(p) if p == package => size += 1,
                    Lie::DebMissing(p) if p == package => present = false,
                    Lie::DebTruncated(p, n) if p == package => bytes = &bytes[..*n],
                    Lie::DebFilename(p, name) if p == package => {
                        present = false;
                        path = name.clone();
                    }
                    _ => {}
                }
            }
            if present {
                put(&root.join(&path), bytes);
            }
            let mut fields = deb.fields.clone();
            fields.push(("Filename".into(), path));
            fields.push(("Size".into(), size.to_string()));
            fields.push(("MD5sum".into(), hex(&Md5::digest(&deb.bytes))));
            fields.push(("SHA256".into(), sha256));
            paragraphs.push(paragraph(&fields));
        }
        paragraphs.sort();
        paragraphs.iter().map(|p| format!("{p}\n")).collect()
    }

    fn write_sources(&self, root: &Path, component: &str) -> String {
        let mut text = String::new();
        for (_, source) in self.sources.iter().filter(|(c, _)| c == component) {
            let directory = pool(component, &source.name);
            for (name, bytes) in &source.files {
                put(&root.join(&directory).join(name), bytes);
            }
            let mut fields = source.fields.clone();
            for field in &mut fields {
                if field.0 == "Source" {
                    field.0 = "Package".into();
                }
            }
            let mut files = source.files.clone();
            let mut directory = directory;
            for lie in &self.lies {
                match lie {
                    Lie::SourceFilename(name) => files.push((name.clone(), b"pwned\n".to_vec())),
                    Lie::SourceDirectory(other) => directory = other.clone(),
                    // the same size, so that it is the hash that tells
                    Lie::SourceHash => files.iter_mut().for_each(|f| f.1.reverse()),
                    _ => {}
                }
            }
            for lie in &self.lies {
                if let Lie::SourceVersion(other) = lie {
                    fields.iter_mut().filter(|(name, _)| name == "Version").for_each(|field| {
                        field.1.clone_from(other);
                    });
                }
            }
            fields.push(("Directory".into(), directory));
            let mut list = |name: &str, sum: &dyn Fn(&[u8]) -> String| {
                let lines: String = files
                    .iter()
                    .map(|(file, bytes)| format!("\n {} {} {file}", sum(bytes), bytes.len()))
                    .collect();
                fields.push((name.into(), lines));
            };
            list("Files", &|b| hex(&Md5::digest(b)));
            list("Checksums-Sha1", &|b| hex(&Sha1::digest(b)));
            list("Checksums-Sha256", &|b| hex(&Sha256::digest(b)));
            text.push_str(&paragraph(&fields));
            text.push('\n');
        }
        text
    }

    fn write_index(&self, dist: &Path, name: &str, bytes: &[u8]) {
        if self.lies.contains(&Lie::IndexMissing) {
            return;
        }
        let mut bytes = bytes.to_vec();
        let honest =
            [("MD5Sum", hex(&Md5::digest(&bytes))), ("SHA256", hex(&Sha256::digest(&bytes)))];
        if self.lies.contains(&Lie::IndexHash) {
            match bytes.last_mut() {
                Some(last) => *last ^= 1,
                None => bytes.push(b'\n'),
            }
        }
        put(&dist.join(name), &bytes);
        if self.by_hash {
            let parent = dist.join(name);
            let parent = parent.parent().unwrap_or(dist);
            for (kind, sum) in honest {
                put(&parent.join("by-hash").join(kind).join(sum), &bytes);
            }
        }
    }

    fn release(&self, listed: &[(String, Vec<u8>)]) -> String {
        let mut fields = vec![
            ("Origin".to_string(), self.origin.clone()),
            ("Label".into(), self.label.clone()),
            ("Suite".into(), self.suite.clone()),
            ("Codename".into(), self.codename.clone()),
        ];
        for lie in &self.lies {
            if let Lie::OtherSuite(other) = lie {
                fields[2].1 = other.clone();
                fields[3].1 = other.clone();
            }
        }
        if let Some(version) = &self.version {
            fields.push(("Version".into(), version.clone()));
        }
        if !self.lies.contains(&Lie::NoDate) {
            fields.push(("Date".into(), rfc2822(self.date)));
        }
        if let Some(until) = self.valid_until {
            fields.push(("Valid-Until".into(), rfc2822(until)));
        }
        if self.by_hash {
            fields.push(("Acquire-By-Hash".into(), "yes".into()));
        }
        fields.push(("Architectures".into(), self.architectures.join(" ")));
        fields.push(("Components".into(), self.components().join(" ")));
        fields.extend(self.fields.iter().cloned());
        let wrong = usize::from(self.lies.contains(&Lie::IndexSize));
        let mut list = |name: &str, sum: &dyn Fn(&[u8]) -> String| {
            let lines: String = listed
                .iter()
                .map(|(file, bytes)| {
                    format!("\n {} {:>16} {file}", sum(bytes), bytes.len() + wrong)
                })
                .collect();
            fields.push((name.into(), lines));
        };
        list("MD5Sum", &|b| hex(&Md5::digest(b)));
        if !self.lies.contains(&Lie::WeakHashesOnly) {
            list("SHA256", &|b| hex(&Sha256::digest(b)));
        }
        paragraph(&fields)
    }

    fn write_release(&self, dist: &Path, release: &str) {
        let keys = self.keys();
        let keys: Vec<&TestKey> = keys.iter().collect();
        let hash = matches!(self.signing, Signing::WeakDigest(_)).then_some(HashAlgorithm::SHA1);
        let mut inline = key::clear_sign(&keys, release.as_bytes(), hash);
        let mut detached = key::detached(&keys, release.as_bytes(), hash);
        match &self.signing {
            Signing::Corrupted(_) => {
                inline = key::corrupt(&inline);
                detached = key::corrupt(&detached);
            }
            Signing::OverOtherText(_) => {
                let other = release.replacen("Origin:", "Origin: another", 1);
                inline = key::transplant(&inline, &key::clear_sign(&keys, other.as_bytes(), None));
                detached = key::detached(&keys, other.as_bytes(), None);
            }
            Signing::TextBefore(_, text) => {
                inline = [text.as_bytes(), b"\n", &inline].concat();
            }
            Signing::TextAfter(_, text) => {
                inline.extend_from_slice(format!("\n{text}\n").as_bytes());
            }
            Signing::Unsigned => inline = release.as_bytes().to_vec(),
            Signing::By(_) | Signing::WeakDigest(_) => {}
        }
        for old in ["InRelease", "Release", "Release.gpg"] {
            // a suite that is written again may change its kind of signature
            let _ = fs::remove_file(dist.join(old));
        }
        if self.files != Files::Detached {
            put(&dist.join("InRelease"), &inline);
        }
        if self.files != Files::Inline {
            put(&dist.join("Release"), release.as_bytes());
            if !matches!(self.signing, Signing::Unsigned) {
                put(&dist.join("Release.gpg"), &detached);
            }
        }
    }
}

/// `pool/main/h/hello`; `lib…` sources have four letters.
fn pool(component: &str, source: &str) -> String {
    let letters = if source.starts_with("lib") { 4 } else { 1 };
    let prefix: String = source.chars().take(letters).collect();
    format!("pool/{component}/{prefix}/{source}")
}

/// Replaces a file as a mirror does: complete or not at all.
fn put(path: &Path, bytes: &[u8]) {
    let parent = path.parent().unwrap_or(path);
    let new = path.with_extension("new");
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&new, bytes))
        .and_then(|()| fs::rename(&new, path))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// A date as Release files and HTTP have it: `Tue, 02 Jan 2024 03:04:05 UTC`.
pub fn rfc2822(seconds: u64) -> String {
    format!("{} UTC", date_words(seconds))
}

/// `Tue, 02 Jan 2024 03:04:05`, from the civil calendar (days since 0000-03-01 in eras of 400
/// years, each of 146,097 days).
pub(crate) fn date_words(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{}, {day:02} {} {year} {h:02}:{m:02}:{s:02}",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(rfc2822(0), "Thu, 01 Jan 1970 00:00:00 UTC");
        assert_eq!(rfc2822(1_704_164_645), "Tue, 02 Jan 2024 03:04:05 UTC");
        assert_eq!(rfc2822(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 UTC");
    }
}
