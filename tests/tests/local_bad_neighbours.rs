//! A second debmock at work on the same buildroot, and damaged records of an earlier one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use debmock::operation::Scope;
use debmock::store::layer::LayerKey;
use debmock::store::{Places, Zone, ZoneOptions};
use debmock::{ErrorKind, host};
use debmock_helper::protocol::Mode;
use debmock_tests::machine;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};
use sha2::{Digest, Sha256};

/// A process that holds the buildroot until it is told to go.
struct Holder(Child);

impl Holder {
    fn of(rig: &Rig) -> Holder {
        let script = "echo ready; cat; echo gone > /var/tmp/gone";
        let mut command = rig.program(&["-q", "chroot", "--", "sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Holder(child)
    }

    fn release(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_second_debmock_on_the_same_buildroot_is_told_who_is_first() {
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    rig.set("lock_timeout = 1\n");
    let holder = Holder::of(&rig);
    let pid = format!("process {}", holder.0.id());
    let refused = said(rig.program(&["clean"]));
    refused.assert_refused(ErrorKind::Locked, &[&pid, "--uniqueext"]);
    // what it suggests works
    said(rig.program(&["--uniqueext", "mine", "init"])).assert_success();
    holder.release();
    let gone = said(rig.program(&["-q", "chroot", "--", "cat", "/var/tmp/gone"]));
    assert_eq!(gone.text.trim(), "gone");
    rig.assert_works();
}

#[test]
fn a_second_debmock_waits_by_default_and_then_works() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let holder = Holder::of(&rig);
    let pid = format!("process {}", holder.0.id());
    let mut second = rig.program(&["snapshot", "after"]);
    let mut second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // it says for whom it waits, and only then may the first one go
    let mut errors = BufReader::new(second.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(&pid) {
        assert!(errors.read_line(&mut text).unwrap() > 0, "it did not wait: {text}");
    }
    holder.release();
    let output = second.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let gone = said(rig.program(&["-q", "chroot", "--", "cat", "/var/tmp/gone"]));
    assert_eq!(gone.text.trim(), "gone");
    rig.assert_nothing_lost();
}

/// The layer of an archive has the name of its hash, so that nothing else may get into it: neither
/// where the archive is hashed first, nor where it is hashed while it is unpacked, since the store
/// has no layer of an archive of that size.
#[test]
fn an_archive_that_is_not_what_was_hashed_is_not_imported() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let mark = |text: &str| {
        let script = format!("echo {text} > /var/tmp/mark");
        said(rig.program(&["-q", "chroot", "--", "sh", "-c", &script])).assert_success();
    };
    let marked = || said(rig.program(&["-q", "chroot", "--", "cat", "/var/tmp/mark"])).text;
    let file = rig.area.work().join("root.tar");
    let file_name = file.to_string_lossy().into_owned();
    mark("exported");
    said(rig.program(&["export", &file_name])).assert_success();
    let whole = fs::read(&file).unwrap();
    let another = |text: &[u8; 8]| {
        let mut bytes = whole.clone();
        let at = bytes.windows(10).position(|bytes| bytes == b"exported\n\0").unwrap();
        bytes[at..at + 8].copy_from_slice(text);
        bytes
    };
    mark("own");
    let import = |change: &dyn Fn()| {
        let holder = Holder::of(&rig);
        let mut command = rig.program(&["import", &file_name]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("waiting for") {
            assert!(errors.read_line(&mut text).unwrap() > 0, "it did not wait: {text}");
        }
        change();
        holder.release();
        errors.read_to_string(&mut text).unwrap();
        (child.wait().unwrap().code(), text)
    };
    // What is there when it is read is imported, and under its own name.
    let (code, text) = import(&|| fs::write(&file, another(b"replaced")).unwrap());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(marked(), "replaced\n");
    fs::write(&file, &whole).unwrap();
    said(rig.program(&["import", &file_name])).assert_success();
    assert_eq!(marked(), "exported\n");
    mark("own");
    // From now on it has hashed the archive when it waits for the buildroot.
    fs::write(&file, another(b"whatever")).unwrap();
    let (code, text) = import(&|| {
        let mut file = fs::OpenOptions::new().append(true).open(&file).unwrap();
        file.write_all(b"more").unwrap();
    });
    assert_eq!(code, Some(ErrorKind::Buildroot.exit_code().into()), "{text}");
    assert!(text.contains("was changed while it was imported"), "{text}");
    assert_eq!(marked(), "own\n");
    // Another file of that name is none of its business.
    fs::remove_file(&file).unwrap();
    fs::write(&file, another(b"hereupon")).unwrap();
    let (code, text) = import(&|| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, "no archive").unwrap();
    });
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(marked(), "hereupon\n");
    rig.assert_nothing_lost();
}

#[test]
fn who_waits_for_a_layer_waits_no_longer_than_allowed() {
    let mut rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let file = rig.area.work().join("root.tar");
    let file_name = file.to_string_lossy().into_owned();
    said(rig.program(&["init"])).assert_success();
    said(rig.program(&["export", &file_name])).assert_success();
    let hash: [u8; 32] = Sha256::digest(fs::read(&file).unwrap()).into();
    let key = LayerKey::of("import", &[&hash]);
    let zone = Zone::open(&ZoneOptions {
        places: Places { cache: rig.area.cache(), state: rig.area.state() },
        mode: Mode::Userns,
        ids: host::choose_range(host::ROOT_RANGE).unwrap().ids(),
        program: host::find_helper(None).unwrap(),
        binds: Vec::new(),
    })
    .unwrap();
    let lock = format!("layer.{}", key.as_str());
    let held = zone.lock(&lock, true, None, &Scope::quiet()).unwrap();
    rig.set("lock_timeout = 1\n");
    let pid = format!("process {}", std::process::id());
    let refused = said(rig.program(&["import", &file_name]));
    refused.assert_refused(ErrorKind::Locked, &[&pid, &lock, "lock_timeout"]);
    drop(held);
    said(rig.program(&["import", &file_name])).assert_success();
}

#[test]
fn two_that_make_the_same_root_at_once_make_one_layer() {
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    let start = |name: &str| {
        let mut command = rig.program(&["--uniqueext", name, "init"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = ["a", "b", "c"].iter().map(|name| start(name)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(rig.layers(), 1);
    rig.assert_nothing_lost();
}

#[test]
fn a_damaged_record_of_a_buildroot_is_named_and_clean_mends_it() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let zones = fs::read_dir(rig.area.state().join("roots/v1")).unwrap().flatten();
    let record = zones.map(|zone| zone.path().join("tiny/base.json")).find(|p| p.exists()).unwrap();
    for bad in [
        "",
        "{",
        "\0\0\0\0",
        "{\"layer\": 5}",
        "{\"layer\":\"../../x\",\"origin\":\"import\",\"storage\":\"overlay\"}",
    ] {
        fs::write(&record, bad).unwrap();
        let refused = said(rig.program(&["init"]));
        if refused.code != Some(0) {
            refused.assert_refused(ErrorKind::Buildroot, &["tiny", "debmock"]);
        }
        said(rig.program(&["scrub", "chroot"])).assert_success();
        rig.assert_works();
    }
}

#[test]
fn a_layer_that_is_gone_from_under_a_buildroot_is_named_and_clean_mends_it() {
    or_skip!(machine::need_root());
    let rig = or_skip!(Rig::new(&or_skip!(tiny_archive())));
    rig.assert_works();
    let zones = fs::read_dir(rig.area.cache().join("layers/v1")).unwrap().flatten();
    for layer in zones.flat_map(|zone| fs::read_dir(zone.path()).unwrap().flatten()) {
        if layer.file_name().to_string_lossy().starts_with("base-") {
            fs::remove_dir_all(layer.path()).unwrap();
        }
    }
    let refused = said(rig.program(&["chroot", "--", "true"]));
    assert_eq!(refused.code, Some(125), "{}", refused.text);
    assert!(refused.text.contains("hint:"), "{}", refused.text);
    said(rig.program(&["clean"])).assert_success();
    rig.assert_works();
}
