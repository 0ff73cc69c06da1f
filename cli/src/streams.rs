//! The three standard streams, as descriptors of our own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Standard input, output and error of a command line.
#[derive(Debug)]
pub struct Streams {
    /// Read by shells and commands inside.
    pub input: File,
    /// Data.
    pub output: File,
    /// Messages.
    pub error: File,
}

impl Streams {
    /// Copies of this process's own.
    ///
    /// # Errors
    /// What the system says when there is no descriptor left.
    pub fn of_process() -> io::Result<Self> {
        fn copy(stream: impl AsFd) -> io::Result<File> {
            Ok(File::from(stream.as_fd().try_clone_to_owned()?))
        }
        Ok(Streams {
            input: copy(io::stdin())?,
            output: copy(io::stdout())?,
            error: copy(io::stderr())?,
        })
    }

    /// Three descriptors, such as pipes.
    pub fn new(input: OwnedFd, output: OwnedFd, error: OwnedFd) -> Self {
        Streams { input: input.into(), output: output.into(), error: error.into() }
    }
}
