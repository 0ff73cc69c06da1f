//! What comes with packages that are all there at once, and scripts that may care.
//!
//! Where packages are unpacked in waves, a script cannot see what by dpkg comes after it. Where they
//! lie in one tree, it can; so it is known here what comes, and `preinst` may not name it.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

use super::script::{NAMING, SEEKING, is_program, words};
use crate::dpkgdb::{Identity, Objection, Present};
use crate::unpack::{Control, Unpacked, escaped};

/// What comes, each with the place of the first package that brings it in their order.
#[derive(Debug, Default)]
pub(super) struct Coming<'a> {
    order: &'a [Identity],
    /// Absolute paths that were not there before.
    paths: HashMap<&'a [u8], usize>,
    /// Names of programs among them.
    programs: HashMap<&'a [u8], usize>,
    /// The last package that names owners whom the root does not know.
    strangers: Option<usize>,
}

impl<'a> Coming<'a> {
    /// Of packages that come in this order.
    pub(super) fn of(order: &'a [Identity], unpacked: &'a [Unpacked], present: &Present) -> Self {
        let all = unpacked.iter().flat_map(|one| &one.directories);
        let made = all.filter(|directory| directory.made).map(|directory| &*directory.path);
        let made: HashSet<&[u8]> = made.collect();
        let mut coming = Coming { order, ..Coming::default() };
        let by_name: HashMap<&Identity, &Unpacked> =
            unpacked.iter().map(|one| (&one.control.identity, one)).collect();
        for (place, identity) in order.iter().enumerate() {
            let Some(one) = by_name.get(identity) else { continue };
            let directories: HashSet<&[u8]> =
                one.directories.iter().map(|directory| &*directory.path).collect();
            for path in &one.files {
                let bare = path.get(1..).unwrap_or_default();
                if bare == b"." || directories.contains(bare) && !made.contains(bare) {
                    continue;
                }
                coming.paths.entry(path).or_insert(place);
                if let Some(program) = program_of(path) {
                    coming.programs.entry(program).or_insert(place);
                }
            }
            if !present.knows_owners(one) {
                coming.strangers = Some(place);
            }
        }
        coming
    }

    /// Whether each `preinst` does without what by dpkg comes with its package and those after it.
    ///
    /// # Errors
    /// What one of them may care for.
    pub(super) fn leave_alone<C: Borrow<Control>>(
        &self,
        controls: &HashMap<Identity, C>,
    ) -> Result<(), Objection> {
        for (place, identity) in self.order.iter().enumerate() {
            let control = controls.get(identity).map(Borrow::borrow);
            let Some(file) = control.and_then(|control| control.file("preinst")) else { continue };
            if let Some(word) = self.named(&file.data, place) {
                let (name, word) = (&identity.name, escaped(word));
                return Err(Objection::Stands(format!("preinst of {name} names {word}")));
            }
        }
        Ok(())
    }

    /// The first word of a script that is about something which comes at `place` or later.
    fn named<'s>(&self, script: &'s [u8], place: usize) -> Option<&'s [u8]> {
        let comes = |found: Option<&usize>| found.is_some_and(|found| *found >= place);
        let any = |fits: &dyn Fn(&[u8]) -> bool| {
            self.paths.iter().any(|(path, found)| *found >= place && fits(path))
        };
        let seeks = words(script).any(|word| is_program(word, SEEKING));
        let harmless = prefixes(script);
        words(script).filter(|word| !harmless.contains(word)).find(|word| {
            if is_program(word, NAMING) {
                return comes(self.strangers.as_ref());
            }
            let path = word.strip_suffix(b"/").unwrap_or(word);
            let Some(at) = path.iter().position(|&byte| byte == b'/') else {
                let is_folder = path.len() < word.len() && !path.is_empty();
                return is_folder || seeks && comes(self.programs.get(word));
            };
            // What is known of it: all, or what comes before a variable or pattern.
            let rest = &path[at..];
            let open = rest.iter().position(|byte| b"$*".contains(byte));
            match (at, open) {
                (0, None) => comes(self.paths.get(path)),
                (0, Some(end)) => any(&|coming| coming.starts_with(&rest[..end])),
                // A relative path, or one that begins with a variable.
                (_, None) => any(&|coming| coming.ends_with(rest)),
                (_, Some(end)) => any(&|c| c.windows(end).any(|part| part == &rest[..end])),
            }
        })
    }
}

/// Paths that a script only gives a name to, and only puts before other names.
fn prefixes(script: &[u8]) -> HashSet<&[u8]> {
    let text = |line: &'_ [u8]| line.iter().all(|byte| byte.is_ascii_graphic());
    let mut found = HashSet::new();
    for line in script.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        let Some(equal) = line.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (&line[..equal], &line[equal + 1..]);
        let value = value.strip_suffix(b";").unwrap_or(value);
        let quotes: &[u8] = b"'\"";
        let bare = value.iter().position(|byte| !quotes.contains(byte)).unwrap_or(0);
        let end = value.iter().rposition(|byte| !quotes.contains(byte)).map_or(0, |end| end + 1);
        let value = &value[bare..end.max(bare)];
        let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let is_plain = !value.iter().any(|byte| b"$*;&|<>()`'\"".contains(byte));
        if !name.is_empty() && is_name && text(line) && is_plain && !is_used_alone(script, name) {
            found.insert(value);
        }
    }
    found
}

/// Whether a variable is used without a slash that follows.
fn is_used_alone(script: &[u8], name: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut at = 0;
    while let Some(found) = script[at..].windows(name.len()).position(|part| part == name) {
        let (start, end) = (at + found, at + found + name.len());
        at = end;
        let (before, after) = (&script[..start], &script[end..]);
        if before.last().is_some_and(is_of_name) || after.first().is_some_and(is_of_name) {
            continue;
        }
        let is_set = after.first() == Some(&b'=');
        let is_prefix = before.ends_with(b"$") && after.starts_with(b"/")
            || before.ends_with(b"${") && after.starts_with(b"}/");
        if !is_set && !is_prefix {
            return true;
        }
    }
    false
}

/// Its name, if it is where programs are.
fn program_of(path: &[u8]) -> Option<&[u8]> {
    let mut parts = path.rsplit(|&byte| byte == b'/');
    let name = parts.next()?;
    parts.next().filter(|folder| folder.ends_with(b"bin") || folder.ends_with(b"games"))?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_may_not_name_what_comes_after_them() {
        let paths = [(&b"/var/lib/a"[..], 3), (b"/etc/a.conf", 3), (b"/var/lib/early", 1)].into();
        let programs = [(&b"prog"[..], 3), (b"old", 1)].into();
        let coming = Coming { paths, programs, strangers: Some(2), ..Coming::default() };
        let names = |line: &str| {
            let script = format!("#!/bin/sh\n{line}\n");
            coming.named(script.as_bytes(), 2).map(<[u8]>::to_vec)
        };
        for line in [
            "mkdir -p /var/lib/a",
            "[ -d /var/lib/a/ ] || install -d -m 2770 '/var/lib/a'",
            "echo x>/etc/a.conf",
            "for i in /etc/*.conf; do :; done",
            "cat $DIR/a.conf",
            "cat ${DIR}/a.conf",
            "cat ${DIR}/a.${i}",
            "cat /etc/$FILE",
            "dir='/var/lib/a';\n[ -d $dir ]",
            "dir=/var/lib/a\ncat ${dir}",
            "dir=/var/lib\ncat \"${dir}/a\"",
            "cat $DIR/$FILE",
            "cat lib/*",
            "/usr/sbin/adduser --system a",
            "if command -v prog; then :; fi",
        ] {
            assert!(names(line).is_some(), "{line}");
        }
        for line in [
            "# /var/lib/a",
            "mkdir -p /var/lib/early /var/lib/b",
            "for i in /var/lib/b*; do :; done",
            "cat $DIR/b.conf",
            "cat ${DIR}/b.${i}",
            "dir='/var/lib/a';\ncat \"${dir}/b.${i}\" $dir/c",
            "if command -v old other; then :; fi",
            "prog",
            "true >/dev/null",
        ] {
            assert_eq!(names(line), None, "{line}");
        }
        let knows_all = Coming::default();
        assert_eq!(knows_all.named(b"adduser --system a", 0), None);
    }
}
