//! The kit's users, areas, small disks and store of oracle outputs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use debmock_tests::area::{Area, SmallDisk, leftovers_of_this_test, nothing_within};
use debmock_tests::machine::{self, run};
use debmock_tests::user::User;
use debmock_tests::{or_skip, oracle, skip};

#[test]
fn users_have_the_sub_ids_that_they_are_asked_for() {
    or_skip!(machine::need_root());
    let with = or_skip!(User::with_sub_ids());
    let without = or_skip!(User::without_sub_ids());
    // the second call finds what the first made
    assert_eq!(User::with_sub_ids().unwrap(), with);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.lines().any(|l| l.starts_with("debmock-test:")), "{file}:\n{text}");
        assert!(!text.contains("debmock-test-plain:"), "{file}:\n{text}");
    }
    for user in [&with, &without] {
        assert_eq!(fs::metadata(&user.home).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    let map = "unshare --user --map-auto --map-root-user sh -c 'cat /proc/self/uid_map'";
    let said = run(with.command("sh").args(["-c", map]));
    assert!(said.lines().any(|l| l.trim().ends_with("65536") || l.trim().ends_with("65535")));
}

#[test]
fn commands_of_users_have_a_clean_environment() {
    let user = if machine::is_root() { or_skip!(User::without_sub_ids()) } else { User::current() };
    let said = run(user.command("sh").args(["-c", "id -u; id -G; pwd; env; umask"]));
    assert!(said.starts_with(&format!("{}\n", user.uid)), "{said}");
    assert!(said.contains(&format!("\nHOME={}\n", user.home.display())), "{said}");
    assert!(!said.contains("XDG_") && !said.contains("CARGO"), "{said}");
}

#[test]
fn areas_belong_to_their_user_and_go_away() {
    let user = if machine::is_root() { or_skip!(User::with_sub_ids()) } else { User::current() };
    let area = Area::of(user.clone());
    let path = area.path().to_path_buf();
    let said = run(area.command("sh").args(["-c", "touch $DEBMOCK_CACHE_DIR/x; pwd"]));
    assert_eq!(Path::new(said.trim()), area.work());
    assert_eq!(fs::metadata(area.cache().join("x")).unwrap().uid(), user.uid);
    drop(area);
    assert!(!path.exists());
}

#[test]
fn processes_that_stay_behind_are_found() {
    let area = Area::new();
    assert!(area.leftovers().is_empty());
    let mut child = area.command("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    nothing_within(Duration::from_secs(5), || {
        // the mark is visible once the child has replaced its image
        if area.leftovers().is_empty() { vec!["not seen yet".into()] } else { Vec::new() }
    });
    assert!(area.leftovers()[0].contains("sleep 600"), "{:?}", area.leftovers());
    child.kill().unwrap();
    child.wait().unwrap();
    area.assert_nothing_left();
}

#[test]
fn processes_of_this_test_are_found_without_a_mark() {
    if std::env::var_os("NEXTEST_TEST_NAME").is_none() {
        skip!("only nextest names the running test to its processes");
    }
    assert!(leftovers_of_this_test().is_empty());
    let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    nothing_within(Duration::from_secs(5), || {
        let left = leftovers_of_this_test();
        let seen = left.iter().any(|l| l.contains("sleep 600"));
        if seen { Vec::new() } else { vec![format!("not seen yet, only {left:?}")] }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_within(Duration::from_secs(5), leftovers_of_this_test);
}

#[test]
fn a_small_disk_becomes_full_keeps_its_files_and_grows() {
    let user = if machine::is_root() { or_skip!(User::with_sub_ids()) } else { User::current() };
    let area = Area::of(user);
    let disk = or_skip!(SmallDisk::new(&area, 8));
    let fill = format!("head -c 20000000 /dev/zero > {}/big", disk.path().display());
    let output = disk.command(area.command("sh").args(["-c", &fill])).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("mount:") {
        skip!("a loop device cannot be mounted here: {}", said.trim());
    }
    assert!(said.contains("No space left on device"), "{said}");
    assert!(!disk.path().join("big").exists(), "the disk is visible outside");
    disk.grow(64);
    run(&mut disk.command(area.command("sh").args(["-c", &fill])));
    let size = format!("stat -c %s {}/big", disk.path().display());
    assert_eq!(run(&mut disk.command(area.command("sh").args(["-c", &size]))).trim(), "20000000");
}

#[test]
fn oracle_outputs_are_made_once_and_whole() {
    let area = Area::new();
    let made = AtomicU32::new(0);
    let inputs = [area.path().to_str().unwrap(), "1.0"];
    let make = |dir: &Path| {
        made.fetch_add(1, Ordering::SeqCst);
        fs::write(dir.join("out"), "result").unwrap();
    };
    let broken = std::panic::catch_unwind(|| {
        oracle::cached("kit", &inputs, |dir| {
            fs::write(dir.join("half"), "").unwrap();
            panic!("the oracle failed");
        })
    });
    assert!(broken.is_err());
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| oracle::cached("kit", &inputs, make));
        (oracle::cached("kit", &inputs, make), other.join().unwrap())
    });
    assert_eq!(first, second);
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert_eq!(fs::read_to_string(first.join("out")).unwrap(), "result");
    assert!(!first.join("half").exists());
    assert_ne!(oracle::cached("kit", &[inputs[0], "2.0"], make), first);
    for path in fs::read_dir(oracle::cache_dir()).unwrap().flatten() {
        if path.file_name().to_string_lossy().starts_with("kit-") {
            fs::remove_dir_all(path.path()).unwrap();
        }
    }
}

#[test]
fn skipped_tests_are_written_down() {
    let area = Area::new();
    let file = area.work().join("skipped");
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", "only_says_why", "--ignored", "--nocapture"])
        .env("DEBMOCK_SKIPPED", &file)
        .env_remove("NEXTEST_TEST_NAME")
        .env_remove("DEBMOCK_NO_SKIP")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("skipped: 2 reasons"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "only_says_why: 2 reasons\n");
}

#[test]
#[ignore = "run by skipped_tests_are_written_down"]
fn only_says_why() {
    skip!("{} reasons", 2);
}
