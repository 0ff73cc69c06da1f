//! Packages that try to leave the root, to fill the disk, or to confuse the reader.

use std::os::fd::AsFd;

use tar::EntryType;

use super::ar::tests::archive;
use super::fixture::{NEVER, Site, Tar, control, deb, identity, package, xz};
use super::{Arrival, Error, Limits, Problem, Unpacker, unpack_all};

fn refused(content: Tar) -> Error {
    let site = Site::new();
    site.unpack(&[("evil", package("evil", content))]).unwrap_err()
}

#[test]
fn a_good_package_arrives_whole() {
    let site = Site::new();
    let content = Tar::new()
        .dir("./")
        .dir("./usr/")
        .file("./usr/a", b"content")
        .symlink("./usr/b", "a")
        .link(EntryType::Link, "./usr/c", "./usr/a")
        .node(EntryType::Fifo, "./usr/pipe");
    let unpacked = site.unpack(&[("good", package("good", content))]).unwrap();
    let listed: Vec<_> = unpacked[0].files.iter().map(|f| String::from_utf8_lossy(f)).collect();
    assert_eq!(listed, ["/.", "/usr", "/usr/a", "/usr/b", "/usr/c", "/usr/pipe"]);
    assert_eq!(std::fs::read(site.root().join("usr/c")).unwrap(), b"content");
    assert_eq!(std::fs::read_link(site.root().join("usr/b")).unwrap().to_str(), Some("a"));
    let sums = String::from_utf8(unpacked[0].generated_md5sums.clone().unwrap()).unwrap();
    let sum = "9a0364b9e99bb480dd25e1f0284c8555";
    assert_eq!(sums, format!("{sum}  usr/a\n{sum}  usr/c\n"));
    let modified = std::fs::metadata(site.root().join("usr/a")).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_secs(), 1_600_000_000);
}

#[test]
fn every_compression_is_read() {
    let data = Tar::new().file("./a", b"x").done();
    let control = control("good", "", &[]);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let gz = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    for (suffix, control, data) in [
        (".xz", xz(&control), xz(&data)),
        (".zst", zstd(&control), zstd(&data)),
        (".gz", gz(&control), gz(&data)),
    ] {
        let site = Site::new();
        let deb = archive(&[
            ("debian-binary", b"2.0\n"),
            (&format!("control.tar{suffix}"), &control),
            (&format!("data.tar{suffix}"), &data),
        ]);
        site.unpack(&[("good", deb)]).unwrap();
        assert!(site.root().join("a").exists(), "{suffix}");
    }
}

#[test]
fn an_absolute_path_is_refused() {
    let error = refused(Tar::new().file("/etc/passwd", b"x"));
    assert!(matches!(error.problem(), Problem::Escape(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "package evil, data.tar, /etc/passwd: would leave the root: the name is absolute"
    );
}

#[test]
fn dot_dot_is_refused() {
    for name in ["../outside/x", "./usr/../../outside/x", ".."] {
        let error = refused(Tar::new().dir("./usr/").file(name, b"x"));
        assert!(matches!(error.problem(), Problem::Escape(_)), "{error}");
    }
}

#[test]
fn a_symlink_never_leads_a_write_outside() {
    let site = Site::new();
    let outside = site.outside();
    let outside = outside.to_str().unwrap();
    // Absolute: resolved with the root as /, where the path does not exist or is made inside.
    let absolute = Tar::new().symlink("./evil", outside).file("./evil/x", b"x");
    let _ = site.unpack(&[("evil", package("evil", absolute))]);
    // Relative: `..` stops at the root.
    let relative = Tar::new().symlink("./evil", "../../../../outside").file("./evil/x", b"x");
    let _ = Site::new().unpack(&[("evil", package("evil", relative))]);
    // Through a link that was made by another package.
    let first = package("first", Tar::new().symlink("./evil", outside));
    let second = package("second", Tar::new().file("./evil/x", b"x"));
    let _ = Site::new().unpack(&[("first", first), ("second", second)]);
    // Over a link: the link itself is not followed.
    let over = Tar::new().symlink("./evil", &format!("{outside}/x")).file("./evil", b"x");
    let error = refused(over);
    assert!(matches!(error.problem(), Problem::Conflict { .. }), "{error}");
    // A conffile's name with the suffix cannot be a link either.
    let data = Tar::new().symlink("./evil.dpkg-new", &format!("{outside}/x")).file("./evil", b"x");
    let control = control("evil", "", &[("conffiles", "/evil\n")]);
    let error = Site::new().unpack(&[("evil", deb(&control, &data.done()))]).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
}

#[test]
fn a_symlink_into_the_root_is_followed_for_directories() {
    let site = Site::new();
    let first =
        package("first", Tar::new().dir("./usr/").dir("./usr/bin/").symlink("./bin", "usr/bin"));
    let second = package("second", Tar::new().dir("./bin/").file("./bin/tool", b"x"));
    site.unpack(&[("first", first), ("second", second)]).unwrap();
    assert!(site.root().join("usr/bin/tool").exists());
}

#[test]
fn a_hard_link_to_something_else_is_refused() {
    for target in ["../outside/x", "/etc/passwd"] {
        let error = refused(Tar::new().link(EntryType::Link, "./x", target));
        assert!(matches!(error.problem(), Problem::Escape(_)), "{error}");
    }
    // Also to a file of the root that the package did not bring, and to a link.
    let error = refused(Tar::new().link(EntryType::Link, "./x", "./etc/shadow"));
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
    let error =
        refused(Tar::new().symlink("./a", "/etc/passwd").link(EntryType::Link, "./x", "./a"));
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
}

#[test]
fn device_nodes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block] {
        let error = refused(Tar::new().node(kind, "./dev/sda"));
        assert!(error.to_string().contains("device node"), "{error}");
    }
}

#[test]
fn unknown_entries_are_refused() {
    let error = refused(Tar::new().node(EntryType::new(b'V'), "./label"));
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
}

#[test]
fn every_truncation_is_noticed() {
    let whole = package("evil", Tar::new().dir("./").file("./a", &[7; 3000]));
    for cut in (0..whole.len() - 1).step_by(97) {
        let site = Site::new();
        let result = site.unpack(&[("evil", whole[..cut].to_vec())]);
        assert!(result.is_err(), "cut at {cut} of {}", whole.len());
    }
    let control = control("evil", "", &[]);
    let data = xz(&Tar::new().file("./a", &[7; 3000]).done());
    for cut in [1, 20, data.len() / 2, data.len() - 1] {
        let deb = archive(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            ("data.tar.xz", &data[..cut]),
        ]);
        assert!(Site::new().unpack(&[("evil", deb)]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_stream_without_an_end_mark_is_truncated() {
    let control = control("evil", "", &[]);
    let data = Tar::new().file("./a", b"x").without_end();
    let error = Site::new().unpack(&[("evil", deb(&control, &data))]).unwrap_err();
    assert!(matches!(error.problem(), Problem::Truncated(_)), "{error}");
}

#[test]
fn garbage_after_the_end_is_refused() {
    let control = control("evil", "", &[]);
    let mut data = Tar::new().file("./a", b"x").done();
    data.extend_from_slice(b"garbage");
    let error = Site::new().unpack(&[("evil", deb(&control, &data))]).unwrap_err();
    assert!(matches!(error.problem(), Problem::Malformed(_)), "{error}");
    let mut whole = package("evil", Tar::new().file("./a", b"x"));
    whole.extend_from_slice(b"garbage");
    assert!(Site::new().unpack(&[("evil", whole)]).is_err());
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_written() {
    let header = Tar::header(EntryType::Regular, "./a", 8 << 30);
    let error = refused(Tar::new().entry(header, b""));
    assert!(matches!(error.problem(), Problem::TooLarge(_)), "{error}");
}

#[test]
fn a_bomb_is_stopped_by_the_limits() {
    let zeros = vec![0; 1 << 20];
    let mut tar = Tar::new();
    for number in 0..80 {
        tar = tar.file(&format!("./{number}"), &zeros);
    }
    let data = tar.done();
    let control = control("evil", "", &[]);
    let small = zstd::encode_all(&data[..], 1).unwrap();
    assert!(small.len() < 50_000);
    for (member, data) in [("data.tar.zst", small), ("data.tar.xz", xz(&data))] {
        let deb =
            archive(&[("debian-binary", b"2.0\n"), ("control.tar", &control), (member, &data)]);
        let error = Site::new().unpack(&[("evil", deb)]).unwrap_err();
        assert!(matches!(error.problem(), Problem::TooLarge(_)), "{error}");
    }
}

#[test]
fn too_many_entries_are_refused() {
    let site = Site::new();
    let root = std::fs::File::open(site.root()).unwrap();
    let unpacker = Unpacker::new(std::os::fd::AsFd::as_fd(&root), &NEVER);
    let mut tar = Tar::new();
    for number in 0..20 {
        tar = tar.dir(&format!("./{number}"));
    }
    let limits = Limits { entries: 10, ..Limits::for_package(1) };
    let deb = package("evil", tar);
    let error = unpacker.unpack_deb(&deb[..], &identity("evil"), Some(limits)).unwrap_err();
    assert!(matches!(error.problem(), Problem::TooLarge(_)), "{error}");
}

#[test]
fn the_same_path_twice_is_refused() {
    let error = refused(Tar::new().file("./a", b"1").file("./a", b"2"));
    assert!(matches!(error.problem(), Problem::Conflict { .. }), "{error}");
}

#[test]
fn two_packages_with_one_path_conflict_unless_one_replaces_the_other() {
    let one = package("one", Tar::new().file("./a", b"one"));
    let two = package("two", Tar::new().file("./a", b"two"));
    let error = Site::new().unpack(&[("one", one.clone()), ("two", two)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "package two, data.tar, ./a: is also in package one, and neither package declares \
         Replaces for the other"
    );
    let content = Tar::new().file("./a", b"two").done();
    let two = deb(&control("two", "Replaces: one (<< 2)\n", &[]), &content);
    for order in [[("one", &one), ("two", &two)], [("two", &two), ("one", &one)]] {
        let site = Site::new();
        site.unpack(&order.map(|(name, deb)| (name, deb.clone()))).unwrap();
        assert_eq!(std::fs::read(site.root().join("a")).unwrap(), b"two");
    }
}

#[test]
fn packages_that_replace_each_others_files_are_unpacked_together() {
    const PATHS: usize = 300;
    let tar = |content: &str| {
        (0..PATHS).fold(Tar::new(), |tar, number| {
            let (file, link) = (format!("./f{number}"), format!("./l{number}"));
            tar.file(&file, content.as_bytes()).symlink(&link, content)
        })
    };
    let one = deb(&control("one", "", &[]), &tar("one").done());
    let two = deb(&control("two", "Replaces: one\n", &[]), &tar("two").done());
    for _ in 0..20 {
        let site = Site::new();
        let root = std::fs::File::open(site.root()).unwrap();
        let unpacker = Unpacker::new(root.as_fd(), &NEVER);
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|threads| {
            for (name, deb) in [("one", &one), ("two", &two)] {
                let (unpacker, start) = (&unpacker, &start);
                threads.spawn(move || {
                    start.wait();
                    unpacker.unpack_deb(&deb[..], &identity(name), None).unwrap();
                });
            }
        });
        for number in 0..PATHS {
            let file = std::fs::read(site.root().join(format!("f{number}"))).unwrap();
            let link = std::fs::read_link(site.root().join(format!("l{number}"))).unwrap();
            assert_eq!((&file[..], link.to_str()), (&b"two"[..], Some("two")), "{number}");
        }
        assert_eq!(unpacker.lost_paths().len(), 2 * PATHS);
    }
}

#[test]
fn a_link_to_a_file_that_another_package_replaces_leads_to_that_ones() {
    let content = Tar::new().file("./a", b"one").link(EntryType::Link, "./b", "./a");
    let one = package("one", content);
    let content = Tar::new().file("./a", b"two").done();
    let two = deb(&control("two", "Replaces: one\n", &[]), &content);
    let site = Site::new();
    site.unpack(&[("two", two), ("one", one.clone())]).unwrap();
    assert_eq!(std::fs::read(site.root().join("b")).unwrap(), b"two");
    // But never to what is no file.
    let content = Tar::new().symlink("./a", "/etc/passwd").done();
    let two = deb(&control("two", "Replaces: one\n", &[]), &content);
    let error = Site::new().unpack(&[("two", two), ("one", one)]).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
}

#[test]
fn a_file_where_a_directory_is_needed_is_refused() {
    let one = package("one", Tar::new().file("./a", b"one"));
    let two = package("two", Tar::new().dir("./a/").file("./a/b", b"two"));
    let error = Site::new().unpack(&[("one", one), ("two", two)]).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
}

#[test]
fn garbage_is_no_package() {
    for bytes in [&b""[..], b"<html>404</html>", b"!<arch>\ngarbage", b"!<arch>\n"] {
        let error = Site::new().unpack(&[("evil", bytes.to_vec())]).unwrap_err();
        assert!(error.to_string().starts_with("package evil: "), "{error}");
    }
}

#[test]
fn another_package_than_expected_is_refused() {
    let other = package("other", Tar::new().file("./a", b"x"));
    let site = Site::new();
    let error = site.unpack(&[("evil", other)]).unwrap_err();
    assert!(matches!(error.problem(), Problem::WrongIdentity { .. }), "{error}");
    assert!(!site.root().join("a").exists(), "nothing of it was unpacked");
}

#[test]
fn control_members_with_paths_are_refused() {
    for name in ["./sub/control", "../../etc/x", "./a b"] {
        let control = Tar::new().file(name, b"x").done();
        let deb = deb(&control, &Tar::new().done());
        assert!(Site::new().unpack(&[("evil", deb)]).is_err(), "{name}");
    }
}

#[test]
fn attributes_of_overlays_are_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("SCHILY.xattr.user.overlay.opaque", &b"y"[..])]).unwrap();
    let header = Tar::header(EntryType::Regular, "./a", 0);
    builder.append(&header, &b""[..]).unwrap();
    let data = builder.into_inner().unwrap();
    let deb = deb(&control("evil", "", &[]), &data);
    let error = Site::new().unpack(&[("evil", deb)]).unwrap_err();
    assert!(error.to_string().contains("overlay"), "{error}");
}

#[test]
fn the_first_failure_ends_the_whole_set() {
    let site = Site::new();
    let root = std::fs::File::open(site.root()).unwrap();
    let unpacker = Unpacker::new(std::os::fd::AsFd::as_fd(&root), &NEVER);
    let (sender, receiver) = std::sync::mpsc::channel();
    let good = package("good", Tar::new().file("./good", b"x"));
    let evil = package("evil", Tar::new().file("../evil", b"x"));
    for (name, deb) in [("good", good), ("evil", evil)] {
        let path = site.outside().join(name);
        std::fs::write(&path, deb).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        sender.send(Arrival { file, identity: identity(name) }).unwrap();
    }
    // The sender stays alive: the failure must not wait for more packages.
    let each = |_, _| Ok(());
    let mut progress = |_| {};
    let error =
        unpack_all(&unpacker, &receiver, 2, None, &NEVER, &each, &mut progress).unwrap_err();
    assert_eq!(error.archive(), "package evil");
    site.assert_outside_is_empty();
}
