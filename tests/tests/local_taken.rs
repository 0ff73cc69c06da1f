//! Dependencies that were unpacked once are taken from the layers that have them, on the tiny
//! distribution.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use debmock_tests::archive::ArchiveBuilder;
use debmock_tests::area::{Area, nothing_within};
use debmock_tests::deb::{BuiltDeb, Deb};
use debmock_tests::dsc::{Format, Source};
use debmock_tests::machine::{self, Skip};
use debmock_tests::manifest::Manifest;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, Said, said, tiny_archive};
use debmock_tests::tarball::MTIME;
use debmock_tests::user::User;

/// Everything about files that is not plain.
fn common() -> BuiltDeb {
    let configured = "#!/bin/sh\nset -e\nrm -f /usr/share/tiny-taken\n\
                      echo new > /usr/share/common/made\n";
    Deb::new("common", "1", "all")
        .script("postinst", configured)
        .file("/usr/share/common/plain", 0o644, "plain\n")
        .file("/usr/share/common/closed", 0o644, "closed\n")
        .file("/usr/share/common/setuid", 0o4755, "#!/bin/sh\n")
        .file("/usr/share/common/first", 0o644, "first\n")
        .symlink("/usr/share/common/link", "first")
        .dir("/usr/share/common/sticky", 0o1777)
        .file("/usr/share/closed/inside", 0o644, "inside\n")
        .file("/opt/alias/through", 0o644, "through a link\n")
        .conffile("/etc/common.conf", "asked = yes\n")
        .build()
}

/// One whose script looks for what comes with it, and with others.
fn acting() -> BuiltDeb {
    let look = "#!/bin/sh\nset -e\nfor one in /opt//[al]*; do echo $one; done > /var/lib/looked\n";
    Deb::new("acting", "1", "all").script("preinst", look).file("/opt/acting", 0o644, "").build()
}

/// One that comes when another one is configured, and then in the way of what the root has.
fn later() -> BuiltDeb {
    Deb::new("later", "1", "all")
        .field("Pre-Depends", "left")
        .field("Replaces", "root-has")
        .file("/usr/share/tiny-taken", 0o644, "of later\n")
        .build()
}

/// One with a file that has two names.
fn linked() -> BuiltDeb {
    Deb::new("linked", "1", "all")
        .file("/opt/linked/one", 0o644, "one\n")
        .hardlink("/opt/linked/two", "/opt/linked/one")
        .build()
}

/// One whose script changes its files, and one that changes what it cannot be told from by size,
/// mode and time.
fn changing() -> BuiltDeb {
    let change = "#!/bin/sh\nset -e\ncd /opt/changing\nchmod 600 one\necho more >> two\n\
                  rm three\n";
    Deb::new("changing", "1", "all")
        .script("postinst", change)
        .file("/opt/changing/one", 0o644, "one\n")
        .file("/opt/changing/two", 0o644, "two\n")
        .file("/opt/changing/three", 0o644, "three\n")
        .build()
}

fn sly() -> BuiltDeb {
    let change = "#!/bin/sh\nset -e\ncd /opt\ntouch -r sly time\necho SLY > sly\n\
                  touch -r time sly\nrm time\n";
    Deb::new("sly", "1", "all").script("postinst", change).file("/opt/sly", 0o644, "sly\n").build()
}

/// One whose script changes a conffile of another package, and what tells of it.
fn robbing() -> BuiltDeb {
    let change = "#!/bin/sh\nset -e\ncd /etc\ntouch -r settled.conf time\n\
                  echo no! > settled.conf\ntouch -r time settled.conf\nrm time\n";
    Deb::new("robbing", "1", "all").field("Depends", "settled").script("postinst", change).build()
}

/// One whose script leaves a process that changes a file of another package when everything is done
/// but for the end of the session: a cache that goes before other things do is gone, and what goes
/// next takes its time.
fn haunting() -> BuiltDeb {
    let change = "#!/bin/sh\nset -e\ntouch -r /opt/other /var/lib/time\n\
                  cd /var/cache/apt\necho > pkgcache.bin\nmkdir srcpkgcache.bin\n\
                  i=0\nwhile [ $i -lt 3000 ]; do echo > srcpkgcache.bin/$i; i=$((i+1)); done\n\
                  (while [ -e pkgcache.bin ]; do :; done; printf OTHER > /opt/other\n\
                  touch -r /var/lib/time /opt/other) < /dev/null > /dev/null 2>&1 &\n";
    Deb::new("haunting", "1", "all").field("Depends", "other").script("postinst", change).build()
}

/// One whose script puts a link where it has a directory.
fn turning() -> BuiltDeb {
    let turn = "#!/bin/sh\nset -e\ncd /opt\nmv turning turned\nln -s turned turning\n";
    Deb::new("turning", "1", "all")
        .script("postinst", turn)
        .file("/opt/turning/inside", 0o644, "inside\n")
        .build()
}

fn plain(name: &str) -> BuiltDeb {
    let configured = format!("#!/bin/sh\necho {name} >> /var/lib/configured\n");
    let deb = Deb::new(name, "1", "all").script("postinst", &configured);
    deb.file(&format!("/opt/{name}"), 0o644, name).build()
}

/// Sources that share packages. The root has a link to a directory, and one that is closed.
fn archive() -> Result<ArchiveBuilder, Skip> {
    let source = |name: &str, depends: &str| {
        Source::new(name, "1-1", Format::Quilt).field("Build-Depends", depends).build()
    };
    let root = Deb::new("root-has", "1", "all")
        .symlink("/opt/alias", "../usr/share/real")
        .dir("/usr/share/real", 0o755)
        .dir("/usr/share/closed", 0o2750)
        .file("/usr/share/tiny-taken", 0o644, "of the root\n");
    // what dpkg has to do, since somebody else has the path
    let again = Deb::new("again", "1", "all").field("Replaces", "root-has").file(
        "/usr/share/tiny-taken",
        0o644,
        "of again\n",
    );
    let debs = ["fakeroot", "left", "right", "other"].map(plain);
    let archive = debs.into_iter().fold(tiny_archive()?, ArchiveBuilder::deb);
    Ok(archive
        .deb(common())
        .deb(root.build())
        .deb(again.build())
        .deb(later())
        .deb(acting())
        .deb(linked())
        .deb(Deb::new("settled", "1", "all").conffile("/etc/settled.conf", "yes\n").build())
        .deb(changing())
        .deb(sly())
        .deb(robbing())
        .deb(haunting())
        .deb(turning())
        .source(source("acts", "acting, left"))
        .source(source("late", "later, left"))
        .source(source("links", "linked, left"))
        .source(source("settles", "settled, left"))
        .source(source("acts-too", "acting, linked, left, right"))
        .source(source("changes", "changing, sly, left"))
        .source(source("robs", "robbing, settled, left"))
        .source(source("haunts", "haunting, other, left"))
        .source(source("turns", "turning, left"))
        .source(source("turns-too", "turning, right"))
        .source(source("changes-too", "changing, sly, right"))
        .source(source("one", "common, left"))
        .source(source("two", "common, right"))
        .source(source("same", "left, common, other"))
        .source(source("taken", "again, left")))
}

fn rig_of(user: User) -> Result<Rig, Skip> {
    machine::helper();
    let mut rig = Rig::of(Area::of(user), &archive()?);
    rig.set("[packages]\ninclude = [\"root-has\"]\n");
    Ok(rig)
}

/// Rigs of whoever runs the tests, and of a user.
fn rigs() -> Result<Vec<Rig>, Skip> {
    let users = match machine::is_root() {
        true => vec![User::current(), User::with_sub_ids()?],
        false => vec![User::with_sub_ids()?],
    };
    users.into_iter().map(rig_of).collect()
}

fn dependencies(rig: &Rig, ext: &str, source: &str) -> Said {
    let went = said(rig.program(&["-v", "--uniqueext", ext, "installdeps", source]));
    went.assert_success();
    went
}

fn inside(rig: &Rig, ext: &str, script: &str) -> String {
    let went = said(rig.program(&["-q", "--uniqueext", ext, "chroot", "--", "sh", "-c", script]));
    went.assert_success();
    went.text
}

fn manifest(rig: &Rig, ext: &str) -> Manifest {
    let file = rig.area.work().join(format!("{ext}.tar"));
    let mut export = rig.program(&["--uniqueext", ext, "export", &file.to_string_lossy()]);
    export.env("SOURCE_DATE_EPOCH", MTIME.to_string());
    said(export).assert_success();
    Manifest::of_tar(fs::File::open(&file).unwrap()).unwrap()
}

/// The directories of layers whose keys begin so.
fn layers(rig: &Rig, kind: &str) -> Vec<PathBuf> {
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    let all = zones.flat_map(|zone| fs::read_dir(zone.path()).unwrap().flatten());
    let mut all: Vec<_> = all
        .map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind))
        .collect();
    all.sort_by_key(|path| fs::metadata(path).unwrap().ctime());
    all
}

/// Packages are nowhere any more, but for these in the archive and what layers have of them.
fn lose_packages(rig: &Rig, kept: &[&str]) {
    remove_all_but(&rig.archive.root.join("pool"), kept);
    fs::remove_dir_all(rig.area.cache().join("debs/v1")).unwrap();
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

/// What differs in a root whose packages were taken, but for what tells the time of day or where
/// the archive lies.
fn differences(one: &Manifest, other: &Manifest) -> Vec<String> {
    let told = ["etc/apt/sources.list", "var/log/dpkg.log"];
    let all = one.differences(other).into_iter();
    all.filter(|one| !told.contains(&&*one.path)).map(|one| one.to_string()).collect()
}

#[test]
fn what_a_layer_has_is_neither_fetched_nor_decoded_for_the_next_one() {
    for rig in or_skip!(rigs()) {
        dependencies(&rig, "a", "one");
        let before = manifest(&rig, "a");
        lose_packages(&rig, &["right_1", "two_"]);
        let second = dependencies(&rig, "b", "two");
        assert!(second.text.contains("Taking 2 of 3 packages"), "{}", second.text);
        assert!(second.text.contains("configuring with dpkg"), "{}", second.text);
        let warm = manifest(&rig, "b");
        let script = "cat /usr/share/common/plain /opt/alias/through /etc/common.conf; \
                      readlink /opt/alias; ls /opt; stat -c %a /usr/share/closed";
        let seen = inside(&rig, "b", script);
        let expected = "plain\nthrough a link\nasked = yes\n../usr/share/real\n\
                        alias\nfakeroot\nright\n2750\n";
        assert_eq!(seen, expected);
        // the same on another machine, on which nothing is known
        let apart = or_skip!(rig_of(rig.area.user().clone()));
        dependencies(&apart, "b", "two");
        let cold = manifest(&apart, "b");
        assert!(cold.get("usr/share/common/made").is_some() && cold.get("opt/right").is_some());
        assert_eq!(differences(&cold, &warm), Vec::<String>::new());
        // and the first is what it was
        said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
        dependencies(&rig, "a", "one");
        assert_eq!(differences(&before, &manifest(&rig, "a")), Vec::<String>::new());
        rig.assert_nothing_lost();
    }
}

#[test]
fn files_that_were_taken_are_copies_and_can_be_taken_again() {
    or_skip!(machine::need_root());
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "one");
    let went = dependencies(&rig, "b", "two");
    assert!(went.text.contains("Taking 2 of 3 packages"), "{}", went.text);
    let all = layers(&rig, "packages-");
    for file in ["root/usr/share/common/plain", "root/usr/share/common/setuid"] {
        let of = |layer: &Path| fs::metadata(layer.join(file)).unwrap();
        let of: Vec<_> = all.iter().map(|layer| of(layer)).collect();
        assert_eq!(of.len(), 2);
        assert_ne!(of[0].ino(), of[1].ino(), "{file}");
        assert_eq!((of[0].mode(), of[0].mtime()), (of[1].mode(), of[1].mtime()), "{file}");
    }
    // a layer of which everything is known lives without those that it came from
    dependencies(&rig, "c", "same");
    for ext in ["a", "b"] {
        said(rig.program(&["--uniqueext", ext, "clean"])).assert_success();
    }
    said(rig.program(&["scrub", "layers"])).assert_success();
    assert_eq!(layers(&rig, "packages-").len(), 1);
    assert_eq!(inside(&rig, "c", "cat /usr/share/common/first"), "first\n");
    lose_packages(&rig, &["one_"]);
    let again = dependencies(&rig, "a", "one");
    assert!(again.text.contains("Taking 3 of 3 packages"), "{}", again.text);
    rig.assert_nothing_lost();
}

#[test]
fn a_layer_takes_what_a_base_has() {
    let rig = or_skip!(rig_of(User::current()));
    let with = ["-o", "packages.include=[\"root-has\", \"left\", \"settled\"]"];
    let init = [&with[..], &["--uniqueext", "with", "init"]].concat();
    said(rig.program(&init)).assert_success();
    lose_packages(&rig, &["fakeroot_1", "settles_"]);
    said(rig.program(&["init"])).assert_success();
    let went = dependencies(&rig, "a", "settles");
    assert!(went.text.contains("Taking 2 of 3 packages"), "{}", went.text);
    let seen = inside(&rig, "a", "cat /opt/left /etc/settled.conf; ls -d /etc/settled*");
    assert_eq!(seen, "leftyes\n/etc/settled.conf\n");
    rig.assert_nothing_lost();
}

#[test]
fn what_scripts_have_touched_is_never_taken() {
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "changes");
    let before = manifest(&rig, "a");
    let went = dependencies(&rig, "b", "changes-too");
    // fakeroot, and what is found out when it is read
    assert!(went.text.contains("Taking 2 of 4 packages"), "{}", went.text);
    assert!(went.text.contains("what the store has of sly is not"), "{}", went.text);
    assert!(went.text.contains("Taking 1 of 4 packages"), "{}", went.text);
    let seen = inside(&rig, "b", "cd /opt; cat changing/* sly; stat -c %a changing/one");
    assert_eq!(seen, "one\ntwo\nmore\nSLY\n600\n");
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    dependencies(&rig, "a", "changes");
    assert_eq!(differences(&before, &manifest(&rig, "a")), Vec::<String>::new());
    rig.assert_nothing_lost();
}

#[test]
fn what_a_package_does_to_another_one_stays_in_its_layer() {
    or_skip!(machine::need_root());
    let cases = [
        ("robs", "settles", "settled", "etc/settled.conf", "no!\n"),
        ("haunts", "same", "other", "opt/other", "OTHER"),
    ];
    for (first, second, package, file, changed) in cases {
        let rig = or_skip!(rig_of(User::current()));
        dependencies(&rig, "a", first);
        let layer = layers(&rig, "packages-").remove(0);
        assert_eq!(fs::read_to_string(layer.join("root").join(file)).unwrap(), changed);
        let went = dependencies(&rig, "b", second);
        let told = format!("what the store has of {package} is not as it was");
        assert!(went.text.contains(&told), "{}", went.text);
        let apart = or_skip!(rig_of(User::current()));
        dependencies(&apart, "b", second);
        let (cold, warm) = (manifest(&apart, "b"), manifest(&rig, "b"));
        assert!(cold.get(file).is_some());
        assert_eq!(differences(&cold, &warm), Vec::<String>::new());
        rig.assert_nothing_lost();
    }
}

#[test]
fn what_a_link_leads_to_since_a_script_ran_is_found() {
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "turns");
    let went = dependencies(&rig, "b", "turns-too");
    assert!(went.text.contains("Taking 2 of 3 packages"), "{}", went.text);
    assert!(!went.text.contains("not as it was unpacked"), "{}", went.text);
    let apart = or_skip!(rig_of(User::current()));
    dependencies(&apart, "b", "turns-too");
    let (cold, warm) = (manifest(&apart, "b"), manifest(&rig, "b"));
    assert!(cold.get("opt/turned/inside").is_some());
    assert_eq!(differences(&cold, &warm), Vec::<String>::new());
    rig.assert_nothing_lost();
}

#[test]
fn what_is_not_as_it_was_unpacked_is_unpacked_anew() {
    or_skip!(machine::need_root());
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("size", |file| {
            fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"x").unwrap();
        }),
        ("mode", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap()),
        ("time", |file| {
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(5);
            fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
        }),
        ("gone", |file| fs::remove_file(file).unwrap()),
    ];
    for (what, change) in changes {
        let rig = or_skip!(rig_of(User::current()));
        dependencies(&rig, "a", "one");
        let layer = layers(&rig, "packages-").remove(0);
        let file = "root/usr/share/common/closed";
        change(&layer.join(file));
        let went = dependencies(&rig, "b", "same");
        assert!(went.text.contains("what the store has of common is not"), "{what}: {}", went.text);
        let seen = inside(&rig, "b", "cat /usr/share/common/closed");
        assert_eq!(seen, "closed\n", "{what}");
        // the rest was taken all the same
        assert!(went.text.contains("Taking 2 of 4 packages"), "{what}: {}", went.text);
        rig.assert_nothing_lost();
    }
}

#[test]
fn what_stands_in_the_way_is_left_to_dpkg() {
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "one");
    for ext in ["b", "c"] {
        // apt wants what was to be taken
        fs::remove_dir_all(rig.area.cache().join("debs/v1")).unwrap();
        let went = dependencies(&rig, ext, "taken");
        assert!(went.text.contains("Left to apt and dpkg"), "{}", went.text);
        let fetched = went.text.matches("\nfetch: done").count();
        assert_eq!(fetched, 2, "{}", went.text);
        let seen = inside(&rig, ext, "cat /usr/share/tiny-taken /opt/left");
        assert_eq!(seen, "of again\nleft");
        said(rig.program(&["--uniqueext", ext, "clean"])).assert_success();
        said(rig.program(&["scrub", "layers"])).assert_success();
    }
    rig.assert_nothing_lost();
}

#[test]
fn what_was_taken_before_something_stood_in_the_way_is_never_fetched() {
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "one");
    lose_packages(&rig, &["later_1", "fakeroot_1", "late_"]);
    let went = dependencies(&rig, "b", "late");
    assert!(went.text.contains("Taking 2 of 3 packages"), "{}", went.text);
    assert!(went.text.contains("Left to apt and dpkg"), "{}", went.text);
    let seen = inside(&rig, "b", "cat /usr/share/tiny-taken /var/lib/configured");
    assert!(seen.starts_with("of later\n") && seen.contains("left\n"), "{seen}");
    rig.assert_nothing_lost();
}

#[test]
fn what_acts_before_it_is_unpacked_and_what_has_several_names_is_taken_and_is_exact() {
    for rig in or_skip!(rigs()) {
        dependencies(&rig, "a", "acts");
        assert_eq!(inside(&rig, "a", "cat /var/lib/looked"), "/opt//alias\n");
        dependencies(&rig, "b", "links");
        lose_packages(&rig, &["right_1", "acts-too_"]);
        let went = dependencies(&rig, "c", "acts-too");
        assert!(went.text.contains("Taking 4 of 5 packages"), "{}", went.text);
        assert!(!went.text.contains("Left to apt"), "{}", went.text);
        assert_eq!(inside(&rig, "c", "stat -c %h /opt/linked/one"), "2\n");
        let apart = or_skip!(rig_of(rig.area.user().clone()));
        dependencies(&apart, "c", "acts-too");
        let (cold, warm) = (manifest(&apart, "c"), manifest(&rig, "c"));
        assert_eq!(differences(&cold, &warm), Vec::<String>::new());
        rig.assert_nothing_lost();
    }
}

#[test]
fn a_layer_with_records_goes_into_an_image_and_comes_out() {
    let rig = or_skip!(rig_of(User::current()));
    dependencies(&rig, "a", "one");
    let before = manifest(&rig, "a");
    let image = rig.area.work().join("a.oci.tar").to_string_lossy().into_owned();
    said(rig.program(&["--uniqueext", "a", "export", &image])).assert_success();
    said(rig.program(&["--uniqueext", "a", "clean"])).assert_success();
    said(rig.program(&["scrub", "all"])).assert_success();
    assert_eq!(layers(&rig, "packages-").len(), 0);
    said(rig.program(&["import", "--layers", &image])).assert_success();
    let imported = layers(&rig, "packages-");
    assert_eq!(imported.len(), 1);
    let parts = fs::read_dir(&imported[0]).unwrap().map(|part| part.unwrap().file_name());
    let parts: BTreeSet<_> = parts.collect();
    assert!(
        parts.contains(OsStr::new("root")) && !parts.contains(OsStr::new("records")),
        "{parts:?}"
    );
    let again = dependencies(&rig, "a", "one");
    assert!(!again.text.contains("\napply: "), "{}", again.text);
    assert_eq!(differences(&before, &manifest(&rig, "a")), Vec::<String>::new());
    // one that another tool merges
    said(rig.program(&["--uniqueext", "b", "import", &image])).assert_success();
    assert_eq!(differences(&before, &manifest(&rig, "b")), Vec::<String>::new());
    rig.assert_nothing_lost();
}

/// Kills a command after each of its lines, until it comes to its end.
fn kill_after_each_line(rig: &Rig, arguments: &[&str], made: &dyn Fn() -> usize) {
    let clean = |rig: &Rig| said(rig.program(&["--uniqueext", "b", "clean"])).assert_success();
    let before = made();
    for count in (1..).step_by(2) {
        let mut child = rig.program(arguments);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let read: Vec<String> = lines.map_while(Result::ok).take(count).collect();
        if read.len() < count {
            assert!(child.wait().unwrap().success(), "{}", read.join("\n"));
            assert_eq!(made(), before + 1);
            return;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_within(Duration::from_secs(5), || rig.area.leftovers());
        clean(rig);
        // it may have been quicker than the signal, with the layer alone or with all of it
        if made() > before {
            said(rig.program(arguments)).assert_success();
            return;
        }
    }
}

#[test]
fn whoever_is_killed_while_packages_are_taken_leaves_no_layer() {
    let rig = or_skip!(rig_of(User::current()));
    let arguments = |ext, rest: [&'static str; 2]| ["-v", "--uniqueext", ext, rest[0], rest[1]];
    dependencies(&rig, "a", "one");
    let made = || layers(&rig, "packages-").len();
    kill_after_each_line(&rig, &arguments("b", ["installdeps", "two"]), &made);
    assert_eq!(
        inside(&rig, "b", "cat /usr/share/common/first; ls /opt"),
        "first\nalias\nfakeroot\nright\n"
    );
    rig.assert_nothing_lost();
}

#[test]
fn whoever_is_killed_while_a_base_is_composed_leaves_no_layer() {
    let rig = or_skip!(rig_of(User::current()));
    said(rig.program(&["init"])).assert_success();
    let with = ["-o", "packages.include=[\"root-has\", \"left\"]", "--uniqueext", "b"];
    let with = |rest: &[&'static str]| [&with[..], rest].concat();
    let made = || layers(&rig, "base-").len();
    kill_after_each_line(&rig, &with(&["-v", "init"]), &made);
    let read = with(&["-q", "chroot", "--", "cat", "/opt/left", "/var/lib/configured"]);
    assert_eq!(said(rig.program(&read)).text, "leftleft\n");
    rig.assert_nothing_lost();
}
