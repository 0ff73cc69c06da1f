//! What a tree that lies above others has in common with them.
//!
//! Packages are put into a tree of their own, which is mounted above the trees of a root. A
//! directory that both have looks as it does in the upper one, and a link of the root that their
//! paths lead through (a merged /usr has `bin -> usr/bin`) is not there for whoever sees the upper
//! one alone. So [`Ground`] gives it the same directories and links before anything comes in, as
//! far as paths of packages lead through them, and says what of the root would be hidden.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::error::{Problem, shown};
use super::package::Unpacked;
use super::path::{Absolute, MAX_PATH, clean, split};
use super::record::Record;
use super::tarstream::Kind;
use super::tree::{MAX_LINKS, Tree, Walker};
use crate::store::copy_attributes;

/// A tree that is being filled, and the root below it.
pub(crate) struct Ground<'t, 'a> {
    root: Walker<'t, 'a>,
    above: Walker<'t, 'a>,
    /// Paths whose directory has no link in it: where they lead, and whether the root has that.
    steps: HashMap<Vec<u8>, (Vec<u8>, bool)>,
    /// Clean paths, as packages name them: the same.
    real: HashMap<Vec<u8>, (Vec<u8>, bool)>,
    /// Times of directories that the root has.
    times: Vec<(Vec<u8>, Timestamps)>,
    /// Directories in which something is made that the root does not have.
    filled: HashSet<Vec<u8>>,
}

impl<'t, 'a> Ground<'t, 'a> {
    /// Of the tree `above`, which is to lie above `root`.
    pub(crate) fn new(root: &'t Tree<'a>, above: &'t Tree<'a>) -> Self {
        Self {
            root: Walker::new(root),
            above: Walker::new(above),
            steps: HashMap::new(),
            real: HashMap::from([(Vec::new(), (Vec::new(), true))]),
            times: Vec::new(),
            filled: HashSet::new(),
        }
    }

    /// Makes what the paths of a package lead through.
    ///
    /// # Errors
    /// [`Problem::Refused`] if the root has something else in the place of a directory; it cannot
    /// be made.
    pub(crate) fn prepare(&mut self, record: &Record) -> Result<(), Problem> {
        for entry in &record.entries {
            let path = clean(&entry.name, Absolute::Refuse)?;
            if path.is_empty() {
                continue;
            }
            let (parent, _) = split(&path);
            let (parent, there) = self.lead(parent)?;
            let is_new = entry.kind != Kind::Directory || !self.lead(&path)?.1;
            if there && is_new {
                self.filled.insert(parent);
            }
        }
        Ok(())
    }

    /// What of the package the root has already, in its files or in their place.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(crate) fn hides(&mut self, package: &Unpacked) -> Result<Option<Vec<u8>>, Problem> {
        let directories: HashSet<&[u8]> =
            package.directories.iter().map(|one| one.path.as_slice()).collect();
        for listed in &package.files {
            let path = listed.get(1..).unwrap_or_default();
            if path != b"." && !directories.contains(path) && self.is_there(path)? {
                return Ok(Some(listed.clone()));
            }
        }
        Ok(None)
    }

    fn is_there(&mut self, path: &[u8]) -> Result<bool, Problem> {
        let (parent, name) = split(path);
        let (parent, there) = self.lead(parent)?;
        Ok(there && self.look(&parent, name)?.is_some())
    }

    /// What the root has at `name` in a directory that it has.
    fn look(&mut self, parent: &[u8], name: &[u8]) -> Result<Option<Stat>, Problem> {
        let parent = self.root.directory(parent)?;
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Problem::io("look at what the root has", error)),
        }
    }

    /// Gives the directories that the root has, and in which nothing is new, their times.
    ///
    /// # Errors
    /// It cannot be done.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let fail = |error| Problem::io("set the time", error);
        let top = rustix::fs::statat(self.root.tree().root(), ".", AtFlags::empty());
        self.times.insert(0, (Vec::new(), times_of(&top.map_err(fail)?)));
        // What is within goes first, though no time depends on another.
        for (path, times) in self.times.iter().rev() {
            if !self.filled.contains(path) {
                let directory = self.above.tree().open_dir(path).map_err(fail)?;
                rustix::fs::utimensat(&directory, ".", times, AtFlags::empty()).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Where a directory of a package is, and whether the root has it.
    fn lead(&mut self, path: &[u8]) -> Result<(Vec<u8>, bool), Problem> {
        if let Some(real) = self.real.get(path) {
            return Ok(real.clone());
        }
        let (parent, name) = split(path);
        let (parent, there) = self.lead(parent)?;
        let real = self.step(&parent, there, name, 0)?;
        self.real.insert(path.to_vec(), real.clone());
        Ok(real)
    }

    /// One step from a directory in whose path there is no link.
    fn step(
        &mut self,
        parent: &[u8],
        there: bool,
        name: &[u8],
        links: usize,
    ) -> Result<(Vec<u8>, bool), Problem> {
        let path = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        if !there {
            return Ok((path, false));
        }
        if let Some(real) = self.steps.get(&path) {
            return Ok(real.clone());
        }
        let refused = |why: &str| Problem::Refused(format!("/{} {why}", shown(&path)));
        if path.len() > MAX_PATH {
            return Err(refused("is too long"));
        }
        let real = match self.look(parent, name)? {
            None => (path.clone(), false),
            Some(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    self.make_directory(&path, &stat)?;
                    (path.clone(), true)
                }
                FileType::Symlink if links < MAX_LINKS => {
                    let target = self.make_link(&path, &stat)?;
                    self.follow(parent, &target, links + 1)?
                }
                _ => return Err(refused("is no directory in the root")),
            },
        };
        self.steps.insert(path, real.clone());
        Ok(real)
    }

    /// Where a link in `parent` leads, as within `chroot(2)`.
    fn follow(
        &mut self,
        parent: &[u8],
        target: &[u8],
        links: usize,
    ) -> Result<(Vec<u8>, bool), Problem> {
        let start = if target.starts_with(b"/") { b"" } else { parent };
        let mut at = (start.to_vec(), true);
        for name in target.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => at.0 = if at.0.is_empty() { at.0 } else { split(&at.0).0.to_vec() },
                _ => at = self.step(&at.0, at.1, name, links)?,
            }
        }
        Ok(at)
    }

    fn make_directory(&mut self, path: &[u8], stat: &Stat) -> Result<(), Problem> {
        let fail = |error| Problem::io(format!("make the directory {}", shown(path)), error);
        self.times.push((path.to_vec(), times_of(stat)));
        let (parent, name) = split(path);
        let parent = self.above.directory(parent)?;
        match rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU) {
            Ok(()) => {}
            // Packages that were unpacked in an overlay made it look so.
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(fail(error)),
        }
        let open = |parent: &OwnedFd| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        };
        let new = open(&parent.fd).map_err(fail)?;
        let model = self.root.directory(split(path).0)?;
        let model = open(&model.fd).map_err(fail)?;
        copy_attributes(model.as_fd(), new.as_fd(), stat, false).map_err(fail)?;
        // What was opened before may have another group for what comes new.
        if stat.st_mode & 0o2000 != 0 {
            self.above.forget();
        }
        Ok(())
    }

    /// The same link above; its target.
    fn make_link(&mut self, path: &[u8], stat: &Stat) -> Result<Vec<u8>, Problem> {
        let fail = |error| Problem::io(format!("make the link {}", shown(path)), error);
        let (parent, name) = split(path);
        let model = self.root.directory(parent)?;
        let target = rustix::fs::readlinkat(&model.fd, name, Vec::new()).map_err(fail)?;
        let parent = self.above.directory(parent)?;
        match rustix::fs::symlinkat(&*target, &parent.fd, name) {
            Ok(()) => {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(&parent.fd, name, Some(uid(stat)), Some(gid(stat)), flags)
                    .and_then(|()| rustix::fs::utimensat(&parent.fd, name, &times_of(stat), flags))
                    .map_err(fail)?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(fail(error)),
        }
        Ok(target.into_bytes())
    }
}

fn uid(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn times_of(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn in_ground(work: impl FnOnce(&mut Ground<'_, '_>, &std::path::Path)) {
        let folder = tempfile::tempdir().unwrap();
        let (root, above) = (folder.path().join("root"), folder.path().join("above"));
        for directory in ["root/usr/bin", "root/usr/share/closed", "root/opt", "above"] {
            fs::create_dir_all(folder.path().join(directory)).unwrap();
        }
        let mode = fs::Permissions::from_mode(0o2750);
        fs::set_permissions(root.join("usr/share/closed"), mode).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("../../../../usr/share", root.join("opt/up")).unwrap();
        symlink("/usr/share/closed", root.join("opt/absolute")).unwrap();
        symlink("loop", root.join("opt/loop")).unwrap();
        symlink("nowhere", root.join("opt/dangling")).unwrap();
        symlink("/etc", root.join("opt/of-the-host")).unwrap();
        fs::write(root.join("opt/file"), "x").unwrap();
        let (root, top) = (File::open(&root).unwrap(), File::open(&above).unwrap());
        let (root, tree) = (Tree::new(root.as_fd()), Tree::new(top.as_fd()));
        work(&mut Ground::new(&root, &tree), &above);
    }

    #[test]
    fn directories_and_links_of_the_root_are_made_as_they_are_there() {
        in_ground(|ground, above| {
            let lead = |ground: &mut Ground<'_, '_>, path: &[u8]| ground.lead(path).unwrap();
            assert_eq!(lead(ground, b"bin"), (b"usr/bin".to_vec(), true));
            assert_eq!(lead(ground, b"opt/up/closed"), (b"usr/share/closed".to_vec(), true));
            assert_eq!(lead(ground, b"opt/absolute"), (b"usr/share/closed".to_vec(), true));
            assert_eq!(lead(ground, b"bin/new/deep"), (b"usr/bin/new/deep".to_vec(), false));
            assert_eq!(lead(ground, b"opt/of-the-host/apt"), (b"etc/apt".to_vec(), false));
            assert_eq!(fs::read_link(above.join("bin")).unwrap().to_str(), Some("usr/bin"));
            let closed = fs::metadata(above.join("usr/share/closed")).unwrap();
            assert_eq!(closed.mode() & 0o7777, 0o2750);
            assert!(!above.join("usr/bin/new").exists() && !above.join("etc").exists());
            assert!(ground.is_there(b"opt/up/closed").unwrap());
            assert!(ground.is_there(b"opt/file").unwrap());
            assert!(!ground.is_there(b"bin/file").unwrap());
        });
    }

    #[test]
    fn what_is_no_directory_stands_in_the_way() {
        in_ground(|ground, _| {
            for path in [&b"opt/file"[..], b"opt/file/below", b"opt/loop", b"opt/loop/below"] {
                let refused = ground.lead(path);
                assert!(matches!(refused, Err(Problem::Refused(_))), "{path:?}: {refused:?}");
            }
        });
    }
}
