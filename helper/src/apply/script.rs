//! What `preinst` scripts name, as far as it decides who unpacks their packages, and when.

use crate::dpkgdb::Objection;
use crate::unpack::{Control, Tree, escaped};

/// Programs that change how dpkg unpacks.
const TELLING: &[&str] = &["dpkg-divert", "dpkg-statoverride"];
/// Programs that change who owns what dpkg unpacks, if that has an owner who is not there yet.
pub(super) const NAMING: &[&str] =
    &["adduser", "addgroup", "useradd", "groupadd", "usermod", "groupmod", "systemd-sysusers"];
/// Ways to look for a program, which may come.
pub(super) const SEEKING: &[&str] = &["command", "hash", "type", "which"];
/// Trees of the kernel, from which no package brings anything.
const MOUNTED: &[&[u8]] = &[b"/dev/", b"/proc/", b"/sys/"];

/// Whether dpkg unpacks as usual after `preinst` has run.
///
/// # Errors
/// What it names, or why dpkg would not run it.
pub(super) fn check(control: &Control) -> Result<(), Objection> {
    let Some(file) = control.file("preinst") else { return Ok(()) };
    let name = &control.identity.name;
    if file.mode & 0o111 == 0 {
        return Err(Objection::Stands(format!("preinst of {name} is not executable")));
    }
    match words(&file.data).find(|word| is_program(word, TELLING)) {
        None => Ok(()),
        Some(word) => {
            let word = escaped(word);
            Err(Objection::Stands(format!("preinst of {name} names {word}")))
        }
    }
}

/// Whether `preinst` has to run before its package, and those after it, are unpacked: it names a
/// path that is not in the tree, and that may come with them, looks for programs, or changes owners. What such a path
/// belongs to is not known yet, and need not be.
pub(super) fn looks_ahead(control: &Control, tree: &Tree<'_>) -> bool {
    let Some(file) = control.file("preinst") else { return false };
    words(&file.data)
        .any(|word| is_program(word, NAMING) || is_program(word, SEEKING) || may_come(word, tree))
}

pub(super) fn is_program(word: &[u8], known: &[&str]) -> bool {
    let program = word.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    known.iter().any(|one| one.as_bytes() == program)
}

/// Whether a word is a path, or the end or pattern of one, of something that is not in the tree.
fn may_come(word: &[u8], tree: &Tree<'_>) -> bool {
    let Some(path) = word.strip_prefix(b"/") else {
        // a relative path, or one that begins with a variable
        return word.contains(&b'/');
    };
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let is_mounted = MOUNTED.iter().any(|place| word.starts_with(place));
    !path.is_empty() && !is_mounted && (path.contains(&b'*') || !tree.has(path))
}

/// The words of a script, as far as they may concern a package that was never there.
pub(super) fn words(script: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = of_new_packages(script).into_iter();
    lines.flat_map(|line| line.split(|byte| !is_of_word(*byte))).filter(|word| !word.is_empty())
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
    byte.is_ascii_alphanumeric() || b"/._+-:~*${}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpkgdb::{Identity, Stanza};
    use crate::unpack::ControlFile;
    use std::os::fd::AsFd;

    fn control(text: &str) -> Control {
        Control {
            identity: Identity {
                name: "a".into(),
                version: "1".into(),
                architecture: "all".into(),
            },
            stanza: Stanza::default(),
            control_file: file("control", ""),
            files: vec![file("preinst", text)],
        }
    }

    fn file(name: &str, text: &str) -> ControlFile {
        ControlFile { name: name.into(), mode: 0o755, mtime: 0, data: text.into() }
    }

    #[test]
    fn what_a_script_does_to_what_comes_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("var/lib/there")).unwrap();
        let root = std::fs::File::open(folder.path()).unwrap();
        let tree = Tree::new(root.as_fd());
        let looks = |line: &str| looks_ahead(&control(&format!("#!/bin/sh\n{line}\n")), &tree);
        for line in [
            "mkdir -p /var/lib/a",
            "[ -d /var/lib/a/ ] || install -d -m 2770 '/var/lib/a'",
            "echo x>/etc/a.conf",
            "for i in /var/lib/*; do :; done",
            "cat $DIR/a",
            "cat ${DIR}/a",
            "cat /var/$FILE",
            "/usr/sbin/adduser --system a",
            "if useradd a; then :; fi",
            "if command -v a; then :; fi",
            "if [ \"$1\" = upgrade ]; then\n:\nelse\nmkdir /var/lib/a\nfi",
            "if [ \"$1\" = upgrade ] || [ -n \"$2\" ]; then\nmkdir /var/lib/a\nfi",
            "if [ -n \"$2\" ]; then\n:\nfi\nmkdir /var/lib/a",
        ] {
            assert!(looks(line), "{line}");
        }
        for line in [
            "# adduser, /var/lib/a",
            "dpkg-maintscript-helper rm_conffile /etc/a.conf 1~ -- \"$@\"",
            "mkdir -p /var/lib/there/ /var/lib",
            "true >/dev/null",
            "exit 0",
            "if [ \"$1\" = install ] && [ -n \"$2\" ] ; then\n\tif x; then\n\tmkdir /var/lib/a\nfi\nrm /etc/a.conf\nfi",
            "if test \"$1\" = upgrade &&\n\tdpkg --compare-versions 1 lt 2; then\nmkdir /var/lib/a\nfi",
        ] {
            assert!(!looks(line), "{line}");
        }
    }

    #[test]
    fn who_tells_dpkg_how_to_unpack_is_left_to_it() {
        let check = |line: &str| check(&control(&format!("#!/bin/sh\n{line}\n")));
        assert!(check("dpkg-divert --add /usr/bin/x").is_err());
        assert!(check("/usr/bin/dpkg-statoverride --add a a 1 /x").is_err());
        assert!(check("# dpkg-divert\nadduser x").is_ok());
    }
}
