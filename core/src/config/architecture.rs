//! Debian's names of architectures.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// The Debian name of a machine architecture (`dpkg --print-architecture`), such as `amd64`.
///
/// Never a wildcard (`any`, `linux-any`), never `all` or `source`: Debian Policy, section 5.6.8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture(String);

/// The architectures that built-in configs have a name for.
pub(crate) const KNOWN: &[&str] =
    &["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"];

impl Architecture {
    /// The architecture of this program, which is the host's own as far as building goes: a
    /// 32-bit debmock on a 64-bit kernel makes 32-bit roots, as dpkg of that system would.
    pub fn host() -> Architecture {
        let big_endian = cfg!(target_endian = "big");
        Architecture(from_rust(std::env::consts::ARCH, big_endian).to_owned())
    }

    /// The Debian name for what `uname -m` prints; `None` for a machine that Debian has no port
    /// for.
    pub fn from_machine(machine: &str) -> Option<Architecture> {
        let name = match machine {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "armv7l" | "armv8l" => "armhf",
            "armv5tel" | "armv6l" => "armel",
            "i386" | "i486" | "i586" | "i686" => "i386",
            "ppc64le" => "ppc64el",
            "ppc64" => "ppc64",
            "riscv64" => "riscv64",
            "s390x" => "s390x",
            "loongarch64" => "loong64",
            _ => return None,
        };
        Some(Architecture(name.to_owned()))
    }

    /// Whether it is the 32-bit architecture of this 64-bit machine's own processor
    /// (`personality(2)`).
    pub(crate) fn is_32_bit_here(&self) -> bool {
        matches!(
            (Architecture::host().as_str(), self.as_str()),
            ("amd64", "i386") | ("arm64", "armhf" | "armel")
        )
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maps `std::env::consts::ARCH`, which has one name where Debian has two.
fn from_rust(arch: &str, big_endian: bool) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        // Rust's `arm` has no name for the float ABI; armhf is the port that still lives.
        "arm" => "armhf",
        "x86" => "i386",
        "powerpc64" if big_endian => "ppc64",
        "powerpc64" => "ppc64el",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !text.ends_with('-');
        if !plain || text.split('-').any(|part| matches!(part, "any" | "all" | "source")) {
            let hint = match Architecture::from_machine(text) {
                Some(known) => format!("the Debian name of {text} is {known}"),
                None => format!("Debian's names are {} and others", KNOWN.join(", ")),
            };
            return Err(Error::new(
                ErrorKind::Config,
                format!("{text:?} is not the name of an architecture"),
            )
            .with_hint(hint));
        }
        if let Some(known) = Architecture::from_machine(text).filter(|known| known.0 != text) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{text:?} is the kernel's name of a machine, not Debian's"),
            )
            .with_hint(format!("write {known}")));
        }
        Ok(Architecture(text.to_owned()))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kernel_and_rust_become_debians() {
        assert_eq!(Architecture::from_machine("ppc64le").unwrap().as_str(), "ppc64el");
        assert_eq!(from_rust("powerpc64", false), "ppc64el");
        assert_eq!(from_rust("powerpc64", true), "ppc64");
        assert_eq!(from_rust("riscv64", false), "riscv64");
        assert!(Architecture::from_machine("vax").is_none());
    }

    #[test]
    fn wildcards_machines_and_garbage_are_refused() {
        for text in ["", "any", "linux-any", "all", "source", "AMD64", "a/b", "x86_64", "-a", "a-"]
        {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
        let error = "aarch64".parse::<Architecture>().unwrap_err();
        assert_eq!(error.hint(), Some("write arm64"));
        for text in KNOWN.iter().chain(&["hurd-amd64", "loong64", "x32"]) {
            assert_eq!(&text.parse::<Architecture>().unwrap().as_str(), text);
        }
    }
}
