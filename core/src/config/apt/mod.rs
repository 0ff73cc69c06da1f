//! The host's own apt configuration, read as apt reads it.
//!
//! This room promises that nothing in it fails: what cannot be read or understood becomes a
//! warning with file and line, and is left out. No program of apt's is run, so it works on hosts
//! without apt and for users who may not read everything.

mod auth;
mod conf;
mod deb822;
mod files;
mod network;
mod sources;

pub(crate) use conf::AptConf;
pub(crate) use files::read;
pub(crate) use network::{network, without_login};
pub(crate) use sources::{Entry, SignedBy, one_line, plain_uri, shown};

use super::places::Places;
use super::{Credential, Warning};
use std::path::{Path, PathBuf};

/// What the host's apt knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostApt {
    pub(crate) conf: AptConf,
    pub(crate) entries: Vec<Entry>,
    pub(crate) credentials: Vec<Credential>,
    /// Key files that may sign sources without `Signed-By`.
    pub(crate) trusted: Vec<PathBuf>,
}

impl HostApt {
    /// Reads everything below `/etc/apt`. `architecture` is the host's own.
    pub(crate) fn read(
        places: &Places,
        architecture: &str,
        warnings: &mut Vec<Warning>,
    ) -> HostApt {
        let apt_config = places.environment.get("APT_CONFIG").map(String::as_str);
        let mut host = HostApt {
            conf: AptConf::of_host(&places.apt, apt_config, warnings),
            entries: sources::of_host(&places.apt, architecture, warnings),
            credentials: auth::of_host(&places.apt, warnings),
            trusted: trusted(&places.apt, warnings),
        };
        for entry in &mut host.entries {
            if let Some((uri, credential)) = network::without_login(&entry.uri) {
                entry.uri = uri;
                // A login in the URI beats one in a file.
                host.credentials.insert(0, credential);
            }
        }
        host
    }
}

/// The keyrings that apt trusts by default: `trusted.gpg` and the parts.
fn trusted(apt: &Path, warnings: &mut Vec<Warning>) -> Vec<PathBuf> {
    let mut paths = files::parts(&apt.join("trusted.gpg.d"), &["gpg", "asc"], warnings);
    let main = apt.join("trusted.gpg");
    if main.is_file() {
        paths.push(main);
    }
    paths.retain(|path| match first_bytes(path) {
        Ok(bytes) if bytes.is_empty() => false,
        // GnuPG's keybox format, which apt ignores, too.
        Ok(bytes) if bytes.get(8..12) == Some(b"KBXf") => {
            warnings.push(Warning::new(format!("{} is a keybox and not used", path.display())));
            false
        }
        Ok(_) => true,
        Err(error) => {
            warnings.push(Warning::new(format!("cannot read {}: {error}", path.display())));
            false
        }
    });
    paths
}

fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(12).read_to_end(&mut bytes)?;
    Ok(bytes)
}
