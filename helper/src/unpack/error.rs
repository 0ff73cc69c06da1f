//! What can go wrong between a `.deb` (or a tar stream) and a tree, as sentences.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why an archive could not be unpacked.
///
/// The subject (package, member, path) is kept beside the problem, so that a reader learns
/// which of a hundred packages is meant and where in it.
#[derive(Debug)]
pub struct Error {
    archive: String,
    member: Option<String>,
    path: Option<String>,
    problem: Problem,
}

/// The kinds of problem, for callers that decide by them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A system call failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The verb and object, for a sentence that starts with "cannot".
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The bytes are not what `deb(5)`, `tar(5)` or the compressor's format say.
    #[error("{0}")]
    Malformed(String),
    /// The stream ended before its own headers said so.
    #[error("is truncated: {0}")]
    Truncated(String),
    /// An entry names something outside the root.
    #[error("would leave the root: {0}")]
    Escape(String),
    /// More bytes, entries or nesting than the limits allow.
    #[error("is larger than allowed: {0}")]
    TooLarge(String),
    /// An entry of a type that has no place in a package.
    #[error("is refused: {0}")]
    Refused(String),
    /// Two packages ship the same path, and neither says that it replaces the other.
    #[error("is also in package {owner}, and neither package declares Replaces for the other")]
    Conflict {
        /// The package that had the path first.
        owner: String,
    },
    /// The archive is a package, but not the one that was asked for.
    #[error(
        "says {found} where {expected} was expected; the file does not belong to its index entry"
    )]
    WrongIdentity {
        /// What the caller's index says.
        expected: String,
        /// What the control file says.
        found: String,
    },
    /// What was unpacked earlier is gone, or is not as it was recorded.
    #[error("is not as it was unpacked earlier: {0}")]
    Changed(String),
    /// Somebody asked to stop.
    #[error("was cancelled")]
    Cancelled,
}

/// Whether a call failed because there are too many descriptors, or too little memory.
pub(crate) fn is_lack(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Problem {
    pub(crate) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { doing: doing.into(), source: source.into() }
    }

    /// Whether it says something of this process, or this machine, instead of what is read.
    pub(crate) fn is_lack(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_lack(source))
    }

    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    /// Reading from a decoder: the end of the input is a truncated archive, other errors
    /// that carry no errno come from the decoder and mean damaged data.
    pub(crate) fn reading(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Truncated("the data ends in the middle of an entry".into());
        }
        if source.raw_os_error().is_some() {
            return Self::io("read the archive", source);
        }
        Self::Malformed(format!("does not decode: {source}"))
    }
}

impl Error {
    /// A problem with the archive called `archive`.
    pub fn new(archive: impl Into<String>, problem: Problem) -> Self {
        Self { archive: archive.into(), member: None, path: None, problem }
    }

    /// Names the member of the `.deb` in which it happened.
    #[must_use]
    pub fn in_member(mut self, member: impl Into<String>) -> Self {
        self.member.get_or_insert(member.into());
        self
    }

    /// Names the path inside the archive at which it happened.
    #[must_use]
    pub fn at(mut self, path: &[u8]) -> Self {
        self.path.get_or_insert_with(|| shown(path));
        self
    }

    /// The kind of problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The package or archive that it happened in.
    pub fn archive(&self) -> &str {
        &self.archive
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.archive)?;
        if let Some(member) = &self.member {
            write!(f, ", {member}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ", {path}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A path for a message: control characters and invalid UTF-8 escaped, so that an archive
/// cannot write to the reader's terminal, and of a long one its beginning and its end.
pub(crate) fn shown(path: &[u8]) -> String {
    const MOST: usize = 300;
    let show = |part: &[u8]| part.escape_ascii().to_string();
    match path.len() > MOST {
        true => format!("{}…{}", show(&path[..MOST / 2]), show(&path[path.len() - MOST / 2..])),
        false => show(path),
    }
}
