//! `libdebmock` installed into a prefix, and C programs compiled against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{self, Skip, run};
use crate::oracle;

/// An installation of what cargo made, in a folder of its own.
#[derive(Debug)]
pub struct Prefix {
    path: PathBuf,
}

/// How a program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// As C++17 instead of C11.
    pub cxx: bool,
    /// With the static library instead of the shared one.
    pub fixed: bool,
    /// With AddressSanitizer.
    pub sanitized: bool,
}

impl Way {
    /// C11, shared.
    pub const C: Way = Way { cxx: false, fixed: false, sanitized: false };
    /// C++17, static.
    pub const CXX_STATIC: Way = Way { cxx: true, fixed: true, sanitized: false };
    /// C11, shared, with AddressSanitizer.
    pub const SANITIZED: Way = Way { cxx: false, fixed: false, sanitized: true };
}

impl Prefix {
    /// Installs into `path`, with the libraries in `libdir` if that is given.
    pub fn install(path: &Path, libdir: Option<&Path>) -> Result<Prefix, Skip> {
        for (program, package) in
            [("cc", "gcc"), ("g++", "g++"), ("objcopy", "binutils"), ("pkg-config", "pkgconf")]
        {
            oracle::need_from(program, package)?;
        }
        let mut install = Command::new(machine::workspace().join("ffi/install"));
        install.arg("--prefix").arg(path).arg("--target").arg(cargo_output());
        if let Some(libdir) = libdir {
            install.arg("--libdir").arg(libdir);
        }
        run(&mut install);
        Ok(Prefix { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The installed shared library.
    pub fn shared(&self) -> PathBuf {
        self.path.join("lib/libdebmock.so")
    }

    fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let said = run(Command::new("pkg-config")
            .env("PKG_CONFIG_PATH", self.path.join("lib/pkgconfig"))
            .args(arguments)
            .arg("debmock"));
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles a program of `tests/c` into `folder`, with every warning an error.
    pub fn compile(&self, name: &str, way: Way, folder: &Path) -> PathBuf {
        let program = folder.join(format!("{name}-{way:?}").replace([' ', ':', '{', '}', ','], ""));
        let source = machine::workspace().join(format!("tests/c/{name}.c"));
        self.compile_file(&source, way, &program);
        program
    }

    /// Compiles any file, with every warning an error.
    pub fn compile_file(&self, source: &Path, way: Way, program: &Path) {
        let mut compiler = Command::new(if way.cxx { "g++" } else { "cc" });
        compiler
            .args(if way.cxx { ["-std=c++17", "-xc++"] } else { ["-std=c11", "-xc"] })
            .args(["-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"])
            .args(self.pkg_config(&["--cflags"]))
            .arg(source)
            .args(["-xnone", "-o"])
            .arg(program);
        if way.sanitized {
            compiler.arg("-fsanitize=address");
        }
        if way.fixed {
            compiler.arg(self.path.join("lib/libdebmock.a"));
            let libraries = self.pkg_config(&["--static", "--libs"]);
            compiler.args(libraries.iter().filter(|library| *library != "-ldebmock"));
        } else {
            compiler.args(self.pkg_config(&["--libs"]));
            compiler.arg(format!("-Wl,-rpath,{}", self.path.join("lib").display()));
        }
        run(&mut compiler);
    }
}

/// Where cargo left the libraries and programs that this test was built with.
fn cargo_output() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
    let library = folder.join("libdebmock_ffi.a");
    assert!(
        fs::metadata(&library).is_ok(),
        "{} is missing: cargo build --release --workspace",
        library.display()
    );
    folder
}
