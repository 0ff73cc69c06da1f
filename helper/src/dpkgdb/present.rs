//! What a root has, as far as it may stand in the way of new packages.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use rustix::fs::{Dir, Mode, OFlags};

use super::info::{open_dir, read};
use super::relation::{alternatives, satisfied};
use super::status::STATUS;
use super::{Error, Identity, Interest, Stanza};
use crate::bootstrap;
use crate::unpack::path::split;
use crate::unpack::{Control, Tree, Unpacked, escaped};

const DPKG: &str = "var/lib/dpkg";
const CONFIG: &str = "etc/dpkg";

/// Lines of dpkg's configuration that change nothing in how a package is unpacked.
const HARMLESS: &[&str] =
    &["no-debsig", "log", "force-unsafe-io", "force-confold", "force-confdef", "no-pager"];

/// Bytes of a name, at most, to which dpkg can append `.dpkg-new` and `.dpkg-tmp`.
const LONGEST_NAME: usize = 255 - 9;

/// Why packages have to be unpacked by dpkg itself.
#[derive(Debug)]
pub(crate) enum Objection {
    /// This stands in the way.
    Stands(String),
    /// It cannot be found out.
    Failed(bootstrap::Error),
}

impl<E: Into<bootstrap::Error>> From<E> for Objection {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The database of a root that has packages.
#[derive(Debug)]
pub(crate) struct Present {
    stanzas: Vec<(Identity, Stanza)>,
    names: HashSet<String>,
    /// The lists of files, with their names.
    lists: Vec<(String, Vec<u8>)>,
    /// Absolute paths that belong to a package, were its conffiles or are diverted.
    taken: HashSet<Vec<u8>>,
    /// What its dpkg is told to do by force, without `force-`.
    forced: Vec<String>,
    /// Absolute paths that have an owner or mode of their own.
    overridden: HashSet<Vec<u8>>,
    /// The names of files in `info`, up to their last point.
    stems: HashSet<Vec<u8>>,
    interests: Vec<Interest>,
    /// Numbers of owners and groups by name.
    ids: [HashMap<Vec<u8>, u32>; 2],
    /// Names of packages that apt has a mark of.
    marked: HashSet<String>,
}

fn stands<T>(why: impl Into<String>) -> Result<T, Objection> {
    Err(Objection::Stands(why.into()))
}

impl Present {
    /// Reads it all.
    ///
    /// # Errors
    /// dpkg did not finish its last work, is configured to leave out files, or its database
    /// cannot be read.
    pub(crate) fn read(root: BorrowedFd<'_>) -> Result<Self, Objection> {
        Self::read_if(root, |_, _| false)
    }

    /// The same while packages are being brought in: they need not be configured, and that of
    /// `coming` has got as far as its `preinst`.
    ///
    /// # Errors
    /// Those of [`Present::read`].
    pub(crate) fn read_amid(
        root: BorrowedFd<'_>,
        coming: Option<&Identity>,
    ) -> Result<Self, Objection> {
        Self::read_if(root, |name, state| match state {
            "unpacked" | "triggers-awaited" | "triggers-pending" => true,
            "half-installed" => coming.is_some_and(|one| one.name == name),
            _ => false,
        })
    }

    /// The same where packages may also be in states that `accepts` names, given the name of a
    /// package and the last word of its status.
    fn read_if(
        root: BorrowedFd<'_>,
        accepts: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, Objection> {
        let forced = read_configuration(root)?;
        if !names(root, &format!("{DPKG}/updates"))?.is_empty() {
            return stands("dpkg was interrupted in this root");
        }
        let damaged = |what: String| Error::Damaged { path: format!("/{STATUS}"), what };
        let text = read(root, STATUS)?;
        let mut found = Self {
            stanzas: Vec::new(),
            names: HashSet::new(),
            lists: Vec::new(),
            taken: HashSet::new(),
            forced,
            overridden: HashSet::new(),
            stems: HashSet::new(),
            interests: Vec::new(),
            ids: [ids(root, "etc/passwd")?, ids(root, "etc/group")?],
            marked: marked(root)?,
        };
        for stanza in Stanza::parse(&text).map_err(|error| damaged(error.to_string()))? {
            let Some(name) = stanza.text("Package") else {
                return Err(damaged("a package has no name".into()).into());
            };
            found.names.insert(name.to_owned());
            for line in stanza.text("Conffiles").unwrap_or_default().lines() {
                if let Some(path) = line.split_whitespace().next() {
                    found.taken.insert(path.as_bytes().to_vec());
                }
            }
            match stanza.text("Status").unwrap_or_default() {
                "install ok installed" | "hold ok installed" => {}
                status if status.ends_with(" not-installed") => continue,
                status if status.ends_with(" config-files") => continue,
                status if accepts(name, status.rsplit(' ').next().unwrap_or_default()) => {
                    if status.ends_with(" half-installed") {
                        continue;
                    }
                }
                _ => return stands(format!("{name} is not completely installed")),
            }
            let identity = Identity::of(&stanza).map_err(|error| damaged(error.to_string()))?;
            found.stanzas.push((identity, stanza));
        }
        found.read_info(root)?;
        found.taken.extend(lines(root, "diversions", |line| Some(line.to_vec()))?);
        found.overridden.extend(lines(root, "statoverride", |line| {
            line.splitn(4, |&b| b == b' ').nth(3).map(<[u8]>::to_vec)
        })?);
        let text = optional(root, &format!("{DPKG}/triggers/File"))?;
        for line in String::from_utf8_lossy(&text).lines() {
            // The package is named last; a path may hold blanks.
            if let Some((trigger, package)) = line.rsplit_once(' ') {
                let noawait = package.ends_with("/noawait");
                found.interests.push(Interest { trigger: trigger.into(), noawait });
            }
        }
        Ok(found)
    }

    fn read_info(&mut self, root: BorrowedFd<'_>) -> Result<(), Objection> {
        let folder = format!("{DPKG}/info");
        for name in names(root, &folder)? {
            let end = name.iter().rposition(|&b| b == b'.').unwrap_or(name.len());
            if name.ends_with(b".list") {
                let path = format!("{folder}/{}", String::from_utf8_lossy(&name));
                let paths = read(root, &path)?;
                self.taken.extend(paths.split(|&b| b == b'\n').map(<[u8]>::to_vec));
                let package = String::from_utf8_lossy(&name[..end]).into_owned();
                self.lists.push((package, paths));
            }
            self.stems.insert(name[..end].to_vec());
        }
        Ok(())
    }

    /// Interests of its packages in paths.
    pub(crate) fn interests(&self) -> Vec<Interest> {
        self.interests.clone()
    }

    /// What dpkg is told to do by force, without `force-`.
    pub(crate) fn forced(&self) -> &[String] {
        &self.forced
    }

    /// The version of a package that is installed.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        let mut all = self.stanzas.iter();
        all.find(|(one, _)| one.name == name).map(|(identity, _)| identity.version.as_str())
    }

    /// Whether a package is new to dpkg and apt.
    ///
    /// # Errors
    /// Why it may not be.
    pub(crate) fn admit_name(&self, identity: &Identity) -> Result<(), Objection> {
        let name = &identity.name;
        if self.names.contains(name) {
            return stands(format!("dpkg knows {name} already"));
        }
        if self.marked.contains(name) {
            return stands(format!("apt has a mark of {name}"));
        }
        let with_architecture = format!("{name}:{}", identity.architecture);
        if [name, &with_architecture].iter().any(|stem| self.stems.contains(stem.as_bytes())) {
            return stands(format!("dpkg has files of {name}"));
        }
        Ok(())
    }

    /// Whether what was unpacked is as dpkg would have unpacked it.
    ///
    /// # Errors
    /// Why it may not be.
    pub(crate) fn admit(&self, tree: &Tree<'_>, unpacked: &Unpacked) -> Result<(), Objection> {
        let name = &unpacked.control.identity.name;
        if unpacked.foreign_owner {
            return stands(format!("{name} names owners who may have another number here"));
        }
        if unpacked.uneven_links {
            return stands(format!("{name} gives one file several modes or owners"));
        }
        let directories: HashSet<&[u8]> =
            unpacked.directories.iter().map(|one| one.path.as_slice()).collect();
        let mut before: HashSet<&[u8]> = HashSet::new();
        for path in &unpacked.files {
            // dpkg makes no directory that the package does not name first.
            let (parent, last) = split(path);
            if last.len() > LONGEST_NAME {
                return stands(format!("{name} has a name that is too long for dpkg"));
            }
            if !parent.is_empty() && !before.contains(parent) {
                return stands(format!("{name} has no entry for {}", escaped(parent)));
            }
            before.insert(path);
        }
        let conffiles = unpacked.conffiles.iter().map(|one| &one.path);
        if let Some(path) = conffiles.clone().find(|path| !before.contains(path.as_slice())) {
            return stands(format!("{name} does not have its conffile {}", escaped(path)));
        }
        for path in unpacked.files.iter().chain(conffiles.clone()) {
            // A path begins with a slash, or the unpacking would have failed.
            let bare = path.get(1..).unwrap_or_default();
            let is_taken = !directories.contains(bare) && bare != b"." && self.taken.contains(path);
            if is_taken || self.overridden.contains(path) {
                return stands(format!("{} of {name} is taken", escaped(path)));
            }
        }
        for path in conffiles {
            if tree.has(path.get(1..).unwrap_or_default()) {
                return stands(format!("{} of {name} is there already", escaped(path)));
            }
        }
        if unpacked.conffiles.iter().any(|one| one.remove_on_upgrade) {
            return stands(format!("{name} has conffiles that go"));
        }
        for (kind, owners) in unpacked.owners.iter().enumerate() {
            for (id, owner) in owners {
                // dpkg believes the name, if the root has one.
                if self.ids[kind].get(owner).is_some_and(|known| known != id) {
                    let owner = escaped(owner);
                    return stands(format!("{owner} of {name} has another number here"));
                }
            }
        }
        Ok(())
    }

    /// Whether nothing disappears: dpkg drops a package that has no path left which one that comes
    /// later does not have, too, unless it is needed.
    ///
    /// # Errors
    /// What may disappear.
    pub(crate) fn spare(&self, new: &[Unpacked]) -> Result<(), Objection> {
        // From the end: files come after their directories.
        fn is_within<'p>(
            mut paths: impl DoubleEndedIterator<Item = &'p [u8]>,
            files: &HashSet<&[u8]>,
        ) -> bool {
            let is_root = |path: &&[u8]| path.is_empty() || *path == b"/.";
            let Some(last) = paths.rfind(|path| !is_root(path)) else { return false };
            files.contains(last) && paths.all(|path| is_root(&path) || files.contains(path))
        }
        for one in new {
            let files: HashSet<&[u8]> = one.files.iter().map(Vec::as_slice).collect();
            let there = self.lists.iter();
            let there = there
                .filter(|(_, list)| is_within(list.split(|&byte| byte == b'\n'), &files))
                .map(|(name, _)| name.split_once(':').map_or(name.as_str(), |(name, _)| name));
            let others = new.iter().filter(|other| !std::ptr::eq(*other, one));
            let others = others
                .filter(|other| is_within(other.files.iter().map(Vec::as_slice), &files))
                .map(|other| other.control.identity.name.as_str());
            let needs = |name: &str| {
                ["Depends", "Pre-Depends"].into_iter().any(|field| {
                    let text = one.control.stanza.text(field).unwrap_or_default();
                    alternatives(text).any(|all| matches!(&all[..], [one] if one.name == name))
                })
            };
            if let Some(gone) = there.chain(others).find(|name| !needs(name)) {
                let name = &one.control.identity.name;
                return stands(format!("{name} has every path that {gone} has"));
            }
        }
        Ok(())
    }

    /// Whether all these may be there together, and with what the root has.
    ///
    /// # Errors
    /// The first two that may not.
    pub(crate) fn reconcile(&self, new: &[&Control]) -> Result<(), Objection> {
        let all = || {
            let come = new.iter().map(|one| (&one.identity, &one.stanza));
            self.stanzas.iter().map(|(identity, stanza)| (identity, stanza)).chain(come)
        };
        let first_new = self.stanzas.len();
        let mut providers: HashMap<&str, Vec<(usize, &Identity, bool)>> = HashMap::new();
        for (place, (identity, stanza)) in all().enumerate() {
            providers.entry(&identity.name).or_default().push((place, identity, true));
            for one in alternatives(stanza.text("Provides").unwrap_or_default()).flatten() {
                providers.entry(one.name).or_default().push((place, identity, false));
            }
        }
        for (place, (identity, stanza)) in all().enumerate() {
            for field in ["Conflicts", "Breaks"] {
                for one in alternatives(stanza.text(field).unwrap_or_default()).flatten() {
                    for &(other, who, itself) in providers.get(one.name).into_iter().flatten() {
                        let concerns_new = place.max(other) >= first_new;
                        let meant = if itself { satisfied(&one, who) } else { !one.has_version() };
                        if other != place && concerns_new && meant {
                            return stands(format!("{} {field} {}", identity.name, who.name));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Options in dpkg's configuration may leave files out or run programs. What the others force.
fn read_configuration(root: BorrowedFd<'_>) -> Result<Vec<String>, Objection> {
    let mut forced = Vec::new();
    let mut files = vec![format!("{CONFIG}/dpkg.cfg"), "root/.dpkg.cfg".to_owned()];
    for name in names(root, &format!("{CONFIG}/dpkg.cfg.d"))? {
        files.push(format!("{CONFIG}/dpkg.cfg.d/{}", String::from_utf8_lossy(&name)));
    }
    for file in files {
        let text = optional(root, &file)?;
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            let word = line.split([' ', '\t', '=']).next().unwrap_or_default();
            if !word.is_empty() && !word.starts_with('#') && !HARMLESS.contains(&word) {
                return stands(format!("/{file} says {}", escaped(line.as_bytes())));
            }
            forced.extend(word.strip_prefix("force-").map(str::to_owned));
        }
    }
    Ok(forced)
}

/// The number in the third field of each line, by the name in its first (`passwd(5)`, `group(5)`).
fn ids(root: BorrowedFd<'_>, path: &str) -> Result<HashMap<Vec<u8>, u32>, Error> {
    let text = optional(root, path)?;
    let line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((name.to_vec(), std::str::from_utf8(number).ok()?.parse().ok()?))
    };
    Ok(text.split(|&byte| byte == b'\n').filter_map(line).collect())
}

fn marked(root: BorrowedFd<'_>) -> Result<HashSet<String>, Error> {
    let text = optional(root, "var/lib/apt/extended_states")?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(|line| line.strip_prefix("Package: ")).map(str::to_owned).collect())
}

/// Paths that lines of a file of the database name.
fn lines(
    root: BorrowedFd<'_>,
    name: &str,
    path: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Error> {
    let text = optional(root, &format!("{DPKG}/{name}"))?;
    Ok(text.split(|&b| b == b'\n').filter_map(path).collect())
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn optional(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Error> {
    match read(root, path) {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        other => other,
    }
}

/// Names in a directory that may be missing.
fn names(root: BorrowedFd<'_>, path: &str) -> Result<Vec<Vec<u8>>, Error> {
    let fail = |error: rustix::io::Errno| Error::Io {
        doing: "list",
        path: format!("/{path}"),
        source: error.into(),
    };
    let directory = match open_dir(root, path) {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(&directory, ".", flags, Mode::empty()).map_err(fail)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&readable).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push(name.to_vec());
        }
    }
    Ok(found)
}
