//! SIGKILL of everybody at every stage, in both modes and for a user.

use debmock_tests::kill::{self, MOMENTS, Victim};
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip};

fn everywhere(victim: Victim) {
    or_skip!(machine::need_root());
    let user = or_skip!(User::with_sub_ids());
    for moment in MOMENTS {
        for mode in ["userns", "simple"] {
            or_skip!(kill::at(moment, victim, User::current(), mode));
        }
        or_skip!(kill::at(moment, victim, user.clone(), "userns"));
    }
}

#[test]
fn the_caller_is_killed_at_every_stage() {
    everywhere(Victim::Caller);
}

#[test]
fn the_caller_with_a_sleeping_child_is_killed_at_every_stage() {
    everywhere(Victim::CallerWithChild);
}

#[test]
fn the_helper_is_killed_at_every_stage() {
    everywhere(Victim::Helper);
}

#[test]
fn the_session_is_killed_at_every_stage() {
    everywhere(Victim::Keeper);
}
