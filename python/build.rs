//! Builds the helper that the wheel carries.
//!
//! maturin packs the module only, so the helper is built here, by another cargo, and maturin takes
//! it from OUT_DIR (`[tool.maturin] include` in pyproject.toml). That happens only when a module to
//! be imported is built, which maturin says with `PYO3_BUILD_EXTENSION_MODULE`, as setuptools-rust
//! does; plain cargo builds of the workspace do not set it, and make the helper once, as a member.
//!
//! Both ends are of one build: the build id is a hash of the helper's sources, and both compile the
//! same ones.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As PyO3 reads it: set and not empty.
const SWITCH: &str = "PYO3_BUILD_EXTENSION_MODULE";

const NAME: &str = "debmock-helper";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed={SWITCH}");
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os(SWITCH).is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    let workspace = folder("CARGO_MANIFEST_DIR")?.join("..");
    for source in ["helper/src", "helper/build.rs", "helper/Cargo.toml", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo:rerun-if-changed={}", workspace.join(source).display());
    }
    let out = folder("OUT_DIR")?;
    let program = build(&workspace, &out.join("target"))?;
    fs::copy(&program, out.join(NAME))
        .map_err(|error| format!("cannot copy {}: {error}", program.display()))?;
    Ok(())
}

/// Builds the helper with every optimisation, whatever the profile of the module is: it unpacks,
/// compresses and hashes. A target directory of its own, since this one is locked. Which program
/// it is.
fn build(workspace: &Path, target: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("cargo did not say where it is")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "--package", NAME, "--bin", NAME, "--target-dir"])
        .arg(target)
        // it is built once and never edited; and nobody needs its symbols
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        // clippy's, when it is what builds
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    // the same versions as in the module
    if workspace.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    let mut results = target.to_owned();
    let (host, wanted) = (env::var("HOST")?, env::var("TARGET")?);
    if host != wanted {
        cargo.args(["--target", &wanted]);
        results.push(wanted);
    }
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo cannot build {NAME}: {status}").into());
    }
    Ok(results.join("release").join(NAME))
}

fn folder(variable: &str) -> Result<PathBuf, Box<dyn Error>> {
    Ok(env::var_os(variable).ok_or_else(|| format!("cargo did not set {variable}"))?.into())
}
