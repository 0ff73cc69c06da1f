//! SIGKILL in the middle of things: the quick subset of `all_kill.rs`.

use debmock_tests::kill::{self, MOMENTS, Victim};
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip};

#[test]
fn a_killed_caller_leaves_nothing() {
    or_skip!(machine::need_root());
    for moment in &MOMENTS[..3] {
        or_skip!(kill::at(*moment, Victim::Caller, User::current(), "userns"));
    }
}

#[test]
fn a_killed_caller_with_a_sleeping_child_leaves_nothing() {
    or_skip!(machine::need_root());
    for moment in &MOMENTS[..3] {
        or_skip!(kill::at(*moment, Victim::CallerWithChild, User::current(), "userns"));
    }
}

#[test]
fn a_killed_helper_leaves_nothing() {
    or_skip!(machine::need_root());
    for moment in &MOMENTS[..3] {
        or_skip!(kill::at(*moment, Victim::Helper, User::current(), "simple"));
    }
}

#[test]
fn a_killed_session_leaves_nothing() {
    or_skip!(machine::need_root());
    for moment in &MOMENTS[..3] {
        or_skip!(kill::at(*moment, Victim::Keeper, User::current(), "userns"));
    }
}

/// Areas of users are of mode 0700, as their homes are.
#[test]
fn a_killed_caller_of_a_user_leaves_nothing() {
    let user = or_skip!(User::with_sub_ids());
    for moment in &MOMENTS[..3] {
        or_skip!(kill::at(*moment, Victim::Caller, user.clone(), "userns"));
    }
}
