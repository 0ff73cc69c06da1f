//! Packages that were unpacked once are taken from the layers that have them, on the tiny
//! distribution.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use debmock::buildroot::{
    Access, Buildroot, Compression, ExportOptions, Form, Run, Scrub, Storage,
};
use debmock::operation::Scope;
use debmock_tests::archive::ArchiveBuilder;
use debmock_tests::deb::{BuiltDeb, Deb};
use debmock_tests::machine::{self, Skip};
use debmock_tests::manifest::Manifest;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, tiny_archive};
use debmock_tests::tarball::{Entry, MTIME};

/// Everything about files that is not plain.
fn odd() -> BuiltDeb {
    let script = "#!/bin/sh\nset -e\necho changed in place >> /usr/share/odd/plain\n\
                  rm /usr/share/odd/removed\nchmod 600 /usr/share/odd/closed\n\
                  echo new > /usr/share/odd/made\n";
    Deb::new("odd", "1", "all")
        .field("Depends", "old")
        .script("preinst", "#!/bin/sh\nmkdir -p /var/lib/odd; echo \"$1\" > /var/lib/odd/preinst\n")
        .script("postinst", script)
        // the disk has no such time
        .entry(Entry::file("./usr/share/odd/far", "far\n").mtime(1 << 35))
        .file("/usr/share/odd/plain", 0o644, "plain\n")
        .file("/usr/share/odd/removed", 0o644, "removed\n")
        .file("/usr/share/odd/closed", 0o644, "closed\n")
        .file("/usr/share/odd/empty", 0o644, "")
        .file("/usr/share/odd/setuid", 0o4755, "#!/bin/sh\n")
        .file("/usr/share/odd/first", 0o644, "two names\n")
        .hardlink("/usr/share/odd/second", "/usr/share/odd/first")
        .symlink("/usr/share/odd/link", "first")
        .symlink("/usr/share/odd/dangling", "../nowhere")
        .file("/usr/share/odd/ünïcode \u{1f600}", 0o640, "foreign\n")
        .dir("/usr/share/odd/sticky", 0o1777)
        .conffile("/etc/odd/odd.conf", "asked = yes\n")
        .conffile("/etc/odd/other.conf", "")
        .build()
}

fn archive() -> Result<ArchiveBuilder, Skip> {
    let old = Deb::new("old", "1", "all").file("/usr/share/shared", 0o644, "of old\n").file(
        "/usr/share/old",
        0o644,
        "old\n",
    );
    // takes a path over, and moves another one away
    let new = Deb::new("new", "1", "all")
        .field("Replaces", "old")
        .field("Depends", "old")
        .script("preinst", "#!/bin/sh\ndpkg-divert --package new --add --rename --divert /usr/share/old.diverted /usr/share/old\n")
        .file("/usr/share/shared", 0o644, "of new\n")
        .file("/usr/share/new", 0o644, "new\n");
    let extra = Deb::new("extra", "1", "all").file("/opt/extra", 0o644, "extra\n");
    Ok([old.build(), new.build(), odd(), extra.build()]
        .into_iter()
        .fold(tiny_archive()?, ArchiveBuilder::deb))
}

/// A rig whose root has these packages as well.
fn rig(packages: &[&str]) -> Result<Rig, Skip> {
    let mut rig = Rig::new(&archive()?)?;
    include(&mut rig, packages);
    Ok(rig)
}

fn include(rig: &mut Rig, packages: &[&str]) {
    rig.set(&format!("[packages]\ninclude = {packages:?}\n"));
}

/// The same store, other packages.
fn with_packages(rig: Rig, packages: &[&str]) -> Rig {
    let builder = archive().unwrap_or_else(|_| panic!("it was made before"));
    let mut next = Rig::of(rig.area, &builder);
    include(&mut next, packages);
    next
}

/// Makes the root anew and tells its warnings.
fn made(rig: &Rig) -> Vec<String> {
    let outcome = rig.with(|root, scope| {
        root.clean(scope)?;
        root.init(scope)
    });
    outcome.result.unwrap_or_else(|error| panic!("{error:?}"));
    outcome.warnings
}

fn manifest(rig: &Rig) -> Manifest {
    let file = rig.area.work().join("root.tar");
    let _ = fs::remove_file(&file);
    let options = ExportOptions {
        source_date_epoch: Some(MTIME),
        compression: Compression::None,
        ..ExportOptions::of_form(Form::Tar).unwrap()
    };
    let exported = rig.with(|root, scope| root.export(&file, &options, scope));
    exported.result.unwrap_or_else(|error| panic!("{error:?}"));
    Manifest::of_tar(fs::File::open(&file).unwrap()).unwrap()
}

/// The directories of base layers.
fn bases(rig: &Rig) -> Vec<PathBuf> {
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    let all = zones.flat_map(|zone| fs::read_dir(zone.path()).unwrap().flatten());
    all.map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("base-"))
        .collect()
}

/// Whoever cannot mount overlays has nothing to share.
fn shares(rig: &Rig) -> Result<(), Skip> {
    let base = rig.with(|root: &Buildroot, _: &Scope| root.base()).result.unwrap();
    match base.unwrap().storage {
        Storage::Overlay => Ok(()),
        _ => Err(Skip("overlays cannot be mounted here".into())),
    }
}

fn content(rig: &Rig, path: &str) -> String {
    let read = rig.with(|root, scope| {
        let session = root.session(Access::default(), scope)?;
        session.output(&Run::new(["cat", path]), 1000, scope)
    });
    String::from_utf8_lossy(&read.result.unwrap().1).into_owned()
}

/// Packages are nowhere any more, but for these in the archive and what layers have of them.
fn lose_packages(rig: &Rig, kept: &[&str]) {
    remove_all_but(&rig.archive.root.join("pool"), kept);
    fs::remove_dir_all(rig.area.cache().join("debs/v1")).unwrap();
}

#[test]
fn a_base_of_known_packages_is_the_same_tree_and_leaves_the_others_alone() {
    let rig = or_skip!(rig(&["odd"]));
    made(&rig);
    or_skip!(shares(&rig));
    let before = manifest(&rig);
    // one package more; the others are nowhere but in the layer
    let rig = with_packages(rig, &["odd", "new", "extra"]);
    lose_packages(&rig, &["new_1", "extra_1"]);
    assert!(made(&rig).is_empty());
    let warm = manifest(&rig);
    assert_eq!(content(&rig, "/usr/share/shared"), "of new\n");

    let apart = or_skip!(self::rig(&["odd", "new", "extra"]));
    made(&apart);
    let cold = manifest(&apart);
    assert!(cold.get("usr/share/odd/made").is_some() && cold.get("opt/extra").is_some());
    let differences: Vec<String> = cold
        .differences(&warm)
        .into_iter()
        // it says where this archive lies
        .filter(|one| one.path != "etc/apt/sources.list")
        .map(|one| one.to_string())
        .collect();
    assert_eq!(differences, Vec::<String>::new());

    // the first base is what it was, and lives without the second, and the other way round
    let rig = with_packages(rig, &["odd"]);
    made(&rig);
    assert_eq!(bases(&rig).len(), 2);
    assert_eq!(before.differences(&manifest(&rig)), []);
    rig.assert_nothing_lost();
}

fn remove_all_but(folder: &Path, kept: &[&str]) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_all_but(&path, kept);
        } else if !kept.iter().any(|name| path.to_string_lossy().contains(name)) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_others_have_taken_outlives_the_layer_that_it_came_from() {
    let rig = or_skip!(rig(&["odd"]));
    made(&rig);
    or_skip!(shares(&rig));
    let rig = with_packages(rig, &["odd", "extra"]);
    made(&rig);
    assert_eq!(bases(&rig).len(), 2);
    rig.with(|root, scope| root.scrub(&[Scrub::Layers], scope)).result.unwrap();
    assert_eq!(bases(&rig).len(), 1);
    // and what was taken can be taken again
    let rig = with_packages(rig, &["odd"]);
    lose_packages(&rig, &[]);
    assert!(made(&rig).is_empty());
    assert_eq!(content(&rig, "/usr/share/odd/plain"), "plain\nchanged in place\n");
    rig.assert_nothing_lost();
}

#[test]
fn what_is_not_as_it_was_unpacked_is_unpacked_anew_with_a_warning() {
    let rig = or_skip!(rig(&["odd"]));
    made(&rig);
    or_skip!(shares(&rig).and_then(|()| machine::need_root()));
    let base = bases(&rig).remove(0);
    let file = base.join("below/usr/share/odd/closed");
    let inode = fs::metadata(&file).unwrap().ino();
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"damage").unwrap();
    fs::remove_file(base.join("below/usr/share/old")).unwrap();
    let rig = with_packages(rig, &["odd", "extra"]);
    let warnings = made(&rig);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("odd") && warnings[0].contains("old"), "{warnings:?}");
    assert_eq!(content(&rig, "/usr/share/odd/closed"), "closed\n");
    let other = bases(&rig).into_iter().find(|path| *path != base).unwrap();
    assert_ne!(fs::metadata(other.join("below/usr/share/odd/closed")).unwrap().ino(), inode);
    // the rest was taken all the same
    let shared = "below/usr/bin/dpkg";
    let inode = |base: &Path| fs::metadata(base.join(shared)).map(|data| data.ino()).ok();
    assert_eq!(inode(&base), inode(&other));
    // nobody takes anything from the damaged one any more
    assert!(!base.join("records").exists() && other.join("records").exists());
    rig.assert_nothing_lost();
}

#[test]
fn records_that_are_damaged_are_as_good_as_none() {
    let mut rig = or_skip!(rig(&["odd"]));
    made(&rig);
    or_skip!(shares(&rig).and_then(|()| machine::need_root()));
    // the end of the last record, all of them, everything
    for (length, packages) in
        [(-100, &["odd", "extra"][..]), (40, &["odd", "new"]), (0, &["odd", "new", "extra"])]
    {
        // those of a base that was found damaged are gone
        let records = bases(&rig).into_iter().map(|base| base.join("records"));
        let records: Vec<PathBuf> = records.filter(|records| records.exists()).collect();
        assert!(!records.is_empty());
        for records in records {
            let records = fs::OpenOptions::new().write(true).open(records).unwrap();
            let whole = records.metadata().unwrap().len();
            let kept = if length < 0 { whole.saturating_add_signed(length) } else { length as u64 };
            records.set_len(kept).unwrap();
        }
        rig = with_packages(rig, packages);
        made(&rig);
        assert_eq!(content(&rig, "/usr/share/odd/plain"), "plain\nchanged in place\n");
    }
    rig.assert_nothing_lost();
}
