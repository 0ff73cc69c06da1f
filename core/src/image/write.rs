//! Writes an image layout.

use super::Platform;
use super::types::{
    CONFIG, Config, Descriptor, Digest, Execution, History, INDEX, Index, KEY, LAYER, LayoutMark,
    MANIFEST, Manifest, NAME, PlatformText, RootFs, date,
};
use crate::error::{IoContext, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A layout that is being written to a directory of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    top: PathBuf,
    layers: Vec<NewLayer>,
}

/// A layer that lies in the layout.
#[derive(Debug, Clone)]
pub(crate) struct NewLayer {
    pub digest: Digest,
    pub size: u64,
    /// Of the stream before it was compressed.
    pub diff_id: Digest,
    /// What follows a layer's media type: nothing, `+gzip` or `+zstd`.
    pub suffix: &'static str,
    /// Says in the image's history what it is.
    pub created_by: String,
    /// Its key in the store, if it is one that others may share.
    pub key: Option<String>,
}

/// Hashes and counts what goes to a file.
struct Hashing {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    /// A layout in the empty directory `top`.
    pub(crate) fn new(top: &Path) -> Result<Self> {
        let blobs = top.join("blobs/sha256");
        fs::create_dir_all(&blobs).doing(|| format!("cannot make {}", blobs.display()))?;
        Ok(Writer { top: top.to_owned(), layers: Vec::new() })
    }

    fn blob(&self, name: &str) -> PathBuf {
        self.top.join("blobs/sha256").join(name)
    }

    /// Adds a blob of what `fill` writes; its digest and size, and what `fill` gave.
    pub(crate) fn add<T>(
        &self,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>,
    ) -> Result<(Digest, u64, T)> {
        let aside = self.blob("new");
        let doing = || format!("cannot write {}", aside.display());
        let file = File::create(&aside).doing(doing)?;
        let mut output = Hashing { file, hash: Sha256::new(), size: 0 };
        let value = fill(&mut output)?;
        let digest = Digest(output.hash.finalize().into());
        fs::rename(&aside, self.blob(&digest.digits())).doing(doing)?;
        Ok((digest, output.size, value))
    }

    /// Puts a layer that was added on those before.
    pub(crate) fn push(&mut self, layer: NewLayer) {
        self.layers.push(layer);
    }

    fn document(&self, document: &impl Serialize) -> Result<(Digest, u64)> {
        let text = serde_json::to_vec(document).unwrap_or_default();
        let doing = || "cannot write a blob of the image".to_owned();
        let (digest, size, ()) = self.add(|output| output.write_all(&text).doing(doing))?;
        Ok((digest, size))
    }

    /// Ends the layout: one image, of these layers.
    pub(crate) fn finish(self, name: &str, platform: &Platform, created: u64) -> Result<()> {
        let created = date(created);
        let platform = PlatformText {
            architecture: platform.architecture.clone(),
            os: "linux".into(),
            variant: platform.variant.clone(),
        };
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let history = |layer: &NewLayer| History {
            created: created.clone(),
            created_by: layer.created_by.clone(),
        };
        let config = Config {
            created: Some(created.clone()),
            platform: platform.clone(),
            config: Execution { env: vec![path.into()], cmd: vec!["/bin/sh".into()] },
            rootfs: RootFs {
                kind: "layers".into(),
                diff_ids: self.layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history: self.layers.iter().map(history).collect(),
        };
        let (digest, size) = self.document(&config)?;
        let blob = |media_type: String, digest, size| Descriptor {
            media_type,
            digest,
            size,
            platform: None,
            annotations: None,
        };
        let layer = |layer: &NewLayer| Descriptor {
            annotations: layer.key.clone().map(|key| BTreeMap::from([(KEY.to_owned(), key)])),
            ..blob(format!("{LAYER}{}", layer.suffix), layer.digest, layer.size)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            config: blob(CONFIG.into(), digest, size),
            layers: self.layers.iter().map(layer).collect(),
        };
        let (digest, size) = self.document(&manifest)?;
        let named = BTreeMap::from([(NAME.to_owned(), name.to_owned())]);
        let index = Index {
            schema_version: 2,
            media_type: Some(INDEX.into()),
            manifests: vec![Descriptor {
                platform: Some(platform),
                annotations: Some(named),
                ..blob(MANIFEST.into(), digest, size)
            }],
        };
        let mark = LayoutMark { image_layout_version: "1.0.0".into() };
        self.put("index.json", &index)?;
        self.put("oci-layout", &mark)
    }

    fn put(&self, name: &str, document: &impl Serialize) -> Result<()> {
        let path = self.top.join(name);
        let text = serde_json::to_vec(document).unwrap_or_default();
        fs::write(&path, text).doing(|| format!("cannot write {}", path.display()))
    }

    /// Writes the layout in `top` as a tar archive, the same bytes for the same layout.
    pub(crate) fn archive(top: &Path, output: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(output);
        let entry = |name: &str, kind: tar::EntryType, size: u64| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
            header.set_size(size);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_path(name).map(|()| {
                header.set_cksum();
                header
            })
        };
        // What says what it is comes first: who reads the archive as a stream knows at once.
        for name in ["oci-layout", "index.json"] {
            let text = fs::read(top.join(name))?;
            archive.append(&entry(name, tar::EntryType::Regular, text.len() as u64)?, &text[..])?;
        }
        for name in ["blobs/", "blobs/sha256/"] {
            archive.append(&entry(name, tar::EntryType::Directory, 0)?, io::empty())?;
        }
        let blobs = fs::read_dir(top.join("blobs/sha256"))?;
        let mut names = blobs
            .map(|found| Ok(found?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in names {
            let path = format!("blobs/sha256/{name}");
            let file = File::open(top.join(&path))?;
            let size = file.metadata()?.len();
            archive.append(&entry(&path, tar::EntryType::Regular, size)?, file)?;
        }
        archive.into_inner()?.flush()
    }
}

/// A name that images may have (image specification, “org.opencontainers.image.ref.name”; names
/// of repositories are lower-case, too).
pub(crate) fn reference(name: &str) -> String {
    let mut reference = String::new();
    for letter in name.to_ascii_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            reference.push(letter);
        } else if reference.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            // Never two separators in a row.
            reference.push(if "-_.".contains(letter) { letter } else { '-' });
        }
    }
    let trimmed = reference.trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
    if trimmed.is_empty() { "root".into() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buildroots_become_names_of_images() {
        assert_eq!(reference("debian-bookworm-amd64"), "debian-bookworm-amd64");
        assert_eq!(reference("Mine~2+x..y-"), "mine-2-x.y");
        assert_eq!(reference("~~"), "root");
    }
}
