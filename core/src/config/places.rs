//! Where things are on this host: config files, apt's files, caches, state.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The places that a config is read from. [`Places::host`] gives those of this host and this
/// process; tests and embedders may give their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The administrator's configs: `/etc/debmock`.
    pub etc: PathBuf,
    /// The user's configs: `$XDG_CONFIG_HOME/debmock`; none where no home directory is known.
    pub user: Option<PathBuf>,
    /// apt's configuration: `/etc/apt`.
    pub apt: PathBuf,
    /// Keyrings that packages bring, beside which apt's defaults lie: `/usr/share/keyrings`.
    pub keyrings: PathBuf,
    /// `os-release(5)`.
    pub os_release: PathBuf,
    /// `/etc/debian_version`.
    pub debian_version: PathBuf,
    /// The environment's variables that are UTF-8.
    pub environment: BTreeMap<String, String>,
}

impl Places {
    /// The places of this host, as this process's environment and user see them.
    pub fn host() -> Places {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let os_release = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/etc/os-release"));
        Places {
            etc: PathBuf::from("/etc/debmock"),
            user: below_home(&environment, "XDG_CONFIG_HOME", ".config"),
            apt: PathBuf::from("/etc/apt"),
            keyrings: PathBuf::from("/usr/share/keyrings"),
            os_release,
            debian_version: PathBuf::from("/etc/debian_version"),
            environment,
        }
    }

    /// Places below `root`, with an empty environment: nothing of this host is read.
    pub fn below(root: &Path) -> Places {
        Places {
            etc: root.join("etc/debmock"),
            user: Some(root.join("home/.config/debmock")),
            apt: root.join("etc/apt"),
            keyrings: root.join("usr/share/keyrings"),
            os_release: root.join("etc/os-release"),
            debian_version: root.join("etc/debian_version"),
            environment: BTreeMap::new(),
        }
    }
}

/// Where what can be made again is kept: `DEBMOCK_CACHE_DIR`, else `/var/cache/debmock` for root
/// and `$XDG_CACHE_HOME/debmock` (`~/.cache/debmock`) for others. The directory may not exist yet.
///
/// # Errors
/// [`ErrorKind::Config`] if the variable holds a relative path or no home directory is known.
pub fn cache_dir() -> Result<PathBuf> {
    place("DEBMOCK_CACHE_DIR", "/var/cache/debmock", "XDG_CACHE_HOME", ".cache")
}

/// Where buildroots are kept: `DEBMOCK_STATE_DIR`, else `/var/lib/debmock` for root and
/// `$XDG_STATE_HOME/debmock` (`~/.local/state/debmock`) for others. The directory may not exist
/// yet.
///
/// # Errors
/// As [`cache_dir`].
pub fn state_dir() -> Result<PathBuf> {
    place("DEBMOCK_STATE_DIR", "/var/lib/debmock", "XDG_STATE_HOME", ".local/state")
}

fn place(variable: &str, for_root: &str, xdg: &str, default: &str) -> Result<PathBuf> {
    let environment: BTreeMap<String, String> = [variable, xdg, "HOME"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    choose(&environment, nix::unistd::geteuid().is_root(), variable, for_root, xdg, default)
}

fn choose(
    environment: &BTreeMap<String, String>,
    root: bool,
    variable: &str,
    for_root: &str,
    xdg: &str,
    default: &str,
) -> Result<PathBuf> {
    if let Some(path) = environment.get(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_relative() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{variable} is {path:?}, which is not an absolute path"),
            )
            .with_hint(format!("set {variable} to a path that begins with /")));
        }
        return Ok(path);
    }
    if root {
        return Ok(PathBuf::from(for_root));
    }
    below_home(environment, xdg, default).ok_or_else(|| {
        Error::new(ErrorKind::Config, "this user has no home directory to keep files in")
            .with_hint(format!("set HOME or {variable} to an absolute path"))
    })
}

/// `$XDG/debmock`, else `~/DEFAULT/debmock`. A relative XDG path is ignored, as the XDG Base
/// Directory Specification demands.
fn below_home(environment: &BTreeMap<String, String>, xdg: &str, default: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(xdg)
        .or_else(|| absolute("HOME").or_else(home).map(|home| home.join(default)))
        .map(|path| path.join("debmock"))
}

/// The home directory that the user database names; services often run without `HOME`.
fn home() -> Option<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??;
    Some(user.dir).filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(environment: &[(&str, &str)], root: bool) -> Result<PathBuf> {
        let environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        choose(
            &environment,
            root,
            "DEBMOCK_CACHE_DIR",
            "/var/cache/debmock",
            "XDG_CACHE_HOME",
            ".cache",
        )
    }

    #[test]
    fn root_and_users_have_places_of_their_own_and_the_variable_beats_both() {
        let home = [("HOME", "/home/u")];
        assert_eq!(chosen(&home, true).unwrap(), Path::new("/var/cache/debmock"));
        assert_eq!(chosen(&home, false).unwrap(), Path::new("/home/u/.cache/debmock"));
        let xdg = [("HOME", "/home/u"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(chosen(&xdg, false).unwrap(), Path::new("/c/debmock"));
        let own = [("DEBMOCK_CACHE_DIR", "/x"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(chosen(&own, true).unwrap(), Path::new("/x"));
        assert_eq!(chosen(&own, false).unwrap(), Path::new("/x"));
    }

    #[test]
    fn relative_places_are_refused_or_ignored() {
        assert!(chosen(&[("DEBMOCK_CACHE_DIR", "x")], true).is_err());
        let xdg = [("HOME", "/home/u"), ("XDG_CACHE_HOME", "c")];
        assert_eq!(chosen(&xdg, false).unwrap(), Path::new("/home/u/.cache/debmock"));
    }
}
