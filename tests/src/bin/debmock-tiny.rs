//! Makes the tiny distribution in a directory, for tests that are not written in Rust:
//! `debmock-tiny DIRECTORY` writes the archive and `tiny.toml`, a config for it.
//!
//! Beside the distribution there are a package `greeting`, the toolchain that builds sources, and
//! three sources: `good` builds, `bad` fails, and `slow` prints lines until it is stopped.

use debmock_tests::deb::Deb;
use debmock_tests::{machine, rig, toolchain};
use std::path::Path;

const SLOW: &str = "while true; do echo line; sleep 0.05; done";

fn main() {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("debmock-tiny DIRECTORY");
        std::process::exit(5);
    };
    let directory = Path::new(&directory);
    let tiny = match rig::tiny_archive() {
        Ok(tiny) => tiny,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(77);
        }
    };
    let now = machine::now();
    let greeting = Deb::new("greeting", "1.0", "all").file("/srv/greeting", 0o644, "hello\n");
    let archive = toolchain::add(tiny)
        .deb(greeting.build())
        .source(toolchain::source("good", "echo building; echo hello >debian/tmp/hello"))
        .source(toolchain::source("bad", "echo 'error: on purpose'; exit 7"))
        .source(toolchain::source("slow", SLOW))
        .date(now)
        .valid_until(Some(now + 7 * 86_400))
        .write(&directory.join("archive"));
    let config = format!(
        "distribution = \"tiny\"\nsuite = \"{}\"\nuse_host_apt = false\n{}\
         [[archives]]\nuri = \"{}\"\nsuites = \"{}\"\ncomponents = [\"main\"]\nsigned_by = \"{}\"\n",
        rig::SUITE,
        toolchain::SETTINGS,
        archive.uri(),
        rig::SUITE,
        archive.keyring.display(),
    );
    let path = directory.join("tiny.toml");
    std::fs::write(&path, config)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
