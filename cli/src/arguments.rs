//! What may stand on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
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
    /// Removes parts of the store
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
    /// Writes the root to a tar archive; the same root gives the same bytes
    Export {
        /// FILE.tar or FILE.tar.zst
        file: PathBuf,
    },
    /// Makes a tar archive the base of the buildroot
    Import {
        /// A tar archive, plain or packed with gzip, xz or zstd
        file: PathBuf,
    },
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

/// How to enter a buildroot.
#[derive(Debug, Clone, Args)]
pub struct Enter {
    /// Working directory inside
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    pub cwd: String,
    /// User inside, by name or number
    #[arg(long, value_name = "USER", default_value = "root")]
    pub user: String,
    /// Gives it the network of the host
    #[arg(long)]
    pub enable_network: bool,
}

/// What `config` does.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigAction {
    /// Prints every key with its value and where that comes from
    Show,
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
    /// Downloaded packages
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
