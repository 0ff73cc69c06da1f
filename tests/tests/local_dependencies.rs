//! What the build may depend on: a C compiler, and nothing else of the host.

use std::collections::BTreeSet;
use std::process::Command;

use debmock_tests::machine::{run, workspace};

fn packages() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["tree", "--locked", "--offline", "--workspace", "--edges", "normal,build"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"])
        .current_dir(workspace());
    let tree = run(&mut command);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
}

#[test]
fn build_needs_no_foreign_library_or_tool() {
    let packages = packages();
    assert!(packages.contains("debmock") && packages.contains("liblzma-sys"), "{packages:?}");
    let foreign = ["aws-lc-sys", "openssl-sys", "bindgen", "cmake", "nettle-sys", "curl-sys"];
    let found: Vec<_> = foreign.iter().filter(|name| packages.contains(**name)).collect();
    assert!(found.is_empty(), "these need more than a C compiler: {found:?}");
}

#[test]
fn helper_has_no_network_openpgp_solver_or_argument_parser() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = run(Command::new(cargo)
        .args(["tree", "--locked", "--offline", "-p", "debmock-helper", "--edges", "normal"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"])
        .current_dir(workspace()));
    for name in ["ureq", "rustls", "sequoia-openpgp", "clap", "debmock"] {
        let found = tree.lines().any(|line| line.split(' ').next() == Some(name));
        assert!(!found, "debmock-helper depends on {name}");
    }
}
