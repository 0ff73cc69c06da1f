//! What a root has installed, read from dpkg's own database.

use super::setup::damaged;
use crate::archive::deb822::paragraphs;
use crate::archive::version;
use crate::buildroot::Session;
use crate::error::Result;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The database of a large desktop has 5 MB.
const LARGEST: u64 = 128 * 1024 * 1024;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture; `all` for packages that have none.
    pub architecture: String,
    /// `Multi-Arch: same`: may be installed for several architectures at once.
    pub same: bool,
}

/// The packages of a root that are installed and configured (`dpkg(1)`, status `installed`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed(BTreeMap<(String, String), InstalledPackage>);

impl Installed {
    /// Reads `/var/lib/dpkg/status` of the root.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Buildroot`] if it cannot be read.
    pub fn read(session: &Session) -> Result<Self> {
        let status = session.read_file("/var/lib/dpkg/status", LARGEST).map_err(damaged)?;
        Ok(Installed::parse(&status))
    }

    /// Whether dpkg knows one of these packages, in whatever state.
    ///
    /// # Errors
    /// As [`Installed::read`].
    pub(super) fn knows_any(session: &Session, names: &BTreeSet<&str>) -> Result<bool> {
        let status = session.read_file("/var/lib/dpkg/status", LARGEST).map_err(damaged)?;
        Ok(paragraphs(&status).into_iter().any(|paragraph| {
            names.contains(paragraph.text_of("Package"))
                && !paragraph.text_of("Status").ends_with(" not-installed")
                && !paragraph.text_of("Status").ends_with(" config-files")
        }))
    }

    /// Reads the text of a status file; paragraphs that make no sense are passed over.
    pub fn parse(status: &[u8]) -> Self {
        let mut all = BTreeMap::new();
        for paragraph in paragraphs(status) {
            if !paragraph.text_of("Status").ends_with(" installed") {
                continue;
            }
            let package = InstalledPackage {
                name: paragraph.text_of("Package").to_owned(),
                version: paragraph.text_of("Version").to_owned(),
                architecture: paragraph.text_of("Architecture").to_owned(),
                same: paragraph.text_of("Multi-Arch") == "same",
            };
            if !package.name.is_empty() {
                all.insert((package.name.clone(), package.architecture.clone()), package);
            }
        }
        Installed(all)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &InstalledPackage> {
        self.0.values()
    }

    /// The version of the package `name` of any architecture.
    pub fn version(&self, name: &str) -> Option<&str> {
        self.iter().find(|package| package.name == name).map(|package| package.version.as_str())
    }

    /// Whether exactly this is installed.
    pub fn has(&self, name: &str, version: &str, architecture: &str) -> bool {
        let key = (name.to_owned(), architecture.to_owned());
        // dpkg writes no epoch that is zero (`deb-version(7)`).
        let plain = |version: &'_ str| version.strip_prefix("0:").unwrap_or(version).to_owned();
        self.0.get(&key).is_some_and(|package| plain(&package.version) == plain(version))
    }

    /// Whether `name` is installed in a version before `version`, or not at all.
    pub fn is_before(&self, name: &str, version: &str) -> bool {
        self.version(name).is_none_or(|is| version::compare(is, version) == Ordering::Less)
    }

    /// What `dpkg-query -W` prints: name and version, the name with its architecture where
    /// several may be installed, or where it is not `native`.
    pub fn listing(&self, native: &str) -> String {
        let lines = self.iter().map(|package| {
            let foreign = package.architecture != native && package.architecture != "all";
            let architecture = match package.same || foreign {
                true => format!(":{}", package.architecture),
                false => String::new(),
            };
            format!("{}{architecture}\t{}\n", package.name, package.version)
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let status = b"Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
            Package: b\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
            Package: c\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1:2\n\n\
            Package: d\nStatus: install ok installed\nArchitecture: i386\nVersion: 3\n\ngarbage\n";
        let installed = Installed::parse(status);
        assert_eq!(installed.listing("amd64"), "a\t1\nc:amd64\t1:2\nd:i386\t3\n");
        assert!(installed.has("c", "1:2", "amd64") && !installed.has("b", "1", "amd64"));
        assert!(installed.is_before("c", "1:2.1") && !installed.is_before("c", "1:2"));
        assert!(installed.is_before("b", "0"));
    }
}
