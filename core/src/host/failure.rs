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
                let doing = format!("cannot start the helper {}", path.display());
                Error::io(doing, source)
                    .with_kind(ErrorKind::Helper)
                    .or_hint("set DEBMOCK_HELPER to the path of debmock-helper")
            }
            ClientError::Socket(source) => Error::io("the connection to the helper failed", source)
                .with_kind(ErrorKind::Helper),
            // It ends by itself only when this side has gone, and says so when it crashes.
            ClientError::Gone(words) if words.is_empty() => Error::new(
                ErrorKind::Helper,
                "the helper was killed, or a process that it started for the buildroot was",
            )
            .with_hint(
                "look for who did it, in `dmesg` too if memory ran out, and run the command \
                 again: what is in the store is whole",
            ),
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
                if matches!(
                    failure.errno,
                    libc_errno::ENOSPC
                        | libc_errno::EDQUOT
                        | libc_errno::EMFILE
                        | libc_errno::ENFILE
                ) =>
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
    pub const ENFILE: i32 = 23;
    pub const EMFILE: i32 = 24;
    pub const ENOSPC: i32 = 28;
    pub const EDQUOT: i32 = 122;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_was_killed_is_told_from_one_that_crashed() {
        let killed: Error = ClientError::Gone(String::new()).into();
        assert!(killed.to_string().contains("was killed") && killed.hint().is_some(), "{killed:?}");
        let crashed: Error = ClientError::Gone("it panicked".into()).into();
        assert!(crashed.to_string().contains("it panicked"), "{crashed:?}");
    }

    #[test]
    fn too_few_descriptors_have_a_hint_on_both_sides_of_the_socket() {
        let emfile = || std::io::Error::from_raw_os_error(libc_errno::EMFILE);
        let failure =
            Failure { kind: FailureKind::System, errno: libc_errno::EMFILE, doing: "x".into() };
        for error in [
            Error::from(ClientError::Socket(emfile())),
            Error::from(ClientError::Start { path: "/x".into(), source: emfile() }),
            Error::from(failure),
        ] {
            assert!(error.hint().unwrap().contains("ulimit -n"), "{error:?}");
        }
    }
}
