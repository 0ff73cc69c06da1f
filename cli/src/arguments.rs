//! What may stand on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use debmock::buildroot::Compression;
use std::ffi::OsString;
use std::path::PathBuf;

/// Creates, caches and enters isolated Debian build environments and builds packages in them
#[derive(Debug, Parser)]
#[command(
    name = "debmock",
    version,
    disable_help_subcommand = true,
    after_help = "Mock's spelling is accepted too: debmock -r CONFIG --rebuild FILE.dsc, --init, --chroot …"
)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Config: a name that `debmock list` shows, or the path of a TOML file [default: this host's
    /// own suite]
    #[arg(short = 'r', long = "root", value_name = "CONFIG", global = true)]
    pub root: Option<String>,
    /// Tells several buildroots of one config apart
    #[arg(long, value_name = "NAME", global = true)]
    pub uniqueext: Option<String>,
    /// Overrides a key of the config for this call; may be repeated
    #[arg(
        short = 'o',
        long = "option",
        visible_alias = "config-opts",
        value_name = "KEY=VALUE",
        global = true
    )]
    pub options: Vec<String>,
    /// Events and results as JSON lines on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Shows the lines of logs, too
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Shows nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the buildroot unless it exists
    Init,
    /// Drops everything that was changed in the buildroot
    Clean,
    /// Removes parts of the store; nothing of it is needed to go on, but changes in buildroots
    /// that are removed are gone
    Scrub {
        /// What to remove
        #[arg(required = true, value_enum)]
        what: Vec<ScrubWhat>,
    },
    /// Opens a shell in the buildroot
    Shell {
        /// How to enter.
        #[command(flatten)]
        enter: Enter,
        /// Command line for the shell, instead of an interactive one
        #[arg(trailing_var_arg = true, value_name = "COMMAND")]
        words: Vec<OsString>,
    },
    /// Runs a command in the buildroot and ends with its exit status
    Chroot {
        /// How to enter.
        #[command(flatten)]
        enter: Enter,
        /// A single word is a command line for `sh`, as in Mock.
        #[arg(long, hide = true)]
        shell_word: bool,
        /// Program and arguments
        #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
        words: Vec<OsString>,
    },
    /// Builds source packages, one after another, each in a root without changes; the results are
    /// in results/SOURCE_VERSION
    Rebuild {
        /// NAME or NAME=VERSION of the archive, a path or URI of a .dsc, or a directory with
        /// debian/ in it (./NAME)
        #[arg(required = true, value_name = "SOURCE")]
        sources: Vec<String>,
        /// What to build of them.
        #[command(flatten)]
        what: Source,
        /// Builds the next source if one fails; without it, the first failure ends the call. Either
        /// way the exit status is that of the first failure
        #[arg(long = "continue")]
        go_on: bool,
        /// How to build it, and where results go.
        #[command(flatten)]
        how: Box<How>,
    },
    /// Installs what the build of a source package needs
    Installdeps {
        /// NAME or NAME=VERSION of the archive, a path or URI of a .dsc, or a directory with
        /// debian/ in it (./NAME)
        #[arg(value_name = "SOURCE")]
        source: String,
        /// What would be built of it.
        #[command(flatten)]
        what: Source,
    },
    /// Installs packages
    Install {
        /// NAME, NAME=VERSION, NAME/SUITE or NAME:ARCHITECTURE
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
    },
    /// Removes packages and their configuration files
    Remove {
        /// Names
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
    },
    /// Brings every package of the root up to date
    Update,
    /// Runs apt-get in the root; what it wants is fetched by debmock, it has no network itself
    AptCmd {
        /// Arguments of apt-get
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENT"
        )]
        words: Vec<String>,
    },
    /// Copies files and directories into the buildroot
    Copyin {
        /// Files or directories of the host, then where they go inside
        #[arg(required = true, num_args = 2.., value_names = ["SOURCE", "DESTINATION"])]
        paths: Vec<PathBuf>,
    },
    /// Copies files and directories out of the buildroot
    Copyout {
        /// Files or directories inside, then where they go on the host
        #[arg(required = true, num_args = 2.., value_names = ["SOURCE", "DESTINATION"])]
        paths: Vec<PathBuf>,
    },
    /// Writes the root to an archive, an OCI image or a directory; the same root gives the same bytes
    Export {
        /// What is made; without it the ending of TARGET says it
        #[arg(long, value_name = "FORM")]
        format: Option<ExportForm>,
        /// How it is packed: none, gzip or zstd, with a level if you like (zstd:19)
        #[arg(long, value_name = "METHOD", value_parser = compression)]
        compression: Option<Compression>,
        /// One layer in the image instead of one for each layer of the buildroot
        #[arg(long)]
        flatten: bool,
        /// FILE.tar, FILE.tar.gz, FILE.tar.zst; NAME.oci, FILE.oci.tar; DIRECTORY/
        #[arg(value_name = "TARGET")]
        file: PathBuf,
    },
    /// Makes an archive, an OCI image or a directory the base of the buildroot
    Import {
        /// Takes the layers of an image that debmock exported into the store instead, under the keys
        /// that it says they have; only from somebody whom you would let build for you
        #[arg(long)]
        layers: bool,
        /// A tar archive, plain or packed with gzip, xz or zstd; an OCI image layout, as a directory
        /// or a tar archive of it; or a directory with a root in it
        #[arg(value_name = "SOURCE")]
        file: PathBuf,
    },
    /// Keeps the root as it is now under a name
    Snapshot {
        /// Name of the snapshot
        name: String,
    },
    /// Brings the root back to what it was when a snapshot was taken
    Rollback {
        /// Name of the snapshot
        name: String,
    },
    /// Removes a snapshot; the root stays as it is
    RemoveSnapshot {
        /// Name of the snapshot
        name: String,
    },
    /// Lists the snapshots of the buildroot, oldest first
    ListSnapshots,
    /// Lists configs, buildroots, layers and what they take
    List,
    /// Shows configs
    Config {
        /// What to do with it.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Says which isolation modes work here, and what to do about those that do not
    Doctor,
}

/// Which packages of a source are wanted, and what its build may use.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Packages for one architecture; with neither this nor --arch-all: both
    #[arg(long, conflicts_with = "no_arch_any")]
    pub arch_any: bool,
    /// Packages for all architectures
    #[arg(long, conflicts_with = "no_arch_all")]
    pub arch_all: bool,
    /// No packages for one architecture
    #[arg(long)]
    pub no_arch_any: bool,
    /// No packages for all architectures
    #[arg(long)]
    pub no_arch_all: bool,
    /// Build profiles, separated by commas
    #[arg(long, value_name = "PROFILES", value_delimiter = ',')]
    pub profiles: Option<Vec<String>>,
    /// A further build dependency; may be repeated
    #[arg(long, visible_alias = "additional-package", value_name = "DEPENDENCY")]
    pub add_depends: Vec<String>,
    /// A .deb, or a directory of them, that may satisfy dependencies; may be repeated
    #[arg(long = "extra-package", value_name = "PATH")]
    pub extra_packages: Vec<PathBuf>,
    /// A line of sources.list(5): a further archive for this build; may be repeated
    #[arg(long = "extra-repository", value_name = "LINE")]
    pub extra_repositories: Vec<String>,
}

/// How to build.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// The source package, too
    #[arg(long = "source", id = "source_too")]
    pub source_too: bool,
    /// Does not run the tests of the package: build profile and DEB_BUILD_OPTIONS nocheck
    #[arg(long)]
    pub nocheck: bool,
    /// Parallel jobs [default: the config's, or one a processor]
    #[arg(short, long, value_name = "NUMBER")]
    pub jobs: Option<usize>,
    /// Builds the same source under a higher version, +bNUMBER, but no packages for all
    /// architectures
    #[arg(long, value_name = "NUMBER")]
    pub binnmu: Option<u32>,
    /// What the changelog says about that
    #[arg(long, value_name = "TEXT", requires = "binnmu", default_value = "Rebuild.")]
    pub binnmu_message: String,
    /// Distribution that the .changes names
    #[arg(long, value_name = "NAME")]
    pub dist: Option<String>,
    /// When the root loses what the build left in it [default: the config's]
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always"
    )]
    pub cleanup_after: Option<CleanupWhen>,
    /// Memory for what the build changes in its root, such as 4G; what needs more is repeated on
    /// the disk [default: the config's, or none]
    #[arg(long, value_name = "SIZE")]
    pub in_memory: Option<String>,
    /// Where results go; of several sources, into SOURCE_VERSION below it [default:
    /// results/SOURCE_VERSION]
    #[arg(long, value_name = "DIRECTORY")]
    pub resultdir: Option<PathBuf>,
}

/// When a root is cleaned after a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CleanupWhen {
    /// After every build
    Always,
    /// After a build that succeeded
    Success,
    /// Not at all
    Never,
}

/// How to enter a buildroot.
#[derive(Debug, Clone, Args)]
pub struct Enter {
    /// Working directory inside
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    pub cwd: String,
    /// User inside, by name or number
    #[arg(long, value_name = "USER", default_value = "root")]
    pub user: String,
    /// Sets a variable of its environment; may be repeated. HOME, USER, LOGNAME and SHELL are
    /// otherwise those of the user
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Gives it the network of the host
    #[arg(long)]
    pub enable_network: bool,
}

/// Reads `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".into()),
    }
}

/// What `config` does.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigAction {
    /// Prints every key with its value and where that comes from
    Show,
}

/// What an export makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// A tar archive of the whole root
    Tar,
    /// A directory with an OCI image layout
    Oci,
    /// A tar archive of an OCI image layout, as `podman load` takes it
    OciArchive,
    /// A directory with the root itself
    Directory,
}

fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|error: debmock::Error| match error.hint() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    })
}

/// What `scrub` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScrubWhat {
    /// Everything below
    All,
    /// The buildroot
    Chroot,
    /// Layers that no buildroot stands on
    Layers,
    /// Packages and sources that were downloaded or given to a build
    Debs,
    /// Downloaded indexes
    Lists,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_after_the_command_belong_to_it() {
        let parsed =
            Arguments::try_parse_from(["debmock", "chroot", "--cwd", "/x", "ls", "-v"]).unwrap();
        assert!(!parsed.global.verbose);
        let Command::Chroot { words, enter, .. } = parsed.command else { panic!() };
        assert_eq!(words, ["ls", "-v"]);
        assert_eq!(enter.cwd, "/x");
    }

    #[test]
    fn global_options_may_stand_on_either_side_of_the_command() {
        for words in [["debmock", "-r", "x", "clean"], ["debmock", "clean", "-r", "x"]] {
            let parsed = Arguments::try_parse_from(words).unwrap();
            assert_eq!(parsed.global.root.as_deref(), Some("x"));
        }
    }

    #[test]
    fn an_unknown_option_is_refused_and_the_nearest_named() {
        let error = Arguments::try_parse_from(["debmock", "--uniqext=x", "clean"]).unwrap_err();
        assert!(error.to_string().contains("--uniqueext"), "{error}");
        assert!(Arguments::try_parse_from(["debmock", "chroot", "--bogus", "ls"]).is_err());
    }
}
