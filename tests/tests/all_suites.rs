//! What `tests/run oracle-all` needs of the mirror.

use std::fs;
use std::process::Command;

use debmock_tests::area::Area;
use debmock_tests::machine::{self, run};
use debmock_tests::or_skip;

#[test]
fn the_mirror_has_every_suite() {
    let mirror = or_skip!(machine::mirror());
    let area = Area::new();
    for suite in ["bullseye", "bookworm", "trixie", "forky", "sid"] {
        let file = area.work().join(suite);
        let uri = format!("{}dists/{suite}/InRelease", mirror.uri);
        run(Command::new("/usr/lib/apt/apt-helper").arg("download-file").arg(uri).arg(&file));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("\nCodename: {suite}\n")), "{suite}");
    }
}
