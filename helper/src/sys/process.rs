//! Processes: fork, namespaces, signals, exec.

use super::check;
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of a fork this is.
pub enum Fork {
    /// The parent, with the child's process id and a descriptor of it (`pidfd_open(2)`).
    Parent(Child),
    /// The child.
    Child,
}

/// A child process.
#[derive(Debug)]
pub struct Child {
    /// Its process id in the caller's pid namespace.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// The namespaces of a session: mount, pid, uts, ipc and cgroup.
pub const SESSION_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP) as u32 as u64;

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Forks, the child in new `namespaces` (`CLONE_NEW*`; 0 for none).
///
/// The helper calls this only while it has one thread: the child then owns a consistent copy of
/// the heap and may allocate, unlike a fork of a threaded process.
pub fn fork(namespaces: u64) -> Result<Fork, Errno> {
    let mut pidfd: libc::c_int = -1;
    let args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: no CLONE_VM and no new stack: this is fork(2) with namespaces. The process has one
    // thread (see above), so no lock can be held by a thread that the child lacks.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: CLONE_PIDFD stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent(Child { pid: pid as i32, pidfd }))
}

/// Ends this process at once: no destructors, no exit handlers. The only way out of a fork.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit never returns and touches nothing of ours.
    unsafe { libc::_exit(status) }
}

/// Makes this process (after the next `exec` too, until one that gains privileges) die when its
/// parent dies.
pub fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into())?;
    Ok(())
}

/// As [`die_with_parent`], for a fork of process `parent` in the same pid namespace: a parent that
/// died before the call is noticed too.
pub fn die_with(parent: u32) {
    let _ = die_with_parent();
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32) != Some(parent) {
        exit_now(0)
    }
}

/// From now on this process works only when nobody else wants the processor or the disk.
pub fn be_idle() {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: plain integers and a structure that outlives the call. What the kernel refuses
    // stays as it is.
    unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters);
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE);
    }
}

/// From now on this process gives way to others, but gets on.
pub fn be_modest() {
    const WHO_PROCESS: libc::c_int = 1;
    const LAST_OF_BEST_EFFORT: libc::c_int = 2 << 13 | 7;
    // SAFETY: plain integers. What the kernel refuses stays as it is.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, LAST_OF_BEST_EFFORT);
    }
}

/// Makes this process impossible to trace and its `/proc` entries inaccessible for anybody without
/// `CAP_SYS_PTRACE` in the user namespace in which its program was started.
pub fn forbid_inspection() -> Result<(), Errno> {
    // SAFETY: PR_SET_DUMPABLE takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into())?;
    Ok(())
}

/// Every signal back to its default action and none blocked: the host may ignore SIGCHLD, Python
/// ignores SIGPIPE, and both are inherited through exec.
pub fn reset_signals() {
    // The kernel's structure: handler, flags, restorer, mask. All zero is the default action.
    let default = [0u64; 8];
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // Not by `signal(3)`: the C library keeps 32 and 33 to itself, and who started us may
            // ignore them.
            // SAFETY: the structure is at least as large as on any architecture, and 8 is the
            // size of the kernel's signal set.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    default.as_ptr(),
                    std::ptr::null_mut::<u64>(),
                    8,
                );
            }
        }
    }
    unblock_signals();
}

/// No signal blocked. What the helper's forks inherit of their parent besides is in order: it has
/// reset the actions at its start, and nobody sets any afterwards.
pub fn unblock_signals() {
    // SAFETY: an emptied set is initialised, and sigprocmask copies it.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> Result<(), Errno> {
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor from `first` on as close-on-exec.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    close_range(first, u32::MAX, CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: the callers own what they close: they are at their start or about to exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })?;
    Ok(())
}

/// Replaces descriptor `number` (0, 1 or 2) by a copy of `descriptor`.
pub fn replace_descriptor(descriptor: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    if descriptor.as_raw_fd() == number {
        // dup2 onto itself would leave close-on-exec set.
        // SAFETY: F_SETFD takes an integer.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into())?;
        return Ok(());
    }
    // SAFETY: dup2 of an open descriptor; `number` is a standard stream, which no OwnedFd owns.
    check(unsafe { libc::dup2(descriptor.as_raw_fd(), number) }.into())?;
    Ok(())
}

/// Sets all user ids, group ids and supplementary groups of this process.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: plain integers and a list that outlives the call. The process has one thread, so
    // that the raw calls change all of it.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()).into())?;
        check(libc::setresgid(gid, gid, gid).into())?;
        check(libc::setresuid(uid, uid, uid).into())?;
    }
    Ok(())
}

/// Replaces this program; returns only on failure. A name without a slash is looked up in `path`.
pub fn execute(argv: &[CString], environment: &[CString], path: &str) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, variables) = (pointers(argv), pointers(environment));
    let Some(program) = argv.first() else { return Errno::INVAL };
    let run = |file: &CStr| -> Errno {
        // SAFETY: both lists end with a null pointer, and the strings outlive the call.
        unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
        // SAFETY: as in `check`.
        Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
    };
    if program.as_bytes().contains(&b'/') {
        return run(program);
    }
    let mut denied = None;
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        let Ok(file) = CString::new([folder.as_bytes(), b"/", program.as_bytes()].concat()) else {
            return Errno::INVAL;
        };
        match run(&file) {
            Errno::NOENT | Errno::NOTDIR => {}
            error @ Errno::ACCESS => denied = Some(error),
            error => return error,
        }
    }
    denied.unwrap_or(Errno::NOENT)
}

/// Enters the namespace that `namespace` names; `kind` is its `CLONE_NEW*` flag.
pub fn enter(namespace: BorrowedFd<'_>, kind: libc::c_int) -> Result<(), Errno> {
    // SAFETY: setns takes a descriptor and an integer.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) }.into())?;
    Ok(())
}

/// Moves this process into new `namespaces` (`CLONE_NEW*`).
pub fn unshare(namespaces: libc::c_int) -> Result<(), Errno> {
    // SAFETY: only namespace flags are passed, which share nothing that Rust relies on
    // (no CLONE_FILES).
    check(unsafe { libc::unshare(namespaces) }.into())?;
    Ok(())
}

/// Reaps one ended child, if there is one: its process id, wait status and resource use.
pub fn reap() -> Option<(i32, i32, Usage)> {
    let mut status = 0;
    // SAFETY: rusage is plain data; zero is a valid value of each field.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both out-pointers outlive the call.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
    (pid > 0).then(|| {
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        let usage = Usage {
            user_seconds: seconds(usage.ru_utime),
            system_seconds: seconds(usage.ru_stime),
            peak_kib: usage.ru_maxrss as u64,
        };
        (pid, status, usage)
    })
}

/// Waits for the child `pid`; its wait status.
pub fn wait_for(pid: i32) -> Result<i32, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: the out-pointer outlives the call.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into()) {
            Ok(_) => return Ok(status),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Exit status or signal of a wait status.
pub fn outcome(status: i32) -> (Option<i32>, Option<i32>) {
    if libc::WIFEXITED(status) {
        (Some(libc::WEXITSTATUS(status)), None)
    } else {
        (None, Some(libc::WTERMSIG(status)))
    }
}

/// Closes every descriptor but the standard streams and `kept`.
pub fn keep_descriptors(kept: &[std::os::fd::RawFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|&number| number as u32).collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept {
        if number >= first {
            if number > first {
                let _ = close_range(first, number - 1, 0);
            }
            first = number + 1;
        }
    }
    let _ = close_range(first, u32::MAX, 0);
}

/// What a process and the children that it waited for used.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Processor time in user mode, seconds.
    pub user_seconds: f64,
    /// Processor time in the kernel, seconds.
    pub system_seconds: f64,
    /// Largest resident set of one process, KiB.
    pub peak_kib: u64,
}

/// Sets a resource limit, soft and hard, so that nothing inside raises it again; a hard limit below
/// `value` stays.
pub fn limit_resource(resource: u32, value: u64) -> Result<(), Errno> {
    set_limit(resource, value, true)
}

/// Sets the soft limit alone: what a process gets that asks for nothing else.
pub fn suggest_limit(resource: u32, value: u64) -> Result<(), Errno> {
    set_limit(resource, value, false)
}

fn set_limit(resource: u32, value: u64, hard: bool) -> Result<(), Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives both calls.
    unsafe {
        check(libc::getrlimit(resource, &raw mut limit).into())?;
        limit.rlim_cur = value.min(limit.rlim_max);
        if hard {
            limit.rlim_max = limit.rlim_cur;
        }
        check(libc::setrlimit(resource, &raw const limit).into())?;
    }
    Ok(())
}

/// Back to an out-of-memory score of 0, which the host may have changed, for this process and all
/// that it starts. Later, when nobody may look into it, it cannot change its own either.
pub fn reset_memory_score() {
    // What lowers the value needs a privilege that we may lack: then it stays.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// Back to niceness 0, which the host may have changed.
pub fn reset_priority() {
    // SAFETY: plain integers. Lowering the value needs a privilege that we may lack: then it
    // stays.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
}

/// The personality of this process, `personality(2)`, for 32-bit architectures on 64-bit kernels.
pub fn set_personality(persona: u64) -> Result<(), Errno> {
    // SAFETY: takes one integer.
    check(unsafe { libc::personality(persona as libc::c_ulong) }.into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_cannot_be_raised_again_and_a_suggestion_can() {
        let limit = || {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the structure outlives the call.
            unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
            (limit.rlim_cur, limit.rlim_max)
        };
        let (_, most) = limit();
        suggest_limit(libc::RLIMIT_CORE, 0).unwrap();
        assert_eq!(limit(), (0, most));
        limit_resource(libc::RLIMIT_CORE, 0).unwrap();
        assert_eq!(limit(), (0, 0));
        limit_resource(libc::RLIMIT_CORE, 1).unwrap();
        assert_eq!(limit(), (0, 0));
    }
}
