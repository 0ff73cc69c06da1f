//! The one error type of the library.
//!
//! Rooms build errors from an [`ErrorKind`], a sentence that says what failed with what, an
//! optional cause and an optional hint that says what to do. Callers match on [`Error::kind`];
//! the exit code of the command line, the C constant and the Python class all come from the one
//! table below.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

/// What to do where a process may open no further file.
const FEW_DESCRIPTORS: &str =
    "debmock may open too few files at once: raise the limit, for example with `ulimit -n 1024`";

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, exit $exit:literal, c $c:literal, python $python:literal; )*) => {
        /// What sort of thing went wrong. Numbers are stable: they are the C constants.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum ErrorKind { $( $(#[$doc])* $name = $number, )* }

        impl ErrorKind {
            /// Every kind, in the order of its number.
            pub const ALL: &'static [ErrorKind] = &[$( ErrorKind::$name, )*];

            /// The exit status of the command line for this kind.
            pub fn exit_code(self) -> u8 { match self { $( ErrorKind::$name => $exit, )* } }

            /// The name of the C constant.
            pub fn c_name(self) -> &'static str { match self { $( ErrorKind::$name => $c, )* } }

            /// The name of the Python exception class.
            pub fn python_name(self) -> &'static str { match self { $( ErrorKind::$name => $python, )* } }
        }
    };
}

kinds! {
    /// Anything that no other kind describes.
    Unexpected = 1, exit 1, c "DEBMOCK_ERR_UNEXPECTED", python "UnexpectedError";
    /// A configuration file, option or host configuration that cannot be used.
    Config = 2, exit 3, c "DEBMOCK_ERR_CONFIG", python "ConfigError";
    /// A call with arguments that make no sense.
    Usage = 3, exit 5, c "DEBMOCK_ERR_USAGE", python "UsageError";
    /// An archive that cannot be reached or whose data do not fit together.
    Archive = 4, exit 30, c "DEBMOCK_ERR_ARCHIVE", python "ArchiveError";
    /// A signature that is missing, wrong, expired or from an unknown key.
    Signature = 5, exit 30, c "DEBMOCK_ERR_SIGNATURE", python "SignatureError";
    /// Dependencies that cannot be satisfied.
    Dependency = 6, exit 32, c "DEBMOCK_ERR_DEPENDENCY", python "DependencyError";
    /// apt or dpkg failed inside a root.
    Package = 7, exit 30, c "DEBMOCK_ERR_PACKAGE", python "PackageError";
    /// The package did not build.
    Build = 8, exit 10, c "DEBMOCK_ERR_BUILD", python "BuildError";
    /// A time limit ran out.
    Timeout = 9, exit 11, c "DEBMOCK_ERR_TIMEOUT", python "TimeoutError";
    /// A buildroot that is missing, damaged or cannot be changed.
    Buildroot = 10, exit 20, c "DEBMOCK_ERR_BUILDROOT", python "BuildrootError";
    /// Another process holds the buildroot and the time to wait ran out.
    Locked = 11, exit 60, c "DEBMOCK_ERR_LOCKED", python "LockedError";
    /// A session of this process is open on the buildroot.
    Busy = 12, exit 60, c "DEBMOCK_ERR_BUSY", python "BusyError";
    /// The result directory cannot be written.
    ResultDir = 13, exit 70, c "DEBMOCK_ERR_RESULT_DIR", python "ResultDirError";
    /// This machine or user cannot have the isolation that was asked for.
    Isolation = 14, exit 80, c "DEBMOCK_ERR_ISOLATION", python "IsolationError";
    /// The first layer could not be made.
    Bootstrap = 15, exit 90, c "DEBMOCK_ERR_BOOTSTRAP", python "BootstrapError";
    /// A source package that cannot be used: missing, damaged or hostile.
    Source = 16, exit 30, c "DEBMOCK_ERR_SOURCE", python "SourceError";
    /// The caller cancelled.
    Cancelled = 17, exit 130, c "DEBMOCK_ERR_CANCELLED", python "Cancelled";
    /// A handle was used in a forked child of the process that made it.
    Forked = 18, exit 1, c "DEBMOCK_ERR_FORKED", python "ForkedError";
    /// The operating system refused an operation on a file or descriptor.
    Io = 19, exit 1, c "DEBMOCK_ERR_IO", python "IoError";
    /// The device is full.
    NoSpace = 20, exit 20, c "DEBMOCK_ERR_NO_SPACE", python "NoSpaceError";
    /// The store or its state is damaged or cannot be used.
    Store = 21, exit 20, c "DEBMOCK_ERR_STORE", python "StoreError";
    /// The helper program is missing, of another build, or broke the protocol.
    Helper = 22, exit 1, c "DEBMOCK_ERR_HELPER", python "HelperError";
    /// A command inside the root could not be started.
    Exec = 23, exit 1, c "DEBMOCK_ERR_EXEC", python "ExecError";
}

/// What failed, why, and what to do about it.
///
/// `Display` gives the sentence and its causes on one line; the hint stands apart
/// ([`Error::hint`]), so that a caller can show it on a line of its own.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    attached: Option<Box<dyn Any + Send + Sync>>,
}

impl Error {
    /// An error of `kind` whose `message` says what failed with what.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Inner { kind, message, hint: None, source: None, attached: None }))
    }

    /// An operating-system error: `doing` says which operation on which path. A full device
    /// becomes [`ErrorKind::NoSpace`], everything else [`ErrorKind::Io`]; where the user can do
    /// something about it, a hint says what.
    pub fn io(doing: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        let source = source.into();
        let full = matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        // EMFILE and ENFILE, which std has no names for.
        let descriptors = matches!(source.raw_os_error(), Some(23 | 24));
        let error = if descriptors {
            Error::new(ErrorKind::Io, doing).with_hint(FEW_DESCRIPTORS)
        } else if full {
            Error::new(ErrorKind::NoSpace, doing)
                .with_hint("free some space, for example with `debmock scrub layers` or `debmock scrub debs`, and run the command again")
        } else {
            Error::new(ErrorKind::Io, doing)
        };
        error.with_source(source)
    }

    /// Adds the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds what the user can do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what the user can do about it, unless something more to the point was said already.
    pub fn or_hint(self, hint: impl Into<String>) -> Self {
        if self.0.hint.is_some() { self } else { self.with_hint(hint) }
    }

    /// Adds what there is beside the failure, such as the
    /// [`BuildResult`](crate::build::BuildResult) of a build that failed.
    pub fn with_attached(mut self, value: impl Any + Send + Sync) -> Self {
        self.0.attached = Some(Box::new(value));
        self
    }

    /// What was added with [`Error::with_attached`], if it is of this type.
    pub fn attached<T: Any>(&self) -> Option<&T> {
        self.0.attached.as_ref()?.downcast_ref()
    }

    /// Puts a sentence around this error that says what was being done; kind, hint and what is
    /// attached stay.
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let (kind, hint, attached) = (self.0.kind, self.0.hint.clone(), self.0.attached.take());
        let (message, source) = (message.into(), Some(Box::new(self) as _));
        Error(Box::new(Inner { kind, message, hint, source, attached }))
    }

    /// The same error under another kind.
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence without its causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The sentences of this error and its causes, outermost first.
    pub fn chain(&self) -> Vec<String> {
        let mut sentences = vec![self.0.message.clone()];
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            sentences.push(match cause.downcast_ref::<Error>() {
                Some(error) => error.0.message.clone(),
                None => cause.to_string(),
            });
            next = cause.source();
        }
        sentences.dedup();
        sentences
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds to an `io::Result` which operation on which path failed.
pub trait IoContext<T> {
    /// `doing` is evaluated only on failure, for example `|| format!("cannot open {path:?}")`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::io(doing(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_in_order() {
        let numbers: Vec<u32> = ErrorKind::ALL.iter().map(|kind| *kind as u32).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    #[test]
    fn a_full_device_has_its_own_kind_and_a_hint() {
        let error = Error::io("cannot write x", std::io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.hint().is_some());
    }

    #[test]
    fn too_few_descriptors_have_a_hint() {
        let error = Error::io("cannot open x", std::io::Error::from_raw_os_error(24));
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.hint().unwrap().contains("ulimit -n"));
    }

    #[test]
    fn what_is_attached_stays_on_the_outside() {
        let error = Error::new(ErrorKind::Build, "no").with_attached(7_u32).context("outside");
        assert_eq!(error.attached::<u32>(), Some(&7));
        assert_eq!(error.attached::<i32>(), None);
    }

    #[test]
    fn context_keeps_kind_and_hint_and_prints_the_chain() {
        let error = Error::new(ErrorKind::Signature, "no good signature")
            .with_hint("look")
            .context("cannot use InRelease");
        assert_eq!(error.kind(), ErrorKind::Signature);
        assert_eq!(error.hint(), Some("look"));
        assert_eq!(error.to_string(), "cannot use InRelease: no good signature");
    }
}
