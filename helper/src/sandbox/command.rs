//! From a forked copy of the keeper to a running program.
//!
//! Everything here runs in the child, in a fixed order; what fails is told over the reply socket,
//! which closes by itself when the program starts. The first part, [`confine`], is the same for
//! nearly every program of a session, so that a process can have it behind it before the program
//! is known ([`super::spare`]).

use super::{mounts, user};
use crate::protocol::{Doing, Failure, FailureKind, Mode, Reply, Run, encode};
use crate::sys::capability::Capability;
use crate::sys::seccomp::{self, Filter};
use crate::sys::{capability, keyring, process, socket, terminal};
use rustix::fs::{Mode as Bits, OFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What a command's process has of its session.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Isolation mode of the session.
    pub mode: Mode,
    /// What becomes the program's `/`.
    pub root: &'a OwnedFd,
    /// The empty network namespace.
    pub network: &'a OwnedFd,
    /// As in [`Open`](crate::protocol::Open).
    pub linux32: bool,
    /// Whether the bounding set is limited already, that of the keeper, which its forks inherit.
    pub bounded: bool,
}

/// The capabilities that programs keep in a session of this mode.
pub fn capabilities(mode: Mode) -> &'static [Capability] {
    match mode {
        Mode::Userns => capability::IN_USER_NAMESPACE,
        Mode::Simple => capability::AS_REAL_ROOT,
    }
}

/// In which of a session's few ways a program is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// The host's network instead of the empty one.
    pub network: bool,
    /// As in [`Run::suppress_sync`].
    pub suppress_sync: bool,
    /// As in [`Open::linux32`](crate::protocol::Open::linux32), for this program.
    pub linux32: bool,
}

impl Confinement {
    /// What `run` asks for in a session that is `linux32` or not.
    pub fn of(run: &Run, linux32: bool) -> Self {
        Confinement {
            network: run.network,
            suppress_sync: run.suppress_sync,
            linux32: linux32 || run.linux32,
        }
    }
}

/// A program and where it talks to.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The request.
    pub run: &'a Run,
    /// Standard input, output and error; unused with a terminal.
    pub streams: &'a [OwnedFd],
    /// Where failures are told.
    pub replies: &'a OwnedFd,
}

/// Becomes the program. Never returns.
pub fn launch(launch: &Launch<'_>, around: &Around<'_>) -> ! {
    let confined = confine(around, Confinement::of(launch.run, around.linux32));
    become_program(launch, confined)
}

/// Becomes the program, after [`confine`], whose outcome it is that comes along. Never returns.
pub fn become_program(launch: &Launch<'_>, confined: Result<(), Failure>) -> ! {
    let failure = match confined.and_then(|()| prepare(launch)) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    if let Ok(bytes) = encode(&Reply::Failed(failure)) {
        let _ = socket::send(launch.replies.as_fd(), &bytes, &[]);
    }
    process::exit_now(127)
}

/// Takes on all of the session and gives up all that programs shall not have, but for the user.
pub fn confine(around: &Around<'_>, how: Confinement) -> Result<(), Failure> {
    let text = |what: &str| {
        let what = what.to_owned();
        move || what
    };
    process::unblock_signals();
    mounts::enter(around.root)?;
    rustix::process::setsid().doing(text("cannot start a new session"))?;
    keyring::join_fresh_session().doing(text("cannot make a session keyring"))?;
    if !how.network {
        process::enter(around.network.as_fd(), libc::CLONE_NEWNET)
            .isolating(text("cannot enter the empty network"))?;
    }
    process::reset_priority();
    process::suggest_limit(libc::RLIMIT_CORE, 0).doing(text("cannot limit core dumps"))?;
    // The kernel's default, which builds get everywhere: with many more some programs loop over
    // every possible descriptor.
    process::suggest_limit(libc::RLIMIT_NOFILE, 1024).doing(text("cannot limit open files"))?;
    if how.linux32 {
        const PER_LINUX32: u64 = 8;
        process::set_personality(PER_LINUX32).doing(text("cannot set the personality"))?;
    }
    let filter = Filter {
        suppress_sync: how.suppress_sync,
        forbid_global: around.mode == Mode::Simple,
        allow_multiplexer: how.linux32,
    };
    seccomp::install(filter).isolating(text("cannot install a seccomp filter"))?;
    let keep = capabilities(around.mode);
    let bounded = if around.bounded { Ok(()) } else { capability::bound(keep) };
    bounded.and_then(|()| capability::limit(keep)).isolating(text("cannot limit capabilities"))
}

fn prepare(launch: &Launch<'_>) -> Result<std::convert::Infallible, Failure> {
    let run = launch.run;
    let text = |what: &str| {
        let what = what.to_owned();
        move || what
    };
    connect(launch)?;
    rustix::process::umask(Bits::from(run.umask));
    let limits = [
        (libc::RLIMIT_AS, run.memory),
        (libc::RLIMIT_FSIZE, run.file_size),
        (libc::RLIMIT_NPROC, run.processes),
    ];
    for (resource, value) in limits {
        if let Some(value) = value {
            process::limit_resource(resource, value)
                .doing(|| format!("cannot set resource limit {resource}"))?;
        }
    }
    let user = user::look_up(&run.user)?;
    let directory = c_string(&run.directory)?;
    process::become_user(user.uid, user.gid, &user.groups)
        .doing(|| format!("cannot become the user {}", run.user))?;
    rustix::process::chdir(directory.as_c_str()).map_err(|error| {
        Failure::system(
            format!("cannot enter the directory {}", String::from_utf8_lossy(&run.directory)),
            error,
        )
        .of_kind(FailureKind::Exec)
    })?;
    let argv = run.argv.iter().map(|a| c_string(a)).collect::<Result<Vec<_>, _>>()?;
    let mut environment =
        run.environment.iter().map(|v| c_string(v)).collect::<Result<Vec<_>, _>>()?;
    for (name, value) in user.variables() {
        let is_set = |variable: &crate::protocol::Bytes| {
            variable.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        };
        if !run.environment.iter().any(is_set) {
            environment.push(c_string(format!("{name}={value}").as_bytes())?);
        }
    }
    let path = run
        .environment
        .iter()
        .find_map(|variable| variable.strip_prefix(b"PATH="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .unwrap_or_default();
    process::close_on_exec_from(3).doing(text("cannot close descriptors"))?;
    let error = process::execute(&argv, &environment, &path);
    let program = run.argv.first().map(|a| String::from_utf8_lossy(a)).unwrap_or_default();
    Err(Failure::system(format!("cannot run {program}"), error).of_kind(FailureKind::Exec))
}

/// Gives the process its standard streams: the host's descriptors, or a terminal of the root's own
/// devpts, whose other end goes to the host.
fn connect(launch: &Launch<'_>) -> Result<(), Failure> {
    let doing = || "cannot connect standard streams".to_owned();
    let Some((rows, columns)) = launch.run.terminal else {
        for (number, stream) in launch.streams.iter().enumerate() {
            process::replace_descriptor(stream.as_fd(), number as i32).doing(doing)?;
        }
        return Ok(());
    };
    let doing = || "cannot make a terminal".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Bits::empty()).doing(doing)?;
    terminal::unlock(master.as_fd()).doing(doing)?;
    let ours = terminal::open_peer(master.as_fd()).doing(doing)?;
    terminal::resize(master.as_fd(), rows, columns).doing(doing)?;
    terminal::control(ours.as_fd()).doing(doing)?;
    for number in 0..3 {
        process::replace_descriptor(ours.as_fd(), number).doing(doing)?;
    }
    // The host may already have gone: then the program is about to be killed anyway.
    let _ = socket::send(launch.replies.as_fd(), &encode(&Reply::Terminal)?, &[master.as_fd()]);
    Ok(())
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| {
        Failure::request(format!("{:?} contains a null byte", String::from_utf8_lossy(bytes)))
    })
}
