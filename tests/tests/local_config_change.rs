//! Roots whose config asks for something else than when they were made.

use debmock::ErrorKind;
use debmock::buildroot::{Access, Buildroot, ExportOptions, Run};
use debmock::operation::Scope;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};

/// Runs a program in the root, for whatever it leaves there.
fn run(root: &Buildroot, argv: &[&str], scope: &Scope) -> Result<(), debmock::Error> {
    root.session(Access::default(), scope)?.output(&Run::new(argv), 1000, scope).map(|_| ())
}

/// The same archive by another name.
fn move_archive(rig: &mut Rig) {
    let uri = rig.archive.uri();
    rig.at(&uri.replacen("file:", "copy:", 1));
}

#[test]
fn a_root_without_changes_follows_its_config() {
    let builder = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&builder));
    rig.init().result.unwrap();
    move_archive(&mut rig);
    let moved = rig.init();
    moved.result.unwrap();
    assert!(moved.warnings.iter().any(|w| w.contains("made anew")), "{:?}", moved.warnings);
    assert_eq!(rig.init().warnings, Vec::<String>::new());
    rig.assert_works();
}

#[test]
fn a_changed_root_stays_and_says_what_differs() {
    let builder = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&builder));
    rig.with(|root, scope| run(root, &["touch", "/kept"], scope)).result.unwrap();
    // A newer index is no other archive.
    rig.mend(&builder);
    rig.with(|root, scope| run(root, &["true"], scope)).result.unwrap();
    move_archive(&mut rig);
    let words = ["tiny", "archives with file:", "without copy:", "debmock clean", "--uniqueext"];
    rig.assert_refused(ErrorKind::Buildroot, &words);
    for arguments in [&["install", "base-files"][..], &["update"], &["chroot", "true"]] {
        let refused = said(rig.program(arguments));
        assert!(refused.text.contains("not what the config asks for"), "{}", refused.text);
        assert_ne!(refused.code, Some(0));
    }
    // Back to what it was made of, it is as it was.
    let uri = rig.archive.uri();
    rig.at(&uri);
    let kept = rig.with(|root, scope| {
        let session = root.session(Access::default(), scope)?;
        session.output(&Run::new(["stat", "/kept"]), 1000, scope)
    });
    assert!(kept.result.unwrap().0.status == Some(0));
    move_archive(&mut rig);
    rig.with(Buildroot::clean).result.unwrap();
    rig.assert_works();
}

#[test]
fn an_imported_root_does_not_depend_on_the_archives() {
    let builder = or_skip!(tiny_archive());
    let mut rig = or_skip!(Rig::new(&builder));
    let tar = rig.area.work().join("root.tar");
    let done = rig.with(|root, scope| {
        root.export(&tar, &ExportOptions::for_file(&tar)?, scope)?;
        root.import(&tar, scope)?;
        run(root, &["touch", "/kept"], scope)
    });
    done.result.unwrap();
    move_archive(&mut rig);
    rig.assert_works();
    rig.set("architecture = \"newport\"\n");
    let words = ["instead of newport", "debmock import", "debmock scrub chroot"];
    rig.assert_refused(ErrorKind::Buildroot, &words);
}

#[test]
fn a_root_that_lost_its_programs_is_told_from_a_package_that_does_not_install() {
    let builder = or_skip!(tiny_archive());
    let rig = or_skip!(Rig::new(&builder));
    let broken = rig.with(|root, scope| run(root, &["rm", "-rf", "/usr", "/var/lib/dpkg"], scope));
    broken.result.unwrap();
    for arguments in [&["install", "more"][..], &["update"], &["shell"]] {
        let refused = said(rig.program(arguments));
        refused.assert_refused(ErrorKind::Buildroot, &["debmock clean"]);
    }
    rig.with(Buildroot::clean).result.unwrap();
    rig.assert_works();
}
