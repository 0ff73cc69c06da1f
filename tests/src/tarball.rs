//! Writes tar streams entry by entry, with no opinion about what is sane: names go in as they are.
//!
//! The format is that of GNU tar with PAX headers where a name is long or an entry has extended
//! attributes, which is what `dpkg-deb` and `dpkg-source` read.

use std::io::{self, Write};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Vec<u8>),
    /// A regular file of that many zero bytes, never held in memory.
    Zeros(u64),
    /// A directory.
    Dir,
    /// A symbolic link to that target.
    Symlink(String),
    /// A hard link to that earlier entry.
    Hardlink(String),
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of a tar stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as it will be written; nothing is added or cleaned.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Owner, numeric and by name.
    pub owner: (u64, String),
    /// Group, numeric and by name.
    pub group: (u64, String),
    /// Modification time, seconds since 1970.
    pub mtime: u64,
    /// Extended attributes, in PAX records `SCHILY.xattr.NAME`.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// A size to claim in the header instead of the true one.
    pub claimed_size: Option<u64>,
    /// Whether to spoil the header's checksum.
    pub bad_checksum: bool,
}

/// The modification time of everything that the kit makes, so that its output is always the same:
/// 2024-01-02 03:04:05 UTC.
pub const MTIME: u64 = 1_704_164_645;

impl Entry {
    /// An entry that belongs to root, with the usual mode of its kind.
    pub fn new(path: impl Into<String>, kind: Kind) -> Entry {
        let mode = match kind {
            Kind::Dir => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Entry {
            path: path.into(),
            kind,
            mode,
            owner: (0, "root".into()),
            group: (0, "root".into()),
            mtime: MTIME,
            xattrs: Vec::new(),
            claimed_size: None,
            bad_checksum: false,
        }
    }

    /// A regular file.
    pub fn file(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Entry {
        Entry::new(path, Kind::File(content.into()))
    }

    /// A directory.
    pub fn dir(path: impl Into<String>) -> Entry {
        Entry::new(path, Kind::Dir)
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Entry {
        Entry::new(path, Kind::Symlink(target.into()))
    }

    /// A hard link.
    pub fn hardlink(path: impl Into<String>, target: impl Into<String>) -> Entry {
        Entry::new(path, Kind::Hardlink(target.into()))
    }

    /// Sets the permission bits.
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    /// Sets owner and group; names other than `root` are left empty, as `dpkg-deb` then uses the
    /// numbers.
    pub fn owner(mut self, uid: u64, gid: u64) -> Entry {
        let name = |id: u64| if id == 0 { "root".to_string() } else { String::new() };
        self.owner = (uid, name(uid));
        self.group = (gid, name(gid));
        self
    }

    /// Adds an extended attribute.
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Entry {
        self.xattrs.push((name.into(), value.into()));
        self
    }

    /// Sets the modification time, seconds since 1970.
    pub fn mtime(mut self, mtime: u64) -> Entry {
        self.mtime = mtime;
        self
    }

    fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.len() as u64,
            Kind::Zeros(n) => *n,
            _ => 0,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let link = match &self.kind {
            Kind::Symlink(t) | Kind::Hardlink(t) => t.as_str(),
            _ => "",
        };
        let mut pax = Vec::new();
        if self.path.len() > 100 {
            pax_record(&mut pax, "path", self.path.as_bytes());
        }
        if link.len() > 100 {
            pax_record(&mut pax, "linkpath", link.as_bytes());
        }
        for (name, value) in &self.xattrs {
            pax_record(&mut pax, &format!("SCHILY.xattr.{name}"), value);
        }
        if !pax.is_empty() {
            let mut header = header_of("././@PaxHeader", "", tar::EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(pax.len() as u64);
            header.set_cksum();
            out.write_all(header.as_bytes())?;
            out.write_all(&pax)?;
            pad(out, pax.len() as u64)?;
        }
        let kind = match &self.kind {
            Kind::File(_) | Kind::Zeros(_) => tar::EntryType::Regular,
            Kind::Dir => tar::EntryType::Directory,
            Kind::Symlink(_) => tar::EntryType::Symlink,
            Kind::Hardlink(_) => tar::EntryType::Link,
            Kind::CharDevice(..) => tar::EntryType::Char,
            Kind::BlockDevice(..) => tar::EntryType::Block,
            Kind::Fifo => tar::EntryType::Fifo,
        };
        let mut header = header_of(&self.path, link, kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.group.0);
        header.set_username(&self.owner.1)?;
        header.set_groupname(&self.group.1)?;
        header.set_mtime(self.mtime);
        header.set_size(self.claimed_size.unwrap_or_else(|| self.size()));
        if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = self.kind {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        header.set_cksum();
        let mut bytes = *header.as_bytes();
        if self.bad_checksum {
            bytes[148] = if bytes[148] == b'7' { b'1' } else { b'7' };
        }
        out.write_all(&bytes)?;
        match &self.kind {
            Kind::File(content) => out.write_all(content)?,
            Kind::Zeros(n) => {
                let block = [0_u8; 65536];
                let mut left = *n;
                while left > 0 {
                    let now = left.min(block.len() as u64);
                    out.write_all(&block[..now as usize])?;
                    left -= now;
                }
            }
            _ => {}
        }
        pad(out, self.size())
    }
}

/// A header with raw names: the `tar` crate refuses `..` and absolute names, which hostile
/// archives have.
fn header_of(path: &str, link: &str, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap_or_else(|| unreachable!("made by new_gnu"));
    for (field, value) in [(&mut gnu.name, path), (&mut gnu.linkname, link)] {
        let value = value.as_bytes();
        let len = value.len().min(field.len());
        field[..len].copy_from_slice(&value[..len]);
    }
    header.set_entry_type(kind);
    header
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    out.write_all(&[0_u8; 512][..(size.next_multiple_of(512) - size) as usize])
}

/// Writes entries and the two zero blocks that end a tar stream.
pub fn write_entries(entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    for entry in entries {
        entry.write(out)?;
    }
    out.write_all(&[0_u8; 1024])
}

/// Adds the directories that lead to each entry and are not there yet, mode 0755 and root's, as
/// `dpkg-deb` writes them. Names are of the form `./usr/bin/x` or `x-1.0/src`.
pub fn with_parents(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = std::collections::HashSet::new();
    let mut out: Vec<Entry> = Vec::new();
    for entry in entries {
        let own = entry.path.trim_end_matches('/');
        let mut at = 0;
        while let Some(slash) = own[at..].find('/') {
            let parent = &own[..at + slash];
            at += slash + 1;
            if parent.is_empty() || !seen.insert(parent.to_string()) {
                continue;
            }
            // one that was given with its own mode or owner comes at its first use
            let given = entries
                .iter()
                .find(|e| e.kind == Kind::Dir && e.path.trim_end_matches('/') == parent);
            let mut parent_entry = given.cloned().unwrap_or_else(|| Entry::dir(parent));
            parent_entry.path = format!("{parent}/");
            out.push(parent_entry);
        }
        if entry.kind == Kind::Dir && !seen.insert(own.to_string()) {
            continue;
        }
        let mut entry = entry.clone();
        if entry.kind == Kind::Dir && !entry.path.ends_with('/') {
            entry.path.push('/');
        }
        out.push(entry);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn long_names_and_attributes_survive() {
        let long = format!("./{}/file", "d".repeat(150));
        let entries =
            [Entry::file(long.clone(), "content").xattr("user.a", b"\0value").owner(5, 70_000)];
        let mut bytes = Vec::new();
        write_entries(&with_parents(&entries), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            if entry.header().entry_type().is_file() {
                let attributes: Vec<_> = entry
                    .pax_extensions()
                    .unwrap()
                    .unwrap()
                    .map(|x| x.unwrap())
                    .map(|x| (x.key().unwrap().to_string(), x.value_bytes().to_vec()))
                    .collect();
                assert!(attributes.contains(&("SCHILY.xattr.user.a".into(), b"\0value".to_vec())));
                assert_eq!(entry.header().gid().unwrap(), 70_000);
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                assert_eq!(content, "content");
            }
        }
        assert_eq!(names, ["./", &format!("./{}/", "d".repeat(150)), &long]);
    }
}
