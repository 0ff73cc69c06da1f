//! Marks of the boot in which something was written: what another boot left may have lost what
//! never reached the disk.

use debmock_tests::drive::{self, everywhere};
use debmock_tests::{machine, or_skip};
use std::fs;
use std::process::Command;

#[test]
fn a_buildroot_that_another_boot_left_is_refused_with_a_way_out() {
    for (name, drive) in or_skip!(everywhere()) {
        drive.inside("root", "echo changed > /file");
        let zone =
            fs::read_dir(drive.area().state().join("roots/v1")).unwrap().next().unwrap().unwrap();
        let mark = zone.path().join("tiny/boot");
        let layers =
            fs::read_dir(drive.area().cache().join("layers/v1")).unwrap().next().unwrap().unwrap();
        let layer = fs::read_dir(layers.path())
            .unwrap()
            .flatten()
            .find(|e| e.file_name().to_string_lossy().starts_with("import"))
            .unwrap();
        if !machine::is_root() {
            // the marks belong to a sub-id
            continue;
        }
        let this_boot = fs::read_to_string(&mark).unwrap();
        assert_eq!(fs::read_to_string(layer.path().join("boot")).unwrap(), this_boot);
        fs::write(&mark, "00000000-0000-0000-0000-000000000000").unwrap();
        let said = drive.steps(&["try:run", "root", "cat /file"]).succeeded();
        let errors = said.of("error");
        assert!(
            errors[0].contains("Buildroot") && errors[0].contains("debmock clean"),
            "{name}: {errors:?}"
        );
        // nobody takes it for good when it is an archive
        let tar = drive.area().work().join("damaged.tar");
        let said = drive.steps(&["try:export", &tar.to_string_lossy()]).succeeded();
        let errors = said.of("error");
        assert!(errors.len() == 1 && errors[0].contains("debmock clean"), "{name}: {errors:?}");
        assert!(!tar.exists(), "{name}");
        let said =
            drive.steps(&["clean", "run", "root", "test -e /file || echo fresh"]).succeeded();
        assert_eq!(said.out(), "fresh");
        // a doubtful layer is made again
        fs::write(layer.path().join("boot"), "00000000-0000-0000-0000-000000000000").unwrap();
        let said = drive.steps(&["try:run", "root", "true"]).succeeded();
        assert!(said.of("error")[0].contains("layer"), "{:#?}", said.lines);
        let tar = or_skip!(drive::root_tar());
        let said =
            drive.steps(&["import", &tar.to_string_lossy(), "run", "root", "echo new"]).succeeded();
        assert_eq!(said.out(), "new");
        // marks that are older than a minute go away while a helper idles
        for file in [&mark, &layer.path().join("boot")] {
            machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(file));
        }
        // or the helper leaves them, since a sync of what others wrote would take its time
        machine::run(&mut Command::new("sync"));
        drive.steps(&["wait", "2500"]).succeeded();
        assert!(!mark.exists() || dirty(), "the mark of the buildroot is still there");
        assert!(
            !layer.path().join("boot").exists() || dirty(),
            "the mark of the layer is still there"
        );
        assert_eq!(drive.inside("root", "echo works"), "works");
        // but not that of a buildroot in use
        machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&mark));
        let mut running = drive.start(&["session", "hold"]);
        assert!(running.until("ok session"));
        machine::run(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&mark));
        let mut other = drive.command(&["wait", "2500"]);
        other.env("DRIVE_EXT", "other");
        drive::start(other).finish().succeeded();
        assert!(mark.exists());
        running.kill();
    }
}

/// Whether the machine has so much to write that nobody syncs on the side.
fn dirty() -> bool {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Dirty:")).unwrap_or("0 0");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) > 100_000
}
