//! Builds through `libdebmock`, with packages of the real archive.

use std::fs;
use std::path::PathBuf;

use debmock_tests::area::Area;
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::{self, Skip, run};
use debmock_tests::or_skip;
use debmock_tests::prefix::{Prefix, Way};

fn installed() -> Result<(Area, Prefix, PathBuf), Skip> {
    machine::mirror()?;
    machine::need_root()?;
    let area = Area::new();
    let prefix = Prefix::install(&area.path().join("prefix"), None)?;
    let config = area.work().join("bookworm.toml");
    fs::write(&config, "extends = \"debian-bookworm\"\n").unwrap();
    Ok((area, prefix, config))
}

#[test]
fn a_program_in_c_rebuilds_in_a_poll_loop_and_is_told_of_a_failure() {
    let (area, prefix, config) = or_skip!(installed());
    let program = prefix.compile("rebuild_poll", Way::C, &area.work());
    let good = Source::new("greeter", "1.0-1", Format::Quilt);
    let bad = Source::new("grumbler", "1.0-1", Format::Quilt)
        .rules("#!/usr/bin/make -f\nclean:\n%:\n\t@echo on purpose; false\n");
    for (source, verdict) in [(good, "builds"), (bad, "fails")] {
        let folder = area.work().join(verdict);
        fs::create_dir(&folder).unwrap();
        let dsc = source.build().write(&folder);
        let said = run(area
            .command(&program)
            .env_remove("DEBMOCK_HELPER")
            .args([&config, &area.cache(), &area.state(), &dsc, &folder.join("results")])
            .arg(verdict));
        assert_eq!(said.lines().last(), Some("ok"), "{said}");
        assert!(folder.join("results/build.log").is_file());
        if verdict == "builds" {
            assert!(said.contains("greeter 1.0-1"), "{said}");
        }
    }
    area.assert_nothing_left();
}
