//! Results: opened beneath the root, checked against the `.changes`.

use super::Source;
use super::prepare::Build;
use super::record::{BuildResult, FileHash};
use super::results::{RESERVED, Results};
use crate::archive::checksum::{Hasher, Sha256};
use crate::archive::deb822::Control;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use debmock_helper::sparse::{self, Stretch};
use std::fs::File;
use std::os::unix::fs::FileExt;
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
    scope: &Scope,
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
    let open = |file: &FileHash| -> Result<(File, u64)> {
        let path = format!("{}/{}", build.folder, file.name);
        session.open_file(&path).map_err(|error| {
            let doing = format!("cannot take {} out of the root", file.name);
            let cause = std::error::Error::source(&error)
                .and_then(|cause| cause.downcast_ref::<std::io::Error>());
            match cause.is_some_and(|cause| cause.raw_os_error() == Some(ELOOP)) {
                true => Error::new(ErrorKind::Build, format!("{doing}: it is a symbolic link")),
                false => error.with_kind(ErrorKind::Build).context(doing),
            }
        })
    };
    // Before anything is written: what is named may be larger than any disk.
    for file in &listed {
        scope.check()?;
        if open(file)?.1 != file.size {
            return Err(differs(file, &name));
        }
    }
    check_room(&listed, results.free()?, results.place())?;
    for file in &listed {
        let (input, _) = open(file)?;
        let to = results.aside(&file.name);
        copy_checked(&input, &to, file, &name, scope)?;
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

/// Refuses results that have no room at `place`, where so many bytes are free.
fn check_room(listed: &[FileHash], free: u64, place: &Path) -> Result<()> {
    let needed = listed.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    if needed <= free {
        return Ok(());
    }
    let place = place.display();
    let message = format!("the results have {needed} bytes, and {free} are free for {place}");
    Err(Error::new(ErrorKind::NoSpace, message)
        .with_hint("free some space there, or choose another directory with --resultdir"))
}

/// The error of a file that is another one than the `.changes` names.
fn differs(file: &FileHash, changes: &str) -> Error {
    Error::new(
        ErrorKind::Build,
        format!("{} is not the file that {changes} names: its size or hash differs", file.name),
    )
    .with_hint("the build changed it after the .changes was written")
}

/// Copies a file with its holes, and checks size and hash.
fn copy_checked(
    input: &File,
    to: &Path,
    file: &FileHash,
    changes: &str,
    scope: &Scope,
) -> Result<()> {
    let reading = || format!("cannot read {} of the root", file.name);
    let writing = || format!("cannot write {}", to.display());
    let output = File::create(to).doing(writing)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    while at < file.size {
        let (end, hole) = match sparse::stretch(input, at, file.size).doing(reading)? {
            Stretch::Hole(end) => (end, true),
            Stretch::Data(end) => (end, false),
            Stretch::End => return Err(differs(file, changes)),
        };
        if hole {
            buffer.fill(0);
        }
        while at < end {
            scope.check()?;
            let most = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let piece = &mut buffer[..most];
            let count = match hole {
                true => most,
                false => match input.read_at(piece, at) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    other => other.doing(reading)?,
                },
            };
            if count == 0 {
                return Err(differs(file, changes));
            }
            hasher.update(&piece[..count]);
            if !hole {
                output.write_all_at(&piece[..count], at).doing(writing)?;
            }
            at += count as u64;
        }
    }
    output.set_len(at).doing(writing)?;
    // A file that grows while it is read is not what the `.changes` speaks of.
    let size = input.metadata().doing(reading)?.len();
    match (hasher.finish(), size) == (file.sha256, file.size) {
        true => Ok(()),
        false => Err(differs(file, changes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{CancelToken, run};
    use std::os::unix::fs::MetadataExt;

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
            let input = File::open(&from).unwrap();
            copy_checked(&input, &folder.path().join("to"), &file, "x", &Scope::quiet())
        };
        copy(3, Sha256::of(b"abc")).unwrap();
        for (size, content) in [(2, &b"ab"[..]), (4, b"abcd"), (3, b"abd")] {
            assert!(copy(size, Sha256::of(content)).is_err());
        }
    }
    #[test]
    fn results_without_room_are_refused_before_they_are_copied() {
        let file = |size| FileHash { name: "a".into(), size, sha256: Sha256::of(b"") };
        check_room(&[file(3), file(4)], 7, Path::new("/results")).unwrap();
        for sizes in [[3, 5], [u64::MAX, u64::MAX]] {
            let error = check_room(&sizes.map(file), 7, Path::new("/results")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            assert!(error.to_string().contains("/results"), "{error}");
        }
    }

    #[test]
    fn a_result_with_a_hole_keeps_it_and_its_copy_can_be_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let size = 40 << 20;
        let input = File::options().read(true).write(true).create_new(true).open(&from).unwrap();
        input.set_len(size).unwrap();
        input.write_all_at(b"end", size - 3).unwrap();
        let (sha256, _) = Sha256::of_file(&from).unwrap();
        let file = FileHash { name: "a".into(), size, sha256 };
        copy_checked(&input, &to, &file, "x", &Scope::quiet()).unwrap();
        assert_eq!(Sha256::of_file(&to).unwrap(), (sha256, size));
        assert!(std::fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
        // One that would take for ever.
        input.set_len(1 << 42).unwrap();
        let file = FileHash { size: 1 << 42, ..file };
        let cancel = CancelToken::new();
        let ours = cancel.clone();
        let error = run(
            cancel,
            |_| {},
            |scope| {
                ours.cancel();
                copy_checked(&input, &to, &file, "x", scope)
            },
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
