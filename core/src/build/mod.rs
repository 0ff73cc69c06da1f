//! Builds: source in, dependencies, `dpkg-buildpackage`, results out.
//!
//! What is run, as whom and in which environment is what sbuild does, so that the packages are
//! the same to the byte. The room gets an open session and changes nothing but that root and the
//! result directory. A build that fails leaves the root, the build directory and the dependencies
//! as they are.
//!
//! [`Rebuild::new`] comes first, before a root is even made: it refuses options that make no
//! sense and result directories that cannot be written, and opens the logs. [`Rebuild::run`] does
//! the work; [`Rebuild::abandon`] ends a rebuild that did not get that far. Either way logs and
//! `result.json` appear in the result directory.

mod binnmu;
mod collect;
mod command;
mod dependencies;
mod extra;
mod failure;
mod furnisher;
mod options;
mod prepare;
mod rebuild;
mod record;
mod results;
mod source;
mod tree;
mod user;

pub use dependencies::install_dependencies;
pub use extra::extra_archives;
pub use furnisher::{Delivery, Furnisher};
pub use options::{BinNmu, BuildType, RebuildOptions, ResultDir, SourceSpec};
pub use rebuild::{Rebuild, Workshop};
pub use record::{BuildResult, Failure, FileHash, InstalledName, Status};
pub use source::{Source, SourceFile};
