//! The root's own user database, read by hand: name services of the host must not answer for it.
//!
//! Runs in the process that becomes the command, never in the keeper: `/etc/passwd` of a hostile
//! root may be anything.

use crate::protocol::{Doing, Failure};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;

/// Files above this size are refused.
const LARGEST: u64 = 4 << 20;

/// Who a command runs as.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// User id inside.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Login name.
    pub name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl User {
    /// The variables that a login sets (`login(1)`, `su(1)`).
    pub fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("HOME", &self.home),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
            ("SHELL", &self.shell),
        ]
    }
}

/// Shell of users who name none (`passwd(5)`).
const SHELL: &str = "/bin/sh";

/// Looks `user` (a name or a number) up in the current root's `/etc/passwd` and `/etc/group`.
pub fn look_up(user: &str) -> Result<User, Failure> {
    // Not from the file: what runs as root may be what is to make it.
    if user == "root" || user == "0" {
        let (name, home, shell) = ("root".into(), "/root".into(), SHELL.into());
        return Ok(User { uid: 0, gid: 0, groups: vec![0], name, home, shell });
    }
    let passwd = read("/etc/passwd")?;
    let group = match read("/etc/group") {
        Ok(group) => group,
        // A user may be looked up in a root that has no groups yet.
        Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => String::new(),
        Err(failure) => return Err(failure),
    };
    find(user, &passwd, &group)
        .ok_or_else(|| Failure::request(format!("the root has no user {user:?} (/etc/passwd)")))
}

fn find(user: &str, passwd: &str, group: &str) -> Option<User> {
    let number = user.parse::<u32>().ok();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 4
            && (fields[0] == user || number.is_some() && fields[2].parse().ok() == number)
    });
    let Some(fields) = entry else {
        let (name, home, shell) = (user.to_owned(), "/".into(), SHELL.into());
        return number.map(|uid| User { uid, gid: uid, groups: Vec::new(), name, home, shell });
    };
    let field = |index: usize, otherwise: &str| {
        let text = fields.get(index).filter(|text| !text.is_empty());
        text.map_or_else(|| otherwise.to_owned(), |text| (*text).to_owned())
    };
    let (name, home, shell) = (fields[0].to_owned(), field(5, "/"), field(6, SHELL));
    let (uid, gid) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
    let mut groups = vec![gid];
    for line in group.lines() {
        let mut parts = line.split(':');
        let (_, _, id, members) = (parts.next(), parts.next(), parts.next(), parts.next());
        if let (Some(Ok(id)), Some(members)) = (id.map(str::parse::<u32>), members)
            && members.split(',').any(|member| member == fields[0])
            && !groups.contains(&id)
        {
            groups.push(id);
        }
    }
    Some(User { uid, gid, groups, name, home, shell })
}

fn read(path: &str) -> Result<String, Failure> {
    // NONBLOCK: a FIFO in its place must not hold us.
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("cannot read {path} of the root"))?;
    let meta = fstat(&file).doing(|| format!("cannot read {path} of the root"))?;
    if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile {
        return Err(Failure::hostile(format!("{path} of the root is no regular file")));
    }
    let mut bytes = Vec::new();
    // One byte more tells a file that is too large.
    File::from(file)
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .doing(|| format!("cannot read {path} of the root"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::hostile(format!("{path} of the root has more than {LARGEST} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_too_large_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        let path = path.to_str().unwrap();
        std::fs::write(path, vec![b'x'; LARGEST as usize]).unwrap();
        assert_eq!(read(path).unwrap().len() as u64, LARGEST);
        std::fs::write(path, vec![b'x'; LARGEST as usize + 1]).unwrap();
        assert!(read(path).unwrap_err().doing.contains("more than"));
    }

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nsbuild:x:999:998::/var/lib/sbuild:/bin/bash\nfew:x:5:5\nbroken\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:sbuild,other\nsbuild:x:998:\n";

    #[test]
    fn names_and_numbers_find_the_same_user() {
        let expected = User {
            uid: 999,
            gid: 998,
            groups: vec![998, 29],
            name: "sbuild".into(),
            home: "/var/lib/sbuild".into(),
            shell: "/bin/bash".into(),
        };
        assert_eq!(find("sbuild", PASSWD, GROUP).as_ref(), Some(&expected));
        assert_eq!(find("999", PASSWD, GROUP), Some(expected));
    }

    #[test]
    fn a_number_without_entry_is_a_user_without_groups() {
        let user = find("4711", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups.len()), (4711, 4711, 0));
        let variables = user.variables().map(|(_, value)| value.to_owned());
        assert_eq!(variables, ["/", "4711", "4711", "/bin/sh"]);
        assert_eq!(find("nobody", PASSWD, GROUP), None);
    }

    #[test]
    fn missing_fields_have_the_usual_meaning() {
        let user = find("few", PASSWD, GROUP).unwrap();
        assert_eq!((user.home.as_str(), user.shell.as_str()), ("/", "/bin/sh"));
    }
}
