//! The unprivileged user who builds.

use super::Workshop;
use super::failure::of_full_disk;
use crate::apt::broken;
use crate::buildroot::{Run, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::state::LogFile;

/// The user who builds, by the root's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildUser {
    uid: u32,
    gid: u32,
}

impl BuildUser {
    /// User and group.
    pub(super) fn owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

/// The build user of the config, made if it is missing: a system user without a home, whose group
/// has the same name.
pub(super) fn provide(workshop: &Workshop<'_>, log: &LogFile, scope: &Scope) -> Result<BuildUser> {
    let (session, name) = (workshop.session, workshop.config.user.as_str());
    if let Some(user) = look_up(session, name)? {
        return Ok(user);
    }
    let groups = database(session, "/etc/group")?;
    if !groups.lines().any(|line| line.split(':').next() == Some(name)) {
        must(session, &["groupadd", "--system", name], log, scope)?;
    }
    let useradd = [
        "useradd",
        "--system",
        "--home-dir",
        "/sbuild-nonexistent",
        "--no-create-home",
        "--shell",
        "/bin/bash",
        "--gid",
        name,
        "--comment",
        "Debian source builder,,,",
        name,
    ];
    must(session, &useradd, log, scope)?;
    look_up(session, name)?.ok_or_else(|| {
        Error::new(ErrorKind::Buildroot, format!("useradd made no user {name} in the root"))
    })
}

fn database(session: &Session, path: &str) -> Result<String> {
    let bytes = session.read_file(path, 16 * 1024 * 1024)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn look_up(session: &Session, name: &str) -> Result<Option<BuildUser>> {
    let found = find(&database(session, "/etc/passwd")?, name);
    match found {
        Some(BuildUser { uid: 0, .. }) => Err(Error::new(
            ErrorKind::Config,
            format!("{name} is root in the buildroot and cannot be the build user"),
        )
        .with_hint("set `build.user` to another name")),
        other => Ok(other),
    }
}

/// An entry of `passwd(5)`.
fn find(passwd: &str, name: &str) -> Option<BuildUser> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        (fields[0] == name).then_some(BuildUser { uid, gid })
    })
}

/// Runs a program as root that has to succeed.
pub(super) fn must(session: &Session, argv: &[&str], log: &LogFile, scope: &Scope) -> Result<()> {
    log.line(scope, format!("$ {}", argv.join(" ")))?;
    let run = Run::new(argv);
    let exit = session.run(&run, scope, |line| log.line(scope, line)).map_err(broken)?;
    match exit.status {
        Some(0) => Ok(()),
        _ => {
            let message = format!("`{}` failed in the root", argv.join(" "));
            let error =
                Error::new(ErrorKind::Buildroot, message).with_source(log.tail(3).join("; "));
            Err(of_full_disk(error, log))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_whole_name() {
        let passwd = "broken\nsbuild2:x:5:5:::\nsbuild:x:998:997::/:\n";
        assert_eq!(find(passwd, "sbuild"), Some(BuildUser { uid: 998, gid: 997 }));
        assert_eq!(find(passwd, "broken"), None);
    }
}
