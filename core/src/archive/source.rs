//! Source packages: a `.dsc` and the files that it names.
//!
//! The files of a package from the archive are checked twice: against the signed index and
//! against the `.dsc`. Those of a `.dsc` that somebody hands in are checked against it alone;
//! whether its signature matters is up to the caller ([`verify_dsc`]).

use super::checksum::{Hashing, Sha256};
use super::deb822::{Control, strip_signature};
use super::fetch::wrong;
use super::index::{SourceEntry, file_table};
use super::signature::Keys;
use super::state::{NEW, publish};
use super::transport::{Download, Size, Small, Started, Transport, into_error, read_small};
use super::uri;
use super::version::Version;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Largest `.dsc` that is accepted, in bytes. Debian's largest has 300 kB.
const DSC: u64 = 4 * 1024 * 1024;

/// What a `.dsc` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsc {
    /// Source package name.
    pub name: String,
    /// Version.
    pub version: Version,
    /// `Format`, such as `3.0 (quilt)`.
    pub format: String,
    /// Name, size and hash of the files that belong to it.
    pub files: Vec<(String, u64, Sha256)>,
    /// All fields.
    pub control: Control,
}

impl Dsc {
    /// Reads the text of a `.dsc`, signed or not, called `origin` in messages. The signature is
    /// not checked.
    ///
    /// # Errors
    /// [`ErrorKind::Source`] for anything that is no `.dsc`, that has no SHA-256 values, or that
    /// names a file outside its own folder.
    pub fn parse(text: &[u8], origin: &str) -> Result<Self> {
        let source = |error: Error| error.with_kind(ErrorKind::Source);
        let bad = |why: String| Error::new(ErrorKind::Source, format!("{origin} {why}"));
        let text = strip_signature(text, origin).map_err(source)?;
        let control = Control::parse(&text, origin).map_err(source)?;
        let field = |name| control.require(name, origin).map(str::to_owned).map_err(source);
        let (name, format) = (field("Source")?, field("Format")?);
        let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
        if !plain {
            return Err(bad(format!(
                "names the source package {name:?}, which is not a package name"
            )));
        }
        let version = Version::parse(&field("Version")?)
            .map_err(|error| source(error).context(format!("cannot use {origin}")))?;
        let table = field("Checksums-Sha256")?;
        let files = file_table(&table).filter(|files| !files.is_empty()).ok_or_else(|| {
            bad("names a file outside its folder, one twice, or has lines in Checksums-Sha256 that are not understood".into())
                .with_hint("the file is damaged or hostile: get it again from where it was made")
        })?;
        // Tools that still read `Files` would look at other files than those that were checked.
        for field in ["Files", "Checksums-Sha1"] {
            let Some(other) = control.get(field) else { continue };
            for line in other.lines().filter(|line| !line.trim().is_empty()) {
                let named = line.split_whitespace().nth(2).unwrap_or_default();
                if !files.iter().any(|(name, ..)| name == named) {
                    return Err(bad(format!(
                        "names {named:?} in {field} but not in Checksums-Sha256"
                    )));
                }
            }
        }
        Ok(Dsc { name, version, format, files, control })
    }
}

/// A source package on disk.
#[derive(Debug, Clone)]
pub struct SourceFiles {
    /// The `.dsc`.
    pub dsc: PathBuf,
    /// What it says.
    pub content: Dsc,
}

/// Fetches the source package of an index into the directory `into`. Files that are there with
/// the right content are not fetched again.
///
/// # Errors
/// [`ErrorKind::Archive`] for a file that is missing or is not what the index says;
/// [`ErrorKind::Source`] if the `.dsc` does not agree with the index.
pub fn fetch_source(
    entry: &SourceEntry,
    into: &Path,
    transport: &dyn Transport,
    scope: &Scope,
) -> Result<SourceFiles> {
    let mut dscs = entry.files.iter().filter(|(name, ..)| name.ends_with(".dsc"));
    let (Some((dsc, ..)), None) = (dscs.next(), dscs.next()) else {
        return Err(Error::new(
            ErrorKind::Archive,
            format!("the index entry of the source {} does not name one .dsc", entry.name),
        ));
    };
    for (name, size, sha256) in &entry.files {
        fetch_file(
            &uri::join(&entry.directory, &uri::encode(name)),
            name,
            *size,
            *sha256,
            into,
            transport,
            scope,
        )?;
    }
    let path = into.join(dsc);
    let text = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    let content = Dsc::parse(&text, dsc)?;
    let disagree = |why: String| {
        Error::new(
            ErrorKind::Source,
            format!("{dsc} does not agree with the index of the archive: {why}"),
        )
        .with_hint("the archive is damaged: take another mirror or version")
    };
    if content.name != entry.name || content.version.as_str() != entry.version {
        return Err(disagree(format!(
            "it is {} {}, not {} {}",
            content.name, content.version, entry.name, entry.version
        )));
    }
    for file in &content.files {
        if !entry.files.contains(file) {
            return Err(disagree(format!(
                "{} has another size or hash there, or is missing",
                file.0
            )));
        }
    }
    Ok(SourceFiles { dsc: path, content })
}

/// Brings a `.dsc` (a path or a URI) and the files that it names into the directory `into`.
///
/// # Errors
/// [`ErrorKind::Source`] for a `.dsc` that is missing or not usable, and for a file that is
/// missing or does not have the size and hash that the `.dsc` gives.
pub fn fetch_dsc(
    location: &str,
    into: &Path,
    transport: &dyn Transport,
    scope: &Scope,
) -> Result<SourceFiles> {
    let is_uri =
        ["http:", "https:", "file:", "copy:"].iter().any(|scheme| location.starts_with(scheme));
    let url = match is_uri {
        true => location.to_owned(),
        false => {
            let path = std::path::absolute(location).doing(|| format!("cannot find {location}"))?;
            let path = path.to_str().ok_or_else(|| {
                Error::new(ErrorKind::Usage, format!("the path {} is not UTF-8", path.display()))
            })?;
            // Every `%` stands for itself.
            format!("file://{}", uri::encode(path))
        }
    };
    let shown = uri::redacted(location);
    let source = |error: Error| {
        if error.kind() == ErrorKind::Archive { error.with_kind(ErrorKind::Source) } else { error }
    };
    let text = match read_small(transport, scope, &url, DSC, None).map_err(source)? {
        Small::Bytes(text, _) => text,
        _ => {
            return Err(Error::new(ErrorKind::Source, format!("there is no {shown}"))
                .with_hint("check the path or URI"));
        }
    };
    let content = Dsc::parse(&text, &shown)?;
    let (folder, name) = url.rsplit_once('/').unwrap_or(("", &url));
    let name = String::from_utf8_lossy(&uri::decode(name)).into_owned();
    if name.contains('/')
        || name.starts_with('.')
        || content.files.iter().any(|(other, ..)| *other == name)
    {
        return Err(Error::new(
            ErrorKind::Source,
            format!("{name:?} is not a usable name for a .dsc"),
        ));
    }
    for (file, size, sha256) in &content.files {
        let url = format!("{folder}/{}", uri::encode(file));
        fetch_file(&url, file, *size, *sha256, into, transport, scope)
            .map_err(|error| source(error).context(format!("cannot use {shown}")))?;
    }
    let path = into.join(&name);
    write_file(into, &path, |output| output.write_all(&text))?;
    Ok(SourceFiles { dsc: path, content })
}

/// Verifies the signature of a `.dsc` and gives what it says.
///
/// # Errors
/// [`ErrorKind::Signature`]; as [`Dsc::parse`].
pub fn verify_dsc(text: &[u8], origin: &str, keys: &Keys) -> Result<Dsc> {
    Dsc::parse(&keys.verify_inline(text, origin)?, origin)
}

fn write_file(
    into: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let doing = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::with_prefix_in(NEW, into).doing(doing)?;
    write(&mut file).map_err(|error| into_error(error, doing))?;
    publish(file, path)
}

fn fetch_file(
    url: &str,
    name: &str,
    size: u64,
    sha256: Sha256,
    into: &Path,
    transport: &dyn Transport,
    scope: &Scope,
) -> Result<()> {
    let path = into.join(name);
    let there =
        std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == size);
    if there && Sha256::of_file(&path).is_ok_and(|(hash, _)| hash == sha256) {
        return Ok(());
    }
    let shown = uri::redacted(url);
    let mut stream = match Download::start(transport, scope, url, 0, Size::Exactly(size), None)? {
        Started::Stream(stream) => stream,
        Started::Missing(how) => {
            return Err(Error::new(
                ErrorKind::Archive,
                format!("the file {name} is missing: {how}"),
            )
            .with_hint("all files that a .dsc names must lie beside it"));
        }
        Started::Unchanged => {
            return Err(Error::new(ErrorKind::Archive, format!("{shown} was not sent")));
        }
    };
    write_file(into, &path, |output| {
        let mut output = Hashing::new(output);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                count => output.write_all(&buffer[..count])?,
            }
        }
        let (_, got, _) = output.finish();
        if got != sha256 { Err(io::Error::other(wrong(&shown, got, sha256))) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::transport::tests::{Behaviour, Hasty, Server};

    fn dsc(files: &[(&str, &[u8])]) -> String {
        let lines: String = files
            .iter()
            .map(|(name, body)| format!("\n {} {} {name}", Sha256::of(body), body.len()))
            .collect();
        format!("Format: 3.0 (native)\nSource: hello\nVersion: 1.0\nChecksums-Sha256:{lines}\n")
    }

    fn entry(server: &Server, files: &[(&str, &[u8])]) -> SourceEntry {
        SourceEntry {
            name: "hello".into(),
            version: "1.0".into(),
            directory: server.url("/pool"),
            suite: 0,
            files: files
                .iter()
                .map(|(name, body)| (name.to_string(), body.len() as u64, Sha256::of(body)))
                .collect(),
            paragraph: String::new(),
        }
    }

    #[test]
    fn a_source_of_the_archive_is_checked_against_index_and_dsc() {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let tar = &b"tar"[..];
        let text = dsc(&[("hello_1.0.tar.xz", tar)]);
        server.set("/pool/hello_1.0.dsc", Behaviour::File(text.clone().into()));
        server.set("/pool/hello_1.0.tar.xz", Behaviour::File(tar.into()));
        let files = [("hello_1.0.dsc", text.as_bytes()), ("hello_1.0.tar.xz", tar)];
        let fetched =
            fetch_source(&entry(&server, &files), folder.path(), &Hasty::new(), &Scope::quiet())
                .unwrap();
        assert_eq!(fetched.content.format, "3.0 (native)");
        assert_eq!(server.requests().len(), 2);
        fetch_source(&entry(&server, &files), folder.path(), &Hasty::new(), &Scope::quiet())
            .unwrap();
        assert!(server.requests().is_empty());
        // The index is right, the .dsc speaks of other content.
        let lying = dsc(&[("hello_1.0.tar.xz", b"TAR")]);
        server.set("/pool/hello_1.0.dsc", Behaviour::File(lying.clone().into()));
        let files = [("hello_1.0.dsc", lying.as_bytes()), ("hello_1.0.tar.xz", tar)];
        let error =
            fetch_source(&entry(&server, &files), folder.path(), &Hasty::new(), &Scope::quiet())
                .unwrap_err();
        assert!(error.to_string().contains("does not agree"), "{error}");
    }

    #[test]
    fn a_local_dsc_is_checked_with_its_files() {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = from.path().join("hello_1.0%41.dsc");
        let location = path.to_str().unwrap();
        let get = || fetch_dsc(location, into.path(), &Hasty::new(), &Scope::quiet());
        assert!(get().unwrap_err().to_string().contains("there is no"));
        std::fs::write(&path, dsc(&[("hello+1.0.tar.xz", b"tar")])).unwrap();
        let error = get().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(error.to_string().contains("hello+1.0.tar.xz is missing"), "{error}");
        std::fs::write(from.path().join("hello+1.0.tar.xz"), "TAR").unwrap();
        let error = get().unwrap_err();
        let both = [Sha256::of(b"TAR").to_string(), Sha256::of(b"tar").to_string()];
        assert!(both.iter().all(|hash| error.to_string().contains(hash)), "{error}");
        std::fs::write(from.path().join("hello+1.0.tar.xz"), "tar").unwrap();
        assert_eq!(get().unwrap().dsc.file_name(), path.file_name());
        assert_eq!(std::fs::read(into.path().join("hello+1.0.tar.xz")).unwrap(), b"tar");
    }

    #[test]
    fn a_dsc_that_reaches_outside_its_folder_is_refused() {
        for name in ["../x", "/etc/passwd", "a/b", "..", ".hidden"] {
            let error = Dsc::parse(dsc(&[(name, b"")]).as_bytes(), "x.dsc").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "{name}");
            assert!(error.to_string().contains("outside its folder"), "{error}");
        }
        let good = dsc(&[("a", b"")]);
        assert!(
            Dsc::parse(
                format!("{good}Files:\n d41d8cd98f00b204e9800998ecf8427e 0 ../b\n").as_bytes(),
                "x"
            )
            .is_err()
        );
        assert!(Dsc::parse(good.replace("hello", "../hello").as_bytes(), "x").is_err());
        assert!(Dsc::parse(good.replace("Version: 1.0", "Version: ..").as_bytes(), "x").is_err());
        assert!(Dsc::parse(b"garbage", "x").is_err());
    }

    #[test]
    fn signatures_of_a_dsc_are_verified_when_asked() {
        let signer = crate::archive::testing::Signer::new();
        let keys =
            Keys::load(&crate::config::Keyring::Inline(signer.certificate()), |_| None).unwrap();
        let text = dsc(&[("a", b"")]);
        let signed = signer.sign_inline(&text);
        assert_eq!(verify_dsc(signed.as_bytes(), "x", &keys).unwrap().name, "hello");
        assert_eq!(Dsc::parse(signed.as_bytes(), "x").unwrap().files.len(), 1);
        assert_eq!(
            verify_dsc(text.as_bytes(), "x", &keys).unwrap_err().kind(),
            ErrorKind::Signature
        );
    }
}
