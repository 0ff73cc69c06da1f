//! A directory with an unpacked source.

use super::source::{Source, SourceFile};
use super::{Workshop, prepare};
use crate::archive::acquire::Acquire;
use crate::archive::checksum::Sha256;
use crate::archive::deb822::Control;
use crate::archive::index::find_source;
use crate::archive::source::fetch_source;
use crate::archive::version::Version;
use crate::config::builtin_keys;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files of `debian/` that are larger are refused, bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What a source directory holds that does not belong to the source.
pub(super) const NOT_SOURCE: &[&str] = &[".git", ".svn", ".hg", ".bzr", "CVS", "_darcs"];

/// Describes the source in the directory `path`, with its upstream tarballs: from the directory
/// above, else from the archive.
pub(super) fn describe(path: &Path, workshop: &Workshop<'_>, scope: &Scope) -> Result<Source> {
    let bad = |why: String| {
        Error::new(ErrorKind::Source, format!("cannot build {}: {why}", path.display()))
    };
    let absolute = fs::canonicalize(path).doing(|| format!("cannot find {}", path.display()))?;
    let changelog = read(&absolute.join("debian/changelog"))?;
    let (name, version) = prepare::title(&changelog)
        .ok_or_else(|| bad("the first entry of debian/changelog is not understood".into()))?;
    let version = Version::parse(version).map_err(|error| {
        bad("the version in debian/changelog is not understood".into()).with_source(error)
    })?;
    let control = read(&absolute.join("debian/control"))?;
    let mut paragraphs = Control::parse_many(control.as_bytes(), "debian/control")
        .map_err(|error| bad("debian/control cannot be used".into()).with_source(error))?;
    if paragraphs.is_empty() {
        return Err(bad("debian/control is empty".into()));
    }
    let control = paragraphs.swap_remove(0);
    if control.get("Source") != Some(name) {
        return Err(bad(format!(
            "debian/changelog is of {name}, debian/control of {}",
            control.get("Source").unwrap_or("nothing")
        )));
    }
    let format = format(&absolute)?;
    let files = match is_native(&format, &version) {
        true => Vec::new(),
        false => {
            let stem = format!("{name}_{}", version.upstream());
            let above = absolute.parent().unwrap_or(Path::new("/"));
            let mut files = tarballs(above, &stem)?;
            if files.is_empty() {
                files = from_archive(name, &version, &stem, workshop, scope)?;
            }
            files
        }
    };
    let files = files.into_iter().map(describe_file).collect::<Result<Vec<_>>>()?;
    let directory = Some(absolute);
    Ok(Source { name: name.to_owned(), version, control, format, files, directory })
}

fn read(path: &Path) -> Result<String> {
    let doing = || format!("cannot read {}", path.display());
    let source = |error: Error| match error.kind() {
        ErrorKind::Io => error
            .with_kind(ErrorKind::Source)
            .with_hint("the directory must have a debian/ with changelog and control in it"),
        _ => error,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).doing(doing).map_err(source)?;
    let count = file.take(LARGEST + 1).read_to_end(&mut bytes).doing(doing).map_err(source)?;
    if count as u64 > LARGEST {
        return Err(Error::new(ErrorKind::Source, format!("{} is too large", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The format of the source (`dpkg-source(1)`).
fn format(tree: &Path) -> Result<String> {
    let path = tree.join("debian/source/format");
    let format = match path.exists() {
        true => read(&path)?.trim().to_owned(),
        false => "1.0".into(),
    };
    match format.as_str() {
        "1.0" | "3.0 (native)" | "3.0 (quilt)" => Ok(format),
        other => Err(Error::new(
            ErrorKind::Source,
            format!("{} names the format {other:?}, which is not supported", path.display()),
        )
        .with_hint("supported are 1.0, 3.0 (quilt) and 3.0 (native)")),
    }
}

/// Whether there is no upstream tarball apart from the source.
fn is_native(format: &str, version: &Version) -> bool {
    match format {
        "1.0" => !version.as_str().contains('-'),
        other => other == "3.0 (native)",
    }
}

/// Whether `name` is an upstream tarball of `stem` (`NAME_VERSION`), or its signature.
fn is_tarball(name: &str, stem: &str) -> bool {
    let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix(".orig")) else {
        return false;
    };
    let rest = rest.strip_suffix(".asc").unwrap_or(rest);
    let Some((component, compression)) = rest.split_once(".tar.") else { return false };
    let plain = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let component = component.is_empty() || (component.starts_with('-') && plain(component));
    component && ["gz", "bz2", "xz", "lzma"].contains(&compression)
}

fn tarballs(folder: &Path, stem: &str) -> Result<Vec<PathBuf>> {
    let doing = || format!("cannot list {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing(doing)? {
        let path = entry.doing(doing)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_tarball(&name, stem) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The upstream tarballs that the archive has for the same upstream version.
fn from_archive(
    name: &str,
    version: &Version,
    stem: &str,
    workshop: &Workshop<'_>,
    scope: &Scope,
) -> Result<Vec<PathBuf>> {
    let acquire = Acquire {
        transport: workshop.transport,
        lists: workshop.lists,
        builtin_keys,
        parallel: workshop.parallel,
        scope,
    };
    let indexes = acquire.source_indexes(workshop.archive)?;
    let mut found = None;
    for wanted in [Some(version.as_str()), None] {
        match find_source(workshop.archive, &indexes, name, wanted) {
            Ok(entry) if entry.files.iter().any(|(file, ..)| is_tarball(file, stem)) => {
                found = Some(entry);
                break;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Source => {}
            Err(error) => return Err(error),
        }
    }
    let Some(entry) = found else {
        return Err(Error::new(
            ErrorKind::Source,
            format!("there is no {stem}.orig.tar.* beside the directory nor in the archive"),
        )
        .with_hint("put the upstream tarball into the directory above the source"));
    };
    let folder = workshop.sources.join(format!("{}_{}", entry.name, entry.version));
    fs::create_dir_all(&folder).doing(|| format!("cannot make {}", folder.display()))?;
    fetch_source(&entry, &folder, workshop.transport, scope)?;
    let names = entry.files.iter().map(|(file, ..)| file).filter(|file| is_tarball(file, stem));
    Ok(names.map(|file| folder.join(file)).collect())
}

fn describe_file(path: PathBuf) -> Result<SourceFile> {
    let (sha256, size) =
        Sha256::of_file(&path).doing(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceFile { name, path, size, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_tarballs_are_told_by_their_names() {
        for good in ["a_1.orig.tar.xz", "a_1.orig-data-2.tar.gz", "a_1.orig.tar.gz.asc"] {
            assert!(is_tarball(good, "a_1"), "{good}");
        }
        for bad in [
            "a_1.orig.tar",
            "a_1.1.orig.tar.xz",
            "a_1.origx.tar.xz",
            "a_1.debian.tar.xz",
            "a_1.orig.tar.xz.tmp",
        ] {
            assert!(!is_tarball(bad, "a_1"), "{bad}");
        }
    }

    #[test]
    fn formats_say_whether_there_is_an_upstream_tarball() {
        let tree = tempfile::tempdir().unwrap();
        let native = |version: &str| {
            format(tree.path()).map(|found| is_native(&found, &Version::parse(version).unwrap()))
        };
        assert!(native("1.0").unwrap() && !native("1.0-1").unwrap());
        fs::create_dir_all(tree.path().join("debian/source")).unwrap();
        let set = |text: &str| fs::write(tree.path().join("debian/source/format"), text).unwrap();
        set("3.0 (quilt)\n");
        assert!(!native("1.0-1").unwrap());
        set("3.0 (native)\n");
        assert!(native("1.0-1").unwrap());
        set("3.0 (git)\n");
        assert_eq!(native("1.0").unwrap_err().kind(), ErrorKind::Source);
    }
}
