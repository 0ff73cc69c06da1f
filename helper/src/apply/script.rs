//! What `preinst` scripts are, as far as it decides who unpacks their packages, and when.

use crate::dpkgdb::Objection;
use crate::unpack::{Control, ControlFile, escaped};

/// Programs that change how dpkg unpacks.
const TELLING: &[&str] = &["dpkg-divert", "dpkg-statoverride"];

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
    let is_telling = |word: &&[u8]| TELLING.iter().any(|one| word.ends_with(one.as_bytes()));
    let lines = acting_lines(&file.data).into_iter();
    let mut words = lines.flat_map(|line| line.split(|byte| !is_of_name(*byte)));
    match words.find(is_telling) {
        None => Ok(()),
        Some(word) => {
            let word = escaped(word);
            Err(Objection::Stands(format!("preinst of {name} names {word}")))
        }
    }
}

/// Whether a package has a `preinst` that may find or change something: it has to run before the
/// package, and those after it, are unpacked. What it does cannot be read from what it says, so
/// only what is plainly there for upgrades alone is known to be idle.
pub(super) fn acts(files: &[ControlFile]) -> bool {
    let mut preinst = files.iter().filter(|file| file.name == "preinst");
    preinst.any(|file| !acting_lines(&file.data).is_empty())
}

/// The lines of a script that may do something for a package that was never there: all but remarks,
/// what debhelper writes for upgrades (`dpkg-maintscript-helper(1)`), and conditions that hold in
/// upgrades alone.
fn acting_lines(script: &[u8]) -> Vec<&[u8]> {
    let lines = script.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> =
        lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
    let mut acting = Vec::new();
    let mut rest = &lines[..];
    while let [line, after @ ..] = rest {
        rest = match of_upgrades(line).then(|| end_of_condition(after)).flatten() {
            Some(end) => &after[end..],
            None => {
                acting.extend(Some(*line).filter(|line| !is_idle(line)));
                after
            }
        };
    }
    acting
}

/// Whether a line begins a condition that holds in upgrades alone (Policy 6.5): `if [ "$1" =
/// upgrade ]`, also with a comparison of versions besides.
fn of_upgrades(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let words: Vec<&str> = line.split_whitespace().collect();
    let bare = |word: &str| word.trim_end_matches(';').trim_matches(['"', '\'']).to_owned();
    let plain = |word: &str| !word.contains([';', '&', '|', '<', '>', '(', ')', '`', '\\']);
    let words: Vec<&str> = match &words[..] {
        [start @ .., end, "then"] if end.ends_with(';') => {
            [start, &[&end[..end.len() - 1]]].concat()
        }
        [start @ .., ";", "then"] => start.to_vec(),
        _ => words,
    };
    let ["if", "[", one, "=" | "==", upgrade, "]", more @ ..] = &words[..] else { return false };
    let compares = match more {
        [] => true,
        ["&&", "dpkg", "--compare-versions", old, _, new] => plain(old) && plain(new),
        _ => false,
    };
    ["$1", "${1}"].contains(&&*bare(one)) && bare(upgrade) == "upgrade" && compares
}

/// How many lines a condition has that has begun, with its end; nothing if that is not plain.
fn end_of_condition(lines: &[&[u8]]) -> Option<usize> {
    let mut depth = 1;
    for (number, line) in lines.iter().enumerate() {
        let mut words = line.split(|byte| b" \t;".contains(byte)).filter(|word| !word.is_empty());
        let first = words.next();
        match first {
            Some(b"if") => depth += 1,
            Some(b"fi") if line.len() > 2 => return None,
            Some(b"fi") => depth -= 1,
            Some(b"else" | b"elif") if depth == 1 => return None,
            _ => {}
        }
        let unclear = |word: &[u8]| matches!(word, b"fi" | b"if") || word.starts_with(b"<<");
        if words.any(unclear) || line.ends_with(b"\\") {
            return None;
        }
        if depth == 0 {
            return Some(number + 1);
        }
    }
    None
}

/// Whether a line does nothing for a package that was never there.
fn is_idle(line: &[u8]) -> bool {
    let is_plain = |line: &[u8]| line.iter().all(|byte| !b";&|<>()`\\".contains(byte));
    matches!(line, b"set -e" | b"exit 0" | b":" | b"true")
        || line.starts_with(b"dpkg-maintscript-helper ") && is_plain(line)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpkgdb::{Identity, Stanza};

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
    fn only_what_debhelper_writes_for_upgrades_is_idle() {
        let acts = |line: &str| acts(&control(&format!("#!/bin/sh\nset -e\n{line}\n")).files);
        for line in [
            "",
            "if [ \"$1\" = upgrade ]; then\nmkdir /a\nif b\nthen\nc\nelse\nd\nfi\nfi",
            "if [ \"$1\" = \"upgrade\" ] && dpkg --compare-versions \"$2\" lt '1~'\nthen\na\nfi",
            "# adduser, /var/lib/a",
            "# Automatically added\ndpkg-maintscript-helper rm_conffile /etc/a 1~ -- \"$@\"\n# End",
            "exit 0",
        ] {
            assert!(!acts(line), "{line}");
        }
        for line in [
            "mkdir -p /var/lib/a",
            "if [ \"$1\" != upgrade ]; then\na\nfi",
            "if ! [ \"$1\" = upgrade ]; then\na\nfi",
            "if [ \"$1\" = upgrade ] || a; then\na\nfi",
            "if [ \"$1\" = upgrade ]; then\na\nelse\nb\nfi",
            "if [ \"$1\" = upgrade ]; then\na\nelif b\nthen\nb\nfi",
            "if [ \"$1\" = upgrade ]; then\na; fi\nb\nfi",
            "if [ \"$1\" = upgrade ]; then a; fi; b",
            "if [ \"$1\" = upgrade ]; then\na\nfi; b",
            "if [ \"$1\" = upgrade ] && dpkg --compare-versions $(a) lt 1; then\na\nfi",
            "if [ \"$1\" = upgrade ]; then\na\nif b; then c; fi\nfi\nd",
            "dpkg-maintscript-helper rm_conffile /etc/a 1~ -- \"$@\"; touch /a",
            "dpkg-maintscript-helper rm_conffile /etc/a 1~ -- $(touch /a)",
            "dpkg-maintscript-helper rm_conffile /etc/a \\\n 1~ -- \"$@\"",
            "a",
        ] {
            assert!(acts(line), "{line}");
        }
    }

    #[test]
    fn who_tells_dpkg_how_to_unpack_is_left_to_it() {
        let check = |line: &str| check(&control(&format!("#!/bin/sh\n{line}\n")));
        assert!(check("dpkg-divert --add /usr/bin/x").is_err());
        assert!(check("/usr/bin/dpkg-statoverride --add a a 1 /x").is_err());
        assert!(check("${D:-dpkg-divert} --add /usr/bin/x").is_err());
        assert!(check("if [ \"$1\" != upgrade ]; then\ndpkg-divert --add /x\nfi").is_err());
        assert!(check("# dpkg-divert\nadduser x").is_ok());
    }
}
