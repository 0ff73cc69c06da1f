//! Layers of packages and snapshots, on the tiny distribution.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use debmock::ErrorKind;
use debmock::build::{RebuildOptions, ResultDir, SourceSpec};
use debmock::buildroot::{Access, Run};
use debmock::event::What;
use debmock::operation::{self, CancelToken, Scope};
use debmock_tests::archive::ArchiveBuilder;
use debmock_tests::area::nothing_within;
use debmock_tests::deb::Deb;
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::{self, Skip};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};

/// Two sources that need the same packages, and one that needs others.
fn archive() -> Result<ArchiveBuilder, Skip> {
    let deb = |name: &str| {
        let configured = format!("#!/bin/sh\necho {name} >> /var/lib/configured\n");
        Deb::new(name, "1", "all")
            .script("postinst", &configured)
            .file(&format!("/opt/{name}"), 0o644, name)
            .build()
    };
    let source = |name: &str, depends: &str| {
        Source::new(name, "1-1", Format::Quilt).field("Build-Depends", depends).build()
    };
    let debs = ["fakeroot", "common", "left", "right"];
    let archive = debs
        .iter()
        .try_fold(tiny_archive()?, |archive, name| Ok::<_, Skip>(archive.deb(deb(name))))?;
    Ok(archive
        .source(source("one", "common, left"))
        .source(source("other", "left, common"))
        .source(source("apart", "common, right")))
}

fn rig() -> Result<Rig, Skip> {
    Rig::new(&archive()?)
}

fn dependencies(rig: &Rig, ext: &str, source: &str) -> Said {
    let went = said(rig.program(&["--uniqueext", ext, "installdeps", source]));
    went.assert_success();
    went
}

fn inside(rig: &Rig, ext: &str, script: &str) -> Said {
    said(rig.program(&["-q", "--uniqueext", ext, "chroot", "--", "sh", "-c", script]))
}

/// The keys of the layers that packages were put into.
fn layers(rig: &Rig) -> Vec<String> {
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    let names = zones.flat_map(|zone| fs::read_dir(zone.path()).unwrap().flatten());
    let mut keys: Vec<String> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("packages-"))
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_base_that_was_chosen_once_is_not_chosen_again() {
    fn resolves(rig: &Rig, ext: &str, option: &str) -> bool {
        let went = said(rig.program(&["--uniqueext", ext, "-o", option, "init"]));
        went.assert_success();
        went.text.contains("\nresolve: ")
    }
    let mut rig = or_skip!(rig());
    let none = "packages.include=[]";
    assert!(resolves(&rig, "a", none));
    assert!(!resolves(&rig, "b", none));
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    assert!(!resolves(&rig, "a", none));
    let more = "packages.include=[\"left\"]";
    assert!(resolves(&rig, "c", more));
    let arguments = ["-q", "--uniqueext", "c", "-o", more, "chroot", "--", "ls", "/opt/left"];
    assert_eq!(said(rig.program(&arguments)).text, "/opt/left\n");
    // what is remembered is a layer: without it nothing is known
    for ext in ["a", "b", "c"] {
        said(rig.program(&["--uniqueext", ext, "scrub", "chroot"])).assert_success();
    }
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(rig.layers(), 0);
    assert!(resolves(&rig, "a", none));
    // other indexes may lead elsewhere
    rig.mend(&or_skip!(archive()).deb(Deb::new("later", "1", "all").build()));
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    assert!(resolves(&rig, "a", none));
    assert!(!resolves(&rig, "b", none));
    rig.assert_nothing_lost();
}

#[test]
fn the_same_packages_are_installed_once_for_every_source() {
    let rig = or_skip!(rig());
    let first = dependencies(&rig, "a", "one");
    assert!(first.text.contains("\napply: "), "{}", first.text);
    // another source, another buildroot, the same packages
    let second = dependencies(&rig, "b", "other");
    assert!(!second.text.contains("\napply: "), "{}", second.text);
    assert!(!second.text.contains("\nfetch: "), "{}", second.text);
    assert_eq!(layers(&rig).len(), 1);
    let seen = "cat /var/lib/configured /opt/left; dpkg-query -W -f '${Status}\\n' left common";
    let (one, other) = (inside(&rig, "a", seen), inside(&rig, "b", seen));
    assert_eq!(one.text, other.text);
    assert_eq!(one.text.matches("install ok installed").count(), 2, "{}", one.text);
    // a change in one root is seen in no other
    inside(&rig, "a", "rm /opt/left; echo x > /opt/common").assert_success();
    let there = inside(&rig, "b", "cat /opt/left /opt/common");
    assert_eq!(there.text, "leftcommon");
    dependencies(&rig, "c", "apart");
    assert_eq!(layers(&rig).len(), 2);
    rig.assert_nothing_lost();
}

/// apt's own caches of index files in the store: path and inode.
fn apt_caches(rig: &Rig) -> Vec<(PathBuf, u64)> {
    let layers = fs::read_dir(rig.area.cache().join("lists/v1/plans")).unwrap().flatten();
    let answers = layers.flat_map(|layer| fs::read_dir(layer.path()).unwrap().flatten());
    let files = answers.map(|entry| entry.path().join("srcpkgcache.bin"));
    files.filter_map(|path| fs::metadata(&path).ok().map(|meta| (path, meta.ino()))).collect()
}

#[test]
fn what_apt_makes_of_the_indexes_is_made_once_and_lent() {
    let rig = or_skip!(rig());
    dependencies(&rig, "a", "one");
    let first = apt_caches(&rig);
    assert_eq!(first.len(), 1, "{first:?}");
    // Other packages, another root, and one that stands on more than the cache was made on.
    dependencies(&rig, "b", "apart");
    said(rig.program(&["--uniqueext", "a", "install", "right"])).assert_success();
    assert_eq!(apt_caches(&rig), first);
    let left = "ls -d /run/debmock-apt /var/cache/apt/*.bin; cat /opt/right";
    assert_eq!(inside(&rig, "a", &format!("({left}) 2>/dev/null")).text, "right");
    // One that is damaged helps nobody, and harms nobody.
    fs::write(&first[0].0, "damaged").unwrap();
    dependencies(&rig, "c", "other");
    said(rig.program(&["--uniqueext", "b", "install", "left"])).assert_success();
    assert_eq!(inside(&rig, "b", "cat /opt/left").text, "left");
    // Another state of the index files has another one; a changed root is asked for none.
    fs::remove_file(&first[0].0).unwrap();
    said(rig.program(&["--uniqueext", "b", "remove", "left"])).assert_success();
    assert_eq!(apt_caches(&rig), []);
}

#[test]
fn who_needs_a_layer_that_is_being_made_waits_for_it() {
    let rig = or_skip!(rig());
    said(rig.program(&["init"])).assert_success();
    let start = |number: usize| -> Child {
        let ext = format!("n{number}");
        let mut command = rig.program(&["--uniqueext", &ext, "installdeps", "one"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<Child> = (0..16).map(start).collect();
    let mut applied = 0;
    for child in all {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        applied += text.matches("\napply: ").count() / 2;
    }
    assert_eq!(applied, 1, "the layer was made {applied} times");
    assert_eq!(layers(&rig).len(), 1);
    rig.assert_nothing_lost();
}

#[test]
fn scrub_removes_layers_that_nobody_stands_on() {
    let rig = or_skip!(rig());
    dependencies(&rig, "a", "one");
    dependencies(&rig, "b", "apart");
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(layers(&rig).len(), 2);
    said(rig.program(&["--uniqueext", "b", "clean"])).assert_success();
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(layers(&rig).len(), 1);
    assert_eq!(inside(&rig, "a", "cat /opt/left").text, "left");
    // one that somebody removed by hand is named, with what to do
    said(rig.program(&["--uniqueext", "a", "snapshot", "kept"])).assert_success();
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(layers(&rig).len(), 1, "a snapshot stands on it");
    let listed = said(rig.program(&["list"])).text;
    assert!(listed.lines().any(|l| l.contains("packages-") && l.contains("used by")), "{listed}");
    said(rig.program(&["--uniqueext", "a", "rollback", "kept"])).assert_success();
    // a user may not remove it by hand
    or_skip!(machine::need_root());
    let zone = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten().next();
    fs::remove_dir_all(zone.unwrap().path().join(&layers(&rig)[0])).unwrap();
    let gone = said(rig.program(&["--uniqueext", "a", "copyin", "/etc/fstab", "/srv/"]));
    gone.assert_refused(ErrorKind::Buildroot, &["packages-", "debmock clean"]);
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    dependencies(&rig, "a", "one");
    rig.assert_nothing_lost();
}

#[test]
fn a_layer_whose_packages_fail_is_not_kept() {
    let broken = Deb::new("broken", "1", "all").script("postinst", "#!/bin/sh\nexit 3\n");
    let needs = Source::new("needs", "1-1", Format::Quilt).field("Build-Depends", "broken");
    let builder = or_skip!(archive()).deb(broken.build()).source(needs.build());
    let rig = or_skip!(Rig::new(&builder));
    let failed = said(rig.program(&["installdeps", "needs"]));
    assert_eq!(failed.code, Some(ErrorKind::Package.exit_code().into()), "{}", failed.text);
    assert_eq!(layers(&rig), Vec::<String>::new());
    rig.assert_works();
}

#[test]
fn a_snapshot_is_what_the_root_was() {
    let rig = or_skip!(rig());
    let program = |arguments: &[&str]| said(rig.program(arguments));
    let run = |script: &str| program(&["-q", "chroot", "--", "sh", "-c", script]);
    let all = "cd /srv && find . -type f | sort | xargs -r cat; ls /opt";
    run("mkdir -p /srv/d /opt/gone; echo one > /srv/one; echo d > /srv/d/d").assert_success();
    program(&["snapshot", "first"]).assert_success();
    let first = run(all).text;
    run("echo two > /srv/two; rm -r /srv/d /opt/gone; mkdir /srv/d").assert_success();
    program(&["snapshot", "second"]).assert_success();
    let second = run(all).text;
    assert_ne!(first, second);
    run("rm -r /srv; mkdir /srv; echo three > /srv/three").assert_success();
    program(&["rollback", "first"]).assert_success();
    assert_eq!(run(all).text, first);
    program(&["rollback", "second"]).assert_success();
    assert_eq!(run(all).text, second);
    // the second stands on the first
    program(&["remove-snapshot", "first"]).assert_success();
    assert_eq!(run(all).text, second);
    program(&["clean"]).assert_success();
    run("test ! -e /srv/one").assert_success();
    program(&["rollback", "second"]).assert_success();
    assert_eq!(run(all).text, second);
    let listed = program(&["--json", "list-snapshots"]).text;
    assert!(listed.contains("\"second\"") && !listed.contains("\"first\""), "{listed}");
    program(&["remove-snapshot", "second"]).assert_success();
    program(&["clean"]).assert_success();
    rig.assert_works();
}

#[test]
fn snapshots_that_make_no_sense_are_refused() {
    let rig = or_skip!(rig());
    said(rig.program(&["snapshot", "first"])).assert_success();
    let twice = said(rig.program(&["snapshot", "first"]));
    twice.assert_refused(ErrorKind::Usage, &["already", "remove-snapshot"]);
    for name in ["", ".", "..", "a/b", "../../x", "a b"] {
        said(rig.program(&["snapshot", name])).assert_refused(ErrorKind::Usage, &["letters"]);
    }
    for command in ["rollback", "remove-snapshot"] {
        let unknown = said(rig.program(&[command, "second"]));
        unknown.assert_refused(ErrorKind::Usage, &["no snapshot second", "first"]);
    }
    rig.assert_works();
}

#[test]
fn more_snapshots_than_a_mount_option_can_name_work() {
    let rig = or_skip!(rig());
    for number in 0..16 {
        let script = format!("echo {number} >> /srv/numbers; touch /srv/{number}");
        said(rig.program(&["-q", "chroot", "--", "sh", "-c", &script])).assert_success();
        said(rig.program(&["snapshot", &format!("s{number}")])).assert_success();
    }
    let count = said(rig.program(&["-q", "chroot", "--", "sh", "-c", "ls /srv | wc -l"]));
    assert_eq!(count.text.trim(), "17");
    said(rig.program(&["rollback", "s3"])).assert_success();
    let numbers = said(rig.program(&["-q", "chroot", "--", "cat", "/srv/numbers"]));
    assert_eq!(numbers.text, "0\n1\n2\n3\n");
    rig.assert_nothing_lost();
}

#[test]
fn a_store_with_a_limit_loses_what_was_not_used_for_the_longest_time() {
    let rig = or_skip!(rig());
    dependencies(&rig, "a", "one");
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    assert_eq!(layers(&rig).len(), 1);
    // the base alone is larger
    let limit = ["-o", "store.layers_max=\"1M\"", "--uniqueext", "b", "installdeps", "apart"];
    said(rig.program(&limit)).assert_success();
    assert_eq!(layers(&rig).len(), 1, "the other one is used");
    assert_eq!(inside(&rig, "b", "cat /opt/right").text, "right");
    rig.assert_nothing_lost();
}

#[test]
fn whoever_is_killed_while_packages_are_installed_leaves_no_layer() {
    let slow = Deb::new("slow", "1", "all").script("postinst", "#!/bin/sh\nsleep 1000\n").build();
    let quick = Deb::new("slow", "2", "all").build();
    let needs = Source::new("needs", "1-1", Format::Quilt).field("Build-Depends", "slow").build();
    let builder = or_skip!(archive()).source(needs);
    let mut rig = or_skip!(Rig::new(&builder.clone().deb(slow)));
    let mut child = rig.program(&["-v", "installdeps", "needs"]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Setting up slow")));
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_within(Duration::from_secs(5), || rig.area.leftovers());
    assert_eq!(layers(&rig), Vec::<String>::new());
    rig.mend(&builder.deb(quick));
    said(rig.program(&["clean"])).assert_success();
    said(rig.program(&["-o", "refresh=\"always\"", "installdeps", "needs"])).assert_success();
    assert_eq!(layers(&rig).len(), 1);
    said(rig.program(&["scrub", "layers"])).assert_success();
    rig.assert_nothing_lost();
}

/// As if it had been killed between the record and the move.
#[test]
fn a_snapshot_that_was_begun_is_brought_to_its_end() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig());
    said(rig.program(&["-q", "chroot", "--", "touch", "/srv/mine"])).assert_success();
    let home = home(&rig);
    let record = fs::read_to_string(home.join("base.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["above"] = serde_json::json!([{ "snapshot": "abc" }]);
    fs::write(home.join("base.json"), record.to_string()).unwrap();
    let owner = fs::metadata(home.join("upper")).unwrap();
    for made in ["snapshots", "snapshots/abc"] {
        fs::create_dir(home.join(made)).unwrap();
        chown(home.join(made), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let seen = said(rig.program(&["-q", "chroot", "--", "ls", "/srv"]));
    assert_eq!(seen.text.trim(), "mine");
    assert!(home.join("snapshots/abc/root/srv/mine").exists());
}

/// The only directory below the buildroots' place, and that of the buildroot.
fn home(rig: &Rig) -> PathBuf {
    let zone = fs::read_dir(rig.area.state().join("roots/v1")).unwrap().flatten().next();
    zone.unwrap().path().join("tiny")
}

#[test]
fn a_snapshot_of_a_boot_that_ended_badly_is_doubtful_also_after_clean() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig());
    let program = |arguments: &[&str]| said(rig.program(arguments));
    let other = "00000000-0000-0000-0000-000000000000";
    let touch = |file: &str| program(&["-q", "chroot", "--", "touch", file]).assert_success();
    touch("/srv/mine");
    program(&["snapshot", "lost"]).assert_success();
    touch("/srv/more");
    let (home, list) = (home(&rig), home(&rig).join("snapshots/list.json"));
    let text = fs::read_to_string(&list).unwrap();
    let boot = fs::read_to_string(home.join("boot")).unwrap();
    fs::write(&list, text.replace(&boot, other)).unwrap();
    fs::write(home.join("boot"), other).unwrap();
    let refused = program(&["snapshot", "worse"]);
    refused.assert_refused(ErrorKind::Buildroot, &["went down", "debmock clean"]);
    for _ in 0..2 {
        let refused = program(&["rollback", "lost"]);
        refused.assert_refused(ErrorKind::Buildroot, &["lost", "went down", "remove-snapshot"]);
        program(&["clean"]).assert_success();
        touch("/srv/new");
    }
    program(&["snapshot", "good"]).assert_success();
    program(&["rollback", "good"]).assert_success();
    program(&["remove-snapshot", "lost"]).assert_success();
    rig.assert_works();
}

#[test]
fn a_record_that_cannot_be_read_costs_neither_snapshots_nor_layers() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig());
    let program = |arguments: &[&str]| said(rig.program(arguments));
    program(&["installdeps", "one"]).assert_success();
    program(&["snapshot", "kept"]).assert_success();
    let list = home(&rig).join("snapshots/list.json");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, "[{\"of\": \"a later version\"}]").unwrap();
    for arguments in [&["clean"][..], &["scrub", "layers"]] {
        program(arguments).assert_refused(ErrorKind::Buildroot, &["damaged", "scrub chroot"]);
    }
    let record = home(&rig).join("base.json");
    let base = fs::read_to_string(&record).unwrap();
    fs::write(&record, "{}").unwrap();
    fs::write(&list, &text).unwrap();
    let refused = said(rig.program(&["--uniqueext", "b", "scrub", "layers"]));
    refused.assert_refused(ErrorKind::Buildroot, &["tiny", "damaged", "--uniqueext"]);
    fs::write(&record, base).unwrap();
    program(&["clean"]).assert_success();
    program(&["rollback", "kept"]).assert_success();
    let there = program(&["-q", "chroot", "--", "cat", "/opt/left"]);
    assert_eq!(there.text, "left");
    rig.assert_nothing_lost();
}

#[test]
fn what_a_source_conflicts_with_goes_before_it_is_built() {
    let against = Source::new("against", "1-1", Format::Quilt)
        .field("Build-Depends", "left")
        .field("Build-Conflicts", "common")
        .build();
    let rig = or_skip!(Rig::new(&or_skip!(archive()).source(against)));
    let included = |arguments: &[&str]| {
        let option = ["-o", "packages.include=[\"common\"]"];
        said(rig.program(&[&option, arguments].concat()))
    };
    let seen = ["-q", "chroot", "--", "sh", "-c", "ls /opt"];
    assert_eq!(included(&seen).text.trim(), "common");
    // twice: what apt chose is remembered
    for _ in 0..2 {
        included(&["clean"]).assert_success();
        let went = included(&["-v", "installdeps", "against"]);
        went.assert_success();
        assert!(went.text.contains("- common 1"), "{}", went.text);
        let there = included(&seen).text;
        assert!(there.contains("left") && !there.contains("common"), "{there}");
    }
    rig.assert_nothing_lost();
}

#[test]
fn a_thread_that_joins_while_packages_are_chosen_keeps_its_session() {
    let rig = or_skip!(rig());
    rig.init().result.unwrap();
    let root = rig.buildroot().unwrap();
    let place = ResultDir::Below(rig.area.work().join("results"));
    let options = RebuildOptions::new(SourceSpec::parse("one").unwrap(), place);
    let mut joined = None;
    operation::run(
        CancelToken::new(),
        |event| match &event.what {
            What::StageStarted { stage, detail }
                if stage == "resolve" && detail.contains("build dependencies") =>
            {
                joined = Some(root.session(Access::default(), &Scope::quiet()).unwrap());
            }
            _ => {}
        },
        |scope| root.install_dependencies(&options, scope),
    )
    .unwrap();
    let session = joined.unwrap();
    let run = Run::new(["cat", "/opt/left"]);
    let (_, output) = session.output(&run, 1000, &Scope::quiet()).unwrap();
    assert_eq!(output, b"left");
    drop((session, root));
    let left = said(rig.program(&["-q", "chroot", "--", "cat", "/opt/left"]));
    assert_eq!(left.text, "left");
}
