//! Reads a tar stream entry by entry with bounded memory: ustar, GNU long names, pax.
//!
//! The headers are parsed by the crate `tar`; the walk over the stream is here, because its
//! iterator reads a long name of any claimed size into memory.

use std::io::{self, BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use super::error::{Problem, shown};
use super::path::MAX_PATH;

/// The block size of tar, in bytes.
const BLOCK: usize = 512;
/// The most bytes that the pax records of one entry may have (extended attributes are in
/// them, at most 64 KiB each on Linux).
const MAX_PAX: u64 = 1 << 20;
/// How much zero padding may follow the end of the archive. GNU tar pads to 10 KiB, and up
/// to 16 MiB with the largest sensible blocking factor.
const MAX_PADDING: u64 = 16 << 20;
/// The buffer between decoder and consumer: large writes, few calls into the decoder.
const BUFFER: usize = 128 << 10;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
    CharDevice,
    BlockDevice,
}

/// One entry, with the records of its extended headers applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub kind: Kind,
    /// As in the archive, not yet cleaned.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Names of both in the archive; empty if it has none.
    pub names: [Vec<u8>; 2],
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Bytes of data that follow (only a [`Kind::File`] has any).
    pub size: u64,
    /// Name and value of extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// SHA-256 of the data, where somebody has made it.
    pub sha256: Option<[u8; 32]>,
}

/// A tar stream. What of an entry's data is not consumed is skipped by [`TarStream::next`].
pub(crate) struct TarStream<B> {
    stream: B,
    left: u64,
    padding: u64,
    /// Records of a global pax header, which apply to all later entries.
    global: Pax,
}

impl<R: Read> TarStream<BufReader<R>> {
    pub(crate) fn new(stream: R) -> Self {
        Self::of(BufReader::with_capacity(BUFFER, stream))
    }
}

impl<B: BufRead> TarStream<B> {
    /// Of a stream that has a buffer of its own, from which the content of files is given.
    pub(crate) fn of(stream: B) -> Self {
        Self { stream, left: 0, padding: 0, global: Pax::default() }
    }

    /// The next entry, or `None` after the end mark.
    ///
    /// # Errors
    /// [`Problem::Truncated`] if the stream ends without an end mark.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Problem> {
        let mut long_name = None;
        let mut long_link = None;
        let mut pax = self.global.clone();
        loop {
            self.skip_rest()?;
            let mut block = [0; BLOCK];
            self.stream.read_exact(&mut block).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    Problem::Truncated("the tar stream has no end mark".into())
                }
                _ => Problem::reading(error),
            })?;
            if block.iter().all(|&b| b == 0) {
                if long_name.is_some() || long_link.is_some() {
                    return Err(Problem::malformed(
                        "the last header of the tar stream has no entry",
                    ));
                }
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            verify_checksum(header, &block)?;
            let size = header.entry_size().map_err(bad_number)?;
            let entry_type = header.entry_type();
            match entry_type {
                EntryType::GNULongName => {
                    long_name = Some(self.long_text(size)?);
                    continue;
                }
                EntryType::GNULongLink => {
                    long_link = Some(self.long_text(size)?);
                    continue;
                }
                EntryType::XHeader => {
                    let records = self.small_data(size, MAX_PAX)?;
                    pax.apply(&records)?;
                    continue;
                }
                EntryType::XGlobalHeader => {
                    let records = self.small_data(size, MAX_PAX)?;
                    self.global.apply(&records)?;
                    pax = self.global.clone();
                    continue;
                }
                _ => {}
            }
            let mut name = match (pax.path.take(), long_name) {
                (Some(name), _) | (None, Some(name)) => name,
                (None, None) => header.path_bytes().into_owned(),
            };
            let kind = kind_of(entry_type, &name)?;
            let link = match (pax.link.take(), long_link) {
                (Some(link), _) | (None, Some(link)) => link,
                (None, None) => header.link_name_bytes().map(Vec::from).unwrap_or_default(),
            };
            let data = match kind {
                Kind::File => pax.size.unwrap_or(size),
                // Some writers repeat the size of the file at a hard link; no data follows.
                _ => 0,
            };
            self.set_data(data)?;
            if kind == Kind::Directory {
                while name.len() > 1 && name.ends_with(b"/") {
                    name.pop();
                }
            }
            let mtime = match pax.mtime {
                Some(mtime) => mtime,
                None => (header.mtime().map_err(bad_number)? as i64, 0),
            };
            return Ok(Some(Entry {
                kind,
                name,
                link,
                mode: header.mode().map_err(bad_number)? & 0o7777,
                uid: id(pax.uid.map_or_else(|| header.uid(), Ok), "owner")?,
                gid: id(pax.gid.map_or_else(|| header.gid(), Ok), "group")?,
                names: [
                    pax.names[0].take().or_else(|| header.username_bytes().map(<[u8]>::to_vec)),
                    pax.names[1].take().or_else(|| header.groupname_bytes().map(<[u8]>::to_vec)),
                ]
                .map(Option::unwrap_or_default),
                mtime,
                size: data,
                xattrs: pax.xattrs,
                sha256: None,
            }));
        }
    }

    /// A part of the current entry's data; empty at its end. Call [`TarStream::consume`] with
    /// the number of bytes that were used.
    pub(crate) fn fill(&mut self) -> Result<&[u8], Problem> {
        if self.left == 0 {
            return Ok(&[]);
        }
        while let Err(error) = self.stream.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(Problem::reading(error));
            }
        }
        // What is there now is given again.
        let buffer = self.stream.fill_buf().map_err(Problem::reading)?;
        if buffer.is_empty() {
            return Err(Problem::reading(io::ErrorKind::UnexpectedEof.into()));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..most])
    }

    /// Marks `count` bytes of what [`TarStream::fill`] gave as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.left = self.left.saturating_sub(count as u64);
    }

    /// Reads the whole data of the current entry, which may not be longer than `most` bytes.
    pub(crate) fn data(&mut self, most: u64) -> Result<Vec<u8>, Problem> {
        if self.left > most {
            return Err(Problem::TooLarge(format!(
                "the entry has {} bytes, {most} are allowed",
                self.left
            )));
        }
        let mut data = Vec::new();
        loop {
            let part = self.fill()?;
            if part.is_empty() {
                return Ok(data);
            }
            data.extend_from_slice(part);
            let count = part.len();
            self.consume(count);
        }
    }

    /// Reads to the end of the stream after the end mark, so that the decoder can check its
    /// own checksum: only zeros may be there.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let mut padding = 0;
        loop {
            let buffer = match self.stream.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::reading(error)),
            };
            if buffer.is_empty() {
                return Ok(());
            }
            if buffer.iter().any(|&b| b != 0) {
                return Err(Problem::malformed("garbage follows the end of the tar stream"));
            }
            let count = buffer.len();
            padding += count as u64;
            if padding > MAX_PADDING {
                return Err(Problem::TooLarge(format!(
                    "more than {MAX_PADDING} bytes of padding follow the end of the tar stream"
                )));
            }
            self.stream.consume(count);
        }
    }

    fn set_data(&mut self, size: u64) -> Result<(), Problem> {
        // Larger than any file system holds, and safe to add to.
        if size > 1 << 60 {
            return Err(Problem::TooLarge(format!("an entry claims {size} bytes of data")));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), Problem> {
        let skip = self.left + self.padding;
        if skip == 0 {
            return Ok(());
        }
        let skipped = io::copy(&mut (&mut self.stream).take(skip), &mut io::sink())
            .map_err(Problem::reading)?;
        if skipped < skip {
            return Err(Problem::Truncated("the tar stream ends inside an entry".into()));
        }
        self.left = 0;
        self.padding = 0;
        Ok(())
    }

    fn small_data(&mut self, size: u64, most: u64) -> Result<Vec<u8>, Problem> {
        self.set_data(size)?;
        self.data(most)
    }

    fn long_text(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        let mut text = self.small_data(size, MAX_PATH as u64 + 1)?;
        if let Some(end) = text.iter().position(|&b| b == 0) {
            text.truncate(end);
        }
        Ok(text)
    }
}

/// The records of pax extended headers that matter here.
#[derive(Clone, Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    /// Of the owner and the group.
    names: [Option<Vec<u8>>; 2],
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    fn apply(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        let bad = || Problem::malformed("has a pax header that cannot be read");
        while !records.is_empty() {
            let space = records.iter().position(|&b| b == b' ').ok_or_else(bad)?;
            let length: usize = number(&records[..space]).ok_or_else(bad)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(bad());
            }
            let record = &records[space + 1..length - 1];
            records = &records[length..];
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value).ok_or_else(bad)?),
                b"uid" => self.uid = Some(number(value).ok_or_else(bad)?),
                b"gid" => self.gid = Some(number(value).ok_or_else(bad)?),
                b"uname" => self.names[0] = Some(value.to_vec()),
                b"gname" => self.names[1] = Some(value.to_vec()),
                b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    } else if key.starts_with(b"GNU.sparse.") {
                        return Err(Problem::Refused(
                            "sparse files in pax form are not supported; write the archive \
                             without --sparse"
                                .into(),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A pax time: seconds, perhaps with a fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = seconds.starts_with('-');
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if negative && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

fn id(value: io::Result<u64>, what: &str) -> Result<u32, Problem> {
    let value = value.map_err(bad_number)?;
    // The largest value means “leave as it is” to chown(2).
    u32::try_from(value)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or_else(|| Problem::malformed(format!("the {what} of an entry is {value}")))
}

fn bad_number(error: io::Error) -> Problem {
    Problem::malformed(format!("has a tar header that cannot be read: {error}"))
}

fn verify_checksum(header: &Header, block: &[u8; BLOCK]) -> Result<(), Problem> {
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&b| u32::from(b)).sum::<u32>()
        + 8 * u32::from(b' ');
    if header.cksum().ok() != Some(sum) {
        return Err(Problem::malformed("has a tar header whose checksum is wrong"));
    }
    Ok(())
}

fn kind_of(entry_type: EntryType, name: &[u8]) -> Result<Kind, Problem> {
    Ok(match entry_type {
        // Before POSIX a directory was a file whose name ends in a slash.
        EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => Kind::CharDevice,
        EntryType::Block => Kind::BlockDevice,
        EntryType::GNUSparse => {
            return Err(Problem::Refused(format!(
                "{} is a sparse file; write the archive without --sparse",
                shown(name)
            )));
        }
        other => {
            return Err(Problem::Refused(format!(
                "{} is an entry of the unknown type “{}”",
                shown(name),
                shown(&[other.as_byte()])
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixture::Tar;
    use proptest::prelude::*;

    #[test]
    fn long_names_of_both_kinds_are_read() {
        let long = format!("usr/share/{}", "x".repeat(180));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Tar::header(EntryType::Regular, "short", 3);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        builder
            .append_pax_extensions([("path", long.as_bytes()), ("SCHILY.xattr.user.a", b"\0b\n")])
            .unwrap();
        let header = Tar::header(EntryType::Regular, "short", 0);
        builder.append(&header, &b""[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut stream = TarStream::new(&bytes[..]);
        let first = stream.next().unwrap().unwrap();
        assert_eq!((first.name.as_slice(), first.size), (long.as_bytes(), 3));
        assert_eq!(stream.data(10).unwrap(), b"abc");
        let second = stream.next().unwrap().unwrap();
        assert_eq!(second.name, long.as_bytes());
        assert_eq!(second.xattrs, [(b"user.a".to_vec(), b"\0b\n".to_vec())]);
        assert!(stream.next().unwrap().is_none());
        stream.finish().unwrap();
    }

    #[test]
    fn a_long_name_of_absurd_size_is_refused_before_it_is_read() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let mut stream = TarStream::new(io::Read::chain(&header.as_bytes()[..], io::repeat(b'a')));
        assert!(matches!(stream.next(), Err(Problem::TooLarge(_))));
    }

    #[test]
    fn times_may_have_fractions() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"1.x"), None);
    }

    proptest! {
        #[test]
        fn garbage_gives_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut stream = TarStream::new(&bytes[..]);
            while let Ok(Some(_)) = stream.next() {}
            let _ = Pax::default().apply(&bytes);
        }
    }
}
