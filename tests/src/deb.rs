//! Makes `.deb` files: sound ones, the same bytes every time, and hostile ones, each spoiled in
//! one named way.
//!
//! ```
//! use debmock_tests::deb::Deb;
//! let deb = Deb::new("hello", "1.0-1", "amd64")
//!     .field("Depends", "libc6")
//!     .script("postinst", "#!/bin/sh\nset -e\n")
//!     .file("/usr/bin/hello", 0o755, "#!/bin/sh\necho hello\n")
//!     .conffile("/etc/hello.conf", "greeting = hello\n")
//!     .build();
//! assert_eq!(deb.file_name, "hello_1.0-1_amd64.deb");
//! ```

use md5::{Digest, Md5};

use crate::compression::Compression;
use crate::tarball::{self, Entry, Kind, MTIME};

/// One way to spoil a package. What the index says about it stays true of the spoiled bytes (size
/// and hash), since a hostile archive is free to sign what it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// A data file with that absolute name, such as `/tmp/pwned`, without the leading dot.
    AbsolutePath(String),
    /// A data file with that name, such as `./../../tmp/pwned`.
    DotDot(String),
    /// A data symlink `./escape` to that host directory, then a file `./escape/pwned` through it.
    SymlinkThenWrite(String),
    /// A data symlink `./escape` to that host file, then a file of the same name.
    SymlinkThenReplace(String),
    /// A hard link `./stolen` to that name, such as `/etc/shadow` or `../../etc/shadow`.
    HardlinkOutside(String),
    /// A symlink `./escape` to that host directory, then a hard link `./stolen` to the second
    /// name below it.
    HardlinkThroughSymlink(String, String),
    /// A data file with a NUL-free but unprintable name: newline, escape sequence, not UTF-8 safe.
    UnprintableName,
    /// A device node `./dev/own` of these numbers, block or character.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A name pipe in place of a file.
    Fifo,
    /// The file ends after that many bytes.
    TruncatedAt(usize),
    /// A data entry whose header claims that size and whose stream ends soon after.
    AbsurdTarSize(u64),
    /// The ar header of the data member claims that size.
    AbsurdArSize(u64),
    /// The data member names no directories.
    NoDirectories,
    /// A data file of that many zero bytes, small when compressed.
    Bomb(u64),
    /// The same in the control member, as file `md5sums`.
    ControlBomb(u64),
    /// A data entry whose PAX header is a name of that many bytes.
    NameBomb(usize),
    /// A tar header with a wrong checksum.
    BadTarChecksum,
    /// Not an ar file at all.
    ArGarbage,
    /// The member `debian-binary` says 3.0.
    FormatVersion,
    /// There is no data member.
    NoData,
    /// There is no control member.
    NoControl,
    /// The data member holds noise under the name of its compression.
    DataGarbage,
    /// One byte in the middle of the data member is flipped.
    FlippedByte,
    /// The control file inside names another package than the index.
    ControlName(String),
    /// The control file inside has another version than the index.
    ControlVersion(String),
    /// The control file inside has another architecture than the index.
    ControlArchitecture(String),
    /// The control member has a file of that name, such as `../../tmp/pwned`.
    ControlEscape(String),
    /// In the control member `postinst` is a symlink to that host file.
    ControlSymlink(String),
    /// The control file is no control file.
    ControlGarbage,
}

/// A package under construction.
#[derive(Clone, Debug)]
pub struct Deb {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    control_files: Vec<Entry>,
    conffiles: Vec<String>,
    data: Vec<Entry>,
    compression: Compression,
    control_compression: Compression,
    hostile: Vec<Hostile>,
}

/// A finished package and what an index says about it.
#[derive(Clone, Debug)]
pub struct BuiltDeb {
    /// `NAME_VERSION_ARCH.deb`, the version without epoch.
    pub file_name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Control fields in order, as an index has them; no Filename, Size or hashes.
    pub fields: Vec<(String, String)>,
}

impl BuiltDeb {
    /// The value of a control field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

impl Deb {
    /// Starts a package. It has maintainer, section, priority and description; the rest is added.
    pub fn new(name: &str, version: &str, architecture: &str) -> Deb {
        let fields = [
            ("Maintainer", "Test Kit <kit@example.org>"),
            ("Section", "misc"),
            ("Priority", "optional"),
            ("Description", "made by a test\n It does nothing."),
        ];
        Deb {
            name: name.into(),
            version: version.into(),
            architecture: architecture.into(),
            fields: fields.map(|(k, v)| (k.to_string(), v.to_string())).to_vec(),
            control_files: Vec::new(),
            conffiles: Vec::new(),
            data: Vec::new(),
            compression: Compression::Xz,
            control_compression: Compression::Gzip,
            hostile: Vec::new(),
        }
    }

    /// Sets a control field, replacing one of the same name. Lines after the first must begin
    /// with a space.
    pub fn field(mut self, name: &str, value: &str) -> Deb {
        match self.fields.iter_mut().find(|(k, _)| k.eq_ignore_ascii_case(name)) {
            Some(field) => field.1 = value.into(),
            None => self.fields.push((name.into(), value.into())),
        }
        self
    }

    /// Marks it `Essential: yes` and `Priority: required`.
    pub fn essential(self) -> Deb {
        self.field("Essential", "yes").field("Priority", "required")
    }

    /// Adds a maintainer script: `preinst`, `postinst`, `prerm`, `postrm` or `config`.
    pub fn script(mut self, name: &str, text: &str) -> Deb {
        self.control_files.push(Entry::file(format!("./{name}"), text).mode(0o755));
        self
    }

    /// Adds another control file, such as `triggers`, `shlibs` or `templates`.
    pub fn control_file(mut self, name: &str, text: &str) -> Deb {
        self.control_files.push(Entry::file(format!("./{name}"), text));
        self
    }

    /// Adds a regular file; `path` is absolute in the root. Directories above appear by
    /// themselves.
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Deb {
        self.entry(Entry::file(inside(path), content).mode(mode))
    }

    /// Adds a file that dpkg treats as configuration.
    pub fn conffile(mut self, path: &str, content: impl Into<Vec<u8>>) -> Deb {
        self.conffiles.push(path.into());
        self.file(path, 0o644, content)
    }

    /// Adds a directory.
    pub fn dir(self, path: &str, mode: u32) -> Deb {
        self.entry(Entry::dir(inside(path)).mode(mode))
    }

    /// Adds a symbolic link at `path` to `target`, which is written as it is.
    pub fn symlink(self, path: &str, target: &str) -> Deb {
        self.entry(Entry::symlink(inside(path), target))
    }

    /// Adds a hard link at `path` to `target`, another path of this package.
    pub fn hardlink(self, path: &str, target: &str) -> Deb {
        self.entry(Entry::hardlink(inside(path), inside(target)))
    }

    /// Gives the entry that was added last to these ids.
    pub fn owner(mut self, uid: u64, gid: u64) -> Deb {
        if let Some(last) = self.data.pop() {
            self.data.push(last.owner(uid, gid));
        }
        self
    }

    /// Adds an entry as it is.
    pub fn entry(mut self, entry: Entry) -> Deb {
        self.data.push(entry);
        self
    }

    /// Sets the compression of the data member; the default is xz.
    pub fn compression(mut self, compression: Compression) -> Deb {
        self.compression = compression;
        self
    }

    /// Sets the compression of the control member; the default is gzip.
    pub fn control_compression(mut self, compression: Compression) -> Deb {
        self.control_compression = compression;
        self
    }

    /// Spoils the package; may be called several times.
    pub fn hostile(mut self, way: Hostile) -> Deb {
        self.hostile.push(way);
        self
    }

    /// Makes the bytes.
    pub fn build(&self) -> BuiltDeb {
        let fields = self.index_fields();
        let data = self.data_member();
        let control = self.control_member(&fields);
        let mut bytes = self.ar(&control, &data);
        for way in &self.hostile {
            match way {
                Hostile::TruncatedAt(n) => bytes.truncate(*n),
                Hostile::ArGarbage => bytes = noise(bytes.len()),
                _ => {}
            }
        }
        let plain_version = self.version.split_once(':').map_or(self.version.as_str(), |v| v.1);
        let file_name = format!("{}_{plain_version}_{}.deb", self.name, self.architecture);
        BuiltDeb { file_name, bytes, fields }
    }

    fn index_fields(&self) -> Vec<(String, String)> {
        let mut fields = vec![
            ("Package".to_string(), self.name.clone()),
            ("Version".to_string(), self.version.clone()),
            ("Architecture".to_string(), self.architecture.clone()),
        ];
        let bytes: usize = self.data.iter().map(content_len).sum();
        fields.push(("Installed-Size".into(), bytes.div_ceil(1024).max(1).to_string()));
        fields.extend(self.fields.iter().cloned());
        fields
    }

    fn data_member(&self) -> Vec<u8> {
        let mut entries = tarball::with_parents(&self.data);
        if !entries.iter().any(|e| e.path == "./") {
            entries.insert(0, Entry::dir("./"));
        }
        let mut flip = false;
        for way in &self.hostile {
            match way {
                Hostile::AbsolutePath(p) | Hostile::DotDot(p) => {
                    entries.push(Entry::file(p.clone(), "pwned\n"));
                }
                Hostile::SymlinkThenWrite(dir) => {
                    entries.push(Entry::symlink("./escape", dir.clone()));
                    entries.push(Entry::file("./escape/pwned", "pwned\n"));
                }
                Hostile::SymlinkThenReplace(file) => {
                    entries.push(Entry::symlink("./escape", file.clone()));
                    entries.push(Entry::file("./escape", "pwned\n"));
                }
                Hostile::HardlinkOutside(target) => {
                    entries.push(Entry::hardlink("./stolen", target.clone()));
                }
                Hostile::HardlinkThroughSymlink(dir, name) => {
                    entries.push(Entry::symlink("./escape", dir.clone()));
                    entries.push(Entry::hardlink("./stolen", format!("./escape/{name}")));
                }
                Hostile::UnprintableName => {
                    entries.push(Entry::file("./new\nline\u{1b}[31mred", "x"));
                }
                Hostile::Device { block, major, minor } => {
                    let kind = if *block {
                        Kind::BlockDevice(*major, *minor)
                    } else {
                        Kind::CharDevice(*major, *minor)
                    };
                    entries.push(Entry::dir("./dev/"));
                    entries.push(Entry::new("./dev/own", kind).mode(0o666));
                }
                Hostile::Fifo => entries.push(Entry::new("./pipe", Kind::Fifo)),
                Hostile::AbsurdTarSize(size) => {
                    let mut entry = Entry::file("./absurd", "short");
                    entry.claimed_size = Some(*size);
                    entries.push(entry);
                }
                Hostile::NoDirectories => {
                    entries.retain(|entry| entry.kind != Kind::Dir);
                }
                Hostile::Bomb(size) => entries.push(Entry::new("./bomb", Kind::Zeros(*size))),
                Hostile::NameBomb(size) => {
                    entries.push(Entry::file(format!("./{}", "n".repeat(*size)), ""));
                }
                Hostile::BadTarChecksum => {
                    let mut entry = Entry::file("./spoiled", "x");
                    entry.bad_checksum = true;
                    entries.push(entry);
                }
                Hostile::DataGarbage => return noise(4096),
                Hostile::FlippedByte => flip = true,
                _ => {}
            }
        }
        let mut bytes = self.compression.stream(|w| tarball::write_entries(&entries, w));
        if flip {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        }
        bytes
    }

    fn control_member(&self, fields: &[(String, String)]) -> Vec<u8> {
        let mut fields = fields.to_vec();
        let mut set = |name: &str, value: &str| {
            for field in fields.iter_mut().filter(|(k, _)| k == name) {
                field.1 = value.into();
            }
        };
        for way in &self.hostile {
            match way {
                Hostile::ControlName(name) => set("Package", name),
                Hostile::ControlVersion(version) => set("Version", version),
                Hostile::ControlArchitecture(architecture) => set("Architecture", architecture),
                _ => {}
            }
        }
        let mut control = paragraph(&fields);
        if self.hostile.contains(&Hostile::ControlGarbage) {
            control = "this is\0no control file\n\n\n:::\n".into();
        }
        let mut sums = String::new();
        for entry in &self.data {
            if let Kind::File(content) = &entry.kind {
                let path = entry.path.trim_start_matches("./");
                sums.push_str(&format!("{}  {path}\n", hex(&Md5::digest(content))));
            }
        }
        let mut entries = vec![Entry::dir("./"), Entry::file("./control", control)];
        if !self.conffiles.is_empty() {
            entries.push(Entry::file("./conffiles", self.conffiles.join("\n") + "\n"));
        }
        if !sums.is_empty() {
            entries.push(Entry::file("./md5sums", sums));
        }
        entries.extend(self.control_files.iter().cloned());
        for way in &self.hostile {
            match way {
                Hostile::ControlEscape(name) => {
                    entries.push(Entry::file(name.clone(), "pwned\n").mode(0o755));
                }
                Hostile::ControlSymlink(target) => {
                    entries.retain(|e| e.path != "./postinst");
                    entries.push(Entry::symlink("./postinst", target.clone()));
                }
                Hostile::ControlBomb(size) => {
                    entries.retain(|e| e.path != "./md5sums");
                    entries.push(Entry::new("./md5sums", Kind::Zeros(*size)));
                }
                _ => {}
            }
        }
        self.control_compression.stream(|w| tarball::write_entries(&entries, w))
    }

    /// The container, `deb(5)`: `debian-binary`, `control.tar*`, `data.tar*`.
    fn ar(&self, control: &[u8], data: &[u8]) -> Vec<u8> {
        let has = |way: &Hostile| self.hostile.contains(way);
        let mut out = b"!<arch>\n".to_vec();
        let format: &[u8] = if has(&Hostile::FormatVersion) { b"3.0\n" } else { b"2.0\n" };
        ar_member(&mut out, "debian-binary", format, None);
        if !has(&Hostile::NoControl) {
            let name = format!("control.tar{}", self.control_compression.extension());
            ar_member(&mut out, &name, control, None);
        }
        if !has(&Hostile::NoData) {
            let claimed = self.hostile.iter().find_map(|way| match way {
                Hostile::AbsurdArSize(size) => Some(*size),
                _ => None,
            });
            let name = format!("data.tar{}", self.compression.extension());
            ar_member(&mut out, &name, data, claimed);
        }
        out
    }
}

fn ar_member(out: &mut Vec<u8>, name: &str, content: &[u8], claimed: Option<u64>) {
    let size = claimed.unwrap_or(content.len() as u64);
    let header = format!("{name:<16}{MTIME:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, "100644");
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    if content.len() % 2 == 1 {
        out.push(b'\n');
    }
}

/// `/usr/bin/x` as a name in a data member: `./usr/bin/x`.
fn inside(path: &str) -> String {
    format!("./{}", path.trim_start_matches('/'))
}

fn content_len(entry: &Entry) -> usize {
    match &entry.kind {
        Kind::File(content) => content.len(),
        _ => 0,
    }
}

/// Writes fields as one paragraph, without the empty line that ends it.
pub fn paragraph(fields: &[(String, String)]) -> String {
    fields
        .iter()
        .map(|(name, value)| {
            // a value that begins on its second line has no space after the colon
            let space = if value.starts_with('\n') || value.is_empty() { "" } else { " " };
            format!("{name}:{space}{value}\n")
        })
        .collect()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes that look random and are the same every time (xorshift).
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_package_gives_same_bytes() {
        let make = || Deb::new("a", "1:2-3", "all").conffile("/etc/a", "x\n").build();
        assert_eq!(make().bytes, make().bytes);
        assert_eq!(make().file_name, "a_2-3_all.deb");
        assert_eq!(make().field("version"), Some("1:2-3"));
    }

    #[test]
    fn wrong_version_is_inside_only() {
        let deb = Deb::new("a", "1", "all").hostile(Hostile::ControlVersion("9".into())).build();
        assert_eq!(deb.field("Version"), Some("1"));
    }
}
