//! What Go calls the architectures that Debian has names for.

use super::types::PlatformText;
use crate::config::Architecture;

/// An architecture as images name it (`GOARCH`, and a variant where that says too little).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    /// `GOARCH`.
    pub architecture: String,
    /// Such as `v7`.
    pub variant: Option<String>,
}

impl Platform {
    /// That of a Debian architecture. One that Go has no other name for keeps its own.
    pub(crate) fn of(architecture: &Architecture) -> Self {
        let (name, variant) = match architecture.as_str() {
            "i386" => ("386", None),
            "armel" => ("arm", Some("v5")),
            "armhf" => ("arm", Some("v7")),
            "arm64" => ("arm64", None),
            "ppc64el" => ("ppc64le", None),
            "mipsel" => ("mipsle", None),
            "mips64el" => ("mips64le", None),
            "loong64" => ("loong64", None),
            other => (other, None),
        };
        Platform { architecture: name.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Whether what is made for `found` runs here. A variant that is not named is any.
    pub(crate) fn takes(&self, found: &PlatformText) -> bool {
        let same = found.os == "linux" && found.architecture == self.architecture;
        match (&self.variant, &found.variant) {
            (Some(ours), Some(theirs)) => same && ours == theirs,
            _ => same,
        }
    }
}
