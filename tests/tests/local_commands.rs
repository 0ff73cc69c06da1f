//! Nothing that the command line can do is missing from C and Python.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use debmock_tests::machine::{self, run, workspace};

/// Each command, the functions of `debmock.h` that do the same, and those of the Python package.
const COMMANDS: [(&str, &[&str], &[&str]); 22] = [
    ("init", &["debmock_init", "debmock_init_start"], &["Buildroot.init", "Buildroot.start_init"]),
    (
        "clean",
        &["debmock_clean", "debmock_clean_start"],
        &["Buildroot.clean", "Buildroot.start_clean"],
    ),
    (
        "scrub",
        &["debmock_scrub", "debmock_scrub_start"],
        &["Buildroot.scrub", "Buildroot.start_scrub"],
    ),
    (
        "snapshot",
        &["debmock_snapshot", "debmock_snapshot_start"],
        &["Buildroot.snapshot", "Buildroot.start_snapshot"],
    ),
    (
        "rollback",
        &["debmock_rollback", "debmock_rollback_start"],
        &["Buildroot.rollback", "Buildroot.start_rollback"],
    ),
    (
        "remove-snapshot",
        &["debmock_remove_snapshot", "debmock_remove_snapshot_start"],
        &["Buildroot.remove_snapshot", "Buildroot.start_remove_snapshot"],
    ),
    (
        "list-snapshots",
        &["debmock_list_snapshots", "debmock_list_snapshots_start"],
        &["Buildroot.list_snapshots", "Buildroot.start_list_snapshots"],
    ),
    (
        "shell",
        &["debmock_session_spawn_terminal", "debmock_process_terminal", "debmock_process_resize"],
        &["Session.popen", "Process.resize"],
    ),
    (
        "chroot",
        &[
            "debmock_session_open",
            "debmock_session_run",
            "debmock_session_run_start",
            "debmock_session_spawn",
            "debmock_process_signal",
            "debmock_process_wait",
        ],
        &[
            "Buildroot.session",
            "Session.run",
            "Session.start_run",
            "Session.popen",
            "Process.send_signal",
            "Process.wait",
        ],
    ),
    (
        "rebuild",
        &["debmock_rebuild", "debmock_rebuild_start"],
        &["Buildroot.rebuild", "Buildroot.start_rebuild"],
    ),
    (
        "installdeps",
        &["debmock_install_dependencies", "debmock_install_dependencies_start"],
        &["Buildroot.installdeps", "Buildroot.start_installdeps"],
    ),
    (
        "install",
        &["debmock_install", "debmock_install_start"],
        &["Buildroot.install", "Buildroot.start_install"],
    ),
    (
        "remove",
        &["debmock_remove", "debmock_remove_start"],
        &["Buildroot.remove", "Buildroot.start_remove"],
    ),
    (
        "update",
        &["debmock_update", "debmock_update_start"],
        &["Buildroot.update", "Buildroot.start_update"],
    ),
    ("apt-cmd", &["debmock_apt", "debmock_apt_start"], &["Buildroot.apt", "Buildroot.start_apt"]),
    (
        "copyin",
        &["debmock_session_copy_in", "debmock_session_copy_in_start"],
        &["Session.copy_in", "Session.start_copy_in"],
    ),
    (
        "copyout",
        &["debmock_session_copy_out", "debmock_session_copy_out_start"],
        &["Session.copy_out", "Session.start_copy_out"],
    ),
    (
        "export",
        &["debmock_export", "debmock_export_start"],
        &["Buildroot.export", "Buildroot.start_export"],
    ),
    (
        "import",
        &["debmock_import", "debmock_import_start"],
        &["Buildroot.import_", "Buildroot.start_import"],
    ),
    (
        "list",
        &["debmock_list", "debmock_list_start", "debmock_configs", "debmock_configs_start"],
        &["Buildroot.list", "Buildroot.start_list", "configs"],
    ),
    (
        "config",
        &["debmock_config_new", "debmock_config_load", "debmock_config_json"],
        &["Config.load", "Config.default", "Config.from_dict", "Config.settings"],
    ),
    ("doctor", &["debmock_doctor", "debmock_doctor_start"], &["doctor"]),
];

#[test]
fn every_command_has_its_functions_in_c() {
    let help = run(Command::new(machine::debmock()).arg("--help"));
    let commands: BTreeSet<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, ..)| *command).collect();
    assert_eq!(commands, known, "a command without functions, or the other way round");
    let header = fs::read_to_string(workspace().join("include/debmock.h")).unwrap();
    for (command, functions, _) in COMMANDS {
        for function in functions {
            assert!(header.contains(&format!("{function}(")), "{command}: {function} is missing");
        }
    }
}

/// The names that the package and its classes define, as `Class.method` and `function`.
fn python_names(asyncio: bool) -> BTreeSet<String> {
    let folder = workspace().join("python/debmock").join(if asyncio { "aio" } else { "" });
    let mut names = BTreeSet::new();
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let mut class = String::new();
        for line in text.lines() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = |rest: &str| rest.split(|c| !is_name(c)).next().unwrap_or("").to_owned();
            let definition = line.trim_start().trim_start_matches("async ").strip_prefix("def ");
            if let Some(rest) = line.strip_prefix("class ") {
                class = name(rest);
                bases.push((class.clone(), rest[class.len()..].to_owned()));
            } else if let Some(rest) = definition {
                match line.starts_with("    ") {
                    true => names.insert(format!("{class}.{}", name(rest))),
                    false => names.insert(name(rest)),
                };
            }
        }
    }
    // what Buildroot and Session have in common
    let inherited: Vec<String> =
        names.iter().filter_map(|name| name.strip_prefix("Work.")).map(str::to_owned).collect();
    for (class, _) in bases.iter().filter(|(_, bases)| bases.starts_with("(Work)")) {
        names.extend(inherited.iter().map(|name| format!("{class}.{name}")));
    }
    names
}

#[test]
fn every_command_has_its_functions_in_python() {
    let (blocking, asyncio) = (python_names(false), python_names(true));
    for (command, _, functions) in COMMANDS {
        for function in functions {
            assert!(blocking.contains(*function), "{command}: {function} is missing");
            // configs are loaded in no time
            if !function.starts_with("Config.") {
                assert!(asyncio.contains(*function), "{command}: aio.{function} is missing");
            }
        }
    }
}
