//! Where the packages of an index are, found once for each index.
//!
//! An index has 50 MB, of which a call needs some hundred paragraphs. While it is decoded for the
//! first time its names, versions and places are written down, and that table lies beside it in
//! the store under the same hash:
//!
//! ```text
//! lists/v1/tables/SHA256          of lists/v1/objects/SHA256
//! ```
//!
//! A table is never needed: one that is missing, damaged or of another debmock is made anew from
//! the index. It says nothing but where things are; all that is believed stands in the index.

use super::checksum::Sha256;
use super::deb822::Paragraph;
use super::state::{NEW, make_folder, publish};
use crate::error::{Error, ErrorKind, IoContext, Result};
use memchr::{memchr, memmem};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Begins every table; changes with what is in them.
const MAGIC: &[u8; 16] = b"debmock table 1\n";
/// A smaller index is read faster than its table, bytes.
const SMALL: u64 = 1 << 20;

/// One index, and where things are in it.
pub(super) struct Index {
    table: Table,
    text: Text,
}

enum Text {
    Whole(Vec<u8>),
    /// Paragraphs are read when they are needed.
    Pieces(File, Vec<OnceLock<Box<[u8]>>>),
}

/// Where the packages of an index are.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Table {
    /// Bytes of the index.
    size: u64,
    records: Vec<Record>,
    /// What the spans of the records cut out.
    strings: String,
    /// Numbers of records, ordered by name and, within a name, as they stand in the index.
    by_name: Vec<u32>,
}

/// One paragraph.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Record {
    start: u32,
    length: u32,
    name: Span,
    version: Span,
    architecture: Span,
    provides: Span,
    /// `Priority` as a number: 1 is required, 6 is none.
    pub rank: u8,
    flags: u8,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Span(u32, u32);

const ESSENTIAL: u8 = 1;
const IMPORTANT: u8 = 2;

impl Record {
    /// `Essential: yes`.
    pub fn is_essential(&self) -> bool {
        self.flags & ESSENTIAL != 0
    }

    /// `Protected: yes` or `Important: yes`.
    pub fn is_important(&self) -> bool {
        self.flags & IMPORTANT != 0
    }

    /// Whether it provides anything.
    pub fn has_provides(&self) -> bool {
        self.provides.1 > 0
    }
}

impl Index {
    /// The index at `path`. `shown` is what an error calls it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Archive`] for an index larger than 4 GB.
    pub fn open(path: &Path, shown: &str) -> Result<Self> {
        let doing = || format!("cannot read {}", path.display());
        let file = File::open(path).doing(doing)?;
        let size = file.metadata().doing(doing)?.len();
        let place = place(path).filter(|_| size >= SMALL);
        if let Some(table) = place.as_ref().and_then(|place| Table::read(place, size)) {
            let pieces = std::iter::repeat_with(OnceLock::new).take(table.records.len());
            return Ok(Index { text: Text::Pieces(file, pieces.collect()), table });
        }
        let index = Self::of(std::fs::read(path).doing(doing)?, shown)?;
        if let Some(place) = place {
            keep(&place, &index.table.encode());
        }
        Ok(index)
    }

    /// The index with this text.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] for an index larger than 4 GB.
    pub fn of(text: Vec<u8>, shown: &str) -> Result<Self> {
        let mut scanner = Scanner::default();
        scanner.feed(&text);
        let table = scanner.finish().ok_or_else(|| {
            Error::new(ErrorKind::Archive, format!("the index of {shown} is too large"))
        })?;
        Ok(Index { table, text: Text::Whole(text) })
    }

    /// How many packages it has.
    pub fn len(&self) -> usize {
        self.table.records.len()
    }

    /// Whether there is nothing in it, not even what is no package.
    pub fn is_blank(&self) -> bool {
        match &self.text {
            Text::Whole(text) => text.trim_ascii().is_empty(),
            Text::Pieces(..) => false,
        }
    }

    /// The record of this number.
    pub fn record(&self, number: u32) -> &Record {
        &self.table.records[number as usize]
    }

    /// Numbers of the records, ordered by name and, within a name, as they stand in the index.
    pub fn by_name(&self) -> &[u32] {
        &self.table.by_name
    }

    /// Numbers of the records with this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let by_name = self.by_name();
        let start = by_name.partition_point(|number| self.name(self.record(*number)) < name);
        let same = move |number: &&u32| self.name(self.record(**number)) == name;
        by_name[start..].iter().take_while(same).copied()
    }

    /// `Package`.
    pub fn name(&self, record: &Record) -> &str {
        self.cut(record.name)
    }

    /// `Version`.
    pub fn version(&self, record: &Record) -> &str {
        self.cut(record.version)
    }

    /// `Architecture`.
    pub fn architecture(&self, record: &Record) -> &str {
        self.cut(record.architecture)
    }

    /// `Provides`.
    pub fn provides(&self, record: &Record) -> &str {
        self.cut(record.provides)
    }

    fn cut(&self, Span(start, length): Span) -> &str {
        &self.table.strings[start as usize..(start + length) as usize]
    }

    /// The whole paragraph of the record of this number. If it cannot be read it is empty, and so
    /// is every field that whoever wants the package needs.
    pub fn paragraph(&self, number: u32) -> Paragraph<'_> {
        let Record { start, length, .. } = *self.record(number);
        Paragraph::new(match &self.text {
            Text::Whole(text) => &text[start as usize..(start + length) as usize],
            Text::Pieces(file, pieces) => pieces[number as usize].get_or_init(|| {
                let mut piece = vec![0; length as usize];
                match file.read_exact_at(&mut piece, u64::from(start)) {
                    Ok(()) => piece.into(),
                    Err(_) => Box::default(),
                }
            }),
        })
    }
}

impl Table {
    /// The table at `place` of an index of `size` bytes, unless anything is wrong with it.
    fn read(place: &Path, size: u64) -> Option<Self> {
        let file = File::open(place).ok()?;
        // It is a fraction of the index.
        let most = size.checked_add(1 << 10)?;
        if file.metadata().ok()?.len() > most {
            return None;
        }
        let bytes = std::fs::read(place).ok()?;
        let (sum, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
        if Sha256::of(rest).as_bytes() != sum {
            return None;
        }
        let table: Table = postcard::from_bytes(rest).ok()?;
        (table.size == size && table.is_sound()).then_some(table)
    }

    /// Whether nothing in it leads out of the index or out of itself.
    fn is_sound(&self) -> bool {
        let within = |start: u32, length: u32| {
            let end = u64::from(start) + u64::from(length);
            u32::try_from(end).is_ok() && end <= self.size
        };
        let cuts = |span: Span| {
            let end = span.0.checked_add(span.1);
            end.is_some_and(|end| self.strings.get(span.0 as usize..end as usize).is_some())
        };
        let count = self.records.len();
        self.by_name.len() == count
            && self.by_name.iter().all(|number| (*number as usize) < count)
            && self.records.iter().all(|one| {
                within(one.start, one.length)
                    && [one.name, one.version, one.architecture, one.provides].into_iter().all(cuts)
            })
    }

    /// As it is written.
    fn encode(&self) -> Vec<u8> {
        // It cannot fail: there are only numbers and texts in it.
        let table = postcard::to_stdvec(self).unwrap_or_default();
        [&MAGIC[..], Sha256::of(&table).as_bytes(), &table].concat()
    }

    fn push(&mut self, text: &[u8], base: u64, fields: &Fields) -> Option<()> {
        let name = text_of(text, fields.name.clone());
        let version = text_of(text, fields.version.clone());
        // Without a name or version it is no package.
        if name.is_empty() || version.is_empty() {
            return Some(());
        }
        let paragraph = &text[fields.paragraph.clone()];
        let start = u32::try_from(base + fields.paragraph.start as u64).ok()?;
        let length = u32::try_from(paragraph.len()).ok()?;
        start.checked_add(length)?;
        let provides = match fields.provides {
            true => Paragraph::new(paragraph).text_of("Provides"),
            false => "",
        };
        let architecture = text_of(text, fields.architecture.clone());
        let (name, version) = (self.span(name)?, self.span(version)?);
        // Nearly always that of the package before.
        let architecture = match self.records.last() {
            Some(Record { architecture: Span(start, length), .. })
                if self.strings[*start as usize..(start + length) as usize] == *architecture =>
            {
                Span(*start, *length)
            }
            _ => self.span(architecture)?,
        };
        let provides = self.span(provides)?;
        let (rank, flags) = (fields.rank, fields.flags);
        let record = Record { start, length, name, version, architecture, provides, rank, flags };
        self.records.push(record);
        Some(())
    }

    fn span(&mut self, text: &str) -> Option<Span> {
        let start = u32::try_from(self.strings.len()).ok()?;
        let length = u32::try_from(text.len()).ok()?;
        start.checked_add(length)?;
        self.strings.push_str(text);
        Some(Span(start, length))
    }
}

fn text_of(text: &[u8], range: Range<usize>) -> &str {
    std::str::from_utf8(&text[range]).unwrap_or_default()
}

/// Where the table of the index at `path` is kept; nothing for an index that is not in the store.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folder.ends_with("objects"))?;
    Some(folder.with_file_name("tables").join(path.file_name()?))
}

/// Keeps a table. That it cannot be written only costs time.
fn keep(place: &Path, bytes: &[u8]) {
    let write = || -> Option<()> {
        let folder = place.parent()?;
        make_folder(folder).ok()?;
        let mut file = tempfile::NamedTempFile::with_prefix_in(NEW, folder).ok()?;
        file.write_all(bytes).ok()?;
        publish(file, place).ok()
    };
    let _ = write();
}

/// A table that was made while its index was decoded.
pub(super) struct Made(Option<Vec<u8>>);

impl Made {
    /// Keeps it for the index at `path`.
    pub fn keep(self, path: &Path) {
        if let (Some(place), Some(bytes)) = (place(path), self.0) {
            keep(&place, &bytes);
        }
    }
}

/// Makes a table of an index that comes in pieces.
#[derive(Default)]
pub(super) struct Scanner {
    table: Table,
    /// Bytes before those that are pending.
    base: u64,
    /// What may not be a whole paragraph yet.
    pending: Vec<u8>,
    too_large: bool,
}

impl Scanner {
    /// Takes the next piece of the index.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.too_large {
            return;
        }
        // Nothing that was looked at before is looked at again.
        let from = self.pending.len().saturating_sub(1);
        self.pending.extend_from_slice(bytes);
        if let Some(end) = memmem::rfind(&self.pending[from..], b"\n\n") {
            let rest = self.pending.split_off(from + end + 2);
            let whole = std::mem::replace(&mut self.pending, rest);
            self.scan(&whole);
        }
    }

    fn scan(&mut self, text: &[u8]) {
        self.too_large |= scan(text, self.base, &mut self.table).is_none();
        self.base += text.len() as u64;
    }

    /// The table; nothing if the index has more than 4 GB.
    fn finish(mut self) -> Option<Table> {
        let rest = std::mem::take(&mut self.pending);
        self.scan(&rest);
        let Table { records, strings, by_name, size } = &mut self.table;
        *size = self.base;
        let name = |number: &u32| {
            let Span(start, length) = records[*number as usize].name;
            &strings[start as usize..(start + length) as usize]
        };
        by_name.extend(0..u32::try_from(records.len()).ok()?);
        by_name.sort_by(|a, b| name(a).cmp(name(b)));
        (!self.too_large).then_some(self.table)
    }

    /// The table for [`Made::keep`], if one is worth it.
    pub fn made(self) -> Made {
        Made(self.finish().filter(|table| table.size >= SMALL).map(|table| table.encode()))
    }
}

/// What was found of a paragraph.
#[derive(Default)]
struct Fields {
    paragraph: Range<usize>,
    name: Range<usize>,
    version: Range<usize>,
    architecture: Range<usize>,
    provides: bool,
    rank: u8,
    flags: u8,
}

/// Notes every package of `text`, which begins `base` bytes into its index: one pass, one search
/// for a newline per line. Nothing if a number becomes too large.
fn scan(text: &[u8], base: u64, table: &mut Table) -> Option<()> {
    let new = |start| Fields { paragraph: start..start, ..Fields::default() };
    let mut fields = new(0);
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
                    fields.name = name;
                } else if let Some(priority) = value(b"Priority:") {
                    fields.rank = rank(&text[priority]);
                } else if line.starts_with(b"Provides:") {
                    fields.provides = true;
                } else if let Some(flag) = value(b"Protected:") {
                    fields.flags |= IMPORTANT * u8::from(&text[flag] == b"yes");
                }
            }
            b'V' => {
                if let Some(version) = value(b"Version:") {
                    fields.version = version;
                }
            }
            b'A' => {
                if let Some(architecture) = value(b"Architecture:") {
                    fields.architecture = architecture;
                }
            }
            b'E' => {
                if let Some(flag) = value(b"Essential:") {
                    fields.flags |= ESSENTIAL * u8::from(&text[flag] == b"yes");
                }
            }
            b'I' => {
                if let Some(flag) = value(b"Important:") {
                    fields.flags |= IMPORTANT * u8::from(&text[flag] == b"yes");
                }
            }
            b'\n' => {
                fields.paragraph.end = at;
                table.push(text, base, &fields)?;
                fields = new(next);
            }
            _ => {}
        }
        at = next;
    }
    fields.paragraph.end = text.len().max(fields.paragraph.start);
    if fields.paragraph.start < text.len() { table.push(text, base, &fields) } else { Some(()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn large() -> Vec<u8> {
        let paragraph = |n: usize| {
            let provides = if n.is_multiple_of(7) {
                format!("Provides: v{n},\n w (= {n})\n")
            } else {
                String::new()
            };
            format!(
                "Package: p{}\nVersion: {n}\nArchitecture: all\n{provides}Description: {}\n\n",
                n % 997,
                "x".repeat(300)
            )
        };
        (0..5000).map(paragraph).collect::<String>().into_bytes()
    }

    /// An index in a store, and the place of its table.
    fn stored(folder: &Path) -> (PathBuf, PathBuf) {
        let objects = folder.join("objects");
        std::fs::create_dir_all(&objects).unwrap();
        std::fs::write(objects.join("o"), large()).unwrap();
        (objects.join("o"), folder.join("tables/o"))
    }

    fn content(index: &Index) -> Vec<(String, String, String, Vec<u8>)> {
        let one = |number: &u32| {
            let record = index.record(*number);
            (
                index.name(record).to_owned(),
                index.version(record).to_owned(),
                index.provides(record).to_owned(),
                index.paragraph(*number).text().to_vec(),
            )
        };
        index.by_name().iter().map(one).collect()
    }

    #[test]
    fn with_a_table_an_index_is_what_it_is_without() {
        let folder = tempfile::tempdir().unwrap();
        let (path, table) = stored(folder.path());
        let first = Index::open(&path, "x").unwrap();
        assert!(table.is_file() && matches!(first.text, Text::Whole(_)));
        let second = Index::open(&path, "x").unwrap();
        assert!(matches!(second.text, Text::Pieces(..)), "the table was not used");
        assert_eq!(content(&first), content(&second));
        assert_eq!(second.named("p5").count(), 6);
        assert_eq!(second.named("p").count(), 0);
    }

    #[test]
    fn a_table_that_is_damaged_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, table) = stored(folder.path());
        let expected = content(&Index::open(&path, "x").unwrap());
        let sound = std::fs::read(&table).unwrap();
        let mut flipped = sound.clone();
        flipped[sound.len() / 2] ^= 1;
        for bad in [&b""[..], b"debmock", &sound[..sound.len() - 1], &flipped] {
            std::fs::write(&table, bad).unwrap();
            let index = Index::open(&path, "x").unwrap();
            assert!(matches!(index.text, Text::Whole(_)), "{} bytes were believed", bad.len());
            assert_eq!(content(&index), expected);
            assert_eq!(std::fs::read(&table).unwrap(), sound);
        }
        // That of another index.
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(matches!(Index::open(&path, "x").unwrap().text, Text::Whole(_)));
    }

    #[test]
    fn a_table_that_leads_elsewhere_is_not_believed() {
        let table = || {
            let mut scanner = Scanner::default();
            scanner.feed(&large());
            scanner.finish().unwrap()
        };
        assert!(table().is_sound());
        let spoiled: [fn(&mut Table); 6] = [
            |table| table.records[3].start = u32::MAX,
            |table| table.records[3].length = 1 << 30,
            |table| table.records[3].name = Span(u32::MAX, 2),
            |table| table.records[3].provides = Span(0, 1 << 30),
            |table| table.by_name[3] = 5000,
            |table| table.by_name.truncate(4999),
        ];
        for (number, spoil) in spoiled.into_iter().enumerate() {
            let mut table = table();
            spoil(&mut table);
            assert!(!table.is_sound(), "{number}");
        }
    }

    #[test]
    fn a_small_index_gets_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let (path, table) = stored(folder.path());
        std::fs::write(&path, "Package: a\nVersion: 1\n").unwrap();
        assert_eq!(Index::open(&path, "x").unwrap().len(), 1);
        assert!(!table.exists());
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_table_as_the_whole(
            text in "((Package|Version|Provides|X): ?[a-c]{0,3}\n|\n| x\n|\n\n){0,30}",
            size in 1_usize..40,
        ) {
            let whole = Index::of(text.clone().into_bytes(), "x").unwrap();
            let mut scanner = Scanner::default();
            text.as_bytes().chunks(size).for_each(|piece| scanner.feed(piece));
            let table = scanner.finish().unwrap();
            prop_assert_eq!(table.encode(), whole.table.encode());
            prop_assert!(table.is_sound());
        }
    }
}
