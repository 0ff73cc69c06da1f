//! Control files of which dpkg might say something.

use std::collections::HashSet;

use crate::dpkgdb::{Objection, triggers_are_sound};
use crate::unpack::Control;

/// Whether dpkg takes the lists of a package as they are read here.
///
/// # Errors
/// Which one it might refuse.
pub(super) fn check(control: &Control) -> Result<(), Objection> {
    let refuse = |file: &str| {
        let name = &control.identity.name;
        Err(Objection::Stands(format!("dpkg may refuse the file {file} of {name}")))
    };
    if control.file("triggers").is_some_and(|file| !triggers_are_sound(&file.data)) {
        return refuse("triggers");
    }
    if control.file("conffiles").is_some_and(|file| !conffiles_are_sound(&file.data)) {
        return refuse("conffiles");
    }
    Ok(())
}

/// Each line, the last one too, has its end and names something else than those before.
fn conffiles_are_sound(text: &[u8]) -> bool {
    let mut known = HashSet::new();
    text.is_empty()
        || text.strip_suffix(b"\n").is_some_and(|text| {
            let mut lines = text.split(|&byte| byte == b'\n');
            lines.all(|line| !line.is_empty() && line == line.trim_ascii() && known.insert(line))
        })
}

#[cfg(test)]
mod tests {
    use super::conffiles_are_sound;

    #[test]
    fn lists_of_conffiles_are_those_that_dpkg_takes() {
        for good in ["", "/etc/a\n", "/etc/a\n/etc/b\n"] {
            assert!(conffiles_are_sound(good.as_bytes()), "{good:?}");
        }
        for bad in ["/etc/a", "/etc/a\n\n", "\n", " /etc/a\n", "/etc/a\n/etc/a\n"] {
            assert!(!conffiles_are_sound(bad.as_bytes()), "{bad:?}");
        }
    }
}
