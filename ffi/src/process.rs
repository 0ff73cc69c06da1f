//! Programs inside that run while the caller does other things.

use crate::border;
use crate::error::Error;
use crate::result::Outcome;
use crate::run::{self, RunOptions};
use crate::session::Session;
use debmock::buildroot::{Exit, Stdio};
use debmock::error::IoContext;
use debmock::{ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A running program. Any number of threads may use it. Freeing it kills its process group; so does
/// the end of its session, which it keeps open.
///
/// In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes
/// descriptors.
#[derive(Debug)]
pub struct Process {
    process: debmock::buildroot::Process,
    exit: Mutex<Option<Exit>>,
    owner: u32,
    _session: Arc<debmock::buildroot::Session>,
}

impl Process {
    fn check_fork(&self) -> Result<()> {
        if self.owner == std::process::id() {
            return Ok(());
        }
        let message = format!("the program was started by process {}", self.owner);
        Err(debmock::Error::new(ErrorKind::Forked, message))
    }
}

unsafe fn spawn(session: *const Session, run: *const RunOptions, stdio: Stdio) -> Result<Process> {
    // SAFETY: as for every entry point; this is the body of two of them.
    let (session, (run, _)) =
        unsafe { (Arc::clone(&border::handle(session, "session")?.0), run::read(run)?) };
    let process = session.spawn(&run, stdio)?;
    let owner = std::process::id();
    Ok(Process { process, exit: Mutex::new(None), owner, _session: session })
}

/// A descriptor of the caller's; none for -1.
unsafe fn stream<'a>(number: i32) -> Option<BorrowedFd<'a>> {
    // SAFETY: it is borrowed during one call only; one that is not open is an error of the copy.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Starts a program with these three descriptors as its input, output and error; -1 stands for the
/// null device. They are copied and stay the caller's. Free the process with debmock_process_free.
///
/// Fails with DEBMOCK_ERR_USAGE for directories and terminals, which must not go into a root, with
/// DEBMOCK_ERR_EXEC if the program cannot be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_spawn(
    session: *const Session,
    run: *const RunOptions,
    input: i32,
    output: i32,
    errors: i32,
    process: *mut *mut Process,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(process, std::ptr::null_mut(), "process")?;
        let streams = [stream(input), stream(output), stream(errors)];
        let streams = Stdio::copies(streams)?;
        *slot = border::boxed(spawn(session, run, streams)?);
        Ok(())
    })
}

/// Starts a program on a terminal of the root's own, of this many rows and columns. What is written
/// to debmock_process_terminal it reads as typed, and what it prints can be read there. Free the
/// process with debmock_process_free.
///
/// Fails as debmock_session_spawn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_session_spawn_terminal(
    session: *const Session,
    run: *const RunOptions,
    rows: u16,
    columns: u16,
    process: *mut *mut Process,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(process, std::ptr::null_mut(), "process")?;
        *slot = border::boxed(spawn(session, run, Stdio::Terminal(rows, columns))?);
        Ok(())
    })
}

/// A descriptor that poll(2) finds readable when the program has ended. It belongs to the process:
/// neither read nor close it. It is close-on-exec. -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_fd(process: *const Process) -> i32 {
    border!(-1; { process.as_ref().map_or(-1, |process| process.process.as_fd().as_raw_fd()) })
}

/// Our end of the program's terminal, to read and write. It belongs to the process: do not close
/// it. It is close-on-exec. -1 if the program has no terminal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_terminal(process: *const Process) -> i32 {
    border!(-1; {
        let terminal = process.as_ref().and_then(|process| process.process.terminal.as_ref());
        terminal.map_or(-1, AsRawFd::as_raw_fd)
    })
}

/// Tells the program that its terminal has another size.
///
/// Fails with DEBMOCK_ERR_USAGE if it has no terminal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_resize(
    process: *const Process,
    rows: u16,
    columns: u16,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let process = border::handle(process, "process")?;
        process.check_fork()?;
        let Some(terminal) = &process.process.terminal else {
            return Err(debmock::Error::new(ErrorKind::Usage, "the program has no terminal"));
        };
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal, size)
            .doing(|| "cannot change the size of the terminal".into())
    })
}

/// Sends a signal to the process group of the program, by its number.
///
/// Fails with DEBMOCK_ERR_USAGE for numbers that are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_signal(
    process: *const Process,
    number: i32,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let process = border::handle(process, "process")?;
        process.check_fork()?;
        if !(1..=64).contains(&number) {
            let message = format!("{number} is not the number of a signal");
            return Err(debmock::Error::new(ErrorKind::Usage, message));
        }
        process.process.signal(number)
    })
}

/// How the program ended, waiting for that at most timeout_ms milliseconds, or for ever if that is
/// negative. The result is NULL if it has not ended by then; free it with debmock_result_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_wait(
    process: *const Process,
    timeout_ms: i32,
    result: *mut *mut Outcome,
    error: *mut *mut Error,
) -> i32 {
    border!(error, {
        let slot = border::out(result, std::ptr::null_mut(), "result")?;
        let process = border::handle(process, "process")?;
        process.check_fork()?;
        let mut known = process.exit.lock().unwrap_or_else(PoisonError::into_inner);
        let exit = match (*known, u64::try_from(timeout_ms)) {
            (Some(exit), _) => Some(exit),
            (None, Ok(wait)) => process.process.wait(Duration::from_millis(wait))?,
            (None, Err(_)) => loop {
                if let Some(exit) = process.process.wait(Duration::from_secs(3600))? {
                    break Some(exit);
                }
            },
        };
        *known = exit;
        if let Some(exit) = exit {
            *slot = border::boxed(Outcome::exit(exit, Vec::new()));
        }
        Ok(())
    })
}

/// Kills a program that has not ended, frees it and sets the variable to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_process_free(process: *mut *mut Process) {
    border!((); { border::free(process) })
}
