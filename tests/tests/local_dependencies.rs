//! What the build may depend on: a C compiler, and nothing else of the host.

use std::collections::BTreeSet;
use std::process::Command;

use debmock_tests::machine::{run, workspace};

/// Lines of `cargo tree` with these arguments: one for each package, in this format.
fn tree(arguments: &[&str], format: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = run(Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--no-dedupe", "--prefix", "none", "--format", format])
        .args(arguments)
        .current_dir(workspace()));
    tree.lines().map(str::to_string).collect()
}

/// Names of packages.
fn packages(arguments: &[&str]) -> BTreeSet<String> {
    let lines = tree(arguments, "{p}");
    lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
}

#[test]
fn build_needs_no_foreign_library_or_tool() {
    let packages = packages(&["--workspace", "--edges", "normal,build"]);
    assert!(packages.contains("debmock") && packages.contains("liblzma-sys"), "{packages:?}");
    let foreign = ["aws-lc-sys", "openssl-sys", "bindgen", "cmake", "nettle-sys", "curl-sys"];
    let found: Vec<_> = foreign.iter().filter(|name| packages.contains(**name)).collect();
    assert!(found.is_empty(), "these need more than a C compiler: {found:?}");
}

#[test]
fn helper_has_no_network_openpgp_solver_or_argument_parser() {
    let packages = packages(&["-p", "debmock-helper", "--edges", "normal"]);
    for name in ["ureq", "rustls", "sequoia-openpgp", "clap", "debmock"] {
        assert!(!packages.contains(name), "debmock-helper depends on {name}");
    }
}

/// Otherwise `tests/run` and whoever makes a wheel in a clone compile OpenPGP twice.
#[test]
fn wheel_shares_the_compiled_dependencies_of_the_workspace() {
    let format = "{p} with {f}";
    let workspace = tree(&["--workspace", "--edges", "normal,build,dev"], format);
    let wheel = tree(&["-p", "debmock-python", "--edges", "normal,build"], format);
    let other: Vec<_> = wheel.difference(&workspace).collect();
    assert!(
        other.is_empty(),
        "the whole workspace has other features of these; name them in python/Cargo.toml: {other:?}"
    );
}
