//! `include/debmock.h` and the list of exported symbols are what the sources say.
//!
//! With `DEBMOCK_REWRITE=1` in its environment the first test writes the header instead.

#![expect(clippy::unwrap_used, reason = "what the tests share fails as they do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files with the interface, in the order of the header.
const FILES: [&str; 15] = [
    "status",
    "error",
    "cancel",
    "config",
    "event",
    "result",
    "operation",
    "buildroot",
    "lifecycle",
    "snapshot",
    "packages",
    "rebuild",
    "session",
    "run",
    "process",
];
const LAST: &str = "doctor";
/// Files without any function or type for C.
const INNER: [&str; 4] = ["border", "lib", "options", "text"];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    crate_dir().join("../include/debmock.h")
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    let files = FILES.iter().chain([&LAST]);
    let builder = files.fold(cbindgen::Builder::new().with_config(config), |builder, file| {
        builder.with_src(crate_dir().join(format!("src/{file}.rs")))
    });
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The names of the functions that a text of C declares.
fn functions(header: &str) -> BTreeSet<&str> {
    let names = header.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let called = |name: &str| {
        let end = name.as_ptr() as usize - header.as_ptr() as usize + name.len();
        header[end..].starts_with('(')
    };
    names.filter(|name| name.starts_with("debmock_") && called(name)).collect()
}

#[test]
fn the_header_is_current() {
    let header = generated();
    if std::env::var_os("DEBMOCK_REWRITE").is_some() {
        fs::write(header_path(), &header).unwrap();
    }
    assert!(
        read(&header_path()) == header,
        "include/debmock.h is not what the sources say; DEBMOCK_REWRITE=1 cargo test -p debmock-ffi writes it"
    );
}

#[test]
fn every_file_is_in_the_header_or_has_nothing_for_it() {
    for entry in fs::read_dir(crate_dir().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if INNER.contains(&name) {
            assert!(!read(&path).contains("no_mangle"), "{name} belongs to FILES");
        } else {
            assert!(FILES.contains(&name) || name == LAST, "{name} belongs to FILES or INNER");
        }
    }
}

#[test]
fn every_function_is_exported_under_a_version_and_documented() {
    let header = generated();
    let functions = functions(&header);
    let map = read(&crate_dir().join("libdebmock.map"));
    let exported: BTreeSet<&str> = map
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';'))
        .filter(|name| name.starts_with("debmock_"))
        .collect();
    assert_eq!(exported, functions, "ffi/libdebmock.map lists what the header declares");
    let lines: Vec<&str> = header.lines().collect();
    for function in functions {
        let at = lines.iter().position(|line| line.contains(&format!("{function}("))).unwrap();
        let before = lines[..at].iter().rev().find(|line| !line.trim().is_empty()).unwrap();
        assert!(before.contains("*/"), "{function} has no comment");
    }
}
