//! Source packages that are damaged or hostile, as far as it shows before they are unpacked; what
//! they need and is missing; results that have no place. What dpkg-source makes of hostile
//! tarballs inside a root is for `real_bad_source.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use debmock::build::{RebuildOptions, ResultDir, SourceSpec};
use debmock::{Error, ErrorKind};
use debmock_tests::archive::Lie;
use debmock_tests::dsc::{Format, Hostile, Source};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, assert_says, tiny_archive};

fn greeter() -> Source {
    Source::new("greeter", "1.0-1", Format::Quilt)
}

fn rebuild(rig: &Rig, source: SourceSpec, results: &Path) -> Result<(), Error> {
    let options = RebuildOptions::new(source, ResultDir::Exactly(results.to_path_buf()));
    rig.with(|root, scope| root.rebuild(options, scope).map(drop)).result
}

/// Building this `.dsc` is refused; nothing appears as a result but logs.
fn refused(rig: &Rig, source: &Source, words: &[&str]) {
    let folder = rig.area.work().join("source");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let dsc = source.build().write(&folder);
    if source.build().files.len() > 1 && words.contains(&"is missing") {
        fs::remove_file(folder.join(&source.build().files[1].0)).unwrap();
    }
    let results = rig.area.work().join("results");
    let error = rebuild(rig, SourceSpec::Dsc(dsc.display().to_string()), &results).unwrap_err();
    assert_says(&error, ErrorKind::Source, words);
    rig.assert_nothing_lost();
    no_packages(&results);
}

/// A failed build leaves logs and its record, and nothing that looks like a result.
fn no_packages(results: &Path) {
    for entry in fs::read_dir(results).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.ends_with(".log") || name == "result.json", "{name}");
    }
}

#[test]
fn a_dsc_that_names_files_outside_its_folder_is_refused() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let secret = rig.area.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let outside = secret.display().to_string();
    for name in ["../secret", "../../secret", "sub/secret", ".", "..", outside.as_str()] {
        let way = Hostile::NamesFileOutside(name.into(), b"secret".to_vec());
        let words = ["greeter_1.0-1.dsc", "outside its folder", "hostile"];
        refused(&rig, &greeter().hostile(way), &words);
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    rig.assert_works();
}

#[test]
fn a_source_whose_hash_or_size_does_not_match_its_dsc_is_refused() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    refused(&rig, &greeter().hostile(Hostile::WrongHash), &["greeter_1.0", "SHA-256"]);
    refused(&rig, &greeter().hostile(Hostile::WrongSize), &["greeter_1.0", "bytes"]);
    refused(&rig, &greeter().hostile(Hostile::WeakHashesOnly), &["greeter", "Checksums-Sha256"]);
    refused(&rig, &greeter().hostile(Hostile::MissingFile), &["is missing", "beside it"]);
    rig.assert_works();
}

#[test]
fn a_dsc_that_is_none_is_refused() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    refused(&rig, &greeter().hostile(Hostile::DscGarbage), &["greeter_1.0-1.dsc"]);
    let results = rig.area.work().join("results");
    let nowhere = SourceSpec::Dsc("/no/such/file.dsc".into());
    let error = rebuild(&rig, nowhere, &results).unwrap_err();
    assert_says(&error, ErrorKind::Source, &["/no/such/file.dsc", "check the path"]);
    rig.assert_works();
}

#[test]
fn sources_of_an_archive_that_lies_are_refused() {
    for (lie, kind) in [
        (Lie::SourceHash, ErrorKind::Archive),
        (Lie::SourceFilename("../../secret".into()), ErrorKind::Archive),
        (Lie::SourceDirectory("../../../etc".into()), ErrorKind::Archive),
        (Lie::SourceVersion("1:/../../../secret".into()), ErrorKind::Archive),
    ] {
        let sound = or_skip!(tiny_archive()).source(greeter().build());
        let rig = or_skip!(Rig::new(&sound.lie(lie.clone())));
        let results = rig.area.work().join("results");
        let spec = SourceSpec::Package { name: "greeter".into(), version: None };
        let error = rebuild(&rig, spec, &results).unwrap_err();
        assert_says(&error, kind, &["greeter"]);
        rig.assert_nothing_lost();
        no_packages(&results);
        rig.assert_works();
    }
}

#[test]
fn a_source_that_the_archive_has_not_is_named() {
    let sound = or_skip!(tiny_archive()).source(greeter().build());
    let rig = or_skip!(Rig::new(&sound));
    let results = rig.area.work().join("results");
    for (name, version) in [("greter", None), ("greeter", Some("9.9".to_string()))] {
        let spec = SourceSpec::Package { name: name.into(), version };
        let error = rebuild(&rig, spec, &results).unwrap_err();
        assert_says(&error, ErrorKind::Source, &[name]);
    }
    rig.assert_works();
}

#[test]
fn a_missing_build_dependency_is_named() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let source = greeter().field("Build-Depends", "libmissing-dev (>= 2.0), dash");
    let folder = rig.area.work().join("source");
    fs::create_dir(&folder).unwrap();
    let dsc = source.build().write(&folder);
    let results = rig.area.work().join("results");
    let error = rebuild(&rig, SourceSpec::Dsc(dsc.display().to_string()), &results).unwrap_err();
    assert_says(&error, ErrorKind::Dependency, &["libmissing-dev", "root.log"]);
    assert_eq!(error.kind().exit_code(), 32);
    rig.assert_nothing_lost();
    no_packages(&results);
    rig.assert_works();
}

#[test]
fn a_result_directory_that_cannot_be_written_is_refused_before_anything_is_done() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let folder = rig.area.work().join("source");
    fs::create_dir(&folder).unwrap();
    let dsc = greeter().build().write(&folder);
    let file = rig.area.work().join("file");
    fs::write(&file, "mine").unwrap();
    // root may write everywhere but here
    let mut places = vec![file.join("results"), file.clone(), "/proc/results".into()];
    if !debmock_tests::machine::is_root() {
        let locked = rig.area.work().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        places.push(locked.join("results"));
    }
    for place in places {
        let spec = SourceSpec::Dsc(dsc.display().to_string());
        let error = rebuild(&rig, spec, &place).unwrap_err();
        let shown = place.parent().unwrap().display().to_string();
        assert_says(&error, ErrorKind::ResultDir, &[&shown, "--resultdir"]);
        assert_eq!(error.kind().exit_code(), 70);
        assert_eq!(rig.layers(), 0, "it began to work");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    rig.assert_works();
}
