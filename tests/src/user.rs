//! Unprivileged users for tests: one with sub-ids, one without. Root makes them at first use and
//! leaves them; as a user, the only user is oneself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd;

use crate::machine::{self, Skip, run};

/// Somebody who runs commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
    /// Home directory, of mode 0700 for the users that the kit makes.
    pub home: PathBuf,
}

/// The variables of the calling environment that commands of a test keep.
const KEPT: [&str; 7] = [
    "DEBMOCK_HELPER",
    "DEBMOCK_BIN",
    "DEBMOCK_ORACLE_CACHE",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "http_proxy",
    "no_proxy",
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl User {
    /// Whoever runs the tests.
    pub fn current() -> User {
        let uid = unistd::geteuid();
        let entry = unistd::User::from_uid(uid)
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("the user with id {uid} has no entry in /etc/passwd"));
        User::of(entry)
    }

    fn of(entry: unistd::User) -> User {
        User { name: entry.name, uid: entry.uid.as_raw(), gid: entry.gid.as_raw(), home: entry.dir }
    }

    /// User `debmock-test`, with 65536 sub-ids of both kinds. Without root it is the current
    /// user, if it has sub-ids.
    pub fn with_sub_ids() -> Result<User, Skip> {
        if !machine::has("newuidmap") {
            return Err(Skip("newuidmap is missing: install the package uidmap".into()));
        }
        if !machine::is_root() {
            let user = User::current();
            return if has_sub_ids(&user.name) {
                Ok(user)
            } else {
                Err(Skip(format!("user {} has no sub-ids in /etc/subuid", user.name)))
            };
        }
        let _lock = machine::lock("users");
        let user = ensure("debmock-test");
        if !has_sub_ids(&user.name) {
            let first = first_free_sub_id();
            let range = format!("{first}-{}", first + 65_535);
            run(Command::new("usermod").args([
                "--add-subuids",
                &range,
                "--add-subgids",
                &range,
                &user.name,
            ]));
        }
        Ok(user)
    }

    /// User `debmock-test-plain`, without sub-ids. Without root it is the current user, if it has
    /// none.
    pub fn without_sub_ids() -> Result<User, Skip> {
        if !machine::is_root() {
            let user = User::current();
            return if has_sub_ids(&user.name) {
                Err(Skip("only root can make a user without sub-ids".into()))
            } else {
                Ok(user)
            };
        }
        let _lock = machine::lock("users");
        let user = ensure("debmock-test-plain");
        for (file, option) in [("/etc/subuid", "--del-subuids"), ("/etc/subgid", "--del-subgids")] {
            for (first, count) in ranges_of(file, &user.name) {
                let range = format!("{first}-{}", first + count - 1);
                run(Command::new("usermod").args([option, &range, &user.name]));
            }
        }
        Ok(user)
    }

    /// A command that runs as this user, in its home, with a clean environment: `HOME`, `PATH`,
    /// `LANG` and the kit's own variables only, no `XDG_*`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = if self.uid == unistd::geteuid().as_raw() {
            Command::new(program)
        } else {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", self.uid))
                .arg(format!("--regid={}", self.gid))
                .args(["--init-groups", "--inh-caps=-all", "--"])
                .arg(program);
            command
        };
        command.env_clear().current_dir(&self.home);
        command.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        command.env("PATH", PATH).env("LANG", "C.UTF-8");
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Makes the user the owner of a file or directory, not of what is in it.
    pub fn own(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|e| panic!("cannot give {} to {}: {e}", path.display(), self.name));
    }
}

fn ensure(name: &str) -> User {
    let find = || unistd::User::from_name(name).ok().flatten().map(User::of);
    let user = find().unwrap_or_else(|| {
        run(Command::new("useradd").args(["--create-home", "--shell", "/bin/bash", name]));
        find().unwrap_or_else(|| panic!("useradd made no user {name}"))
    });
    fs::set_permissions(&user.home, fs::Permissions::from_mode(0o700))
        .unwrap_or_else(|e| panic!("cannot set the mode of {}: {e}", user.home.display()));
    user
}

/// First id and count of each range of a user in `/etc/subuid` or `/etc/subgid` (`subuid(5)`).
fn ranges_of(file: &str, name: &str) -> Vec<(u64, u64)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    ranges(&text).filter(|(who, ..)| who == name).map(|(_, first, count)| (first, count)).collect()
}

fn ranges(text: &str) -> impl Iterator<Item = (String, u64, u64)> {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let who = parts.next()?.to_string();
        Some((who, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

fn has_sub_ids(name: &str) -> bool {
    ["/etc/subuid", "/etc/subgid"]
        .iter()
        .all(|file| ranges_of(file, name).iter().any(|(_, count)| *count >= 65_536))
}

fn first_free_sub_id() -> u64 {
    ["/etc/subuid", "/etc/subgid"]
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            ranges(&text).map(|(_, first, count)| first + count).collect::<Vec<_>>()
        })
        .fold(100_000, u64::max)
}
