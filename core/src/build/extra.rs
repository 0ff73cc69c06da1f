//! Packages and archives that one build gets besides the config's: a flat repository of local
//! `.deb` files, and lines of `sources.list(5)`.

use super::RebuildOptions;
use crate::archive::checksum::Sha256;
use crate::archive::writer::{Indexed, packages, release};
use crate::config::{ArchiveSource, ByHash, Config, Keyring};
use crate::error::{Error, ErrorKind, IoContext, Result};
use debmock_helper::unpack::control_of;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The further archives of a build. The repository of local packages lies in `folder`, which must
/// live as long as the build.
///
/// # Errors
/// [`ErrorKind::Package`] for a file that is no package, [`ErrorKind::Usage`] for a line that is
/// not understood.
pub fn extra_sources(
    options: &RebuildOptions,
    config: &Config,
    folder: &Path,
) -> Result<Vec<ArchiveSource>> {
    let mut sources = Vec::new();
    for line in &options.extra_repositories {
        sources.push(config.parse_source_line(line)?);
    }
    let files = package_files(&options.extra_packages)?;
    if !files.is_empty() {
        sources.push(repository(&files, folder)?);
    }
    Ok(sources)
}

/// The `.deb` files that are named, and those in the directories that are.
fn package_files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        let doing = || format!("cannot read the extra packages {}", path.display());
        if path.is_dir() {
            let mut found = Vec::new();
            for entry in fs::read_dir(path).doing(doing)? {
                let file = entry.doing(doing)?.path();
                if file.extension().is_some_and(|ending| ending == "deb") {
                    found.push(file);
                }
            }
            found.sort();
            files.extend(found);
        } else {
            fs::metadata(path).doing(doing)?;
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn repository(files: &[PathBuf], folder: &Path) -> Result<ArchiveSource> {
    let mut entries = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let doing = || format!("cannot read the package {}", file.display());
        let name = file.display().to_string();
        let control = control_of(File::open(file).doing(doing)?, &name).map_err(|error| {
            Error::new(ErrorKind::Package, format!("{name} is no usable package"))
                .with_source(error)
        })?;
        let text = String::from_utf8_lossy(&control.control_file.data).into_owned();
        // A name of our own: theirs may need quoting in a URI.
        let own = format!("{number}.deb");
        fs::copy(file, folder.join(&own)).doing(doing)?;
        let (sha256, size) = Sha256::of_file(&folder.join(&own)).doing(doing)?;
        entries.push((text, own, size, sha256));
    }
    let indexed: Vec<Indexed<'_>> = entries
        .iter()
        .map(|(control, filename, size, sha256)| Indexed {
            control,
            filename,
            size: *size,
            sha256: *sha256,
        })
        .collect();
    let index = packages(&indexed)?;
    let fields = [("Origin", "debmock"), ("Label", "debmock"), ("Suite", "extra")];
    let text = release(&fields, &[("Packages", index.as_bytes())], 0);
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).doing(|| format!("cannot write {}", path.display()))
    };
    write("Packages", &index)?;
    write("Release", &text)?;
    Ok(ArchiveSource {
        uri: format!("copy:{}", folder.display()),
        suite: "./".into(),
        components: Vec::new(),
        architectures: Vec::new(),
        keyring: Keyring::Files { files: Vec::new(), fingerprints: Vec::new() },
        trusted: true,
        check_valid_until: false,
        check_date: false,
        valid_until_max: None,
        by_hash: ByHash::No,
        origin: None,
    })
}
