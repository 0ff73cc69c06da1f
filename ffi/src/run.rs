//! Programs inside, run to their end.

use crate::border;
use crate::error::Error;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use crate::session::Session;
use debmock::buildroot::Run;
use debmock::event::{Log, What};
use debmock::{ErrorKind, Result};
use std::ffi::c_char;
use std::sync::Arc;

/// The program gets the host's network.
pub const DEBMOCK_RUN_NETWORK: u64 = 1;
/// fsync and its relatives succeed without effect.
pub const DEBMOCK_RUN_SUPPRESS_SYNC: u64 = 2;
/// The program has the 32-bit personality.
pub const DEBMOCK_RUN_LINUX32: u64 = 4;
/// Nothing is in the environment but what the options say, and HOME, USER, LOGNAME and SHELL.
pub const DEBMOCK_RUN_CLEAR_ENVIRONMENT: u64 = 8;

/// The login shell that a root has, the better one first.
const SHELL: &str = "command -v bash >/dev/null && exec bash -l; exec sh -l";

/// A program to run inside. Everything may be zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RunOptions {
    /// sizeof(debmock_run_options).
    pub size: usize,
    /// Program and arguments, ended by NULL; a login shell if NULL.
    pub argv: *const *const c_char,
    /// NAME=VALUE strings, ended by NULL. They come over a minimal environment.
    pub environment: *const *const c_char,
    /// Working directory inside; "/" if NULL.
    pub directory: *const c_char,
    /// User by name or number, as the root knows it; "root" if NULL.
    pub user: *const c_char,
    /// Some of DEBMOCK_RUN_….
    pub flags: u64,
    /// Ends the program after so many seconds; 0 for no limit. Not for debmock_session_spawn.
    pub wall_limit: f64,
    /// Ends the program when it has printed nothing for so many seconds; 0 for no limit. Not for
    /// debmock_session_spawn.
    pub silence_limit: f64,
    /// Keeps what the program prints, if it is not more than so many bytes, for
    /// debmock_result_output; 0 to keep nothing. Not for debmock_session_spawn.
    pub capture: u64,
}

// SAFETY: integers, floating-point numbers and pointers.
unsafe impl Options for RunOptions {}

/// The program that the options describe, and how much of its output is to be kept.
pub unsafe fn read(options: *const RunOptions) -> Result<(Run, usize)> {
    // SAFETY: as for every entry point; this is the body of some.
    unsafe {
        let given = options::read(options, "run")?;
        let known = DEBMOCK_RUN_NETWORK
            | DEBMOCK_RUN_SUPPRESS_SYNC
            | DEBMOCK_RUN_LINUX32
            | DEBMOCK_RUN_CLEAR_ENVIRONMENT;
        let flags = options::check_flags(given.flags, known, "run.flags")?;
        let argv = border::words(given.argv);
        let mut run = match argv.first() {
            Some(_) => Run::new(argv),
            None if given.argv.is_null() => Run::new(["/bin/sh", "-c", SHELL]),
            None => return Err(debmock::Error::new(ErrorKind::Usage, "run.argv is empty")),
        };
        if flags & DEBMOCK_RUN_CLEAR_ENVIRONMENT != 0 {
            run.environment.clear();
        }
        for pair in border::texts(given.environment, "run.environment")? {
            match pair.split_once('=') {
                Some((name, value)) if !name.is_empty() => run = run.env(name, value),
                _ => {
                    let message = format!("{pair:?} of run.environment is not NAME=VALUE");
                    return Err(debmock::Error::new(ErrorKind::Usage, message));
                }
            }
        }
        if let Some(directory) = border::optional_text(given.directory, "run.directory")? {
            run.directory = directory.to_owned();
        }
        if let Some(user) = border::optional_text(given.user, "run.user")? {
            run.user = user.to_owned();
        }
        run.network = flags & DEBMOCK_RUN_NETWORK != 0;
        run.suppress_sync = flags & DEBMOCK_RUN_SUPPRESS_SYNC != 0;
        run.linux32 = flags & DEBMOCK_RUN_LINUX32 != 0;
        run.wall_limit = options::seconds(given.wall_limit, "run.wall_limit")?;
        run.silence_limit = options::seconds(given.silence_limit, "run.silence_limit")?;
        Ok((run, usize::try_from(given.capture).unwrap_or(usize::MAX)))
    }
}

unsafe fn run(session: *const Session, options: *const RunOptions) -> Result<Work> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (session, (run, most)) =
        unsafe { (Arc::clone(&border::handle(session, "session")?.0), read(options)?) };
    Ok(Box::new(move |scope| {
        let mut output = Vec::new();
        let exit = session.run(&run, scope, |line| {
            let text = String::from_utf8_lossy(line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            scope.emit(What::LogLine { log: Log::Command, text });
            if most != 0 {
                if line.len() > most.saturating_sub(output.len()) {
                    let message = format!("{} printed more than {most} bytes", run.words());
                    return Err(debmock::Error::new(ErrorKind::Unexpected, message)
                        .with_hint("set run.capture higher, or to 0"));
                }
                output.extend_from_slice(line);
            }
            Ok(())
        })?;
        Ok(Outcome::exit(exit, output))
    }))
}

/// Runs a program inside and waits for its end. It reads nothing; what it prints on both streams
/// comes as lines of DEBMOCK_LOG_COMMAND. The result tells how it ended: a program that fails is no
/// error.
///
/// Fails with DEBMOCK_ERR_EXEC if it cannot be started, DEBMOCK_ERR_TIMEOUT after a limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_run(
    session: *const Session,
    run: *const RunOptions,
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { watched(self::run(session, run)?, watch, result) })
}

/// Starts debmock_session_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_run_start(
    session: *const Session,
    run: *const RunOptions,
    operation: *mut *mut Operation,
    error: *mut *mut Error,
) -> i32 {
    border!(error, { started(self::run(session, run)?, operation) })
}
