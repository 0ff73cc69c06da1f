//! What the command line and the config promise around packages, builds and archives, on the tiny
//! distribution.

use std::fs;
use std::path::Path;

use debmock::ErrorKind;
use debmock::build::{RebuildOptions, ResultDir, SourceSpec};
use debmock::buildroot::{ExportOptions, Scrub};
use debmock_tests::deb::Deb;
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::{self, run};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, assert_says, said, tiny_archive};

#[test]
fn a_limit_that_is_not_enforced_is_refused_unless_the_config_allows_to_go_on() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    for limit in ["memory=\"1G\"", "processes=100", "cpus=1.5", "disk=\"1G\""] {
        let option = format!("limits.{limit}");
        let key = option.split('=').next().unwrap_or_default();
        let refused = said(rig.program(&["-o", &option, "shell", "true"]));
        refused.assert_refused(ErrorKind::Isolation, &[key, "limits.required = false"]);
        let go_on = ["-o", &option, "-o", "limits.required=false", "shell", "true"];
        let went = said(rig.program(&go_on));
        went.assert_success();
        assert!(went.text.contains(&format!("cannot enforce {key}")), "{}", went.text);
    }
}

#[test]
fn a_bootstrap_by_dpkg_is_refused_with_a_sentence() {
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.set("bootstrap = \"dpkg\"\n");
    rig.assert_refused(ErrorKind::Config, &["bootstrap = \"dpkg\"", "native"]);
}

/// A container's `/proc` that is covered in part, as seen from inside it.
#[test]
fn a_masked_proc_is_refused_and_taken_with_a_warning_where_the_config_says_so() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let masked = |arguments: &[&str]| {
        let inner = rig.program(arguments);
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec"]);
        command.arg("mount -t tmpfs none /proc/irq\nexec \"$@\"").arg("sh");
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(rig.area.work()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        said(command)
    };
    masked(&["init"]).assert_refused(ErrorKind::Isolation, &["/proc", "isolation.accept_weak"]);
    rig.assert_nothing_lost();
    let doctor = masked(&["doctor"]);
    assert!(doctor.text.contains("only with isolation.accept_weak = true"), "{}", doctor.text);
    let weak = ["-o", "isolation.accept_weak=true"];
    let went = masked(&[&weak[..], &["chroot", "--", "cat", "/var/lib/tiny/configured"]].concat());
    went.assert_success();
    assert!(went.text.contains("configure"), "{}", went.text);
    assert!(went.text.contains("/proc of the surrounding container"), "{}", went.text);
    rig.assert_nothing_lost();
}

#[test]
fn apt_simulates_without_a_change_and_its_misuse_is_no_dependency() {
    let more = Deb::new("more", "1", "all").field("Depends", "dash").file("/opt/more", 0o644, "x");
    // Not at a `file:` URI, whose packages count as fetched.
    let (rig, _server) = or_skip!(Rig::served(&or_skip!(tiny_archive()).deb(more.build())));
    for words in [&["-s", "install", "more"][..], &["install", "--dry-run", "more"]] {
        let simulated = said(rig.program(&[&["apt-cmd", "--"], words].concat()));
        simulated.assert_success();
        assert!(simulated.text.contains("Inst more (1"), "{}", simulated.text);
        assert!(!simulated.text.contains("nothing to do"), "{}", simulated.text);
    }
    let there = said(rig.program(&["chroot", "--", "sh", "-c", "test ! -e /opt/more"]));
    there.assert_success();
    for words in [&["frobnicate"][..], &["install", "--frobnicate", "more"], &["-s", "frobnicate"]]
    {
        let refused = said(rig.program(&[&["apt-cmd", "--"], words].concat()));
        refused.assert_refused(ErrorKind::Usage, &["frobnicate"]);
    }
    said(rig.program(&["apt-cmd", "--", "install", "more"])).assert_success();
    said(rig.program(&["chroot", "--", "test", "-e", "/opt/more"])).assert_success();
}

#[test]
fn an_exported_root_has_no_binary_caches_of_apt() {
    let more = Deb::new("more", "1", "all").file("/opt/more", 0o644, "x");
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive()).deb(more.build())));
    let tar = rig.area.work().join("root.tar");
    let outcome = rig.with(|root, scope| {
        root.install(&["more".to_owned()], scope)?;
        root.session(Default::default(), scope)?.write_text(
            "/var/cache/apt/mine.bin",
            b"mine",
            0o644,
        )?;
        root.session(Default::default(), scope)?.write_text(
            "/var/cache/apt/pkgcache.bin",
            b"cache",
            0o644,
        )?;
        root.export(&tar, &ExportOptions::for_file(&tar)?, scope)
    });
    outcome.result.unwrap();
    let listing = run(std::process::Command::new("tar").arg("-tf").arg(&tar));
    assert!(listing.contains("./opt/more") && listing.contains("./var/cache/apt/mine.bin"));
    assert!(!listing.contains("pkgcache.bin"), "{listing}");
}

/// Files below a directory, but for locks: others may hold them.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.file_name() != "locks");
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn scrub_all_leaves_no_file_in_the_cache() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    for name in ["sources/v1/x_1", "extra/v1/x"] {
        let folder = rig.area.cache().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
    }
    let outcome = rig.with(|root, scope| root.scrub(&[Scrub::All], scope));
    outcome.result.unwrap();
    assert_eq!(files(&rig.area.cache()), 0);
    rig.assert_works();
}

#[test]
fn a_file_that_the_archive_lacks_is_explained_as_the_archives_fault() {
    let source = Source::new("greeter", "1.0-1", Format::Quilt);
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive()).source(source.build())));
    let find = ["-name", "greeter_1.0.orig.tar.*", "-print", "-delete"];
    let gone = run(std::process::Command::new("find").arg(&rig.archive.root).args(find));
    assert_eq!(gone.lines().count(), 1, "{gone}");
    let spec = SourceSpec::parse("greeter").unwrap();
    let results = rig.area.work().join("results");
    let options = RebuildOptions::new(spec, ResultDir::Below(results));
    let error = rig.with(|root, scope| root.rebuild(options, scope).map(drop)).result.unwrap_err();
    let words = ["greeter_1.0.orig.tar", "is missing", "refresh=always"];
    assert_says(&error, ErrorKind::Archive, &words);
    assert!(!error.hint().unwrap_or_default().contains("beside it"), "{error:?}");
}

/// The sources cannot be built here; which are tried, and how it ends, is the point.
#[test]
fn of_several_sources_the_first_failure_ends_the_call_unless_it_goes_on() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let names = ["missing-one", "missing-two"];
    let stopped = said(rig.program(&[&["rebuild"], &names[..]].concat()));
    stopped.assert_refused(ErrorKind::Source, &["✗ missing-one", "- missing-two: not tried"]);
    let went = said(rig.program(&[&["rebuild", "--continue"], &names[..]].concat()));
    went.assert_refused(ErrorKind::Source, &["✗ missing-one", "✗ missing-two"]);
    let slip = said(rig.program(&["rebuild", "missing-one", "Not-A-Name"]));
    slip.assert_refused(ErrorKind::Usage, &["Not-A-Name"]);
    assert!(!slip.text.contains("missing-one:"), "{}", slip.text);
}
