//! The package oracle: a rebuilt package is sbuild's, byte by byte. All eight kinds of sources are
//! in `all_packages.rs`.

use debmock_tests::or_skip;
use debmock_tests::package::Workshop;

#[test]
fn packages_equal_sbuilds() {
    let workshop = or_skip!(Workshop::new());
    workshop.assert_same("hello");
    // directories of group staff: debian/rules binary runs under fakeroot
    workshop.assert_same("base-files");
}
