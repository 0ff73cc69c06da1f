//! Results: opened beneath the root, checked against the `.changes`.

use super::Source;
use super::prepare::Build;
use super::record::{BuildResult, FileHash};
use super::results::{RESERVED, Results};
use crate::archive::checksum::{Hashing, Sha256};
use crate::archive::deb822::Control;
use crate::error::{Error, ErrorKind, IoContext, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Largest `.changes` that is accepted, in bytes.
const CHANGES: u64 = 16 * 1024 * 1024;

/// A symbolic link where none is followed.
const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

/// Copies the results of a build to the host; their paths there.
pub(super) fn collect(
    build: &Build<'_>,
    source: &Source,
    results: &Results,
    record: &mut BuildResult,
) -> Result<Vec<PathBuf>> {
    let own = &build.workshop.archive.architecture;
    let architecture = build.options.build_type.changes_architecture(own);
    let name = format!("{}_{}_{architecture}.changes", source.name, build.version.without_epoch());
    let unusable = |error: Error| {
        error.with_kind(ErrorKind::Build).context(format!("the build made no usable {name}"))
    };
    let session = build.workshop.session;
    let path = format!("{}/{name}", build.folder);
    let text = session.read_file(&path, CHANGES).map_err(unusable)?;
    let control = Control::parse(&text, &name).map_err(unusable)?;
    let listed = listed(&control, &name)?;
    let mut paths = Vec::new();
    for file in &listed {
        let path = format!("{}/{}", build.folder, file.name);
        let (input, _) = session.open_file(&path).map_err(|error| {
            let doing = format!("cannot take {} out of the root", file.name);
            let cause = std::error::Error::source(&error)
                .and_then(|cause| cause.downcast_ref::<std::io::Error>());
            match cause.is_some_and(|cause| cause.raw_os_error() == Some(ELOOP)) {
                true => Error::new(ErrorKind::Build, format!("{doing}: it is a symbolic link")),
                false => error.with_kind(ErrorKind::Build).context(doing),
            }
        })?;
        let to = results.aside(&file.name);
        copy_checked(input, &to, file, &name)?;
        paths.push(to);
    }
    let to = results.aside(&name);
    std::fs::write(&to, &text).doing(|| format!("cannot write {}", to.display()))?;
    paths.push(to);
    let is_info = |file: &&FileHash| file.name.ends_with(".buildinfo");
    record.buildinfo = listed.iter().find(is_info).map(|file| file.name.clone());
    record.changes = Some(name.clone());
    record.outputs = listed;
    let (size, sha256) = (text.len() as u64, Sha256::of(&text));
    record.outputs.push(FileHash { name, size, sha256 });
    Ok(paths)
}

/// The files that a `.changes` names. Only plain names are accepted.
fn listed(control: &Control, changes: &str) -> Result<Vec<FileHash>> {
    let bad = |why: String| Error::new(ErrorKind::Build, format!("{changes} {why}"));
    let table = control
        .get("Checksums-Sha256")
        .ok_or_else(|| bad("has no field Checksums-Sha256".into()))?;
    let mut files: Vec<FileHash> = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [sha256, size, name] = words[..] else {
            return Err(bad(format!("has a line that is not understood: {line:?}")));
        };
        let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._~%".contains(&c));
        let (Some(sha256), Ok(size), true) =
            (Sha256::parse_hex(sha256.as_bytes()), size.parse(), plain)
        else {
            return Err(bad(format!("names {name:?}, which is not a file of the build directory")));
        };
        let taken = RESERVED.contains(&name) || name == changes;
        if taken || files.iter().any(|file| file.name == name) {
            return Err(bad(format!("names {name:?}, which is taken")));
        }
        files.push(FileHash { name: name.to_owned(), size, sha256 });
    }
    Ok(files)
}

fn copy_checked(mut input: File, to: &Path, file: &FileHash, changes: &str) -> Result<()> {
    let doing = || format!("cannot write {}", to.display());
    let mut output = Hashing::new(File::create(to).doing(doing)?);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match input.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.doing(|| format!("cannot read {} of the root", file.name))?,
        };
        // A file that grows while it is read is not what the `.changes` speaks of.
        if count == 0 || output.count() + count as u64 > file.size {
            let (_, sha256, size) = output.finish();
            return match count == 0 && (sha256, size) == (file.sha256, file.size) {
                true => Ok(()),
                false => Err(Error::new(
                    ErrorKind::Build,
                    format!(
                        "{} is not the file that {changes} names: its size or hash differs",
                        file.name
                    ),
                )
                .with_hint("the build changed it after the .changes was written")),
            };
        }
        output.write_all(&buffer[..count]).doing(doing)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Result<Vec<FileHash>> {
        let text = format!("Checksums-Sha256:{}\n", lines.replace('H', &"0".repeat(64)));
        listed(&Control::parse(text.as_bytes(), "x").unwrap(), "x.changes")
    }

    #[test]
    fn only_plain_names_are_taken() {
        assert_eq!(of("\n H 3 a_1+b~c_all.deb").unwrap()[0].size, 3);
        for bad in [
            "\n H 3 ../a",
            "\n H 3 /etc/passwd",
            "\n H 3 .hidden",
            "\n H 3 build.log",
            "\n H 3 x.changes",
            "\n H 3 a\n H 3 a",
            "\n H x a",
            "\n 00 3 a",
            "\n H 3",
        ] {
            assert_eq!(of(bad).unwrap_err().kind(), ErrorKind::Build, "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_not_what_the_changes_say_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::write(&from, "abc").unwrap();
        let copy = |size, sha256| {
            let file = FileHash { name: "a".into(), size, sha256 };
            copy_checked(File::open(&from).unwrap(), &folder.path().join("to"), &file, "x")
        };
        copy(3, Sha256::of(b"abc")).unwrap();
        for (size, content) in [(2, &b"ab"[..]), (4, b"abcd"), (3, b"abd")] {
            assert!(copy(size, Sha256::of(content)).is_err());
        }
    }
}
