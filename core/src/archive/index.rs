//! `Packages` and `Sources` indexes, as those who look for packages need them.

use super::checksum::Sha256;
use super::deb822::Paragraph;
use super::relation::Relations;
use super::state::{ArchiveState, IndexFile};
use super::table::{Index, Record};
use super::uri;
use super::version::{self, Version};
use crate::error::{Error, ErrorKind, Result};

/// The binary packages of all suites of an [`ArchiveState`].
#[derive(Default)]
pub struct Packages {
    files: Vec<File>,
    /// All packages, ordered by name, and within a name in the order of the config's archives.
    by_name: Vec<PackageId>,
}

struct File {
    index: Index,
    /// The id of its first package.
    first: u32,
    /// The archive's URI, to which `Filename` is relative.
    base: String,
    /// Index into [`ArchiveState::suites`].
    suite: usize,
    /// For messages: `bookworm main`.
    shown: String,
    priority: i32,
}

/// One version of a binary package in one index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PackageId(u32);

/// What a [`PackageId`] stands for.
#[derive(Clone, Copy)]
pub struct Package<'a> {
    file: &'a File,
    record: &'a Record,
    id: PackageId,
}

impl Packages {
    /// Reads the indexes of `state`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Archive`] for an index larger than 4 GB.
    pub fn load(state: &ArchiveState) -> Result<Self> {
        let mut packages = Packages::default();
        for (suite, found) in state.suites.iter().enumerate() {
            for IndexFile { path, component, .. } in &found.indexes {
                let shown = format!("{} {component}", found.source.suite).trim_end().to_owned();
                let index = Index::open(path, &shown)?;
                let base = found.source.uri.clone();
                packages.add(index, base, suite, shown, found.release.priority())?;
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
        let mut packages = Packages::default();
        packages.add(Index::of(text, shown)?, base.to_owned(), 0, shown.to_owned(), 500)?;
        packages.sort();
        Ok(packages)
    }

    fn add(
        &mut self,
        index: Index,
        base: String,
        suite: usize,
        shown: String,
        priority: i32,
    ) -> Result<()> {
        if index.len() == 0 && !index.is_blank() {
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
        let too_large =
            |_| Error::new(ErrorKind::Archive, format!("the index of {shown} is too large"));
        let first = u32::try_from(self.by_name.len()).map_err(too_large)?;
        u32::try_from(self.by_name.len() + index.len()).map_err(too_large)?;
        self.by_name.extend(index.by_name().iter().map(|number| PackageId(first + number)));
        self.files.push(File { index, first, base, suite, shown, priority });
        Ok(())
    }

    fn sort(&mut self) {
        let mut by_name = std::mem::take(&mut self.by_name);
        // Stable: within a name the order of the config's archives remains. Each index is ordered
        // already.
        if self.files.len() > 1 {
            by_name.sort_by(|a, b| self.get(*a).name().cmp(self.get(*b).name()));
        }
        self.by_name = by_name;
    }

    /// How many package versions there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The package of this id.
    pub fn get(&self, id: PackageId) -> Package<'_> {
        // The first file begins with 0, so there is always one.
        let at = self.files.partition_point(|file| file.first <= id.0).saturating_sub(1);
        let file = &self.files[at];
        Package { file, record: file.index.record(id.0 - file.first), id }
    }

    /// All packages, in the order of the indexes.
    pub fn iter(&self) -> impl Iterator<Item = Package<'_>> {
        (0..self.len() as u32).map(|index| self.get(PackageId(index)))
    }

    /// All versions of the package `name`, in the order of the config's archives.
    pub fn versions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Package<'a>> {
        let start = self.by_name.partition_point(|id| self.get(*id).name() < name);
        let all = self.by_name[start..].iter().map(|id| self.get(*id));
        all.take_while(move |package| package.name() == name)
    }

    /// The suites that were read, for messages: `bookworm main, bookworm-updates main`.
    pub fn shown(&self) -> String {
        let mut names: Vec<&str> = self.files.iter().map(|file| file.shown.as_str()).collect();
        names.dedup();
        names.join(", ")
    }
}

impl<'a> Package<'a> {
    /// Its id.
    pub fn id(&self) -> PackageId {
        self.id
    }

    /// `Package`.
    pub fn name(&self) -> &'a str {
        self.file.index.name(self.record)
    }

    /// `Version`.
    pub fn version(&self) -> &'a str {
        self.file.index.version(self.record)
    }

    /// `Architecture`.
    pub fn architecture(&self) -> &'a str {
        self.file.index.architecture(self.record)
    }

    /// `Essential: yes`.
    pub fn is_essential(&self) -> bool {
        self.record.is_essential()
    }

    /// `Protected: yes` or `Important: yes`.
    pub fn is_important(&self) -> bool {
        self.record.is_important()
    }

    /// Whether it provides anything.
    pub fn has_provides(&self) -> bool {
        self.record.has_provides()
    }

    /// `Provides`, empty if it provides nothing.
    pub fn provides(&self) -> &'a str {
        self.file.index.provides(self.record)
    }

    /// `Priority` as a number: 1 is required, 6 is none.
    pub fn rank(&self) -> u8 {
        self.record.rank
    }

    /// The pin priority of its suite.
    pub fn pin(&self) -> i32 {
        self.file.priority
    }

    /// Index of its suite in [`ArchiveState::suites`].
    pub fn suite(&self) -> usize {
        self.file.suite
    }

    /// Its suite and component, for messages.
    pub fn from(&self) -> &'a str {
        &self.file.shown
    }

    /// The whole paragraph.
    pub fn paragraph(&self) -> Paragraph<'a> {
        self.file.index.paragraph(self.id.0 - self.file.first)
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
        Ok((size, sha256, uri::join(&self.file.base, &uri::encode(path.trim_start_matches("./")))))
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
    for (suite, index) in indexes {
        let index = Index::open(&index.path, &state.suites[*suite].shown())?;
        for paragraph in index.named(name).map(|number| index.paragraph(number)) {
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
