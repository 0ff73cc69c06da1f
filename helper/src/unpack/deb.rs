//! The parts of a `.deb` (`deb(5)`): the control files in memory, the content as a stream.

use std::io::{BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

use super::ar::ArReader;
use super::codec::{Compression, Decoder, Sums};
use super::error::{Error, Problem, shown};
use super::tarstream::{Kind, TarStream};
use crate::dpkgdb::{Identity, Stanza};

/// Bounds for the control member: the largest in Debian are a few MiB of `symbols`.
const MAX_CONTROL_FILES: usize = 256;
const MAX_CONTROL_BYTES: u64 = 64 << 20;

/// One file of `control.tar`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFile {
    /// Plain name, for example `postinst`.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Content.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// What a package says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Control {
    /// The file `control`, as one paragraph.
    pub stanza: Stanza,
    /// Name, version and architecture from it.
    pub identity: Identity,
    /// All files of the control member but `control` itself, in the order of the archive.
    pub files: Vec<ControlFile>,
    /// Where and how `control` was, for maintainer scripts that look at it.
    pub control_file: ControlFile,
}

impl Control {
    /// From the file `control` and the others.
    pub(super) fn new(control_file: ControlFile, files: Vec<ControlFile>) -> Result<Self, Problem> {
        let stanza = Stanza::parse_one(&control_file.data)
            .map_err(|error| Problem::malformed(format!("its control file is damaged: {error}")))?;
        let identity = Identity::of(&stanza)
            .map_err(|error| Problem::malformed(format!("its control file is damaged: {error}")))?;
        Ok(Self { stanza, identity, files, control_file })
    }

    /// The control file called `name`.
    pub fn file(&self, name: &str) -> Option<&ControlFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The conffiles that the package declares (`deb-conffiles(5)`), in its order.
    pub fn conffiles(&self) -> Result<Vec<Conffile>, Problem> {
        let Some(file) = self.file("conffiles") else { return Ok(Vec::new()) };
        let mut conffiles = Vec::new();
        for line in file.data.split(|&b| b == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let flagged = line.strip_prefix(b"remove-on-upgrade ");
            let path = flagged.unwrap_or(line).trim_ascii();
            if !path.starts_with(b"/") {
                return Err(Problem::malformed(format!(
                    "has “{}” in conffiles, which is no absolute path",
                    shown(line)
                )));
            }
            let remove_on_upgrade = flagged.is_some();
            conffiles.push(Conffile { path: path.to_vec(), remove_on_upgrade });
        }
        Ok(conffiles)
    }
}

/// A file that is the administrator's to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conffile {
    /// Absolute path.
    pub path: Vec<u8>,
    /// The package no longer brings it, and wants it removed when it is upgraded.
    pub remove_on_upgrade: bool,
}

/// What the `.deb` in `stream`, called `name` in messages, says about itself. Its content is not
/// read.
///
/// # Errors
/// If it is damaged or no Debian package.
pub fn inspect(stream: impl Read, name: &str) -> Result<Control, Error> {
    Ok(DebReader::open(stream, name)?.control)
}

/// A `.deb` whose control member was read, and whose data member comes next.
pub(crate) struct DebReader<R> {
    archive: ArReader<R>,
    name: String,
    pub(crate) control: Control,
    data_member: String,
    compression: Compression,
}

impl<R: Read> DebReader<R> {
    /// Reads up to the data member. `name` is for error messages.
    pub(crate) fn open(stream: R, name: &str) -> Result<Self, Error> {
        let fail = |problem| Error::new(name, problem);
        let mut archive = ArReader::new(stream).map_err(fail)?;
        let first = archive.next().map_err(fail)?;
        let in_first = |problem| fail(problem).in_member("debian-binary");
        match first {
            Some(member) if member.name == "debian-binary" && member.size <= 64 => {}
            _ => {
                return Err(fail(Problem::malformed(
                    "is not a Debian package: its first member is not debian-binary",
                )));
            }
        }
        let mut version = Vec::new();
        archive.data().read_to_end(&mut version).map_err(Problem::reading).map_err(in_first)?;
        if !version.starts_with(b"2.") || !version.contains(&b'\n') {
            return Err(in_first(Problem::malformed(format!(
                "is of the format version “{}”; only 2.x is known",
                shown(version.trim_ascii_end())
            ))));
        }
        let (member, compression) = next_part(&mut archive, "control.tar").map_err(fail)?;
        let control = read_control(&mut archive, compression)
            .map_err(|problem| fail(problem).in_member(member))?;
        let (data_member, compression) = next_part(&mut archive, "data.tar").map_err(fail)?;
        Ok(Self { archive, name: name.into(), control, data_member, compression })
    }

    /// The member that holds the content, for error messages.
    pub(crate) fn data_member(&self) -> &str {
        &self.data_member
    }

    /// The content. The stream must be read to its end before [`DebReader::finish`]. Whoever made
    /// the reader has compared the SHA-256 of the `.deb`.
    pub(crate) fn data(&mut self) -> Result<TarStream<impl BufRead + '_>, Error> {
        let input = BufReader::with_capacity(64 << 10, self.archive.data());
        let decoder = Decoder::new(self.compression, input, Sums::Trust)
            .map_err(|problem| Error::new(&self.name, problem).in_member(&self.data_member))?;
        Ok(TarStream::new(decoder))
    }

    /// Checks that nothing is wrong behind the content.
    pub(crate) fn finish(mut self) -> Result<Control, Error> {
        let unread = self.archive.unread();
        if unread > 0 {
            let problem = Problem::malformed(format!(
                "{unread} bytes follow the end of the compressed stream"
            ));
            return Err(Error::new(self.name, problem).in_member(self.data_member));
        }
        // deb(5): members after the data are to be ignored. They still have to be members.
        while self.archive.next().map_err(|problem| Error::new(&self.name, problem))?.is_some() {}
        Ok(self.control)
    }
}

/// Goes to the member `part` with any known suffix; deb(5) lets members whose names start
/// with `_` come in between.
fn next_part<R: Read>(
    archive: &mut ArReader<R>,
    part: &str,
) -> Result<(String, Compression), Problem> {
    loop {
        let Some(member) = archive.next()? else {
            return Err(Problem::Truncated(format!("the archive has no member {part}")));
        };
        if member.name.starts_with('_') {
            continue;
        }
        let compression = member.name.strip_prefix(part).and_then(Compression::of_suffix);
        return match compression {
            Some(compression) => Ok((member.name, compression)),
            None => Err(Problem::malformed(format!(
                "has the member {} where {part} with .xz, .zst, .gz or no suffix was expected",
                member.name
            ))),
        };
    }
}

fn read_control<R: Read>(
    archive: &mut ArReader<R>,
    compression: Compression,
) -> Result<Control, Problem> {
    let input = BufReader::with_capacity(16 << 10, archive.data());
    let mut stream = TarStream::new(Decoder::new(compression, input, Sums::Compare)?);
    let mut files: Vec<ControlFile> = Vec::new();
    let mut left = MAX_CONTROL_BYTES;
    while let Some(entry) = stream.next()? {
        let name =
            super::path::clean(&entry.name, super::path::Absolute::Refuse).map_err(|problem| {
                match problem {
                    Problem::Escape(why) => {
                        Problem::Escape(format!("{}: {why}", shown(&entry.name)))
                    }
                    other => other,
                }
            })?;
        if entry.kind == Kind::Directory && name.is_empty() {
            continue;
        }
        let plain = |&b: &u8| b.is_ascii_alphanumeric() || b"-_+.".contains(&b);
        if entry.kind != Kind::File || !name.iter().all(plain) {
            return Err(Problem::Refused(format!(
                "{} is no plain file at the top, as all control files are",
                shown(&entry.name)
            )));
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        if files.iter().any(|file| file.name == name) {
            return Err(Problem::malformed(format!("has the control file {name} twice")));
        }
        if files.len() >= MAX_CONTROL_FILES {
            return Err(Problem::TooLarge(format!("more than {MAX_CONTROL_FILES} control files")));
        }
        let data = stream.data(left)?;
        left -= data.len() as u64;
        files.push(ControlFile { name, mode: entry.mode, mtime: entry.mtime.0, data });
    }
    stream.finish()?;
    if archive.unread() > 0 {
        return Err(Problem::malformed("bytes follow the end of the compressed stream"));
    }
    let Some(at) = files.iter().position(|file| file.name == "control") else {
        return Err(Problem::malformed("has no file called control"));
    };
    let control_file = files.remove(at);
    Control::new(control_file, files)
}
