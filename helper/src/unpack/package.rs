//! Unpacks one package.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{BufRead, Read};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use md5::{Digest, Md5};
use rustix::fs::FileType;
use sha2::Sha256;

use super::all::Way;
use super::claims::{Claim, Claimant, Claims};
use super::deb::{Conffile, Control, DebReader};
use super::error::{Error, Problem, shown};
use super::path::{Absolute, clean, split};
use super::place::{Budget, Limits, Placed, Placer, Watch};
use super::record::Record;
use super::tarstream::{Entry, Kind, TarStream};
use super::tree::Tree;
use crate::dpkgdb::Identity;

/// From here on ids are given out when packages are configured (Debian Policy §9.2.2).
const FIRST_DYNAMIC_ID: u32 = 100;

/// Unpacks packages into one tree; may be used by several threads at once.
#[derive(Debug)]
pub struct Unpacker<'a> {
    tree: Tree<'a>,
    claims: Claims,
    cancel: &'a AtomicBool,
    hashes: bool,
}

/// A package that is in the tree.
#[derive(Debug)]
pub struct Unpacked {
    /// Its control files.
    pub control: Control,
    /// Its paths as dpkg lists them, `/.` first, in the order of the archive.
    pub files: Vec<Vec<u8>>,
    /// Its conffiles.
    pub conffiles: Vec<Conffile>,
    /// The content of `md5sums`, made here if the package brings none.
    pub generated_md5sums: Option<Vec<u8>>,
    /// Bytes of file content.
    pub bytes: u64,
    /// What its archive holds, without the content.
    pub(crate) entries: Vec<Entry>,
    /// Its directories.
    pub(crate) directories: Vec<Directory>,
    /// Directories (canonical paths) in which it made a file.
    pub(crate) filled: HashSet<Vec<u8>>,
    /// Its symbolic links (canonical paths), and whether tar would have set the time of their
    /// directory before it made them.
    pub(crate) symlinks: Vec<(Vec<u8>, bool)>,
    /// Hard links of which at least one name is in a directory that becomes a link into /usr:
    /// the new name.
    pub(crate) alias_links: Vec<Vec<u8>>,
    /// Somebody else than uid 0 to 99, whose names are the same everywhere, owns something of it.
    pub(crate) foreign_owner: bool,
    /// Owners and groups by number and name, as far as the archive names them.
    pub(crate) owners: [HashSet<(u32, Vec<u8>)>; 2],
    /// A hard link has another mode or owner than what it names: dpkg would set these.
    pub(crate) uneven_links: bool,
}

/// A directory that a package brings.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// Canonical path.
    pub path: Vec<u8>,
    /// Its time in the archive, in seconds since 1970.
    pub mtime: i64,
    /// The archive names it below `/bin` or `/lib`, and it is below `/usr` in the tree.
    pub aliased: bool,
    /// Mode, owner and group in the archive.
    pub access: (u32, u32, u32),
    /// This package made it.
    pub made: bool,
}

impl<'a> Unpacker<'a> {
    /// Unpacks into the directory `root`; stops soon after `cancel` is set.
    pub fn new(root: BorrowedFd<'a>, cancel: &'a AtomicBool) -> Self {
        Self::with_tree(Tree::new(root), cancel)
    }

    /// As [`Unpacker::new`], into a tree with options.
    pub fn with_tree(tree: Tree<'a>, cancel: &'a AtomicBool) -> Self {
        Self { tree, claims: Claims::default(), cancel, hashes: false }
    }

    /// Makes the SHA-256 of each file, for records.
    #[must_use]
    pub(crate) fn with_hashes(mut self, hashes: bool) -> Self {
        self.hashes = hashes;
        self
    }

    /// The tree that is filled.
    pub fn tree(&self) -> &Tree<'a> {
        &self.tree
    }

    /// Which package lost which of its paths to one that replaces it. Complete after all
    /// packages are unpacked; these paths are not in dpkg's list of the package's files.
    pub fn lost_paths(&self) -> Vec<(Identity, Vec<u8>)> {
        self.claims.lost()
    }

    /// Unpacks one `.deb`. Conffiles get the suffix `.dpkg-new`, as by `dpkg --unpack`.
    ///
    /// # Errors
    /// See [`Problem`]. The tree is then incomplete, and so are the claims: throw both away.
    pub fn unpack_deb(
        &self,
        deb: impl Read,
        expected: &Identity,
        limits: Option<Limits>,
    ) -> Result<Unpacked, Error> {
        let subject = format!("package {}", expected.name);
        let mut reader = DebReader::open(deb, &subject)?;
        let fail = |problem| Error::new(&subject, problem);
        let identity = reader.control.identity.clone();
        if identity != *expected {
            return Err(fail(Problem::WrongIdentity {
                expected: expected.to_string(),
                found: identity.to_string(),
            }));
        }
        let control = &reader.control;
        let conffiles =
            control.conffiles().map_err(|problem| fail(problem).in_member("conffiles"))?;
        let mut job = self.job(control, &conffiles, limits);
        job.sums = control.file("md5sums").is_none().then(Vec::new);
        let member = reader.data_member().to_owned();
        let in_data = |problem| fail(problem).in_member(&member);
        let mut stream = reader.data()?;
        let mut entries = Vec::new();
        while let Some(mut entry) = stream.next().map_err(in_data)? {
            let write = &mut |job: &mut Job<'_, 'a>, path: &[u8], target: &[u8], entry: &Entry| {
                job.file(path, target, entry, &mut stream)
            };
            job.place(&entry, write).map_err(|problem| in_data(problem).at(&entry.name))?;
            entry.sha256 = job.sha256.take();
            entries.push(entry);
        }
        stream.finish().map_err(in_data)?;
        let done = job.done();
        Ok(done.of(reader.finish()?, conffiles, entries))
    }

    /// Makes what `record` says, with the files of the tree `from`; the record tells the SHA-256 of
    /// each then that was copied.
    ///
    /// # Errors
    /// [`Problem::Changed`] if something in `from` is gone or is not what was recorded; else as
    /// [`Unpacker::unpack_deb`].
    pub(crate) fn take(
        &self,
        record: &mut Record,
        from: &Tree<'_>,
        way: Way,
    ) -> Result<Unpacked, Error> {
        let changed = |problem: Problem| Problem::Changed(problem.to_string());
        let control = record
            .control()
            .map_err(|problem| Error::new("a recorded package", changed(problem)))?;
        let subject = format!("package {}", control.identity.name);
        let fail = |problem| Error::new(&subject, problem);
        let conffiles = control.conffiles().map_err(|problem| fail(changed(problem)))?;
        let mut job = self.job(&control, &conffiles, None);
        let mut source = Placer::new(from);
        for entry in &mut record.entries {
            let file = &mut |job: &mut Job<'_, 'a>, path: &[u8], target: &[u8], entry: &Entry| {
                job.existing_file((path, target), entry, &mut source, (way, &record.leads))
            };
            job.place(entry, file).map_err(|problem| fail(problem).at(&entry.name))?;
            entry.sha256 = job.sha256.take().or(entry.sha256);
        }
        let mut done = job.done();
        done.sums = record.generated_md5sums.clone().map(serde_bytes::ByteBuf::into_vec);
        Ok(done.of(control, conffiles, Vec::new()))
    }

    /// The work on a package that nobody has begun yet.
    fn job(
        &self,
        control: &Control,
        conffiles: &[Conffile],
        limits: Option<Limits>,
    ) -> Job<'_, 'a> {
        let installed_size =
            control.stanza.text("Installed-Size").and_then(|text| text.parse().ok()).unwrap_or(0);
        Job {
            placer: Placer::new(&self.tree),
            claims: &self.claims,
            claimant: self.claims.register(&control.identity, &control.stanza),
            cancel: self.cancel,
            budget: Budget::new(limits.unwrap_or_else(|| Limits::for_package(installed_size))),
            sums: None,
            hashes: self.hashes,
            sha256: None,
            conffiles: conffiles
                .iter()
                .filter(|one| !one.remove_on_upgrade)
                .map(|one| one.path.clone())
                .collect(),
            files: Vec::new(),
            own: HashMap::new(),
            directories: Vec::new(),
            filled: HashSet::new(),
            symlinks: Vec::new(),
            around: Vec::new(),
            alias_links: Vec::new(),
            foreign_owner: false,
            owners: Default::default(),
            uneven_links: false,
            bytes: 0,
        }
    }
}

/// What a [`Job`] leaves when it is done.
struct Done {
    sums: Option<Vec<u8>>,
    files: Vec<Vec<u8>>,
    directories: Vec<Directory>,
    filled: HashSet<Vec<u8>>,
    symlinks: Vec<(Vec<u8>, bool)>,
    alias_links: Vec<Vec<u8>>,
    foreign_owner: bool,
    owners: [HashSet<(u32, Vec<u8>)>; 2],
    uneven_links: bool,
    bytes: u64,
}

impl Done {
    fn of(self, control: Control, conffiles: Vec<Conffile>, entries: Vec<Entry>) -> Unpacked {
        Unpacked {
            control,
            files: self.files,
            conffiles,
            generated_md5sums: self.sums,
            bytes: self.bytes,
            entries,
            directories: self.directories,
            filled: self.filled,
            symlinks: self.symlinks,
            alias_links: self.alias_links,
            foreign_owner: self.foreign_owner,
            owners: self.owners,
            uneven_links: self.uneven_links,
        }
    }
}

/// Makes the regular file of an entry: its clean path, where it is to be, the entry.
type MakeFile<'f, 't, 'a> =
    dyn FnMut(&mut Job<'t, 'a>, &[u8], &[u8], &Entry) -> Result<Placed, Problem> + 'f;

/// The state of one package's unpacking.
struct Job<'t, 'a> {
    placer: Placer<'t, 'a>,
    claims: &'t Claims,
    claimant: Claimant,
    cancel: &'t AtomicBool,
    budget: Budget,
    /// The md5sums file in the making, if the package has none.
    sums: Option<Vec<u8>>,
    /// Whether the SHA-256 of each file is wanted, and that of the one that was made last.
    hashes: bool,
    sha256: Option<[u8; 32]>,
    /// Absolute paths.
    conffiles: HashSet<Vec<u8>>,
    files: Vec<Vec<u8>>,
    /// Regular files (clean paths) that this package brings: what its hard links may name. With
    /// their MD5 sums, if these are wanted; those that it left to a package that replaces it have
    /// none, and links to them lead to what that one brings, as with dpkg.
    own: HashMap<Vec<u8>, Option<String>>,
    directories: Vec<Directory>,
    filled: HashSet<Vec<u8>>,
    symlinks: Vec<(Vec<u8>, bool)>,
    /// The directories around the current entry, as far as they had an entry: tar sets the
    /// time of one when the stream leaves it.
    around: Vec<Vec<u8>>,
    alias_links: Vec<Vec<u8>>,
    foreign_owner: bool,
    owners: [HashSet<(u32, Vec<u8>)>; 2],
    uneven_links: bool,
    bytes: u64,
}

impl<'t, 'a> Job<'t, 'a> {
    fn done(self) -> Done {
        let Self { sums, files, directories, filled, symlinks, .. } = self;
        let Self { alias_links, foreign_owner, owners, uneven_links, bytes, .. } = self;
        Done {
            sums,
            files,
            directories,
            filled,
            symlinks,
            alias_links,
            foreign_owner,
            owners,
            uneven_links,
            bytes,
        }
    }

    fn place(&mut self, entry: &Entry, file: &mut MakeFile<'_, 't, 'a>) -> Result<(), Problem> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Problem::Cancelled);
        }
        self.budget.entry()?;
        if entry.name.contains(&b'\n') {
            // dpkg's lists of files have one in each line.
            return Err(Problem::Refused("the name of a file may have no newline".into()));
        }
        self.foreign_owner |= entry.uid.max(entry.gid) >= FIRST_DYNAMIC_ID;
        for (kind, id) in [entry.uid, entry.gid].into_iter().enumerate() {
            let name = &entry.names[kind];
            if !name.is_empty() && !self.owners[kind].iter().any(|(i, n)| *i == id && n == name) {
                self.owners[kind].insert((id, name.clone()));
            }
        }
        let path = clean(&entry.name, Absolute::Refuse)?;
        while self.around.last().is_some_and(|directory| !is_below(&path, directory)) {
            self.around.pop();
        }
        let listed = if path.is_empty() { b"/.".to_vec() } else { [b"/", &path[..]].concat() };
        match entry.kind {
            Kind::Directory => {
                let made = self.placer.directory(&path, entry)?;
                self.files.push(listed);
                let tree = self.placer.walker.tree();
                self.around.push(path.clone());
                self.directories.push(Directory {
                    path: tree.canonical(&path).into_owned(),
                    mtime: entry.mtime.0,
                    aliased: tree.is_alias(&path),
                    access: (entry.mode, entry.uid, entry.gid),
                    made,
                });
                return Ok(());
            }
            Kind::CharDevice | Kind::BlockDevice => {
                return Err(Problem::Refused(
                    "it is a device node, which no Debian package may contain (Policy §10.6)"
                        .into(),
                ));
            }
            _ if path.is_empty() => {
                return Err(Problem::malformed("the root of the archive is no directory"));
            }
            _ => {}
        }
        let mut target = path.clone();
        if self.conffiles.contains(&listed) {
            target.extend_from_slice(b".dpkg-new");
        }
        let tree = self.placer.walker.tree();
        let first = match entry.kind {
            Kind::HardLink => Some(self.linked(entry)?),
            _ => None,
        };
        let canonical = tree.canonical(&path);
        let other = first.as_deref().map(|first| tree.canonical(first));
        let claims = self.claims;
        // Held to the end: nobody comes between the claim and what is made for it.
        let _turn = match &other {
            Some(other) => claims.turn(&[&canonical, other]),
            None => claims.turn(&[&canonical]),
        };
        match claims.claim(&canonical, self.claimant) {
            Claim::Granted => {}
            Claim::TakenOver => self.placer.remove(&target)?,
            Claim::Yielded => {
                if matches!(entry.kind, Kind::File | Kind::HardLink) {
                    self.own.insert(path, None);
                }
                return Ok(());
            }
            Claim::Conflict(owner) => return Err(Problem::Conflict { owner }),
        }
        let placed = match entry.kind {
            Kind::File => file(self, &path, &target, entry)?,
            Kind::Symlink => {
                let placed = self.placer.symlink(&target, entry)?;
                if placed == Placed::Occupied
                    && !self.placer.walker.tree().is_only_new()
                    && self.placer.existing_link(&target)?.as_deref() == Some(&entry.link[..])
                {
                    // A link into a merged /usr that was made ahead of its package.
                    self.placer.set_link_metadata(&target, entry)?;
                    Placed::New
                } else {
                    placed
                }
            }
            Kind::HardLink => {
                let placed = self.hard_link(&path, &target, &first.unwrap_or_default())?;
                self.uneven_links |=
                    self.placer.access(&target)? != (entry.mode, entry.uid, entry.gid);
                placed
            }
            Kind::Fifo => self.placer.fifo(&target, entry)?,
            // Both returned above.
            Kind::Directory | Kind::CharDevice | Kind::BlockDevice => Placed::New,
        };
        if placed == Placed::Occupied {
            return Err(Problem::Refused(format!(
                "{} is in the tree already and belongs to no package",
                shown(&target)
            )));
        }
        let (parent, _) = split(&canonical);
        if entry.kind == Kind::Symlink {
            let late = self.around.last().is_none_or(|directory| directory != split(&path).0);
            self.symlinks.push((canonical.to_vec(), late));
        } else if !self.filled.contains(parent) {
            self.filled.insert(parent.to_vec());
        }
        self.files.push(listed);
        Ok(())
    }

    fn file<B: BufRead>(
        &mut self,
        path: &[u8],
        target: &[u8],
        entry: &Entry,
        stream: &mut TarStream<B>,
    ) -> Result<Placed, Problem> {
        struct Sums(Option<Md5>, Option<Sha256>);
        impl Watch for Sums {
            fn see(&mut self, part: &[u8]) {
                if let Some(md5) = &mut self.0 {
                    md5.update(part);
                }
                if let Some(sha256) = &mut self.1 {
                    sha256.update(part);
                }
            }
        }
        let Self { placer, budget, cancel, .. } = self;
        let mut watch = Sums(self.sums.is_some().then(Md5::new), self.hashes.then(Sha256::new));
        let placed = placer.file(target, entry, stream, budget, &mut watch, Some(cancel))?;
        if placed == Placed::Occupied {
            return Ok(placed);
        }
        let Sums(md5, sha256) = watch;
        let sum = md5.map(|md5| hex(&md5.finalize()));
        if let (Some(sums), Some(sum)) = (&mut self.sums, &sum) {
            add_sum(sums, sum, path);
        }
        self.sha256 = sha256.map(|sha256| sha256.finalize().into());
        self.bytes += entry.size;
        self.own.insert(path.to_vec(), sum);
        Ok(Placed::New)
    }

    /// A file that was unpacked earlier, at the same place in another tree.
    fn existing_file(
        &mut self,
        (path, target): (&[u8], &[u8]),
        entry: &Entry,
        source: &mut Placer<'_, '_>,
        (way, leads): (Way, &BTreeMap<Vec<u8>, Vec<u8>>),
    ) -> Result<Placed, Problem> {
        let placed = match way {
            Way::Link => self.placer.link_from(target, entry, source)?,
            Way::Copy => {
                let (parent, name) = split(path);
                let folder = leads.get(parent).map_or(parent, Vec::as_slice);
                // dpkg has given conffiles their names where they were configured.
                let from = (source, folder, &[split(target).1, name][..]);
                let Self { placer, budget, cancel, .. } = self;
                self.sha256 = placer.copy_from(target, entry, from, budget, cancel)?;
                self.sha256.map_or(Placed::Occupied, |_| Placed::New)
            }
        };
        if placed == Placed::New {
            self.bytes += entry.size;
            self.own.insert(path.to_vec(), None);
        }
        Ok(placed)
    }

    /// What a hard link names (a clean path): a file that came before it in the package.
    fn linked(&self, entry: &Entry) -> Result<Vec<u8>, Problem> {
        let first = clean(&entry.link, Absolute::Refuse).map_err(|problem| match problem {
            Problem::Escape(_) => Problem::Escape(format!(
                "it is a hard link to {}, outside the package",
                shown(&entry.link)
            )),
            other => other,
        })?;
        if self.own.contains_key(&first) {
            return Ok(first);
        }
        Err(Problem::Refused(format!(
            "it is a hard link to {}, which is no file that came before it in the package",
            shown(&entry.link)
        )))
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], first: &[u8]) -> Result<Placed, Problem> {
        let sum = self.own.get(first).cloned().flatten();
        let mut source = first.to_vec();
        if self.conffiles.contains(&[b"/", first].concat()) {
            source.extend_from_slice(b".dpkg-new");
        }
        let tree = self.placer.walker.tree();
        if tree.is_alias(target) || tree.is_alias(&source) {
            self.alias_links.push(target.to_vec());
        }
        // A package that replaces this one may have put something else in its place.
        match self.placer.kind(&source)? {
            None | Some(FileType::RegularFile) => {}
            Some(_) => {
                return Err(Problem::Refused(format!(
                    "it is a hard link to {}, which is no regular file in the tree",
                    shown(first)
                )));
            }
        }
        let placed = self.placer.hard_link(target, &source)?;
        if let (Some(sums), Some(sum), Placed::New) = (&mut self.sums, &sum, placed) {
            add_sum(sums, sum, path);
        }
        self.own.insert(path.to_vec(), sum);
        Ok(placed)
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

/// A line of `md5sums` (`deb-md5sums(5)`).
fn add_sum(sums: &mut Vec<u8>, sum: &str, path: &[u8]) {
    sums.extend_from_slice(sum.as_bytes());
    sums.extend_from_slice(b"  ");
    sums.extend_from_slice(path);
    sums.push(b'\n');
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
