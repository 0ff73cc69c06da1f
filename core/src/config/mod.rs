//! What the user wants: TOML in, [`Config`] out.
//!
//! A config is a named description of a root. It is read in layers, later ones over earlier ones:
//!
//! 1. the defaults of `schema`, the same for every config;
//! 2. the built-in config of that name, such as `debian-bookworm-arm64`;
//! 3. `/etc/debmock/config.toml`, then `/etc/debmock/NAME.toml`;
//! 4. `$XDG_CONFIG_HOME/debmock/config.toml`, then `NAME.toml` there;
//! 5. options `KEY=VALUE`.
//!
//! At each of the places, the configs that NAME extends come before NAME. What is still open then
//! is the host's own: its suite, its architecture, and what its apt knows of archives, proxies,
//! logins and keys. The room promises that a complaint names file and line, that unknown keys
//! are refused, that nothing is printed (warnings are values, [`Config::warnings`]), and that
//! reading the host's apt configuration never fails. It opens no connection: whether an archive is
//! what it seems is for the archive room to find out.
//!
//! ```
//! use debmock::config::Config;
//!
//! let config = Config::load("debian-bookworm", &["build.jobs=2"])?;
//! assert_eq!(config.suite.as_str(), "bookworm");
//! assert_eq!(config.build.parallel(), 2);
//! # Ok::<(), debmock::Error>(())
//! ```

mod apt;
mod architecture;
mod archives;
mod check;
mod distribution;
mod explain;
mod keys;
mod loader;
mod merge;
mod network;
mod places;
mod read;
mod repository;
mod schema;
mod settings;
mod source;
mod system;
mod tree;

pub use architecture::Architecture;
pub use distribution::{Distribution, Suite};
pub use keys::builtin_keys;
pub use loader::{Known, Loader};
pub use network::{Credential, Network};
pub use places::{Places, cache_dir, state_dir};
pub use repository::extra_repositories;
pub use settings::{
    Bind, Bootstrap, Build, CleanupAfter, Config, IdRange, Isolation, IsolationMode, Limits,
    Packages, Refresh, Setting, StoreLimits, Variant, Warning,
};
pub use source::{ArchiveSource, ByHash, Keyring};
pub use tree::{Origin, Place};
