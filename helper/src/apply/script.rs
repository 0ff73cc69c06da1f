//! What maintainer scripts name, as far as it decides who has to unpack their packages.

use std::collections::HashMap;

use crate::dpkgdb::Objection;
use crate::unpack::{Control, escaped};

/// Programs that change how dpkg unpacks.
const TELLING: &[&str] = &["dpkg-divert", "dpkg-statoverride"];
/// Programs that change who owns what dpkg unpacks, if that has an owner who is not there yet.
const NAMING: &[&str] =
    &["adduser", "addgroup", "useradd", "groupadd", "usermod", "groupmod", "systemd-sysusers"];

/// What comes with packages, each with the place of the package in their order.
#[derive(Debug, Default)]
pub(super) struct Coming<'a> {
    /// Absolute paths that were not there before.
    pub made: HashMap<&'a [u8], usize>,
    /// Packages that name owners whom the root does not know.
    pub strangers: Vec<usize>,
}

impl Coming<'_> {
    /// The places of what a word names: a path, or a pattern with `*`.
    fn paths<'w>(&'w self, word: &'w [u8]) -> impl Iterator<Item = &'w usize> {
        let is_path = word.len() > 1 && word[0] == b'/';
        let path = word.strip_suffix(b"/").unwrap_or(word);
        let star = |word: &&[u8]| word.contains(&b'*');
        let one = Some(path).filter(|path| is_path && !star(path));
        let ends = Some(word).filter(|word| is_path && star(word)).map(|word| {
            let mut parts = word.split(|&byte| byte == b'*');
            let first = parts.next().unwrap_or_default();
            (first, parts.next_back().unwrap_or_default())
        });
        let matching = ends.into_iter().flat_map(|(start, end)| {
            let fits = move |path: &[u8]| path.starts_with(start) && path.ends_with(end);
            self.made.iter().filter(move |(path, _)| fits(path)).map(|(_, place)| place)
        });
        one.into_iter().filter_map(|path| self.made.get(path)).chain(matching)
    }
}

/// Whether a script leaves alone what dpkg has to know before it unpacks, and what comes with the
/// packages, was not there before, and by dpkg would `come` later: `coming` has absolute paths, and
/// for each what `come` is asked, and the same of packages with owners that the root does not know.
///
/// # Errors
/// What it names.
pub(super) fn check(
    control: &Control,
    script: &str,
    coming: &Coming<'_>,
    come: impl Fn(&usize) -> bool,
) -> Result<(), Objection> {
    let Some(file) = control.file(script) else { return Ok(()) };
    let name = &control.identity.name;
    if file.mode & 0o111 == 0 {
        return Err(Objection::Stands(format!("{script} of {name} is not executable")));
    }
    for line in of_new_packages(&file.data) {
        for word in line.split(|byte| !is_of_word(*byte)).filter(|word| !word.is_empty()) {
            let program = word.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let is = |known: &[&str]| known.iter().any(|one| one.as_bytes() == program);
            let tells = is(TELLING) || is(NAMING) && coming.strangers.iter().any(&come);
            if tells || coming.paths(word).any(&come) {
                let word = escaped(word);
                return Err(Objection::Stands(format!("{script} of {name} names {word}")));
            }
        }
    }
    Ok(())
}

/// The lines of a script that are more than remarks and may concern a package which was never
/// there. What debhelper writes for others (`dpkg-maintscript-helper(1)`), and what is done if
/// there was an earlier version (`-n "$2"`) or for upgrades alone, is left out.
fn of_new_packages(script: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    // How many ends of conditions are missing after one that concerns others.
    let mut depth = 0;
    let has =
        |line: &[u8], words: &str| line.windows(words.len()).any(|part| part == words.as_bytes());
    for line in script.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        let opens = line.starts_with(b"if ") && !has(line, "; fi");
        if depth > 0 {
            let closes = line == b"fi" || line.starts_with(b"fi ") || line.starts_with(b"fi;");
            // What comes instead concerns everybody.
            let turns = depth == 1 && (line == b"else" || line.starts_with(b"elif "));
            match (opens, closes, turns) {
                (true, ..) => depth += 1,
                (_, true, _) => depth -= 1,
                (_, _, true) => depth = 0,
                _ => {}
            }
            continue;
        }
        let upgrades = has(line, "upgrade") && !has(line, "install");
        let either = has(line, "||") && !has(line, ") &&");
        if opens && !either && (has(line, "-n \"$2\"") || upgrades) {
            depth = 1;
        } else if !line.starts_with(b"#") && !line.starts_with(b"dpkg-maintscript-helper ") {
            lines.push(line);
        }
    }
    lines
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._+-:~*".contains(&byte)
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
        let made = [(&b"/var/lib/a"[..], 3), (b"/etc/a.conf", 3), (b"/var/lib/early", 1)].into();
        let coming = Coming { made, strangers: vec![2] };
        check(&control, "preinst", &coming, |place| *place >= 2).is_err()
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
            "for i in /etc/*.conf; do :; done",
            "/usr/sbin/adduser --system a",
            "dpkg-divert --add /usr/bin/x",
            "if useradd a; then :; fi",
            "if [ \"$1\" = upgrade ]; then\n:\nelse\nmkdir /var/lib/a\nfi",
            "if [ \"$1\" = upgrade ] || [ -n \"$2\" ]; then\nmkdir /var/lib/a\nfi",
            "if [ -n \"$2\" ]; then\n:\nfi\nmkdir /var/lib/a",
        ] {
            assert!(objects(&format!("#!/bin/sh\n{line}\n")), "{line}");
        }
        for line in [
            "# adduser, /var/lib/a",
            "dpkg-maintscript-helper rm_conffile /etc/a.conf 1~ -- \"$@\"",
            "mkdir -p /var/lib/b /var/lib/early",
            "for i in /etc/*.hook; do :; done",
            "exit 0",
            "if [ \"$1\" = install ] && [ -n \"$2\" ] ; then\n\tif x; then\n\tmkdir /var/lib/a\nfi\nrm /etc/a.conf\nfi",
            "if test \"$1\" = upgrade &&\n\tdpkg --compare-versions 1 lt 2; then\nmkdir /var/lib/a\nfi",
        ] {
            assert!(!objects(&format!("#!/bin/sh\n{line}\n")), "{line}");
        }
    }
}
