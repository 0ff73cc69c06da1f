//! Finding the helper program.

use crate::error::{Error, ErrorKind, Result};
use debmock_helper::protocol::Program;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "debmock-helper";

/// The helper: `explicit` if given, else `DEBMOCK_HELPER`, else next to the loaded library, package
/// or program, else in the usual libexec directories, else in `PATH` or in the prefix of a `debmock`
/// in it.
///
/// It must be a real file: Ubuntu's AppArmor grants user namespaces by path.
pub fn find_helper(explicit: Option<&Program>) -> Result<Program> {
    if let Some(program) = explicit {
        return Ok(program.clone());
    }
    if let Some(path) = env::var_os("DEBMOCK_HELPER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if is_program(&path) {
            Ok(program(path))
        } else {
            Err(Error::new(
                ErrorKind::Helper,
                format!("DEBMOCK_HELPER names {}, which is no executable file", path.display()),
            )
            .with_hint("unset it, or set it to the path of debmock-helper"))
        };
    }
    let mut places = Vec::new();
    for folder in own_folders() {
        places.push(folder.join(NAME));
        places.push(folder.join("_libexec").join(NAME));
        places.push(folder.join("../libexec/debmock").join(NAME));
        places.push(folder.join("../../libexec/debmock").join(NAME));
    }
    if let Some(folder) = option_env!("DEBMOCK_LIBEXECDIR") {
        places.push(Path::new(folder).join(NAME));
    }
    for prefix in ["/usr", "/usr/local"] {
        places.push(Path::new(prefix).join("libexec/debmock").join(NAME));
    }
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        places.push(folder.join(NAME));
        // A program with the library in it does not know the prefix that this came from, but the
        // installed command line stands for it.
        if is_program(&folder.join("debmock")) {
            places.push(folder.join("../libexec/debmock").join(NAME));
        }
    }
    places.into_iter().find(|path| is_program(path)).map(program).ok_or_else(|| {
        Error::new(ErrorKind::Helper, "the program debmock-helper was not found")
            .with_hint("install it next to the library, or set DEBMOCK_HELPER to its path")
    })
}

fn program(path: PathBuf) -> Program {
    Program { path, arguments: Vec::new() }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Folders of the files that this code may have been loaded from: the running program, and each
/// mapped file whose name tells that it carries debmock (a C library or Python module in somebody
/// else's process).
fn own_folders() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in fs::read("/proc/self/maps").unwrap_or_default().split(|&byte| byte == b'\n') {
        if let Some(start) = line.iter().position(|&byte| byte == b'/') {
            let path = Path::new(OsStr::from_bytes(&line[start..]));
            let name = path.file_name().unwrap_or_default().as_bytes();
            let ours = name.starts_with(b"libdebmock") || name.starts_with(b"_native");
            if ours && !files.iter().any(|known: &PathBuf| known == path) {
                files.push(path.to_owned());
            }
        }
    }
    files.extend(env::current_exe().ok());
    files.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect()
}
