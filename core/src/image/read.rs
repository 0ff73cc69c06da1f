//! Reads an image layout that somebody else may have made.

use super::types::{
    Config, DOCKER_INDEX, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Digest, INDEX, Index, KEY,
    LAYER, LayoutMark, MANIFEST, Manifest, NAME,
};
use super::{LONGEST, MOST_INDEXES, MOST_LAYERS, Platform};
use crate::error::{Error, ErrorKind, IoContext, Result};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An archive of a layout with more entries is refused.
const MOST_ENTRIES: usize = 100_000;
const BLOCK: u64 = 512;

/// Where documents and blobs of a layout lie.
#[derive(Debug)]
pub(crate) struct Layout {
    name: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    /// A tar archive, and where in it each file lies: start and size.
    Archive(File, BTreeMap<String, (u64, u64)>),
}

/// An image of the wanted architecture.
#[derive(Debug)]
pub(crate) struct Image {
    /// The digest of its manifest, which stands for everything in it.
    pub digest: Digest,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// A layer of an image.
#[derive(Debug)]
pub(crate) struct Layer {
    pub digest: Digest,
    pub size: u64,
    /// Of the stream when it is not compressed.
    pub diff_id: Digest,
    /// The key that its maker says it has in a store of ours. Nothing proves it.
    pub key: Option<String>,
}

impl Layout {
    /// The layout in a directory; nothing if it holds none.
    pub(crate) fn in_directory(path: &Path) -> Option<Self> {
        let found = path.join("oci-layout").is_file() && path.join("index.json").is_file();
        found.then(|| Layout {
            name: path.display().to_string(),
            place: Place::Directory(path.to_owned()),
        })
    }

    /// The layout in a tar archive that is not compressed; nothing if it holds none. Only the
    /// headers are read, and of those only what archives of layouts have: short names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn in_archive(path: &Path, archive: &File) -> Result<Option<Self>> {
        let doing = || format!("cannot read {}", path.display());
        let files = match entries(archive).doing(doing)? {
            Some(files) if files.contains_key("oci-layout") && files.contains_key("index.json") => {
                files
            }
            _ => return Ok(None),
        };
        let archive = archive.try_clone().doing(doing)?;
        let place = Place::Archive(archive, files);
        Ok(Some(Layout { name: path.display().to_string(), place }))
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Buildroot, format!("the image in {} {what}", self.name)).with_hint(
            "write it again with the tool that made it; it may be damaged or not complete",
        )
    }

    fn open(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64)> {
        let missing = || self.bad(format_args!("has no {name}"));
        match &self.place {
            Place::Directory(top) => {
                let path = top.join(name);
                if !path.exists() {
                    return Err(missing());
                }
                let file = crate::buildroot::open_regular(&path)?;
                let size =
                    file.metadata().doing(|| format!("cannot read {}", path.display()))?.len();
                Ok((Box::new(file), size))
            }
            Place::Archive(archive, files) => {
                let (start, size) = *files.get(name).ok_or_else(missing)?;
                let doing = || format!("cannot read {}", self.name);
                let file = archive.try_clone().doing(doing)?;
                Ok((Box::new(Part { file, at: start, left: size }), size))
            }
        }
    }

    /// A blob, of which the reader must check the digest, as [`Layout::blob`] does.
    pub(crate) fn open_blob(&self, digest: Digest, size: u64) -> Result<Box<dyn Read + Send>> {
        let (reader, found) = self.open(&format!("blobs/sha256/{}", digest.digits()))?;
        if found != size {
            let what = format!("has a blob {digest} of {found} bytes, and says that it has {size}");
            return Err(self.bad(what));
        }
        Ok(reader)
    }

    /// The error of a blob that is another one.
    pub(crate) fn is_another(&self, digest: Digest, found: Digest) -> Error {
        self.bad(format_args!("has a blob {digest} whose digest is {found}"))
    }

    fn short(&self, name: &str) -> Result<Vec<u8>> {
        let (reader, size) = self.open(name)?;
        if size > LONGEST {
            return Err(self.bad(format_args!("has a {name} of {size} bytes, more than {LONGEST}")));
        }
        let mut text = Vec::new();
        reader
            .take(LONGEST)
            .read_to_end(&mut text)
            .doing(|| format!("cannot read {}", self.name))?;
        Ok(text)
    }

    fn parse<T: DeserializeOwned>(&self, what: &str, text: &[u8]) -> Result<T> {
        serde_json::from_slice(text).map_err(|error| {
            self.bad(format_args!("has a {what} that cannot be read")).with_source(error)
        })
    }

    /// A document among the blobs.
    fn blob<T: DeserializeOwned>(&self, what: &str, descriptor: &Descriptor) -> Result<T> {
        let (digest, size) = (descriptor.digest, descriptor.size);
        if size > LONGEST {
            return Err(self.bad(format_args!("has a {what} of {size} bytes, more than {LONGEST}")));
        }
        let mut text = Vec::new();
        let reader = self.open_blob(digest, size)?;
        reader
            .take(LONGEST)
            .read_to_end(&mut text)
            .doing(|| format!("cannot read {}", self.name))?;
        let found = Digest(Sha256::digest(&text).into());
        if found != digest || text.len() as u64 != size {
            return Err(self.is_another(digest, found));
        }
        self.parse(what, &text)
    }

    /// The one image of this platform.
    ///
    /// # Errors
    /// [`ErrorKind::Buildroot`] if there is none, or if there are several, or if anything in the
    /// documents is not what the specification says.
    pub(crate) fn image(&self, platform: &Platform) -> Result<Image> {
        let mark: LayoutMark = self.parse("oci-layout", &self.short("oci-layout")?)?;
        if !mark.image_layout_version.starts_with("1.") {
            let version: String = mark.image_layout_version.chars().take(20).collect();
            return Err(self.bad(format_args!("has a layout of the unknown version {version:?}")));
        }
        let index: Index = self.parse("index.json", &self.short("index.json")?)?;
        let (mut found, mut left) = (Vec::new(), MOST_INDEXES);
        self.search(&index, platform, &mut left, &mut found)?;
        found.sort_by_key(|descriptor| descriptor.digest);
        found.dedup_by_key(|descriptor| descriptor.digest);
        let wanted = match &found[..] {
            [one] => one,
            [] => return Err(self.bad(format_args!("is not for {}", platform.architecture))),
            several => {
                let name = |one: &Descriptor| one.annotations.as_ref()?.get(NAME).cloned();
                let names: Vec<String> = several.iter().filter_map(name).collect();
                let what = format!("is one of {}: {}", several.len(), names.join(", "));
                let hint =
                    "copy the one that you want to a layout of its own, such as with `skopeo copy`";
                return Err(self.bad(what).with_hint(hint));
            }
        };
        let manifest: Manifest = self.blob("manifest", wanted)?;
        let config: Config = self.blob("config", &manifest.config)?;
        if !platform.takes(&config.platform) {
            let found: String = config.platform.architecture.chars().take(50).collect();
            let os: String = config.platform.os.chars().take(50).collect();
            return Err(self
                .bad(format_args!("is for {os}/{found}, and not for {}", platform.architecture))
                .with_hint("name a config of that architecture with -r"));
        }
        let ids = config.rootfs.diff_ids;
        if ids.len() != manifest.layers.len() || ids.is_empty() || ids.len() > MOST_LAYERS {
            return Err(self.bad(format_args!(
                "has {} layers in its manifest and {} in its config, of at most {MOST_LAYERS}",
                manifest.layers.len(),
                ids.len()
            )));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest.layers.into_iter().zip(ids) {
            let kind = layer.media_type.as_str();
            let rest = kind.strip_prefix(LAYER).or_else(|| kind.strip_prefix(DOCKER_LAYER));
            if !matches!(rest, Some("" | "+gzip" | ".gzip" | "+zstd")) {
                let kind: String = kind.chars().take(100).collect();
                return Err(self
                    .bad(format_args!("has a layer of the unknown type {kind:?}"))
                    .with_hint("encrypted and foreign layers cannot be imported"));
            }
            let key = layer.annotations.and_then(|mut all| all.remove(KEY));
            layers.push(Layer { digest: layer.digest, size: layer.size, diff_id, key });
        }
        Ok(Image { digest: wanted.digest, layers })
    }

    fn search(
        &self,
        index: &Index,
        platform: &Platform,
        left: &mut usize,
        found: &mut Vec<Descriptor>,
    ) -> Result<()> {
        *left = left.checked_sub(1).ok_or_else(|| {
            self.bad(format_args!("has more than {MOST_INDEXES} indexes in indexes"))
        })?;
        for one in &index.manifests {
            // Who says nothing of the platform says it in the config.
            let fits = one.platform.as_ref().is_none_or(|found| platform.takes(found));
            match one.media_type.as_str() {
                INDEX | DOCKER_INDEX => {
                    let inner: Index = self.blob("index", one)?;
                    self.search(&inner, platform, left, found)?;
                }
                MANIFEST | DOCKER_MANIFEST if fits => found.push(one.clone()),
                // Other things may be in an index, too: signatures, other platforms.
                _ => {}
            }
        }
        Ok(())
    }
}

/// A part of a file, read at its own position.
struct Part {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Where the files of a tar archive lie; nothing if it is none. Names that do not fit into a
/// header are passed over: nothing in a layout has one.
fn entries(archive: &File) -> io::Result<Option<BTreeMap<String, (u64, u64)>>> {
    let end = archive.metadata()?.len();
    let mut files = BTreeMap::new();
    let mut at = 0;
    for _ in 0..MOST_ENTRIES {
        let mut header = tar::Header::new_old();
        if at + BLOCK > end {
            return Ok(None);
        }
        archive.read_exact_at(header.as_mut_bytes(), at)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(Some(files));
        }
        let bytes = header.as_bytes();
        let plain = bytes[..148].iter().chain(&bytes[156..]);
        let sum = plain.map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
        let (Ok(found), Ok(size)) = (header.cksum(), header.entry_size()) else { return Ok(None) };
        let start = at + BLOCK;
        // Also what would go beyond the largest number.
        if found != sum || size > end - start.min(end) {
            return Ok(None);
        }
        if header.entry_type().is_file()
            && let Ok(name) = std::str::from_utf8(&header.path_bytes())
        {
            files.insert(name.trim_start_matches("./").to_owned(), (start, size));
        }
        at = start + size.next_multiple_of(BLOCK);
    }
    Ok(None)
}
