//! The kit's own packages, sources and archives, as dpkg, gpgv and apt judge them. A kit that
//! makes what no Debian tool accepts would prove nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use debmock_tests::archive::{Archive, ArchiveBuilder, Files, Lie, Signing};
use debmock_tests::area::Area;
use debmock_tests::compression::Compression;
use debmock_tests::deb::{Deb, Hostile};
use debmock_tests::dsc::{self, Format, Source};
use debmock_tests::key::{Flavour, TestKey};
use debmock_tests::machine::run;
use debmock_tests::tarball::{Entry, Kind};
use debmock_tests::{archive, or_skip, oracle};

fn hello() -> Deb {
    Deb::new("hello", "1.0-1", "amd64")
        .field("Depends", "libc6")
        .script("postinst", "#!/bin/sh\nset -e\n")
        .file("/usr/bin/hello", 0o4755, "#!/bin/sh\necho hello\n")
        .owner(0, 42)
        .hardlink("/usr/bin/hi", "/usr/bin/hello")
        .symlink("/usr/bin/hey", "hello")
        .dir("/var/lib/hello", 0o2775)
        .conffile("/etc/hello.conf", "greeting = hello\n")
}

#[test]
fn dpkg_reads_packages_of_every_compression() {
    or_skip!(oracle::need_from("dpkg-deb", "dpkg"));
    let area = Area::new();
    // Debian's own dpkg reads zstd since 1.21.18
    for compression in Compression::ALL {
        let deb = hello().compression(compression).control_compression(compression).build();
        let path = area.work().join(&deb.file_name);
        fs::write(&path, &deb.bytes).unwrap();
        let fields = run(Command::new("dpkg-deb").arg("--field").arg(&path));
        assert!(fields.contains("Package: hello\nVersion: 1.0-1\nArchitecture: amd64\n"));
        let list = run(Command::new("dpkg-deb").arg("--contents").arg(&path));
        assert!(list.contains("-rwsr-xr-x root/42"), "{list}");
        assert!(list.contains("./usr/bin/hi link to ./usr/bin/hello"), "{list}");
        assert!(list.contains("drwxrwsr-x root/root"), "{list}");
        let conffiles = run(Command::new("dpkg-deb").arg("--info").arg(&path).arg("conffiles"));
        assert_eq!(conffiles, "/etc/hello.conf\n");
        let out = area.work().join(format!("{compression:?}"));
        run(Command::new("dpkg-deb").arg("--raw-extract").args([&path, &out]));
        assert_eq!(fs::read_to_string(out.join("etc/hello.conf")).unwrap(), "greeting = hello\n");
    }
}

#[test]
fn dpkg_refuses_broken_packages() {
    or_skip!(oracle::need_from("dpkg-deb", "dpkg"));
    let area = Area::new();
    for way in [
        Hostile::TruncatedAt(300),
        Hostile::AbsurdTarSize(1 << 40),
        Hostile::AbsurdArSize(9_999_999_999),
        Hostile::BadTarChecksum,
        Hostile::ArGarbage,
        Hostile::FormatVersion,
        Hostile::NoData,
        Hostile::DataGarbage,
        Hostile::ControlGarbage,
    ] {
        let deb = hello().hostile(way.clone()).build();
        let path = area.work().join("bad.deb");
        fs::write(&path, &deb.bytes).unwrap();
        let out = area.work().join("out");
        let raw = Command::new("dpkg-deb").arg("--raw-extract").args([&path, &out]).output();
        let field = Command::new("dpkg-deb").arg("--field").arg(&path).arg("Package").output();
        let accepted = raw.unwrap().status.success() && field.unwrap().status.success();
        assert!(!accepted, "dpkg-deb accepts {way:?}");
        let _ = fs::remove_dir_all(&out);
    }
}

#[test]
fn escapes_are_in_the_bytes() {
    let deb = hello()
        .compression(Compression::Plain)
        .hostile(Hostile::AbsolutePath("/tmp/pwned".into()))
        .hostile(Hostile::DotDot("./../../tmp/pwned".into()))
        .hostile(Hostile::SymlinkThenWrite("/tmp".into()))
        .hostile(Hostile::HardlinkOutside("../../etc/shadow".into()))
        .hostile(Hostile::Device { block: true, major: 8, minor: 0 })
        .build();
    let at = deb.bytes.windows(11).position(|w| w == b"data.tar   ").unwrap() + 60;
    let mut tar = tar::Archive::new(&deb.bytes[at..]);
    let names: Vec<_> = tar
        .entries()
        .unwrap()
        .filter_map(Result::ok)
        .map(|e| String::from_utf8_lossy(&e.path_bytes()).into_owned())
        .collect();
    for name in ["/tmp/pwned", "./../../tmp/pwned", "./escape", "./escape/pwned", "./stolen"] {
        assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
    }
}

#[test]
fn bomb_is_small_until_it_is_unpacked() {
    let deb = hello().compression(Compression::Zstd).hostile(Hostile::Bomb(2 << 30)).build();
    assert!(deb.bytes.len() < 1 << 20, "{} bytes", deb.bytes.len());
}

#[test]
fn dpkg_source_unpacks_sources_of_every_format() {
    or_skip!(oracle::need_from("dpkg-source", "dpkg-dev"));
    let area = Area::new();
    for (format, version) in [
        (Format::V1, "1.0-1"),
        (Format::V1, "1.0"),
        (Format::Quilt, "1:1.0-1"),
        (Format::Native, "1.0"),
    ] {
        let source = Source::new("greeter", version, format)
            .file("src/main.sh", 0o755, "echo hello\n")
            .binaries(&[("greeter", "any"), ("greeter-doc", "all")])
            .signed_by(&TestKey::shared());
        let source = match format {
            Format::Quilt => source.patch(
                "fix.patch",
                "--- a/src/main.sh\n+++ b/src/main.sh\n@@ -1 +1 @@\n-echo hello\n+echo bye\n",
            ),
            _ => source,
        };
        let dir = area.work().join(format!("{format:?}-{}", version.replace(':', "_")));
        fs::create_dir(&dir).unwrap();
        let dsc = source.build().write(&dir);
        let tree = dir.join("tree");
        run(Command::new("dpkg-source").arg("--extract").args([&dsc, &tree]));
        let script = fs::read_to_string(tree.join("src/main.sh")).unwrap();
        assert_eq!(script, if format == Format::Quilt { "echo bye\n" } else { "echo hello\n" });
        run(Command::new("dpkg-parsechangelog").arg("-l").arg(tree.join("debian/changelog")));
        assert!(fs::metadata(tree.join("debian/rules")).is_ok());
    }
}

#[test]
fn default_rules_build_with_dpkg_dev_alone() {
    or_skip!(oracle::need_from("dpkg-buildpackage", "dpkg-dev"));
    or_skip!(oracle::need("make"));
    let area = Area::new();
    let source = Source::new("greeter", "1.0-1", Format::Quilt)
        .binaries(&[("greeter", "any"), ("greeter-doc", "all")]);
    let dsc = source.build().write(&area.work());
    let tree = area.work().join("tree");
    run(Command::new("dpkg-source").arg("--extract").args([&dsc, &tree]));
    run(Command::new("dpkg-buildpackage").args(["-us", "-uc", "-b", "-d"]).current_dir(&tree));
    let names: Vec<_> = fs::read_dir(area.work())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.contains(&"greeter-doc_1.0-1_all.deb".to_string()), "{names:?}");
    assert!(names.iter().any(|n| n.starts_with("greeter_1.0-1_") && n.ends_with(".changes")));
}

#[test]
fn dpkg_source_refuses_hostile_sources() {
    or_skip!(oracle::need_from("dpkg-source", "dpkg-dev"));
    let area = Area::new();
    for (i, way) in [
        dsc::Hostile::WrongHash,
        dsc::Hostile::WrongSize,
        dsc::Hostile::MissingFile,
        dsc::Hostile::TruncatedTarball(100),
        dsc::Hostile::NamesFileOutside("../../etc/passwd".into(), b"x".to_vec()),
        dsc::Hostile::PatchOutside("../../../pwned".into()),
        dsc::Hostile::DscGarbage,
    ]
    .into_iter()
    .enumerate()
    {
        let source = Source::new("greeter", "1.0-1", Format::Quilt)
            .file("a", 0o644, "a")
            .hostile(way.clone());
        let dir = area.work().join(i.to_string());
        fs::create_dir(&dir).unwrap();
        let dsc = source.build().write(&dir);
        let output = Command::new("dpkg-source")
            .args(["--no-check", "--extract"])
            .args([&dsc, &dir.join("tree")])
            .output()
            .unwrap();
        let checked = Command::new("dpkg-source")
            .arg("--extract")
            .args([&dsc, &dir.join("tree2")])
            .output()
            .unwrap();
        assert!(
            !(output.status.success() && checked.status.success()),
            "dpkg-source accepts {way:?}"
        );
    }
}

/// What gpgv says for programs. Its exit status is 0 for signatures of expired keys, which apt
/// refuses by these words, so the words are asked.
fn gpgv(keyring: &Path, files: &[&Path]) -> String {
    let mut command = Command::new("gpgv");
    command.args(["--status-fd", "1", "--keyring"]).arg(keyring).args(files);
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

fn inline_verdict(archive: &Archive) -> bool {
    gpgv(&archive.keyring, &[&archive.dist().join("InRelease")]).contains("GOODSIG")
}

fn detached_verdict(archive: &Archive) -> bool {
    let dist = archive.dist();
    let files = [dist.join("Release.gpg"), dist.join("Release")];
    gpgv(&archive.keyring, &[&files[0], &files[1]]).contains("GOODSIG")
}

#[test]
fn gpgv_accepts_sound_signatures() {
    or_skip!(oracle::need("gpgv"));
    let area = Area::new();
    let primary = TestKey::new(Flavour::PrimaryOnly);
    for (name, keys) in [
        ("one", vec![TestKey::shared()]),
        ("primary", vec![primary.clone()]),
        ("two", vec![TestKey::shared(), primary]),
    ] {
        let archive = ArchiveBuilder::new(name).signing(Signing::By(keys)).write(area.path());
        assert!(inline_verdict(&archive) && detached_verdict(&archive), "{name}");
    }
}

#[test]
fn gpgv_refuses_unsound_signatures() {
    or_skip!(oracle::need("gpgv"));
    let area = Area::new();
    let key = TestKey::shared;
    for (name, signing) in [
        ("expired", Signing::By(vec![TestKey::new(Flavour::Expired)])),
        ("revoked", Signing::By(vec![TestKey::new(Flavour::Revoked)])),
        ("corrupted", Signing::Corrupted(key())),
        ("other", Signing::OverOtherText(key())),
        ("unsigned", Signing::Unsigned),
    ] {
        let archive = ArchiveBuilder::new(name).signing(signing).write(area.path());
        assert!(!inline_verdict(&archive), "gpgv accepts InRelease, {name}");
        assert!(!detached_verdict(&archive), "gpgv accepts Release.gpg, {name}");
    }
    let archive = ArchiveBuilder::new("unknown").signed_by(&TestKey::fresh()).write(area.path());
    fs::write(&archive.keyring, TestKey::shared().certificate()).unwrap();
    assert!(!inline_verdict(&archive) && !detached_verdict(&archive));
}

#[test]
fn gpgv_flags_keys_that_no_longer_count() {
    or_skip!(oracle::need("gpgv"));
    let area = Area::new();
    for (flavour, word) in [
        (Flavour::Expired, "EXPKEYSIG"),
        (Flavour::ExpiredSubkey, "EXPKEYSIG"),
        (Flavour::Revoked, "REVKEYSIG"),
        (Flavour::RevokedSubkey, "REVKEYSIG"),
    ] {
        let archive = ArchiveBuilder::new("x").signed_by(&TestKey::new(flavour)).write(area.path());
        let said = gpgv(&archive.keyring, &[&archive.dist().join("InRelease")]);
        assert!(said.contains(word), "{flavour:?}: {said}");
    }
}

/// apt in a directory of its own, which trusts nothing but the archive's key.
fn apt(area: &Area, line: &str, arguments: &[&str]) -> Output {
    let dir = area.work().join("apt");
    for sub in
        ["etc/apt.conf.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial"]
    {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::write(dir.join("status"), "").unwrap();
    fs::write(dir.join("etc/sources.list"), format!("{line}\n")).unwrap();
    let option = |key: &str, value: &str| format!("{key}={value}");
    let path = |key: &str, sub: &str| format!("{key}={}", dir.join(sub).display());
    let mut command = Command::new("apt-get");
    for value in [
        path("Dir::Etc", "etc"),
        path("Dir::Etc::sourcelist", "etc/sources.list"),
        path("Dir::State", "state"),
        path("Dir::State::status", "status"),
        path("Dir::Cache", "cache"),
        option("APT::Architecture", "amd64"),
        option("APT::Architectures", "amd64"),
        option("APT::Sandbox::User", ""),
        option("Acquire::http::Proxy", "false"),
        option("Acquire::Retries", "0"),
        option("APT::Update::Error-Mode", "any"),
    ] {
        command.arg("-o").arg(value);
    }
    // the configuration of the host must not decide
    command.env("APT_CONFIG", "/dev/null").env("LC_ALL", "C.UTF-8");
    command.args(arguments).current_dir(area.work()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn apt_updates_and_downloads_from_archives_of_every_kind() {
    or_skip!(oracle::need_from("apt-get", "apt"));
    let source = || Source::new("greeter", "1.0-1", Format::Quilt).build();
    let all = || {
        ArchiveBuilder::new("bookworm")
            .deb(hello().build())
            .deb_in("contrib", Deb::new("libthing", "1:2", "all").build())
            .source(source())
    };
    let kinds = [
        ("default", all()),
        ("plain", all().compressions(&[Compression::Plain])),
        ("gz", all().compressions(&[Compression::Gzip]).by_hash(false)),
        ("xz", all().compressions(&[Compression::Xz])),
        ("zst", all().compressions(&[Compression::Zstd])),
        ("detached", all().files(Files::Detached)),
        ("inline", all().files(Files::Inline).valid_until(None)),
    ];
    for (name, builder) in kinds {
        let area = Area::new();
        let archive = builder.write(&area.path().join("archive"));
        let output = apt(&area, &archive.source_line(), &["update"]);
        assert!(output.status.success(), "{name}: {}", said(&output));
        for package in ["hello", "libthing"] {
            let output = apt(&area, &archive.source_line(), &["download", package]);
            assert!(output.status.success(), "{name}, {package}: {}", said(&output));
        }
        assert_eq!(
            fs::read(area.work().join("hello_1.0-1_amd64.deb")).unwrap(),
            hello().build().bytes
        );
        let line = archive.source_line().replacen("deb ", "deb-src ", 1);
        let output = apt(&area, &line, &["update"]);
        assert!(output.status.success(), "{name}, sources: {}", said(&output));
        let output = apt(&area, &line, &["source", "--download-only", "greeter"]);
        assert!(output.status.success(), "{name}, source: {}", said(&output));
    }
}

#[test]
fn apt_refuses_archives_that_lie() {
    or_skip!(oracle::need_from("apt-get", "apt"));
    let base = || ArchiveBuilder::new("bookworm").deb(hello().build());
    let lies = [
        ("index hash", base().lie(Lie::IndexHash)),
        ("index size", base().lie(Lie::IndexSize)),
        ("index missing", base().lie(Lie::IndexMissing)),
        ("index garbage", base().lie(Lie::IndexGarbage)),
        ("weak hashes", base().lie(Lie::WeakHashesOnly)),
        ("other suite", base().lie(Lie::OtherSuite("sid".into()))),
        ("no date", base().lie(Lie::NoDate)),
        ("expired", base().expired()),
        ("expired key", base().signed_by(&TestKey::new(Flavour::Expired))),
        ("weak digest", base().signing(Signing::WeakDigest(TestKey::shared()))),
        ("text before", base().signing(Signing::TextBefore(TestKey::shared(), "Evil: yes".into()))),
        ("text after", base().signing(Signing::TextAfter(TestKey::shared(), "Evil: yes".into()))),
    ];
    let mut accepted = Vec::new();
    for (name, builder) in lies {
        let area = Area::new();
        let archive = builder.write(&area.path().join("archive"));
        let update = apt(&area, &archive.source_line(), &["update"]);
        let download = apt(&area, &archive.source_line(), &["download", "hello"]);
        let warned = said(&update).contains("W:") || said(&update).contains("E:");
        if update.status.success() && download.status.success() && !warned {
            accepted.push(name);
        }
    }
    assert!(accepted.is_empty(), "apt accepts without a word: {accepted:?}");
}

#[test]
fn apt_refuses_packages_that_are_not_what_the_index_says() {
    or_skip!(oracle::need_from("apt-get", "apt"));
    let hello_name = || "hello".to_string();
    for lie in [
        Lie::DebHash(hello_name()),
        Lie::DebSize(hello_name()),
        Lie::DebMissing(hello_name()),
        Lie::DebTruncated(hello_name(), 100),
    ] {
        let area = Area::new();
        let builder = ArchiveBuilder::new("bookworm").deb(hello().build()).lie(lie.clone());
        let archive = builder.write(&area.path().join("archive"));
        let update = apt(&area, &archive.source_line(), &["update"]);
        assert!(update.status.success(), "{lie:?}: {}", said(&update));
        let download = apt(&area, &archive.source_line(), &["download", "hello"]);
        assert!(!download.status.success(), "{lie:?}: {}", said(&download));
    }
}

#[test]
fn apt_refuses_sources_that_are_not_what_the_index_says() {
    or_skip!(oracle::need_from("apt-get", "apt"));
    for lie in [
        Lie::SourceHash,
        Lie::SourceFilename("../../outside".into()),
        Lie::SourceDirectory("../../etc".into()),
    ] {
        let area = Area::new();
        let source = Source::new("greeter", "1.0-1", Format::Quilt).build();
        let builder = ArchiveBuilder::new("bookworm").source(source).lie(lie.clone());
        let archive = builder.write(&area.path().join("archive"));
        let line = archive.source_line().replacen("deb ", "deb-src ", 1);
        let update = apt(&area, &line, &["update"]);
        assert!(update.status.success(), "{lie:?}: {}", said(&update));
        let source = apt(&area, &line, &["source", "--download-only", "greeter"]);
        assert!(!source.status.success(), "{lie:?}: {}", said(&source));
    }
}

#[test]
fn escapes_of_sources_are_in_the_tarball() {
    let source = Source::new("greeter", "1.0-1", Format::Quilt)
        .compression(Compression::Plain)
        .hostile(dsc::Hostile::AbsolutePath("/tmp/pwned".into()))
        .hostile(dsc::Hostile::DotDot("../../pwned".into()))
        .hostile(dsc::Hostile::SymlinkThenWrite("/tmp".into()))
        .hostile(dsc::Hostile::DebianSymlink("/tmp".into()))
        .hostile(dsc::Hostile::HardlinkOutside("/etc/shadow".into()))
        .build();
    let (name, bytes) = &source.files[1];
    assert_eq!(name, "greeter_1.0.orig.tar");
    let names: Vec<_> = tar::Archive::new(bytes.as_slice())
        .entries()
        .unwrap()
        .map(|e| String::from_utf8_lossy(&e.unwrap().path_bytes()).into_owned())
        .collect();
    for path in [
        "/tmp/pwned",
        "greeter-1.0/../../pwned",
        "greeter-1.0/escape/pwned",
        "greeter-1.0/debian",
        "greeter-1.0/stolen",
    ] {
        assert!(names.iter().any(|n| n == path), "{path} is not among {names:?}");
    }
}

#[test]
fn a_mirror_moves_on_under_the_same_path() {
    let area = Area::new();
    let root = area.path().join("archive");
    let first = ArchiveBuilder::new("sid").deb(hello().build()).write(&root);
    let second = ArchiveBuilder::new("sid")
        .deb(Deb::new("hello", "1.0-2", "amd64").build())
        .files(Files::Inline)
        .write(&root);
    assert_eq!(first.dist(), second.dist());
    assert!(!second.dist().join("Release.gpg").exists());
    // the old package and the old index by its hash are still there, as on a real mirror
    assert!(root.join("pool/main/h/hello/hello_1.0-1_amd64.deb").exists());
    let kept = fs::read_dir(second.dist().join("main/binary-amd64/by-hash/SHA256")).unwrap();
    assert_eq!(kept.count(), 4);
}

#[test]
fn entries_of_any_kind_can_be_packed() {
    let deb = Deb::new("odd", "1", "all")
        .entry(Entry::new("./pipe", Kind::Fifo))
        .entry(Entry::file("./attr", "x").xattr("user.a", b"1").mtime(5))
        .build();
    assert!(deb.bytes.starts_with(b"!<arch>\n"));
    assert_eq!(archive::rfc2822(0), "Thu, 01 Jan 1970 00:00:00 UTC");
}
