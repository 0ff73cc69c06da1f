//! Messages between the host process and the helper.
//!
//! Both ends are of one build: the first message carries the build id and another one is refused,
//! so that messages need no compatibility of their own. Only the layout of that first message is
//! frozen for ever: [`MAGIC`], then the build id in UTF-8, nothing else.
//!
//! The host sends requests over one socket. Each request carries, as its first descriptor, a socket
//! of its own for the replies: requests never wait for each other, and closing that socket cancels
//! the request. The host treats whatever comes back as hostile: bounded, parsed, never a host path.

mod client;

pub use client::{Channel, ClientError, Helper, Keeper, Program, Visit, bytes, unexpected};

use crate::pack::{Codec, Devices, Marks, Ownership};
use crate::sys::process::Usage;
use serde::{Deserialize, Serialize};

/// The first bytes of the first message.
pub const MAGIC: &[u8; 8] = b"DEBMOCK\0";
/// Names this build; both ends must have the same.
pub const BUILD_ID: &str = env!("DEBMOCK_BUILD_ID");

/// Bytes that need not be UTF-8: paths inside a root, arguments, environment.
pub type Bytes = serde_bytes::ByteBuf;

/// How commands are kept apart from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// A user namespace with a range of ids.
    Userns,
    /// The host's own user namespace; for root only.
    Simple,
}

/// Which ids of the host stand behind the ids 0 to `count` - 1 of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The host's user id of the root's uid 0.
    pub uid: u32,
    /// The host's group id of the root's gid 0.
    pub gid: u32,
    /// How many ids.
    pub count: u32,
}

/// A directory of the store that the helper opens before it gives up the caller's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Area {
    /// Layers; belongs to the root's uid 0.
    Layers,
    /// Buildroots; belongs to the root's uid 0.
    Roots,
    /// Index files; belongs to the caller, read-only here.
    Lists,
    /// Package files; belongs to the caller, read-only here.
    Debs,
}

/// A place in the store: an area and a path below it without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The area.
    pub area: Area,
    /// Relative, `/`-separated.
    pub path: String,
}

impl Place {
    /// A place in the area of layers.
    pub fn layer(path: impl Into<String>) -> Self {
        Place { area: Area::Layers, path: path.into() }
    }

    /// A place in the area of buildroots.
    pub fn root(path: impl Into<String>) -> Self {
        Place { area: Area::Roots, path: path.into() }
    }
}

/// Requests to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Take on the identity of the roots; the first request, once.
    Enter(Enter),
    /// End a session whose changes are in memory, and move them to the disk.
    Settle {
        /// The number that [`Reply::Opened`] told.
        session: u32,
    },
    /// Take a lock and hold it until the reply socket closes.
    Lock(Lock),
    /// Read or change the store.
    Store(StoreCall),
    /// Start a session. Descriptors: reply socket, the keeper's end of its own request socket.
    Open(Box<Open>),
    /// End a session; the answer comes when all its processes have ended.
    End {
        /// The number that [`Reply::Opened`] told.
        session: u32,
    },
    /// Enter the session that another process has open. [`Reply::Joined`] comes with a socket, over
    /// which the keeper answers with its greeting; [`Reply::Missing`] tells that there is none.
    Join {
        /// The directory of the buildroot.
        home: Place,
    },
    /// Write a tree of the store as a tar stream; [`Reply::Number`] tells its newest modification
    /// time. Descriptors: reply socket, output.
    Pack {
        /// Which.
        place: Place,
        /// How.
        pack: Pack,
    },
    /// Which packages were unpacked already. Descriptors: reply socket, the SHA-256 of each `.deb`
    /// as a list, encoded in a file. [`Reply::Known`] tells, for one layer after the other;
    /// [`Reply::Done`] ends it.
    Known {
        /// Only those of layers in which no script has ever run: their files may get other names.
        pristine: bool,
    },
    /// Open what can be copied from a layer, by its key. [`Reply::Stock`] comes with a mount of the
    /// tree and with the records; [`Reply::Missing`] tells that it has nothing any more.
    Stock(String),
    /// Fill the missing directory `below` of `home` with packages that were unpacked already, and
    /// write their records beside it. Descriptors: reply socket, the [`ComposePlan`] encoded in a
    /// file, the records of what was unpacked apart, a file for what [`Job::Configure`] takes.
    Compose {
        /// A layer that is being made.
        home: Place,
    },
    /// Write a new file. Descriptors: reply socket, content.
    Keep(Place),
    /// Mount a directory of the store read-only into a session.
    Attach {
        /// The number that [`Reply::Opened`] told.
        session: u32,
        /// What.
        source: Place,
        /// Where, inside the root; made if it is missing.
        target: Bytes,
    },
}

/// See [`Request::Enter`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Enter {
    /// Isolation mode.
    pub mode: Mode,
    /// Ids; ignored in [`Mode::Simple`].
    pub ids: IdMap,
    /// Host directories of the areas. Those that belong to roots are made if they are missing.
    pub areas: Vec<(Area, Bytes)>,
    /// Host directories or files that sessions may bind, in the order of [`Bind::number`].
    pub binds: Vec<Bytes>,
}

/// See [`Request::Lock`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Lock {
    /// Lock file.
    pub place: Place,
    /// One holder, or many that share.
    pub exclusive: bool,
    /// Fail at once instead of waiting.
    pub now: bool,
    /// Who asks, for those who have to wait: a sentence for people.
    pub holder: String,
}

/// See [`Request::Store`].
#[derive(Debug, Serialize, Deserialize)]
pub enum StoreCall {
    /// Make a directory with mode 0755 and its parents; an existing one is fine.
    MakeDirectory(Place),
    /// Rename; replaces nothing.
    Rename {
        /// From.
        from: Place,
        /// To.
        to: Place,
    },
    /// Move a tree into the trash at once and delete it; the answer comes when it is gone.
    Remove(Place),
    /// Move a tree into the trash at once; it is deleted beside the work, also after the helper's
    /// end. On a disk that is nearly full the answer waits for that.
    Discard(Place),
    /// Delete what is in the trash of every area. [`Reply::Waiting`] tells that somebody is at it
    /// already; now and then a [`Reply::Number`] how many files are gone.
    EmptyTrash,
    /// Names below a directory; a missing one has none.
    List(Place),
    /// Content of a small file; a missing one is [`Reply::Missing`].
    Read(Place),
    /// Replace a small file at once.
    Write(Place, Bytes),
    /// Copy a tree, by reflink where the file system can.
    Copy {
        /// From.
        from: Place,
        /// To; must not exist.
        to: Place,
    },
    /// Make the upper of an overlay that shows the same as another one, and whose directories can
    /// be renamed.
    Flatten {
        /// The layers, topmost first.
        lower: Vec<Place>,
        /// The upper whose place the new one is to take, if there is one.
        upper: Option<Place>,
        /// Files of the session, which lie between.
        files: Vec<String>,
        /// The new upper; must not exist.
        to: Place,
    },
    /// Bytes on disk below a place.
    Usage(Place),
    /// Whether an overlay can be mounted here: tries it.
    ProbeOverlay,
}

/// The tree that becomes `/` of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Tree {
    /// Layers, the lowest last, and what holds the changes; without it the root is read-only.
    Overlay {
        /// Directories with one root tree each, topmost first.
        lower: Vec<Place>,
        /// Directory that has or gets `upper` and `work`.
        upper: Option<Place>,
    },
    /// One directory.
    Directory {
        /// The root tree.
        place: Place,
        /// Whether it may be changed.
        writable: bool,
    },
}

/// See [`Request::Open`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Open {
    /// What becomes `/`.
    pub tree: Tree,
    /// Files of the session itself (hosts, resolver, policy): in a small layer between base and
    /// upper, or written into a directory tree that is being made.
    pub files: Vec<SessionFile>,
    /// Host name inside.
    pub hostname: String,
    /// Host directories and files that become visible.
    pub binds: Vec<Bind>,
    /// Accept a `/proc` or `/sys` that is weaker than it should be.
    pub accept_weak: bool,
    /// The root is of the 32-bit architecture of this 64-bit machine: its programs get that
    /// personality, and may make sockets the way of its C library, whose arguments no filter sees.
    pub linux32: bool,
    /// The directory of the buildroot, if other processes may enter the session.
    pub home: Option<Place>,
    /// Bytes of memory for the changes of an overlay; 0 for the disk.
    pub memory: u64,
}

/// A file that a session brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFile {
    /// Relative to the root, without symbolic links or `..` in it.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub content: Bytes,
}

/// A host directory or file inside a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// Its position in [`Enter::binds`].
    pub number: u32,
    /// Where, inside the root; made if it is missing.
    pub target: Bytes,
    /// Whether it may be changed through the bind.
    pub writable: bool,
}

/// Requests to a keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// Start a program. Descriptors: reply socket, then standard input, output and error unless
    /// a terminal was asked for.
    Run(Box<Run>),
    /// Work on the root's files. Descriptors: reply socket, then those that the job names.
    Job(Box<Job>),
    /// Take away what [`Request::Attach`] mounted.
    Detach {
        /// Where.
        target: Bytes,
    },
}

/// See [`Command::Run`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments; a program without a slash is looked up in the `PATH` of
    /// `environment`.
    pub argv: Vec<Bytes>,
    /// `NAME=value`. Nothing else is set but, where they are missing, the variables of a login, from
    /// the root's own user database.
    pub environment: Vec<Bytes>,
    /// Working directory inside the root.
    pub directory: Bytes,
    /// User name or number of the root's own user database.
    pub user: String,
    /// The host's network instead of the empty one.
    pub network: bool,
    /// A terminal of this many rows and columns.
    pub terminal: Option<(u16, u16)>,
    /// File mode creation mask.
    pub umask: u32,
    /// Make `fsync` and its relatives succeed without effect.
    pub suppress_sync: bool,
    /// Largest number of processes (`RLIMIT_NPROC` of the user).
    pub processes: Option<u64>,
    /// Largest address space of each process, bytes.
    pub memory: Option<u64>,
    /// Largest file, bytes.
    pub file_size: Option<u64>,
    /// As in [`Open::linux32`], for this program.
    pub linux32: bool,
}

/// Messages from the host over the reply socket of a running command.
#[derive(Debug, Serialize, Deserialize)]
pub enum Control {
    /// Send a signal to the command's process group.
    Signal(i32),
    /// Some of what [`Job::Apply`] copies, before any package file. Descriptors: what came with
    /// [`Reply::Stock`].
    Stock {
        /// The places in [`ApplyPlan::packages`] of what is copied from there.
        packages: Vec<u32>,
    },
    /// A package file for [`Job::Bootstrap`] or [`Job::Apply`], checked against the index.
    /// Descriptors: the file.
    Package {
        /// Name.
        name: String,
        /// Version.
        version: String,
        /// Architecture.
        architecture: String,
    },
    /// No more packages will come.
    End,
}

/// Work that a process forked from the keeper does on the files of the root.
#[derive(Debug, Serialize, Deserialize)]
pub enum Job {
    /// Write the descriptor's content to a file, atomically. Descriptors: content.
    WriteFile {
        /// Where.
        path: Bytes,
        /// Permission bits.
        mode: u32,
        /// Owner and group by the root's numbers.
        owner: (u32, u32),
    },
    /// Open a regular file beneath the root for reading; the descriptor comes with
    /// [`Reply::Opened`].
    OpenFile {
        /// Which.
        path: Bytes,
        /// Whether a link in its place leads on, beneath the root; else it is refused.
        follow: bool,
    },
    /// What lies in a directory.
    ListDirectory {
        /// Which.
        path: Bytes,
    },
    /// Make a directory and its parents.
    MakeDirectory {
        /// Where.
        path: Bytes,
        /// Permission bits of the last component.
        mode: u32,
        /// Owner and group of the last component.
        owner: (u32, u32),
    },
    /// Delete a file or a tree; a missing one is fine.
    Remove {
        /// What.
        path: Bytes,
    },
    /// Fill the empty tree with packages, which come as [`Control::Package`], and configure none;
    /// [`Reply::Composed`] tells the end.
    /// Descriptors: the [`BootstrapPlan`] encoded in a file, a file for what [`Job::Configure`]
    /// takes, a file for the records of the packages.
    Bootstrap {
        /// Each into a directory of its own, called by the SHA-256 of its `.deb`; nobody can
        /// configure them there.
        apart: bool,
    },
    /// Run the maintainer scripts of packages that were unpacked. Descriptors: the
    /// [`BootstrapPlan`] encoded in a file, what unpacking left for this, the log of the programs
    /// that run.
    Configure {
        /// `SOURCE_DATE_EPOCH` for maintainer scripts, seconds since 1970.
        epoch: u64,
    },
    /// Bring new packages into the root: those of [`ApplyPlan::stocks`] messages of the kind
    /// [`Control::Stock`], which come first, and those that come as [`Control::Package`].
    /// [`Reply::Changed`] leaves a tree that is of no use. Descriptors: the [`ApplyPlan`] encoded in
    /// a file, the log of the programs that run, and, if others shall find here what is unpacked, a
    /// file for its records.
    Apply,
    /// Write a tree as a tar stream; [`Reply::Number`] tells its newest modification time.
    /// Descriptors: output.
    Export {
        /// The tree's top.
        path: Bytes,
        /// What is written.
        pack: Pack,
    },
    /// Fill a directory from a tar stream, plain or compressed. Descriptors: input.
    Import {
        /// The directory.
        path: Bytes,
        /// Whose what is made will be.
        ownership: Ownership,
        /// What names that begin with `.wh.` mean.
        marks: Marks,
        /// The SHA-256 of the stream when it is not compressed.
        digest: Option<[u8; 32]>,
        /// Name of the archive, for messages.
        name: String,
    },
}

/// How a tree is written as a tar stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Later modification times become this one, seconds since 1970.
    pub epoch: i64,
    /// What becomes of `/dev`. Unless it stays, the tree is a root: then what apt makes anew is
    /// left out.
    pub devices: Devices,
    /// Whether the tree is a layer of an image.
    pub layer: bool,
    /// Codec and threads; without it plain tar.
    pub compression: Option<(Codec, u32)>,
}

impl Job {
    /// Whether it may fill a disk.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Job::WriteFile { .. }
                | Job::Bootstrap { .. }
                | Job::Configure { .. }
                | Job::Apply
                | Job::Import { .. }
        )
    }
}

/// What [`Job::Bootstrap`] makes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BootstrapPlan {
    /// The native architecture.
    pub architecture: String,
    /// Every package: name, version, architecture, and whether it is there only as a dependency.
    pub packages: Vec<(String, String, String, bool)>,
    /// The SHA-256 of the `.deb` of each, in the same order, in hexadecimal digits.
    pub hashes: Vec<String>,
    /// Files that no package brings, written before the packages come.
    pub files: Vec<SessionFile>,
    /// Files that are there only while maintainer scripts run.
    pub passing_files: Vec<SessionFile>,
    /// Threads that unpack.
    pub threads: u32,
}

/// What [`Request::Compose`] makes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ComposePlan {
    /// What the tree is to be.
    pub bootstrap: BootstrapPlan,
    /// Layers, and the places in `bootstrap.packages` of what is taken from each. All others were
    /// unpacked apart.
    pub layers: Vec<(String, Vec<u32>)>,
}

/// What [`Job::Apply`] does.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ApplyPlan {
    /// Every package: name, version, architecture, SHA-256 of the `.deb`.
    pub packages: Vec<(String, String, String, String)>,
    /// How many messages of the kind [`Control::Stock`] come.
    pub stocks: u32,
    /// What apt would have dpkg do, in its order.
    pub steps: Vec<ApplyStep>,
    /// Name and architecture, as apt writes it, of packages that are there only as dependencies.
    pub automatic: Vec<(String, String)>,
    /// Environment of dpkg and of maintainer scripts: names and values.
    pub environment: Vec<(String, String)>,
    /// Options of dpkg.
    pub options: Vec<String>,
    /// Threads that unpack.
    pub threads: u32,
}

/// One step of an [`ApplyPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyStep {
    /// Unpack these: name, version, architecture.
    Unpack(Vec<(String, String, String)>),
    /// Configure these at once.
    Configure(Vec<String>),
}

/// One entry of a directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Name.
    pub name: Bytes,
    /// `st_mode`.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
}

/// Answers, from helper and keeper alike.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The request was carried out.
    Done,
    /// It failed; nothing more follows.
    Failed(Failure),
    /// The lock is held by somebody else; [`Reply::Done`] follows when it is ours.
    Waiting {
        /// What that one said of itself.
        holder: String,
    },
    /// The session is open.
    Opened {
        /// Its number for [`Request::Attach`].
        session: u32,
        /// Whether its changes are in memory.
        in_memory: bool,
        /// What is weaker than it should be.
        warnings: Vec<String>,
    },
    /// Somebody may open the session of another process; the socket comes along.
    Joined,
    /// The other end of the program's terminal. Programs with streams say nothing before their end.
    Terminal,
    /// The program ended.
    Exited(Exit),
    /// Names below a directory, possibly in several messages; [`Reply::Done`] ends them.
    Names(Vec<String>),
    /// Entries of a directory, possibly in several messages; [`Reply::Done`] ends them.
    Entries(Vec<Entry>),
    /// Content of a small file.
    Content(Bytes),
    /// There is no such file.
    Missing,
    /// A number: bytes.
    Number(u64),
    /// A stage of a long job begins.
    Stage(String),
    /// A package was unpacked.
    Unpacked {
        /// Name.
        name: String,
        /// Version.
        version: String,
        /// Architecture.
        architecture: String,
        /// Packages done so far.
        done: u64,
    },
    /// These of the wanted packages, by their places in the list, are unpacked in a layer.
    Known {
        /// Its key.
        layer: String,
        /// Their places.
        packages: Vec<u32>,
    },
    /// What can be copied from a layer: a mount of its tree, and its records, come along.
    Stock,
    /// The tree is complete.
    Composed {
        /// When the newest of its packages was built, seconds since 1970.
        newest: u64,
    },
    /// These packages, by their places in the plan, are not as they were unpacked.
    Changed(Vec<u32>),
    /// The job was not done and nothing was changed, for this reason: it has to be done another
    /// way.
    Declined(String),
    /// A regular file, as descriptor.
    File {
        /// Size in bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Seconds since the epoch.
        modified: i64,
    },
}

/// How a program ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Exit {
    /// Exit status, if it ended by itself.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it used.
    pub usage: Usage,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// A sentence: what failed on what.
    pub doing: String,
    /// The operating system's error number, 0 for none.
    pub errno: i32,
}

/// Kinds of failure that the host must tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// An operation on a file or the system failed.
    System,
    /// A namespace, mount or id map is refused here.
    Isolation,
    /// Somebody else holds the lock.
    Locked,
    /// The program could not be started.
    Exec,
    /// An archive or tree is damaged or tries to leave the root.
    Hostile,
    /// A machine that went down may have damaged it.
    Unsynced,
    /// The request makes no sense.
    Request,
}

impl Failure {
    /// A failed operation of the system.
    pub fn system(doing: impl Into<String>, error: rustix::io::Errno) -> Self {
        Failure { kind: FailureKind::System, doing: doing.into(), errno: error.raw_os_error() }
    }

    /// A refused namespace, mount or id map.
    pub fn isolation(doing: impl Into<String>, error: rustix::io::Errno) -> Self {
        Failure { kind: FailureKind::Isolation, doing: doing.into(), errno: error.raw_os_error() }
    }

    /// A request that makes no sense.
    pub fn request(doing: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Request, doing: doing.into(), errno: 0 }
    }

    /// Damaged or hostile input.
    pub fn hostile(doing: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Hostile, doing: doing.into(), errno: 0 }
    }

    /// The same under another kind.
    pub fn of_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.doing)?;
        if self.errno != 0 {
            write!(f, ": {}", std::io::Error::from_raw_os_error(self.errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Adds what was being done to a system error.
pub trait Doing<T> {
    /// Becomes a [`FailureKind::System`] failure.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
    /// Becomes a [`FailureKind::Isolation`] failure.
    fn isolating(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, rustix::io::Errno> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::system(doing(), error))
    }
    fn isolating(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::isolation(doing(), error))
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::system(doing(), errno_of(&error)))
    }
    fn isolating(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::isolation(doing(), errno_of(&error)))
    }
}

fn errno_of(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A message as bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Failure> {
    postcard::to_stdvec(message)
        .map_err(|error| Failure::request(format!("cannot encode a message: {error}")))
}

/// Bytes as a message; bytes that are left over are an error.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(Failure::request("a message has bytes left over")),
        Err(error) => Err(Failure::request(format!("a message cannot be decoded: {error}"))),
    }
}
