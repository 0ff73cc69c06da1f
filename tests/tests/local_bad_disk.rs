//! A disk that becomes full while debmock works, at any stage: the message says so, and the next
//! run succeeds when there is room, without anything being lost or done twice that was done.

use std::process::Command;

use debmock::ErrorKind;
use debmock_tests::archive::ArchiveBuilder;
use debmock_tests::area::SmallDisk;
use debmock_tests::deb::Deb;
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::{self, Skip};
use debmock_tests::rig::{Rig, said, tiny_archive};
use debmock_tests::{or_skip, tiny};

/// A rig whose caches and state lie on a disk of so many megabytes.
struct Full {
    rig: Rig,
    disk: SmallDisk,
}

impl Full {
    fn new(builder: &ArchiveBuilder, megabytes: u64) -> Result<Full, Skip> {
        machine::need_root()?;
        let rig = Rig::new(builder)?;
        let disk = SmallDisk::new(&rig.area, megabytes)?;
        Ok(Full { rig, disk })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.rig.program(arguments);
        command
            .env("DEBMOCK_CACHE_DIR", self.disk.path().join("cache"))
            .env("DEBMOCK_STATE_DIR", self.disk.path().join("state"));
        self.disk.command(&command)
    }

    /// Full now, with these words; enough room later.
    fn assert_full_then_fine(self, words: &[&str]) {
        let refused = said(self.command(&["init"]));
        if refused.text.contains("mount:") {
            debmock_tests::skip!("a loop device cannot be mounted here: {}", refused.text.trim());
        }
        refused.assert_refused(
            ErrorKind::NoSpace,
            &[&["No space left on device", "free some space"], words].concat(),
        );
        self.rig.assert_nothing_lost();
        let list = "find cache/layers -maxdepth 3; find . -name 'making-*' -o -name '.new-*'";
        let left = said(
            self.disk.command(
                self.rig
                    .area
                    .command("sh")
                    .args(["-c", &format!("cd {} && {list}", self.disk.path().display())]),
            ),
        );
        assert!(!left.text.contains("making-") && !left.text.contains(".new-"), "{}", left.text);
        assert!(!left.text.contains("/base-"), "a half layer is left:\n{}", left.text);
        self.disk.grow(600);
        said(self.command(&["init"])).assert_success();
        let configured =
            said(self.command(&["-q", "chroot", "--", "cat", "/var/lib/tiny/configured"]));
        assert_eq!(configured.text.trim(), "configure");
        self.rig.assert_nothing_lost();
    }
}

/// Size of the tiny distribution's packages, in whole megabytes.
fn debs_size() -> Result<u64, Skip> {
    let bytes: usize = tiny::debs()?.iter().map(|deb| deb.bytes.len()).sum();
    Ok(bytes as u64 >> 20)
}

#[test]
fn a_disk_that_becomes_full_while_indexes_are_fetched() {
    let mut builder = or_skip!(tiny_archive());
    let description = "x".repeat(3000);
    for number in 0..4000 {
        let deb = Deb::new(&format!("many-{number}"), "1", "all");
        builder = builder.deb(deb.field("Description", &description).build());
    }
    or_skip!(Full::new(&builder, 8)).assert_full_then_fine(&["cannot", "lists"]);
}

#[test]
fn a_disk_that_becomes_full_while_packages_are_fetched() {
    let size = or_skip!(debs_size());
    let builder = or_skip!(tiny_archive());
    or_skip!(Full::new(&builder, size / 2 + 4)).assert_full_then_fine(&[]);
}

#[test]
fn a_disk_that_becomes_full_while_packages_are_unpacked() {
    let size = or_skip!(debs_size());
    let zeros = Deb::new("zeros", "1", "all").essential();
    let zeros = zeros.file("/var/lib/zeros", 0o644, vec![b'z'; 120 << 20]).build();
    let builder = or_skip!(tiny_archive()).deb(zeros);
    or_skip!(Full::new(&builder, size * 4 + 40)).assert_full_then_fine(&[]);
}

#[test]
fn a_disk_that_becomes_full_while_packages_are_configured() {
    let size = or_skip!(debs_size());
    let script = "#!/bin/sh\nset -e\nhead -c 150000000 /dev/zero > /var/lib/filled\n";
    let filler = Deb::new("filler", "1", "all").essential().script("postinst", script).build();
    let builder = or_skip!(tiny_archive()).deb(filler);
    or_skip!(Full::new(&builder, size * 4 + 60)).assert_full_then_fine(&[]);
}

#[test]
fn a_program_inside_that_fills_the_disk_ends_by_itself_and_the_root_stays_usable() {
    let size = or_skip!(debs_size());
    let full = or_skip!(Full::new(&or_skip!(tiny_archive()), size * 4 + 100));
    said(full.command(&["init"])).assert_success();
    let fill = "head -c 2000000000 /dev/zero > /var/tmp/big; echo ended";
    let filled = said(full.command(&["chroot", "--", "sh", "-c", fill]));
    assert_eq!(filled.code, Some(125), "{}", filled.text);
    for words in ["before it filled the disk", "No space left on device", "free some space"] {
        assert!(filled.text.contains(words), "{words} is missing: {}", filled.text);
    }
    assert!(!filled.text.contains("ended\n"), "{}", filled.text);
    // what makes room must be able to work
    said(full.command(&["chroot", "--", "rm", "/var/tmp/big"])).assert_success();
    said(full.command(&["chroot", "--", "sh", "-c", "echo x > /var/tmp/small"])).assert_success();
}

/// A source whose unpacking has no end, for a dpkg-source that only pretends.
#[test]
fn a_source_that_unpacks_to_more_than_the_disk_holds_leaves_the_store_usable() {
    let size = or_skip!(debs_size());
    let script = "#!/bin/sh\nexec head -c 4000000000 /dev/zero > \"$3\"\n";
    let unpacker = Deb::new("unpacker", "1", "all").essential();
    let unpacker = unpacker.file("/usr/bin/dpkg-source", 0o755, script.as_bytes().to_vec());
    let builder = or_skip!(tiny_archive())
        .deb(unpacker.build())
        .deb(Deb::new("fakeroot", "1", "all").build());
    let mut full = or_skip!(Full::new(&builder, size * 4 + 400));
    full.rig.set("[build]\nuser = \"nobody\"\n");
    let folder = full.rig.area.work().join("source");
    std::fs::create_dir(&folder).unwrap();
    let source = Source::new("bomb", "1.0-1", Format::Quilt).build().write(&folder);
    let results = full.rig.area.work().join("results").display().to_string();
    let dsc = source.display().to_string();
    for _ in 0..2 {
        let refused = said(full.command(&["rebuild", "--resultdir", &results, &dsc]));
        refused.assert_refused(ErrorKind::NoSpace, &["No space left on device", "free some space"]);
        full.rig.assert_nothing_lost();
    }
    said(full.command(&["clean"])).assert_success();
    said(full.command(&["chroot", "--", "sh", "-c", "head -c 100000000 /dev/zero > /root/x"]))
        .assert_success();
}
