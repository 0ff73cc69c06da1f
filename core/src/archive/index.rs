//! `Packages` and `Sources` indexes.
//!
//! A `Packages` file has 50 MB. It is read whole and walked through once; of each package only
//! the places of the fields that every search needs are noted. Everything else is read from the
//! text when somebody asks.

use super::checksum::Sha256;
use super::deb822::{Paragraph, paragraphs};
use super::relation::Relations;
use super::state::{ArchiveState, IndexFile};
use super::uri;
use super::version::{self, Version};
use crate::error::{Error, ErrorKind, IoContext, Result};
use memchr::memchr;
use std::ops::Range;

/// The binary packages of all suites of an [`ArchiveState`].
pub struct Packages {
    files: Vec<File>,
    records: Vec<Record>,
    /// Indexes into `records`, ordered by name.
    by_name: Vec<u32>,
}

struct File {
    text: Vec<u8>,
    /// The archive's URI, to which `Filename` is relative.
    base: String,
    /// Index into [`ArchiveState::suites`].
    suite: usize,
    /// For messages: `bookworm main`.
    shown: String,
    priority: i32,
}

/// Where things are in the text of a file.
#[derive(Clone, Copy, Default)]
struct Record {
    file: u32,
    start: u32,
    length: u32,
    name: Span,
    version: Span,
    architecture: Span,
    rank: u8,
    flags: u8,
}

#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    length: u16,
}

const ESSENTIAL: u8 = 1;
const IMPORTANT: u8 = 2;
const PROVIDES: u8 = 4;

/// One version of a binary package in one index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PackageId(u32);

/// What a [`PackageId`] stands for.
#[derive(Clone, Copy)]
pub struct Package<'a> {
    packages: &'a Packages,
    record: &'a Record,
    id: PackageId,
}

impl Packages {
    /// Reads the indexes of `state`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Archive`] for an index larger than 4 GB.
    pub fn load(state: &ArchiveState) -> Result<Self> {
        let mut packages = Packages { files: Vec::new(), records: Vec::new(), by_name: Vec::new() };
        for (suite, found) in state.suites.iter().enumerate() {
            for IndexFile { path, component, .. } in &found.indexes {
                let text =
                    std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
                let shown = format!("{} {component}", found.source.suite).trim_end().to_owned();
                let base = found.source.uri.clone();
                packages.add(text, base, suite, shown, found.release.priority())?;
            }
        }
        packages.sort();
        Ok(packages)
    }

    /// Reads one index from memory, as if it were that of the suite `shown` at `base`.
    ///
    /// # Errors
    /// As [`Packages::load`].
    pub fn from_text(text: Vec<u8>, base: &str, shown: &str) -> Result<Self> {
        let mut packages = Packages { files: Vec::new(), records: Vec::new(), by_name: Vec::new() };
        packages.add(text, base.to_owned(), 0, shown.to_owned(), 500)?;
        packages.sort();
        Ok(packages)
    }

    fn add(
        &mut self,
        text: Vec<u8>,
        base: String,
        suite: usize,
        shown: String,
        priority: i32,
    ) -> Result<()> {
        let too_large =
            || Error::new(ErrorKind::Archive, format!("the index of {shown} is too large"));
        u32::try_from(text.len()).map_err(|_| too_large())?;
        let file = u32::try_from(self.files.len()).map_err(|_| too_large())?;
        let before = self.records.len();
        scan(&text, file, &mut self.records);
        if self.records.len() == before && !text.trim_ascii().is_empty() {
            return Err(Error::new(
                ErrorKind::Archive,
                format!(
                    "the Packages file of {shown} at {} has no package in it",
                    uri::redacted(&base)
                ),
            )
            .with_hint(
                "the archive is not made as it should be: tell who makes it, or take another one",
            ));
        }
        self.files.push(File { text, base, suite, shown, priority });
        Ok(())
    }

    fn sort(&mut self) {
        let mut by_name: Vec<u32> = (0..self.records.len() as u32).collect();
        // Stable: within a name the order of the config's archives remains.
        by_name.sort_by(|a, b| self.name(*a).cmp(self.name(*b)));
        self.by_name = by_name;
    }

    fn span(&self, record: &Record, span: Span) -> &str {
        let text = &self.files[record.file as usize].text;
        let bytes = &text[span.start as usize..span.start as usize + span.length as usize];
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn name(&self, index: u32) -> &str {
        let record = &self.records[index as usize];
        self.span(record, record.name)
    }

    /// How many package versions there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The package of this id.
    pub fn get(&self, id: PackageId) -> Package<'_> {
        Package { packages: self, record: &self.records[id.0 as usize], id }
    }

    /// All packages, in the order of the indexes.
    pub fn iter(&self) -> impl Iterator<Item = Package<'_>> {
        (0..self.records.len() as u32).map(|index| self.get(PackageId(index)))
    }

    /// All versions of the package `name`, in the order of the config's archives.
    pub fn versions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Package<'a>> {
        let start = self.by_name.partition_point(|index| self.name(*index) < name);
        let found = self.by_name[start..].iter();
        found
            .take_while(move |index| self.name(**index) == name)
            .map(|index| self.get(PackageId(*index)))
    }

    /// The suites that were read, for messages: `bookworm main, bookworm-updates main`.
    pub fn shown(&self) -> String {
        let mut names: Vec<&str> = self.files.iter().map(|file| file.shown.as_str()).collect();
        names.dedup();
        names.join(", ")
    }
}

/// Notes every package of `text`: one pass, one search for a newline per line.
fn scan(text: &[u8], file: u32, records: &mut Vec<Record>) {
    // Debian's paragraphs have about 800 bytes.
    records.reserve(text.len() / 900 + 1);
    let mut record = Record { file, ..Record::default() };
    let mut at = 0;
    while at < text.len() {
        let line = &text[at..];
        let end = memchr(b'\n', line).unwrap_or(line.len());
        let next = at + end + 1;
        let value = |name: &[u8]| -> Option<Range<usize>> {
            let rest = line[..end].strip_prefix(name)?;
            let skipped = rest.len() - rest.trim_ascii_start().len();
            Some(
                at + name.len() + skipped
                    ..at + name.len() + rest.trim_ascii_end().len().max(skipped),
            )
        };
        // Fields that begin with another letter are most of the file.
        match line[0] {
            b'P' => {
                if let Some(name) = value(b"Package:") {
                    record.name = span(name);
                } else if let Some(priority) = value(b"Priority:") {
                    record.rank = rank(&text[priority]);
                } else if line.starts_with(b"Provides:") {
                    record.flags |= PROVIDES;
                } else if let Some(flag) = value(b"Protected:") {
                    record.flags |= IMPORTANT * u8::from(&text[flag] == b"yes");
                }
            }
            b'V' => {
                if let Some(version) = value(b"Version:") {
                    record.version = span(version);
                }
            }
            b'A' => {
                if let Some(architecture) = value(b"Architecture:") {
                    record.architecture = span(architecture);
                }
            }
            b'E' => {
                if let Some(flag) = value(b"Essential:") {
                    record.flags |= ESSENTIAL * u8::from(&text[flag] == b"yes");
                }
            }
            b'I' => {
                if let Some(flag) = value(b"Important:") {
                    record.flags |= IMPORTANT * u8::from(&text[flag] == b"yes");
                }
            }
            b'\n' => {
                push(&mut record, at, records);
                record = Record { file, start: next as u32, ..Record::default() };
            }
            _ => {}
        }
        at = next;
    }
    push(&mut record, text.len(), records);
}

fn push(record: &mut Record, end: usize, records: &mut Vec<Record>) {
    // Without a name or version it is no package.
    if record.name.length > 0 && record.version.length > 0 {
        record.length = end as u32 - record.start;
        records.push(*record);
    }
}

fn span(range: Range<usize>) -> Span {
    match u16::try_from(range.len()) {
        Ok(length) => Span { start: range.start as u32, length },
        // No name or version is that long.
        Err(_) => Span::default(),
    }
}

/// Priorities (Policy section 2.5), most important first.
fn rank(priority: &[u8]) -> u8 {
    match priority {
        b"required" => 1,
        b"important" => 2,
        b"standard" => 3,
        b"optional" => 4,
        b"extra" => 5,
        _ => 6,
    }
}

impl<'a> Package<'a> {
    /// Its id.
    pub fn id(&self) -> PackageId {
        self.id
    }

    /// `Package`.
    pub fn name(&self) -> &'a str {
        self.packages.span(self.record, self.record.name)
    }

    /// `Version`.
    pub fn version(&self) -> &'a str {
        self.packages.span(self.record, self.record.version)
    }

    /// `Architecture`.
    pub fn architecture(&self) -> &'a str {
        self.packages.span(self.record, self.record.architecture)
    }

    /// `Essential: yes`.
    pub fn is_essential(&self) -> bool {
        self.record.flags & ESSENTIAL != 0
    }

    /// `Protected: yes` or `Important: yes`.
    pub fn is_important(&self) -> bool {
        self.record.flags & IMPORTANT != 0
    }

    /// Whether it provides anything.
    pub fn has_provides(&self) -> bool {
        self.record.flags & PROVIDES != 0
    }

    /// `Priority` as a number: 1 is required, 6 is none.
    pub fn rank(&self) -> u8 {
        self.record.rank
    }

    /// The pin priority of its suite.
    pub fn pin(&self) -> i32 {
        self.file().priority
    }

    /// Index of its suite in [`ArchiveState::suites`].
    pub fn suite(&self) -> usize {
        self.file().suite
    }

    /// Its suite and component, for messages.
    pub fn from(&self) -> &'a str {
        &self.file().shown
    }

    fn file(&self) -> &'a File {
        &self.packages.files[self.record.file as usize]
    }

    /// The whole paragraph.
    pub fn paragraph(&self) -> Paragraph<'a> {
        let start = self.record.start as usize;
        Paragraph::new(&self.file().text[start..start + self.record.length as usize])
    }

    /// Any field, empty if it is absent.
    pub fn field(&self, name: &str) -> &'a str {
        self.paragraph().text_of(name)
    }

    /// A dependency field.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is not understood.
    pub fn relations(&self, field: &str) -> Result<Relations> {
        Relations::parse(self.field(field)).map_err(|error| {
            error.context(format!(
                "the field {field} of {} {} in {}",
                self.name(),
                self.version(),
                self.from()
            ))
        })
    }

    /// `Size` in bytes, `SHA256`, and where the file is.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if one of the fields is missing or makes no sense.
    pub fn file_in_archive(&self) -> Result<(u64, Sha256, String)> {
        let bad = |field: &str| {
            let (name, version, from) = (self.name(), self.version(), self.from());
            Error::new(
                ErrorKind::Archive,
                format!(
                    "{name} {version} in {from} has no usable {field}: {:?} in the index",
                    self.field(field)
                ),
            )
            .with_hint(
                "the archive is not made as it should be: tell who makes it, or take another one",
            )
        };
        let size = self.field("Size").parse().map_err(|_| bad("Size"))?;
        let sha256 =
            Sha256::parse_hex(self.field("SHA256").as_bytes()).ok_or_else(|| bad("SHA256"))?;
        let path = self.field("Filename");
        if path.is_empty() || path.split('/').any(|part| part == "..") {
            return Err(bad("Filename"));
        }
        Ok((
            size,
            sha256,
            uri::join(&self.file().base, &uri::encode(path.trim_start_matches("./"))),
        ))
    }
}

/// A source package of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// URI of the directory of its files.
    pub directory: String,
    /// Index of its suite in [`ArchiveState::suites`].
    pub suite: usize,
    /// Name, size and hash of its files, the `.dsc` among them.
    pub files: Vec<(String, u64, Sha256)>,
    /// The whole paragraph.
    pub paragraph: String,
}

/// Finds the source package `name` in the indexes that [`super::acquire::Acquire::source_indexes`]
/// gave: this version, or the highest one.
///
/// # Errors
/// [`ErrorKind::Source`] if there is none, [`ErrorKind::Archive`] for an entry that is not usable.
pub fn find_source(
    state: &ArchiveState,
    indexes: &[(usize, IndexFile)],
    name: &str,
    wanted: Option<&str>,
) -> Result<SourceEntry> {
    let mut best: Option<SourceEntry> = None;
    let mut others = Vec::new();
    let needle = format!("Package: {name}\n");
    for (suite, index) in indexes {
        let text =
            std::fs::read(&index.path).doing(|| format!("cannot read {}", index.path.display()))?;
        let starts = memchr::memmem::find_iter(&text, needle.as_bytes());
        for at in starts.filter(|at| *at == 0 || text[*at - 1] == b'\n') {
            // The field need not be the first of its paragraph.
            let start = memchr::memmem::rfind(&text[..at], b"\n\n").map_or(0, |end| end + 2);
            let Some(paragraph) = paragraphs(&text[start..]).next() else { continue };
            let version = paragraph.text_of("Version");
            if wanted.is_some_and(|wanted| version::compare(wanted, version).is_ne()) {
                others.push(version.to_owned());
                continue;
            }
            let better =
                best.as_ref().is_none_or(|best| version::compare(&best.version, version).is_lt());
            if better {
                best = Some(entry(state, *suite, paragraph, name)?);
            }
        }
    }
    // Those that have sources; packages that were given as files are an archive, too.
    let asked = |at: usize| indexes.iter().any(|(suite, _)| *suite == at);
    let named = state.suites.iter().enumerate().filter(|(at, suite)| {
        asked(*at) || (indexes.is_empty() && !suite.source.components.is_empty())
    });
    let suites: Vec<String> = named.map(|(_, suite)| suite.shown()).collect();
    best.ok_or_else(|| {
        let version = wanted.map(|version| format!(" {version}")).unwrap_or_default();
        let error = Error::new(
            ErrorKind::Source,
            format!("there is no source package {name}{version} in {}", suites.join(", ")),
        );
        match others.is_empty() {
            true => error.with_hint(
                "check the name; a binary package may come from a source package with another name",
            ),
            false => error.with_hint(format!("these versions are there: {}", others.join(", "))),
        }
    })
}

fn entry(
    state: &ArchiveState,
    suite: usize,
    paragraph: Paragraph<'_>,
    name: &str,
) -> Result<SourceEntry> {
    let bad = |what: &str| {
        Error::new(
            ErrorKind::Archive,
            format!("the index entry of the source {name} has no usable {what}"),
        )
    };
    // Policy sections 5.6.1 and 5.6.12. Both become parts of paths in the store.
    let plain =
        name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.".contains(&c));
    if !plain || name.starts_with('.') {
        return Err(bad("Package"));
    }
    let version = Version::parse(paragraph.text_of("Version"))
        .map_err(|error| bad("Version").with_source(error))?;
    let directory = paragraph.text_of("Directory");
    if directory.split('/').any(|part| part == "..") {
        return Err(bad("Directory"));
    }
    let files =
        file_table(paragraph.text_of("Checksums-Sha256")).ok_or_else(|| bad("Checksums-Sha256"))?;
    if files.is_empty() {
        return Err(bad("Checksums-Sha256"));
    }
    Ok(SourceEntry {
        name: name.to_owned(),
        version: version.to_string(),
        directory: uri::join(&state.suites[suite].source.uri, &uri::encode(directory)),
        suite,
        files,
        paragraph: String::from_utf8_lossy(paragraph.text()).into_owned(),
    })
}

/// The lines `HASH SIZE NAME` of a `Checksums-Sha256` field. A name that is not a plain file
/// name, or one that stands twice, makes the whole table unusable.
pub(super) fn file_table(value: &str) -> Option<Vec<(String, u64, Sha256)>> {
    let mut files: Vec<(String, u64, Sha256)> = Vec::new();
    for line in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let hash = Sha256::parse_hex(words.next()?.as_bytes())?;
        let size = words.next()?.parse().ok()?;
        let name = words.next()?;
        let plain = !name.contains('/') && !name.starts_with('.') && !name.contains('\0');
        if !plain || words.next().is_some() || files.iter().any(|(other, ..)| other == name) {
            return None;
        }
        files.push((name.to_owned(), size, hash));
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "Package: b\nVersion: 2\nArchitecture: amd64\nEssential: yes\nPriority: required\nDescription: x\n Package: no\n\nVersion: 1:1\nPackage: a\nArchitecture: all\nProvides: v (= 1)\nFilename: ./pool/a.deb\nSize: 3\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\nPackage: b\nVersion: 3\n\nPackage: broken\n";

    #[test]
    fn packages_are_found_by_name() {
        let packages =
            Packages::from_text(TEXT.into(), "http://mirror.example.org/debian", "x main").unwrap();
        let versions: Vec<_> = packages.versions("b").map(|package| package.version()).collect();
        assert_eq!(versions, ["2", "3"]);
        let b = packages.versions("b").next().unwrap();
        assert!(b.is_essential() && b.rank() == 1 && !b.has_provides());
        assert_eq!(packages.versions("broken").count(), 0);
        let a = packages.versions("a").next();
        // The version that stood before the name belongs to the paragraph all the same.
        let a = a.unwrap();
        assert_eq!((a.version(), a.architecture()), ("1:1", "all"));
        assert!(a.file_in_archive().unwrap().2.ends_with("/debian/pool/a.deb"));
        assert!(b.file_in_archive().is_err());
    }

    #[test]
    fn tables_with_paths_are_refused() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_table(&format!("\n {hash} 3 a.dsc\n {hash} 4 b.tar")).unwrap().len(), 2);
        for bad in ["../a", "/a", "a/b", "..", ".a", "a b"] {
            assert!(file_table(&format!("{hash} 3 {bad}")).is_none(), "{bad}");
        }
        assert!(file_table(&format!("{hash} 3 a\n{hash} 3 a")).is_none());
        assert!(file_table("x 3 a").is_none());
    }

    proptest! {
        #[test]
        fn no_index_panics(text in "((Package|Version|Size|X): ?[a-c.:]{0,4}\n|\n| x\n|\\PC{0,5}){0,20}") {
            let Ok(packages) = Packages::from_text(text.into_bytes(), "file:/x", "x") else {
                return Ok(());
            };
            for package in packages.iter() {
                prop_assert!(!package.name().is_empty());
                let _ = (package.file_in_archive(), package.relations("Depends"), package.field("X"));
            }
        }
    }
}
