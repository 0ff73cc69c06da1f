//! The tree oracle: a bootstrapped root is mmdebstrap's, path by path, for root and for users.

use debmock_tests::area::Area;
use debmock_tests::or_skip;
use debmock_tests::root::{assert_same, by_mmdebstrap};
use debmock_tests::user::User;

#[test]
fn bookworm_made_by_root_equals_mmdebstraps() {
    let oracle = or_skip!(by_mmdebstrap("bookworm"));
    assert_same(&Area::new(), "bookworm", &oracle);
}

#[test]
fn bookworm_made_by_a_user_equals_mmdebstraps() {
    let oracle = or_skip!(by_mmdebstrap("bookworm"));
    let user = or_skip!(User::with_sub_ids());
    assert_same(&Area::of(user), "bookworm", &oracle);
}

#[test]
fn trixie_made_by_root_equals_mmdebstraps() {
    let oracle = or_skip!(by_mmdebstrap("trixie"));
    assert_same(&Area::new(), "trixie", &oracle);
}

#[test]
fn trixie_made_by_a_user_equals_mmdebstraps() {
    let oracle = or_skip!(by_mmdebstrap("trixie"));
    let user = or_skip!(User::with_sub_ids());
    assert_same(&Area::of(user), "trixie", &oracle);
}
