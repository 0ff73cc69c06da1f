//! Archives of trees, there and back.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tar::EntryType;

use super::{Devices, ExportOptions, ImportOptions, export, import};
use crate::unpack::fixture::{Site, Tar, xz};
use crate::unpack::{Error, Problem};

fn export_bytes(root: &Path) -> Vec<u8> {
    let root = fs::File::open(root).unwrap();
    let options = ExportOptions {
        source_date_epoch: 1_500_000_000,
        devices: Devices::Synthesised,
        exclude: &["skipped"],
        ..ExportOptions::default()
    };
    let mut bytes = Vec::new();
    let written = export(root.as_fd(), &mut bytes, options).unwrap();
    assert_eq!((written.bytes, written.newest), (bytes.len() as u64, 1_500_000_000));
    bytes
}

fn import_into(site: &Site, bytes: &[u8]) -> Result<(), Error> {
    let root = fs::File::open(site.root()).unwrap();
    let result = import(root.as_fd(), bytes, "test.tar", ImportOptions::default());
    site.assert_outside_is_empty();
    result
}

fn fill(root: &Path) {
    let long = "d".repeat(120);
    fs::create_dir_all(root.join("usr").join(&long)).unwrap();
    fs::write(root.join("usr/b"), b"content").unwrap();
    fs::hard_link(root.join("usr/b"), root.join("usr/a")).unwrap();
    fs::write(root.join("usr").join(&long).join("deep"), vec![7; 70_000]).unwrap();
    fs::set_permissions(root.join("usr/b"), fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("/etc/passwd", root.join("usr/link")).unwrap();
    fs::create_dir(root.join("dev")).unwrap();
    fs::write(root.join("dev/leftover"), b"x").unwrap();
    fs::write(root.join("skipped"), b"x").unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let site = Site::new();
    fill(&site.root());
    let bytes = export_bytes(&site.root());
    // Without the nodes of /dev: these belong to root, and the test may be anybody's.
    let own = &bytes[15 * 512..];
    let second = Site::new();
    import_into(&second, own).unwrap();
    let meta = fs::symlink_metadata(second.root().join("usr/b")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.mtime()), (0o4750, 2, 1_500_000_000));
    let target = fs::read_link(second.root().join("usr/link")).unwrap();
    assert_eq!(target.to_str(), Some("/etc/passwd"));
    assert!(!second.root().join("skipped").exists());
    assert!(!second.root().join("dev/leftover").exists());
    assert_eq!(export_bytes(&second.root()), bytes, "the same tree gives the same bytes");
    // Compressed in any way it is the same archive.
    for packed in [xz(own), zstd::encode_all(own, 1).unwrap()] {
        let third = Site::new();
        import_into(&third, &packed).unwrap();
        assert_eq!(export_bytes(&third.root()), bytes);
    }
}

#[test]
fn archives_are_sorted_and_whole_records() {
    let site = Site::new();
    fill(&site.root());
    let bytes = export_bytes(&site.root());
    assert_eq!((bytes.len() - 15 * 512) % 10_240, 0);
    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(&names[15..18], ["./", "./usr/", "./usr/a"]);
    assert!(names[15..].is_sorted());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let site = Site::new();
    let tar = Tar::new()
        .file("etc/a", b"1")
        .symlink("etc/b", "/etc/passwd")
        .dir("etc/c/")
        .file("./etc/a", b"2")
        .file("etc/b", b"3")
        .file("etc/c", b"4");
    import_into(&site, &tar.done()).unwrap();
    for (name, content) in [("a", b"2"), ("b", b"3"), ("c", b"4")] {
        let path = site.root().join("etc").join(name);
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read(path).unwrap(), content);
    }
}

#[test]
fn a_leading_slash_is_dropped_as_by_tar() {
    let site = Site::new();
    import_into(&site, &Tar::new().file("/etc/a", b"1").done()).unwrap();
    assert!(site.root().join("etc/a").exists());
}

#[test]
fn nothing_is_imported_outside_the_root() {
    let site = Site::new();
    let outside = site.outside();
    let outside = outside.to_str().unwrap();
    for tar in [
        Tar::new().file("../outside/x", b"1"),
        Tar::new().link(EntryType::Link, "x", "../outside/x"),
        Tar::new().file("a/../../outside/x", b"1"),
    ] {
        let error = import_into(&site, &tar.done()).unwrap_err();
        assert!(matches!(error.problem(), Problem::Escape(_)), "{error}");
    }
    for tar in [
        Tar::new().symlink("evil", outside).file("evil/x", b"1"),
        Tar::new().symlink("evil", "../../outside").dir("evil/").file("evil/x", b"1"),
        Tar::new().symlink("evil", outside).link(EntryType::Link, "y", "evil").file("y/x", b"1"),
    ] {
        let _ = import_into(&Site::new(), &tar.done());
        site.assert_outside_is_empty();
    }
}

#[test]
fn devices_are_left_out() {
    let site = Site::new();
    let tar = Tar::new().dir("dev/").node(EntryType::Char, "dev/null").node(EntryType::Block, "x");
    import_into(&site, &tar.done()).unwrap();
    assert!(!site.root().join("x").exists());
}

#[test]
fn an_empty_or_damaged_archive_is_refused() {
    for bytes in [Tar::new().done(), b"not a tar".to_vec(), Vec::new(), vec![0x1f, 0x8b, 0, 0]] {
        assert!(import_into(&Site::new(), &bytes).is_err());
    }
    let mut whole = Tar::new().file("a", &[1; 5000]).done();
    whole.truncate(3000);
    let error = import_into(&Site::new(), &whole).unwrap_err();
    assert!(matches!(error.problem(), Problem::Truncated(_)), "{error}");
}

#[test]
fn only_the_archive_of_a_root_leaves_out_dev() {
    let site = Site::new();
    fill(&site.root());
    let root = fs::File::open(site.root()).unwrap();
    let options = ExportOptions { source_date_epoch: 0, ..ExportOptions::default() };
    let mut bytes = Vec::new();
    export(root.as_fd(), &mut bytes, options).unwrap();
    let second = Site::new();
    import_into(&second, &bytes).unwrap();
    assert_eq!(fs::read(second.root().join("dev/leftover")).unwrap(), b"x");
}
