//! What maintainer scripts name, as far as it decides who has to unpack their packages.

use std::collections::HashSet;

use crate::dpkgdb::Objection;
use crate::unpack::{Control, escaped};

/// Programs that change how dpkg unpacks, or who owns what it unpacks.
const TELLING: &[&str] = &[
    "dpkg-divert",
    "dpkg-statoverride",
    "adduser",
    "addgroup",
    "useradd",
    "groupadd",
    "usermod",
    "groupmod",
    "systemd-sysusers",
];

/// Whether a script leaves alone what dpkg has to know before it unpacks, and `made`: absolute
/// paths of what comes with the packages and was not there before.
///
/// # Errors
/// What it names.
pub(super) fn check(
    control: &Control,
    script: &str,
    made: &HashSet<&[u8]>,
) -> Result<(), Objection> {
    let Some(file) = control.file(script) else { return Ok(()) };
    let name = &control.identity.name;
    if file.mode & 0o111 == 0 {
        return Err(Objection::Stands(format!("{script} of {name} is not executable")));
    }
    let lines = file.data.split(|&byte| byte == b'\n');
    for line in lines.filter(|line| !line.trim_ascii_start().starts_with(b"#")) {
        for word in line.split(|byte| !is_of_word(*byte)).filter(|word| !word.is_empty()) {
            let program = word.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let tells = TELLING.iter().any(|one| one.as_bytes() == program);
            let path = word.strip_suffix(b"/").unwrap_or(word);
            // Its own file that goes, which was never there, is what most of them name.
            let removes = line.windows(11).any(|part| part == b"rm_conffile");
            if tells || (path.len() > 1 && path[0] == b'/' && made.contains(path) && !removes) {
                let word = escaped(word);
                return Err(Objection::Stands(format!("{script} of {name} names {word}")));
            }
        }
    }
    Ok(())
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._+-:~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpkgdb::{Identity, Stanza};
    use crate::unpack::ControlFile;

    fn objects(text: &str) -> bool {
        let control = Control {
            identity: Identity {
                name: "a".into(),
                version: "1".into(),
                architecture: "all".into(),
            },
            stanza: Stanza::default(),
            control_file: file("control", ""),
            files: vec![file("preinst", text)],
        };
        let made: HashSet<&[u8]> = [&b"/var/lib/a"[..], b"/etc/a.conf"].into();
        check(&control, "preinst", &made).is_err()
    }

    fn file(name: &str, text: &str) -> ControlFile {
        ControlFile { name: name.into(), mode: 0o755, mtime: 0, data: text.into() }
    }

    #[test]
    fn what_a_script_does_to_its_own_files_is_seen() {
        for line in [
            "mkdir -p /var/lib/a",
            "[ -d /var/lib/a/ ] || install -d -m 2770 '/var/lib/a'",
            "echo x>/etc/a.conf",
            "/usr/sbin/adduser --system a",
            "dpkg-divert --add /usr/bin/x",
            "if useradd a; then :; fi",
        ] {
            assert!(objects(&format!("#!/bin/sh\n{line}\n")), "{line}");
        }
        for line in [
            "# adduser, /var/lib/a",
            "dpkg-maintscript-helper rm_conffile /etc/a.conf 1~ -- \"$@\"",
            "mkdir -p /var/lib/b",
            "exit 0",
        ] {
            assert!(!objects(&format!("#!/bin/sh\n{line}\n")), "{line}");
        }
    }
}
