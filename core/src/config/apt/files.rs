//! How apt's files are found and read: hostile or odd ones become warnings, never failures.

use crate::config::Warning;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file of apt's configuration that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// The files of a directory of parts, in apt's order, that have one of these extensions (`""`:
/// none) and a name of letters, digits and `_-.` only.
pub(crate) fn parts(dir: &Path, extensions: &[&str], warnings: &mut Vec<Warning>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warnings.push(Warning::new(format!("cannot list {}: {error}", dir.display())));
            return Vec::new();
        }
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        plain && !name.starts_with('.') && extensions.contains(&extension)
    });
    names.sort_unstable();
    names.into_iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}

/// A file's text; bytes that are not UTF-8 are replaced. The error is a sentence.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("{} is longer than {LONGEST} bytes", path.display()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
