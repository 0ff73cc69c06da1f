//! Architecture names and wildcards, as `dpkg-architecture(1)` and Policy section 11.1 have them.

/// ABI, C library, operating system, processor.
type Tuple<'a> = [&'a str; 4];

/// The tuple of an architecture's name.
fn tuple(name: &str) -> Tuple<'_> {
    let abi = |cpu: &str| match cpu {
        "armhf" => Some(("eabihf", "arm")),
        "armel" => Some(("eabi", "arm")),
        "x32" => Some(("x32", "amd64")),
        "powerpcspe" => Some(("spe", "powerpc")),
        "mipsn32" => Some(("abin32", "mips64")),
        "mipsn32el" => Some(("abin32", "mips64el")),
        "mipsn32r6" => Some(("abin32", "mips64r6")),
        "mipsn32r6el" => Some(("abin32", "mips64r6el")),
        "mips64" => Some(("abi64", "mips64")),
        "mips64el" => Some(("abi64", "mips64el")),
        "mips64r6" => Some(("abi64", "mips64r6")),
        "mips64r6el" => Some(("abi64", "mips64r6el")),
        "arm64ilp32" => Some(("ilp32", "arm64")),
        _ => None,
    };
    let (libc, os, cpu) = match name.rsplit_once('-') {
        None => ("gnu", "linux", name),
        Some(("linux", cpu)) => ("gnu", "linux", cpu),
        Some(("musl-linux", cpu)) => ("musl", "linux", cpu),
        Some(("uclibc-linux", cpu)) => ("uclibc", "linux", cpu),
        Some((os @ ("kfreebsd" | "knetbsd" | "kopensolaris" | "hurd"), cpu)) => ("gnu", os, cpu),
        Some((os @ ("darwin" | "dragonflybsd" | "freebsd" | "netbsd" | "openbsd"), cpu)) => {
            ("bsd", os, cpu)
        }
        Some((os @ ("aix" | "solaris"), cpu)) => ("sysv", os, cpu),
        Some((os, cpu)) => ("gnu", os, cpu),
    };
    let (abi, cpu) = abi(cpu).unwrap_or(("base", cpu));
    [abi, libc, os, cpu]
}

/// Whether `pattern` (an architecture or a wildcard such as `any`, `linux-any`, `any-amd64`,
/// `gnu-any-any`) covers `architecture`. `all` covers only itself.
pub fn matches(pattern: &str, architecture: &str) -> bool {
    if pattern == architecture {
        return true;
    }
    let parts: Vec<&str> = pattern.split('-').collect();
    if !parts.contains(&"any") || architecture == "all" {
        return false;
    }
    let any = "any";
    let wanted: Tuple<'_> = match parts[..] {
        [_] => return true,
        [os, cpu] => [any, any, os, cpu],
        [libc, os, cpu] => [any, libc, os, cpu],
        [abi, libc, os, cpu] => [abi, libc, os, cpu],
        _ => return false,
    };
    wanted.iter().zip(tuple(architecture)).all(|(want, is)| *want == any || *want == is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Needs the host's dpkg-dev.
    #[test]
    fn dpkg_architecture_agrees() {
        let patterns = [
            "any",
            "linux-any",
            "any-arm",
            "gnu-any-any",
            "musl-linux-any",
            "hurd-any",
            "eabihf-gnu-linux-any",
            "base-any-any-any",
            "armhf",
            "any-any",
        ];
        let names = [
            "amd64",
            "armhf",
            "armel",
            "x32",
            "hurd-i386",
            "musl-linux-arm64",
            "mips64el",
            "riscv64",
        ];
        for pattern in patterns {
            for name in names {
                let status = Command::new("dpkg-architecture")
                    .args(["-a", name, "-i", pattern])
                    .env_remove("DEB_HOST_ARCH")
                    .stderr(std::process::Stdio::null())
                    .status()
                    .expect("this test compares with dpkg-architecture, which must be installed");
                assert_eq!(matches(pattern, name), status.success(), "{pattern} {name}");
            }
        }
    }
}
