//! `libdebmock` as programs in C and C++ see it: installed into a prefix, found by pkg-config, on
//! the tiny distribution.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debmock_tests::deb::Deb;
use debmock_tests::machine::{Skip, run, workspace};
use debmock_tests::or_skip;
use debmock_tests::oracle;
use debmock_tests::prefix::{Prefix, Way};
use debmock_tests::rig::{self, Rig};

/// Every program that runs on the tiny distribution.
const PROGRAMS: [&str; 7] = ["init_run", "errors", "cancel", "two", "streams", "day", "fork"];

/// A tiny archive with a package more, and an installation.
fn installed() -> Result<(Rig, Prefix), Skip> {
    let rig = rig()?;
    let prefix = Prefix::install(&rig.area.path().join("prefix"), None)?;
    Ok((rig, prefix))
}

fn rig() -> Result<Rig, Skip> {
    let greeting = Deb::new("greeting", "1.0", "all").file("/srv/greeting", 0o644, "hello\n");
    Rig::new(&rig::tiny_archive()?.deb(greeting.build()))
}

/// The command of a program on that rig, below `runner`. The helper is not told by anybody.
fn command(rig: &Rig, runner: &[&str], program: &Path) -> Command {
    let mut command = match runner {
        [] => rig.area.command(program),
        [runner, arguments @ ..] => {
            let mut command = rig.area.command(runner);
            command.args(arguments).arg(program);
            command
        }
    };
    let folder = rig.area.work().join("folder");
    fs::create_dir_all(&folder).unwrap();
    command.env_remove("DEBMOCK_HELPER").arg(rig.config_file());
    command.arg(rig.area.cache()).arg(rig.area.state());
    if program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("day")) {
        command.arg("greeting").arg(folder);
    }
    command
}

fn assert_runs(rig: &Rig, runner: &[&str], program: &Path) {
    let said = run(&mut command(rig, runner, program));
    assert_eq!(said.lines().last(), Some("ok"), "{}:\n{said}", program.display());
    rig.area.assert_nothing_left();
}

fn run_all(rig: &Rig, prefix: &Prefix, way: Way, runner: &[&str]) {
    for name in PROGRAMS {
        let program = prefix.compile(name, way, &rig.area.work());
        assert_runs(rig, runner, &program);
        scrub(rig, prefix);
    }
}

/// Removes the buildroots, with the installed command line: each program makes its own anew.
fn scrub(rig: &Rig, prefix: &Prefix) {
    for name in ["c", "one", "two", "order", "day"] {
        let mut command = rig.area.command(prefix.path().join("bin/debmock"));
        command.env_remove("DEBMOCK_HELPER").arg("-r").arg(rig.config_file());
        run(command.args(["--uniqueext", name, "scrub", "chroot"]));
    }
}

#[test]
fn programs_in_c_work_with_the_shared_library() {
    let (rig, prefix) = or_skip!(installed());
    run_all(&rig, &prefix, Way::C, &[]);
}

#[test]
fn programs_in_cxx_work_with_the_static_library() {
    let (rig, prefix) = or_skip!(installed());
    // it says nothing of its own place: the helper is found from the program in PATH
    let path = format!("PATH={}/bin:/usr/bin:/bin", prefix.path().display());
    run_all(&rig, &prefix, Way::CXX_STATIC, &["env", &path]);
}

#[test]
fn nothing_leaks_and_nothing_invalid_is_touched_under_valgrind() {
    or_skip!(oracle::need("valgrind"));
    let (rig, prefix) = or_skip!(installed());
    let valgrind = [
        "valgrind",
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect",
        "--show-leak-kinds=definite,indirect",
        "--child-silent-after-fork=yes",
    ];
    run_all(&rig, &prefix, Way::C, &valgrind);
}

#[test]
fn nothing_leaks_and_nothing_invalid_is_touched_under_address_sanitizer() {
    let (rig, prefix) = or_skip!(installed());
    run_all(&rig, &prefix, Way::SANITIZED, &[]);
}

#[test]
fn the_program_of_the_guide_compiles() {
    let (rig, prefix) = or_skip!(installed());
    let guide = fs::read_to_string(workspace().join("docs/c.md")).unwrap();
    let (_, program) = guide.split_once("```c\n").expect("the guide has a program");
    let (program, _) = program.split_once("```").expect("the program ends");
    let source = rig.area.work().join("guide.c");
    fs::write(&source, program).unwrap();
    prefix.compile_file(&source, Way::C, &rig.area.work().join("guide"));
}

/// Names and versions of the symbols that a library defines for others.
fn exported(library: &Path) -> BTreeSet<(String, String)> {
    let said = run(Command::new("objdump").arg("-T").arg(library));
    said.lines()
        .filter(|line| line.contains("\t") && !line.contains("*UND*"))
        .map(|line| {
            let mut words = line.split_whitespace().rev();
            let name = words.next().unwrap_or_default().to_owned();
            (name, words.next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The functions that the header declares, as the list of symbols has them.
fn declared() -> BTreeSet<String> {
    let map = fs::read_to_string(workspace().join("ffi/libdebmock.map")).unwrap();
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';'));
    names.filter(|name| name.starts_with("debmock_")).map(str::to_owned).collect()
}

#[test]
fn each_symbol_has_a_version_and_no_other_is_exported() {
    let (_rig, prefix) = or_skip!(installed());
    let mut exported = exported(&prefix.shared());
    // the version itself is a symbol, too
    exported.retain(|(name, _)| name != "DEBMOCK_0.1");
    for (name, version) in &exported {
        assert_eq!(version, "DEBMOCK_0.1", "{name}");
    }
    let names: BTreeSet<String> = exported.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, declared());
    let said = run(Command::new("objdump").arg("-p").arg(prefix.shared()));
    assert!(said.contains("libdebmock.so.0\n"), "{said}");

    let archive = prefix.path().join("lib/libdebmock.a");
    let said = run(Command::new("nm").args(["-g", "--defined-only"]).arg(archive));
    let globals: BTreeSet<String> = said
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .filter(|name| !name.starts_with("DW.ref."))
        .map(str::to_owned)
        .collect();
    assert_eq!(globals, declared());
}

#[test]
fn a_library_directory_of_the_multiarch_kind_finds_the_helper_too() {
    let rig = or_skip!(rig());
    let path = rig.area.path().join("prefix");
    let libdir = path.join("lib/some-machine");
    let prefix = or_skip!(Prefix::install(&path, Some(&libdir)));
    let config = run(Command::new("pkg-config")
        .env("PKG_CONFIG_PATH", libdir.join("pkgconfig"))
        .args(["--variable=helper", "debmock"]));
    assert!(Path::new(config.trim()).is_file(), "{config}");
    let program: PathBuf = rig.area.work().join("init_run");
    run(Command::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-I"])
        .arg(prefix.path().join("include"))
        .arg(workspace().join("tests/c/init_run.c"))
        .arg("-o")
        .arg(&program)
        .arg(libdir.join("libdebmock.so"))
        .arg(format!("-Wl,-rpath,{}", libdir.display())));
    assert_runs(&rig, &[], &program);
}
