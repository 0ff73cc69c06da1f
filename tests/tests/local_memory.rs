//! Builds whose root is changed in memory: what fails there stays to be looked at, and what does
//! not fit goes to the disk.

use debmock::ErrorKind;
use debmock_tests::deb::Deb;
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::Skip;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};

/// A rig whose builds write as many megabytes and then fail; so do those of a source that was
/// unpacked, for a `dpkg-source` that only pretends.
fn rig(megabytes: u64, memory: &str) -> Result<Rig, Skip> {
    let script = format!(
        "#!/bin/sh\nset -e\necho kept > /tmp/kept\nrm -r /opt/folder\nmkdir /opt/folder\n\
         head -c {megabytes}000000 /dev/zero > \"$3\"\necho whole > /tmp/whole\nexit 1\n"
    );
    let source = Deb::new("unpacker", "1", "all")
        .essential()
        .file("/opt/folder/below", 0o644, "of the package")
        .script("postinst", "#!/bin/sh\nchmod 777 /opt /opt/folder\n")
        .file("/usr/bin/dpkg-source", 0o755, script.into_bytes());
    let archive = tiny_archive()?.deb(source.build()).deb(Deb::new("fakeroot", "1", "all").build());
    let mut rig = Rig::new(&archive)?;
    rig.set(&format!("[build]\nuser = \"nobody\"\nin_memory = \"{memory}\"\n"));
    Ok(rig)
}

fn rebuild(rig: &Rig, more: &[&str]) -> Said {
    let folder = rig.area.work().join("source");
    let _ = std::fs::create_dir(&folder);
    let source = Source::new("failing", "1.0-1", Format::Quilt).build().write(&folder);
    let results = rig.area.work().join("results").display().to_string();
    let source = source.display().to_string();
    said(rig.program(&[&["rebuild", "--resultdir", &results, &source], more].concat()))
}

fn inside(rig: &Rig, script: &str) -> String {
    said(rig.program(&["-q", "chroot", "--", "sh", "-c", script])).text
}

#[test]
fn the_root_of_a_build_that_failed_in_memory_can_be_entered() {
    let rig = or_skip!(rig(10, "300M"));
    let failed = rebuild(&rig, &[]);
    assert_eq!(failed.code, Some(ErrorKind::Source.exit_code().into()), "{}", failed.text);
    assert!(!failed.text.contains("on the disk"), "{}", failed.text);
    // Deleted directories stay deleted.
    assert_eq!(inside(&rig, "cat /tmp/kept /tmp/whole; ls -A /opt/folder"), "kept\nwhole\n");
    rig.assert_nothing_lost();
    // The next one begins anew, and nothing of a root that is cleaned is kept.
    let failed = rebuild(&rig, &["--cleanup-after=always"]);
    assert_eq!(failed.code, Some(ErrorKind::Source.exit_code().into()), "{}", failed.text);
    assert_eq!(inside(&rig, "cat /opt/folder/below; ls /tmp"), "of the package");
    rig.assert_nothing_lost();
}

#[test]
fn a_build_that_needs_more_memory_is_repeated_on_the_disk() {
    let rig = or_skip!(rig(90, "64M"));
    let failed = rebuild(&rig, &[]);
    assert_eq!(failed.code, Some(ErrorKind::Source.exit_code().into()), "{}", failed.text);
    for words in ["more than the 64 MB of memory", "repeated on the disk", "`build.in_memory`"] {
        assert!(failed.text.contains(words), "{words} is missing: {}", failed.text);
    }
    assert_eq!(inside(&rig, "cat /tmp/kept /tmp/whole; ls -A /opt/folder"), "kept\nwhole\n");
    rig.assert_nothing_lost();
}
