//! What the helper says, as errors of the library.

use crate::error::{Error, ErrorKind};
use debmock_helper::protocol::{ClientError, Failure, FailureKind};

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Failed(failure) => failure.into(),
            ClientError::Forked(_) => Error::new(ErrorKind::Forked, error.to_string())
                .with_hint("open a buildroot of its own in the forked process"),
            ClientError::Start { source, path } => {
                Error::new(ErrorKind::Helper, format!("cannot start the helper {}", path.display()))
                    .with_source(source)
                    .with_hint("set DEBMOCK_HELPER to the path of debmock-helper")
            }
            ClientError::Build { .. } => Error::new(ErrorKind::Helper, error.to_string())
                .with_hint("install library and helper of the same build"),
            other => Error::new(ErrorKind::Helper, other.to_string()),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::System
                if matches!(failure.errno, libc_errno::ENOSPC | libc_errno::EDQUOT) =>
            {
                return Error::io(failure.doing, std::io::Error::from_raw_os_error(failure.errno));
            }
            FailureKind::System => ErrorKind::Io,
            FailureKind::Isolation => ErrorKind::Isolation,
            FailureKind::Locked => ErrorKind::Locked,
            FailureKind::Exec => ErrorKind::Exec,
            FailureKind::Hostile | FailureKind::Unsynced => ErrorKind::Buildroot,
            FailureKind::Request => ErrorKind::Usage,
        };
        let error = Error::new(kind, failure.doing);
        let error = if failure.errno == 0 {
            error
        } else {
            error.with_source(std::io::Error::from_raw_os_error(failure.errno))
        };
        if failure.kind == FailureKind::Unsynced {
            return error.with_hint(
                "drop the changes with `debmock clean`; a base that may be damaged is made again",
            );
        }
        match kind {
            ErrorKind::Isolation => error
                .with_hint("`debmock doctor` says what this machine can do and what is missing"),
            _ => error,
        }
    }
}

mod libc_errno {
    pub const ENOSPC: i32 = 28;
    pub const EDQUOT: i32 = 122;
}
