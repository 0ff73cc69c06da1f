//! Manifests of trees: what two archives of roots are compared by.
//!
//! A [`Manifest`] lists every path of a tar stream with type, mode, owner, size, content hash,
//! link target, device numbers, extended attributes and modification time. Two trees are the
//! same when [`Manifest::differences`] finds none.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

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
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = text(&entry.path_bytes());
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            let (mut xattrs, mut mtime) = (Vec::new(), None);
            if let Some(records) = entry.pax_extensions()? {
                for record in records {
                    let record = record?;
                    let value = text(record.value_bytes());
                    match record.key() {
                        Ok("mtime") => mtime = Some(value),
                        Ok(key) => {
                            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                                xattrs.push((name.to_owned(), value));
                            }
                        }
                        Err(_) => {}
                    }
                }
            }
            xattrs.sort();
            let header = entry.header();
            let kind = match header.entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => '-',
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                tar::EntryType::Link => 'h',
                tar::EntryType::Char => 'c',
                tar::EntryType::Block => 'b',
                tar::EntryType::Fifo => 'p',
                other => {
                    return Err(io::Error::other(format!("{path} is an entry of type {other:?}")));
                }
            };
            let device = match (kind, header.device_major()?, header.device_minor()?) {
                ('b' | 'c', Some(major), Some(minor)) => Some((major, minor)),
                _ => None,
            };
            let mut found = Entry {
                kind,
                mode: header.mode()? & 0o7777,
                uid: header.uid()?,
                gid: header.gid()?,
                size: entry.size(),
                sha256: String::new(),
                link: entry.link_name_bytes().map(|link| text(&link)).unwrap_or_default(),
                device,
                xattrs,
                mtime: mtime.map_or_else(|| header.mtime().map(|time| time.to_string()), Ok)?,
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
                found.sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            }
            entries.insert(path, found);
        }
        Ok(Self { entries })
    }

    /// The entry of a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
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
