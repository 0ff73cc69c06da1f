//! Small packages and archives for tests, made in memory.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;

use tar::{EntryType, Header};

use super::ar::tests::archive;
use super::{Error, Tree, Unpacked, Unpacker};
use crate::dpkgdb::Identity;

/// A never-set cancellation.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

/// Builds a tar stream; names are written as given, however hostile.
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(crate) fn header(kind: EntryType, name: &str, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getegid().as_raw()));
        header.set_mtime(1_600_000_000);
        header.set_size(size);
        header.set_cksum();
        header
    }

    pub(crate) fn entry(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(Self::header(EntryType::Regular, name, data.len() as u64), data)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(Self::header(EntryType::Directory, name, 0), b"")
    }

    pub(crate) fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.entry(header, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn node(self, kind: EntryType, name: &str) -> Self {
        self.entry(Self::header(kind, name, 0), b"")
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    pub(crate) fn without_end(self) -> Vec<u8> {
        self.bytes
    }
}

/// The control member of a package.
pub(crate) fn control(name: &str, extra_fields: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let text = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
         Installed-Size: 1\n{extra_fields}Description: a test\n"
    );
    let mut tar = Tar::new().dir("./").file("./control", text.as_bytes());
    for (name, data) in files {
        tar = tar.file(&format!("./{name}"), data.as_bytes());
    }
    tar.done()
}

/// A `.deb` with these plain members.
pub(crate) fn deb(control: &[u8], data: &[u8]) -> Vec<u8> {
    archive(&[("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", data)])
}

/// A `.deb` called `name` with this content.
pub(crate) fn package(name: &str, data: Tar) -> Vec<u8> {
    deb(&control(name, "", &[]), &data.done())
}

pub(crate) fn identity(name: &str) -> Identity {
    Identity { name: name.into(), version: "1.0".into(), architecture: "all".into() }
}

/// A directory `root` beside a directory `outside`, which must stay empty.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        Self { directory }
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn outside(&self) -> std::path::PathBuf {
        self.directory.path().join("outside")
    }

    /// Unpacks packages one after the other, in both ways of resolving paths: the second time
    /// into a fresh root.
    pub(crate) fn unpack(&self, debs: &[(&str, Vec<u8>)]) -> Result<Vec<Unpacked>, Error> {
        let second = Self::new();
        let portable = second.unpack_with(debs, true);
        let result = self.unpack_with(debs, false);
        let text = |result: &Result<Vec<Unpacked>, Error>| {
            result.as_ref().map(Vec::len).map_err(ToString::to_string)
        };
        assert_eq!(text(&result), text(&portable), "openat2 and the portable walk differ");
        second.assert_outside_is_empty();
        self.assert_outside_is_empty();
        result
    }

    fn unpack_with(
        &self,
        debs: &[(&str, Vec<u8>)],
        portable: bool,
    ) -> Result<Vec<Unpacked>, Error> {
        let root = std::fs::File::open(self.root()).unwrap();
        let tree = Tree::new(root.as_fd());
        let tree = if portable { tree.without_openat2() } else { tree };
        let unpacker = Unpacker::with_tree(tree, &NEVER);
        let one =
            |(name, deb): &(&str, Vec<u8>)| unpacker.unpack_deb(&deb[..], &identity(name), None);
        debs.iter().map(one).collect()
    }

    pub(crate) fn assert_outside_is_empty(&self) {
        let count = std::fs::read_dir(self.outside()).unwrap().count();
        assert_eq!(count, 0, "something was written outside the root");
    }
}

/// Compresses with xz, fast rather than well.
pub(crate) fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
