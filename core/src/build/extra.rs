//! Archives and packages that are named for one build.

use super::RebuildOptions;
use crate::archive::checksum::Sha256;
use crate::archive::state::NEW;
use crate::archive::uri;
use crate::archive::writer::{self, Indexed};
use crate::config::{self, ArchiveSource, ByHash, Config, Keyring};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::store::debs::Debs;
use debmock_helper::unpack::inspect;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The archives that `options` name besides those of the config: first one with the extra
/// packages, then the extra repositories.
///
/// The extra packages are copied into the store, so that what the caller does to the files later
/// has no effect. Their archive lies below `cache/extra/v1`, under the hash of its index.
///
/// # Errors
/// [`ErrorKind::Usage`] for a file that is missing or no package, and for a line that is no
/// archive.
pub fn extra_archives(
    options: &RebuildOptions,
    config: &Config,
    cache: &Path,
    debs: &Debs,
) -> Result<Vec<ArchiveSource>> {
    let mut archives = Vec::new();
    let files = package_files(&options.extra_packages)?;
    if !files.is_empty() {
        archives.push(archive_of(&files, cache, debs)?);
    }
    let (repositories, logins) = config::extra_repositories(&options.extra_repositories, config)?;
    if let Some(login) = logins.first() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("the extra repository at {} has a login in its URI", login.machine),
        )
        .with_hint("put the login into /etc/apt/auth.conf.d, which debmock reads as apt does"));
    }
    archives.extend(repositories);
    Ok(archives)
}

/// The `.deb` files among the paths and in the directories among them.
fn package_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let is_package =
        |path: &Path| path.extension().is_some_and(|ext| ext == "deb" || ext == "udeb");
    let mut files = Vec::new();
    for path in paths {
        let shown = path.display();
        let usage = |message: String| Error::new(ErrorKind::Usage, message);
        let meta = fs::metadata(path).map_err(|error| {
            usage(format!("the extra package {shown} cannot be read")).with_source(error)
        })?;
        if meta.is_file() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        let doing = || format!("cannot list {shown}");
        for entry in fs::read_dir(path).doing(doing)? {
            let path = entry.doing(doing)?.path();
            if is_package(&path) && path.is_file() {
                files.push(path);
            }
        }
        if files.len() == before {
            return Err(usage(format!("there is no .deb in {shown}")));
        }
    }
    Ok(files)
}

/// A flat archive of `files`.
fn archive_of(files: &[PathBuf], cache: &Path, debs: &Debs) -> Result<ArchiveSource> {
    // Sorted by content, and each content once: the same packages give the same archive.
    let mut packages = BTreeMap::new();
    for file in files {
        let shown = file.display().to_string();
        let unusable = |error: debmock_helper::unpack::Error| {
            Error::new(ErrorKind::Usage, format!("{shown} is not a usable package"))
                .with_source(error)
        };
        let (sha256, size, path) = debs.insert(file)?;
        let stored = File::open(&path).doing(|| format!("cannot open {}", path.display()))?;
        let control = inspect(stored, &shown).map_err(unusable)?;
        let text = String::from_utf8_lossy(&control.control_file.data).into_owned();
        packages.insert(sha256, (text, size, path));
    }
    let names: Vec<String> = packages.keys().map(|sha256| format!("./{sha256}.deb")).collect();
    let entries: Vec<Indexed<'_>> = packages
        .iter()
        .zip(&names)
        .map(|((sha256, (control, size, _)), filename)| Indexed {
            control,
            filename,
            size: *size,
            sha256: *sha256,
        })
        .collect();
    let index = writer::packages(&entries).map_err(|error| error.with_kind(ErrorKind::Usage))?;
    let release = writer::release(&[("Suite", "extra")], &[("Packages", index.as_bytes())], 0);
    let folder = cache.join("extra/v1").join(Sha256::of(index.as_bytes()).to_string());
    if !folder.is_dir() {
        make(&folder, &index, &release, packages.values().map(|(_, _, path)| path.as_path()))?;
    }
    let path = folder.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("the path {} is not UTF-8", folder.display()))
    })?;
    let uri = format!("copy://{}", uri::encode(path));
    Ok(ArchiveSource {
        // It was made here, from files that the caller named.
        trusted: true,
        check_valid_until: false,
        check_date: false,
        by_hash: ByHash::No,
        ..ArchiveSource::new(&uri, "/", &[], Keyring::Inline(String::new()))
    })
}

/// Makes the directory of the archive, complete or not at all.
fn make<'a>(
    folder: &Path,
    index: &str,
    release: &str,
    packages: impl Iterator<Item = &'a Path>,
) -> Result<()> {
    let doing = || format!("cannot make {}", folder.display());
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).doing(doing)?;
    let new = tempfile::Builder::new().prefix(NEW).tempdir_in(parent).doing(doing)?;
    fs::write(new.path().join("Packages"), index).doing(doing)?;
    fs::write(new.path().join("Release"), release).doing(doing)?;
    for path in packages {
        let to = new.path().join(path.file_name().unwrap_or_default());
        if fs::hard_link(path, &to).is_err() {
            fs::copy(path, &to).doing(doing)?;
        }
    }
    match fs::rename(new.path(), folder) {
        Ok(()) => drop(new.keep()),
        // Another process made the same one.
        Err(_) if folder.is_dir() => {}
        Err(error) => return Err(Error::io(doing(), error)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n";

    #[test]
    fn packages_become_an_archive_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let debs = Debs::open(home.path()).unwrap();
        let folder = home.path().join("packages");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("x.deb"), writer::empty_deb(CONTROL, 0).unwrap()).unwrap();
        fs::write(folder.join("notes"), "").unwrap();
        let files = package_files(std::slice::from_ref(&folder)).unwrap();
        assert_eq!(files.len(), 1);
        let archive = archive_of(&files, home.path(), &debs).unwrap();
        let path = archive.uri.strip_prefix("copy://").unwrap();
        let index = fs::read_to_string(Path::new(path).join("Packages")).unwrap();
        assert!(index.starts_with("Package: x\n") && index.contains("Filename: ./"), "{index}");
        assert_eq!(archive_of(&files, home.path(), &debs).unwrap(), archive);
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let debs = Debs::open(home.path()).unwrap();
        let kind = |paths: &[PathBuf]| {
            package_files(paths)
                .and_then(|files| archive_of(&files, home.path(), &debs))
                .unwrap_err()
                .kind()
        };
        let broken = home.path().join("broken.deb");
        fs::write(&broken, "!<arch>\nno").unwrap();
        assert_eq!(kind(&[broken]), ErrorKind::Usage);
        assert_eq!(kind(&[home.path().join("missing.deb")]), ErrorKind::Usage);
        let empty = home.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(kind(&[empty]), ErrorKind::Usage);
    }
}
