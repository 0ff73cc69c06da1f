//! Nothing that the command line can do is missing from C.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use debmock_tests::machine::{self, run, workspace};

/// Each command, and the functions of `debmock.h` that do the same.
const COMMANDS: [(&str, &[&str]); 22] = [
    ("init", &["debmock_init", "debmock_init_start"]),
    ("clean", &["debmock_clean", "debmock_clean_start"]),
    ("scrub", &["debmock_scrub", "debmock_scrub_start"]),
    (
        "shell",
        &["debmock_session_spawn_terminal", "debmock_process_terminal", "debmock_process_resize"],
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
    ),
    ("rebuild", &["debmock_rebuild", "debmock_rebuild_start"]),
    ("installdeps", &["debmock_install_dependencies", "debmock_install_dependencies_start"]),
    ("install", &["debmock_install", "debmock_install_start"]),
    ("remove", &["debmock_remove", "debmock_remove_start"]),
    ("update", &["debmock_update", "debmock_update_start"]),
    ("apt-cmd", &["debmock_apt", "debmock_apt_start"]),
    ("copyin", &["debmock_session_copy_in", "debmock_session_copy_in_start"]),
    ("copyout", &["debmock_session_copy_out", "debmock_session_copy_out_start"]),
    ("export", &["debmock_export", "debmock_export_start"]),
    ("import", &["debmock_import", "debmock_import_start"]),
    ("snapshot", &["debmock_snapshot", "debmock_snapshot_start"]),
    ("rollback", &["debmock_rollback", "debmock_rollback_start"]),
    ("remove-snapshot", &["debmock_remove_snapshot", "debmock_remove_snapshot_start"]),
    ("list-snapshots", &["debmock_list_snapshots", "debmock_list_snapshots_start"]),
    ("list", &["debmock_list", "debmock_list_start", "debmock_configs", "debmock_configs_start"]),
    ("config", &["debmock_config_new", "debmock_config_load", "debmock_config_json"]),
    ("doctor", &["debmock_doctor", "debmock_doctor_start"]),
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
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(commands, known, "a command without functions, or the other way round");
    let header = fs::read_to_string(workspace().join("include/debmock.h")).unwrap();
    for (command, functions) in COMMANDS {
        for function in functions {
            assert!(header.contains(&format!("{function}(")), "{command}: {function} is missing");
        }
    }
}
