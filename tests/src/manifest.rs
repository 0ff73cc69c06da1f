//! Manifests of trees: what two archives of roots are compared by.
//!
//! A [`Manifest`] lists every path of a tar stream with type, mode, owner, size, content hash,
//! link target, device numbers, extended attributes and modification time. Two trees are the
//! same when [`Manifest::differences`] finds none.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::deb::hex;

/// All entries of an archive, by path without the leading `./`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: BTreeMap<String, Entry>,
}

/// One path. Fields that a type does not have are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As `ls -l` shows it: `-`, `d`, `l`, `h` for a hard link, `c`, `b`, `p`.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content of a file, in hexadecimal digits.
    pub sha256: String,
    /// Target of a link.
    pub link: String,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes, sorted; values escaped.
    pub xattrs: Vec<(String, String)>,
    /// Seconds since 1970, with the fraction where there is one.
    pub mtime: String,
}

/// One path that is not the same in two manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, without a leading `./`; empty for the root.
    pub path: String,
    /// What differs: `missing`, `extra`, or the names of the fields.
    pub fields: Vec<&'static str>,
    /// The two sides, for people.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}: {}", self.path, self.fields.join(", "), self.detail)
    }
}

impl Manifest {
    /// Reads an uncompressed tar stream to its end.
    ///
    /// # Errors
    /// The stream cannot be read or is no tar stream.
    pub fn of_tar(stream: impl Read) -> io::Result<Self> {
        let mut entries = BTreeMap::new();
        let mut archive = tar::Archive::new(stream);
        let mut extended = Extended::default();
        // raw, because the crate ends the value of an extended header at its first newline, which
        // file capabilities may contain
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            let kind = match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => '-',
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                tar::EntryType::Link => 'h',
                tar::EntryType::Char => 'c',
                tar::EntryType::Block => 'b',
                tar::EntryType::Fifo => 'p',
                tar::EntryType::XHeader => {
                    extended.read_records(&content(&mut entry)?)?;
                    continue;
                }
                tar::EntryType::GNULongName => {
                    extended.path = Some(until_nul(content(&mut entry)?));
                    continue;
                }
                tar::EntryType::GNULongLink => {
                    extended.link = Some(until_nul(content(&mut entry)?));
                    continue;
                }
                other => {
                    let path = text(&entry.path_bytes());
                    return Err(io::Error::other(format!("{path} is an entry of type {other:?}")));
                }
            };
            let mut extended = std::mem::take(&mut extended);
            extended.xattrs.sort();
            let path = extended.path.unwrap_or_else(|| entry.path_bytes().into_owned());
            let path = text(&path);
            let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
            let link = extended.link.or_else(|| Some(entry.link_name_bytes()?.into_owned()));
            let header = entry.header();
            // of other types the fields are empty or zero, as the writer likes
            let device = match kind {
                'b' | 'c' => header.device_major()?.zip(header.device_minor()?),
                _ => None,
            };
            let mut found = Entry {
                kind,
                mode: header.mode()? & 0o7777,
                uid: extended.uid.map_or_else(|| header.uid(), Ok)?,
                gid: extended.gid.map_or_else(|| header.gid(), Ok)?,
                size: entry.size(),
                sha256: String::new(),
                link: link.map(|link| text(&link)).unwrap_or_default(),
                device,
                xattrs: extended.xattrs,
                mtime: extended.mtime.map_or_else(|| header.mtime().map(|t| t.to_string()), Ok)?,
            };
            if kind == '-' {
                let mut hash = Sha256::new();
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let count = entry.read(&mut buffer)?;
                    if count == 0 {
                        break;
                    }
                    hash.update(&buffer[..count]);
                }
                found.sha256 = hex(&hash.finalize());
            }
            if entries.insert(path.to_owned(), found).is_some() {
                return Err(io::Error::other(format!("{path} is there twice")));
            }
        }
        Ok(Self { entries })
    }

    /// The entry of a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no path.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The paths in which `other` is not the same as this one: `missing` ones are here and not
    /// there.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (path, one) in &self.entries {
            let (fields, detail) = match other.entries.get(path) {
                None => (vec!["missing"], format!("{one:?}")),
                Some(two) => {
                    let fields = one.differing_fields(two);
                    if fields.is_empty() {
                        continue;
                    }
                    (fields, format!("{one:?} against {two:?}"))
                }
            };
            found.push(Difference { path: path.clone(), fields, detail });
        }
        for (path, two) in &other.entries {
            if !self.entries.contains_key(path) {
                let detail = format!("{two:?}");
                found.push(Difference { path: path.clone(), fields: vec!["extra"], detail });
            }
        }
        found
    }

    /// Compares with `other` and with the list of accepted differences, in both directions: the
    /// answer holds every difference that is not accepted, and every accepted path that does
    /// not differ (and so has no place in the list). Empty means as promised.
    pub fn unexpected(&self, other: &Self, accepted: &[(&str, &str)]) -> Vec<String> {
        let differences = self.differences(other);
        let mut found: Vec<String> = differences
            .iter()
            .filter(|one| !accepted.iter().any(|(path, _)| *path == one.path))
            .map(ToString::to_string)
            .collect();
        for (path, reason) in accepted {
            if !differences.iter().any(|one| one.path == *path) {
                found.push(format!("/{path} is accepted as different ({reason}) and is the same"));
            }
        }
        found
    }
}

impl Entry {
    fn differing_fields(&self, other: &Self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        let mut check = |name, same: bool| {
            if !same {
                fields.push(name);
            }
        };
        check("type", self.kind == other.kind);
        check("mode", self.mode == other.mode);
        check("uid", self.uid == other.uid);
        check("gid", self.gid == other.gid);
        check("size", self.size == other.size);
        check("content", self.sha256 == other.sha256);
        check("link", self.link == other.link);
        check("device", self.device == other.device);
        check("xattrs", self.xattrs == other.xattrs);
        check("mtime", self.mtime == other.mtime);
        fields
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn content(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    Ok(content)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// What the entries before one say about it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<String>,
    xattrs: Vec<(String, String)>,
}

impl Extended {
    /// Reads the records `LENGTH KEY=VALUE\n` of an extended header (pax(1)); the length counts
    /// itself and the newline. A record that this does not know is an error, so that nothing in
    /// which two archives differ is passed over.
    fn read_records(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let bad = || io::Error::other(format!("a bad extended header: {}", text(records)));
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse().ok());
            let length: usize = length.ok_or_else(bad)?;
            let record = records.get(space + 1..length).ok_or_else(bad)?;
            let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let key = std::str::from_utf8(&record[..equals]).map_err(|_| bad())?;
            let value = &record[equals + 1..];
            let number = || text(value).parse().map_err(|_| bad());
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.uid = Some(number()?),
                "gid" => self.gid = Some(number()?),
                "mtime" => self.mtime = Some(text(value)),
                // when an archive was made, and for whom, is no part of a tree
                "atime" | "ctime" | "uname" | "gname" => {}
                _ => {
                    let name = key.strip_prefix("SCHILY.xattr.").ok_or_else(bad)?;
                    self.xattrs.push((name.to_owned(), text(value)));
                }
            }
            records = &records[length..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[(&str, &str, u32)]) -> Manifest {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content, mode) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(7);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        Manifest::of_tar(&builder.into_inner().unwrap()[..]).unwrap()
    }

    #[test]
    fn extended_headers_are_read_by_length() {
        use crate::tarball::{self, Kind};
        let long = format!("./{}", "d".repeat(150));
        let of = |value: &[u8]| {
            let entries = [
                tarball::Entry::file("./cap", "").xattr("security.capability", value),
                tarball::Entry::new("./link", Kind::Symlink(long.clone())),
                tarball::Entry::file(long.as_str(), "x").owner(70_000, 5),
            ];
            let mut bytes = Vec::new();
            tarball::write_entries(&entries, &mut bytes).unwrap();
            Manifest::of_tar(&bytes[..]).unwrap()
        };
        let (one, two) = (of(b"\x01\n\x00 1"), of(b"\x01\n\x00 2"));
        let value = "\\x01\\n\\x00 1".to_owned();
        assert_eq!(one.get("cap").unwrap().xattrs, [("security.capability".to_owned(), value)]);
        assert_eq!(one.get("link").unwrap().link, long);
        assert_eq!(one.get(&long[2..]).unwrap().uid, 70_000);
        let found = one.differences(&two);
        assert_eq!((found.len(), &found[0].fields[..]), (1, &["xattrs"][..]));
    }

    #[test]
    fn a_path_that_is_there_twice_is_refused() {
        use crate::tarball;
        let mut bytes = Vec::new();
        let entry = || tarball::Entry::file("./a", "");
        tarball::write_entries(&[entry(), entry()], &mut bytes).unwrap();
        assert!(Manifest::of_tar(&bytes[..]).is_err());
    }

    #[test]
    fn differences_name_path_and_fields() {
        let one = manifest(&[("a", "1", 0o644), ("b", "1", 0o644), ("c", "1", 0o644)]);
        let two = manifest(&[("a", "1", 0o644), ("b", "2", 0o755), ("d", "1", 0o644)]);
        let found: Vec<_> =
            one.differences(&two).into_iter().map(|one| (one.path, one.fields)).collect();
        assert_eq!(
            found,
            [
                ("b".into(), vec!["mode", "content"]),
                ("c".into(), vec!["missing"]),
                ("d".into(), vec!["extra"]),
            ]
        );
        assert!(one.differences(&one).is_empty());
    }

    #[test]
    fn the_list_of_accepted_differences_holds_in_both_directions() {
        let one = manifest(&[("a", "1", 0o644), ("b", "1", 0o644)]);
        let two = manifest(&[("a", "1", 0o644), ("b", "2", 0o644)]);
        assert!(one.unexpected(&two, &[("b", "reason")]).is_empty());
        assert_eq!(one.unexpected(&two, &[]).len(), 1);
        assert_eq!(one.unexpected(&two, &[("a", "reason"), ("b", "reason")]).len(), 1);
    }
}
