//! Started operations in processes that fork.

use debmock::operation::{CancelToken, Operation};
use debmock::{ErrorKind, Result};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

fn endless() -> Operation<()> {
    let work = |scope: &debmock::operation::Scope| -> Result<()> {
        loop {
            scope.check()?;
            scope.warn("busy", None);
            std::thread::yield_now();
        }
    };
    Operation::start(&CancelToken::new(), work).unwrap()
}

/// Runs `work` in a forked child, which ends with what it gives.
fn in_child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child calls nothing but `work` and `_exit`; what the tests do there is what the
    // library promises to bear.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let status = work();
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { nix::libc::_exit(status) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, status) => status,
            other => panic!("the child ended otherwise: {other:?}"),
        },
    }
}

fn is_open(descriptor: RawFd) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{descriptor}")).is_ok()
}

#[test]
fn in_a_forked_child_every_call_is_refused_and_dropping_closes_the_descriptor() {
    // the working thread holds its locks at any of these moments
    for _ in 0..50 {
        let operation = endless();
        let number = operation.descriptor().unwrap().as_raw_fd();
        let mut moved = Some(operation);
        let status = in_child(|| {
            let operation = moved.take().unwrap();
            let kinds = [
                operation.descriptor().map(drop).unwrap_err().kind(),
                operation.next_event(Duration::MAX).map(drop).unwrap_err().kind(),
                operation.cancel().unwrap_err().kind(),
                operation.wait().unwrap_err().kind(),
            ];
            if kinds != [ErrorKind::Forked; 4] {
                return 1;
            }
            drop(operation);
            if is_open(number) { 2 } else { 0 }
        });
        // The thread may have been writing to the descriptor at the very moment of the fork: then
        // the child keeps it until it ends.
        assert!(status == 0 || status == 2, "{status}");
        let operation = moved.unwrap();
        assert!(operation.next_event(Duration::ZERO).is_ok(), "the parent goes on");
        operation.cancel().unwrap();
        assert_eq!(operation.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn a_child_that_ends_leaves_the_parents_work_alone() {
    let operation = endless();
    assert_eq!(in_child(|| 7), 7);
    operation.cancel().unwrap();
    assert_eq!(operation.wait().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn no_thread_and_no_descriptor_is_left() {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let before = (count("task"), count("fd"));
    let operation = endless();
    drop(operation);
    let operation = endless();
    operation.cancel().unwrap();
    operation.wait().unwrap_err();
    assert_eq!(count("task"), before.0, "the thread is joined before wait returns");
    drop(operation);
    assert_eq!((count("task"), count("fd")), before);
}
