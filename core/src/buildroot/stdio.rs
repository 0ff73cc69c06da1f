//! Standard streams of programs, where callers bring them.

use crate::error::{Error, ErrorKind, IoContext, Result};
use rustix::fs::FileType;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Standard streams of a program.
#[derive(Debug)]
pub enum Stdio {
    /// These three descriptors; they are closed here once the program has them.
    Descriptors([OwnedFd; 3]),
    /// A terminal of the root's own, of this many rows and columns.
    Terminal(u16, u16),
}

impl Stdio {
    /// Copies of a caller's descriptors for input, output and errors; the null device where there
    /// is none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for what would be a way out of the root: a directory, or a terminal,
    /// into whose input programs can type (`TIOCSTI`, ioctl_tty(2)); [`ErrorKind::Io`] for a
    /// descriptor that is not open.
    pub fn copies(streams: [Option<BorrowedFd<'_>>; 3]) -> Result<Self> {
        let [input, output, errors] = streams;
        Ok(Stdio::Descriptors([copy(input, false)?, copy(output, true)?, copy(errors, true)?]))
    }
}

/// A pipe for what a program prints: our end, and the program's. A pipe belongs to who made it, and
/// opening `/dev/stdout` or `/dev/stderr` asks: this one the program may open by these names,
/// whoever it runs as.
///
/// # Errors
/// [`ErrorKind::Io`] if this process has too many descriptors.
pub fn output_pipe() -> Result<(File, OwnedFd)> {
    let (ours, theirs) = std::io::pipe().doing(|| "cannot make a pipe".into())?;
    let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
    rustix::fs::fchmod(&theirs, rustix::fs::Mode::from(0o666))
        .doing(|| "cannot prepare a pipe".into())?;
    Ok((File::from(ours), theirs))
}

fn copy(stream: Option<BorrowedFd<'_>>, write: bool) -> Result<OwnedFd> {
    let Some(stream) = stream else {
        let null = File::options().read(!write).write(write).open("/dev/null");
        return Ok(null.doing(|| "cannot open /dev/null".into())?.into());
    };
    let number = stream.as_raw_fd();
    let copy =
        stream.try_clone_to_owned().doing(|| format!("cannot copy the descriptor {number}"))?;
    let stat =
        rustix::fs::fstat(&copy).doing(|| format!("cannot look at the descriptor {number}"))?;
    let what = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        "a directory"
    } else if rustix::termios::isatty(copy.as_fd()) {
        "a terminal"
    } else {
        return Ok(copy);
    };
    Err(Error::new(
        ErrorKind::Usage,
        format!("the descriptor {number} is {what}, which cannot go into a root"),
    )
    .with_hint("pass a pipe, or start the program on a terminal of its own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_terminals_cannot_go_into_a_root() {
        let directory = File::open("/").unwrap();
        let terminal = nix::pty::openpty(None, None).unwrap();
        for stream in [directory.as_fd(), terminal.slave.as_fd(), terminal.master.as_fd()] {
            for place in 0..3 {
                let mut streams = [None; 3];
                streams[place] = Some(stream);
                assert_eq!(Stdio::copies(streams).unwrap_err().kind(), ErrorKind::Usage);
            }
        }
    }

    #[test]
    fn what_nobody_brings_is_the_null_device() {
        let Stdio::Descriptors(streams) = Stdio::copies([None; 3]).unwrap() else { panic!() };
        let null = std::fs::metadata("/dev/null").unwrap();
        for stream in streams {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(File::from(stream).metadata().unwrap().rdev(), null.rdev());
        }
    }
}
