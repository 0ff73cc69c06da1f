//! Names of tar entries, made into paths below the root.

use super::error::{Problem, shown};

/// The longest path that an entry may have, in bytes (`PATH_MAX` of Linux).
pub(crate) const MAX_PATH: usize = 4096;

/// What to do with a name that starts with `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absolute {
    /// It is an error: no package has such a name.
    Refuse,
    /// The slashes are dropped, as tar does.
    Strip,
}

/// Makes the name of an entry into components joined by single slashes, without a leading
/// `./` and without a trailing slash. The root itself gives an empty path.
///
/// # Errors
/// `..` in any place, an absolute name (unless stripped), a NUL byte, a component above
/// 255 bytes, a name above [`MAX_PATH`].
pub(crate) fn clean(name: &[u8], absolute: Absolute) -> Result<Vec<u8>, Problem> {
    if name.is_empty() {
        return Err(Problem::malformed("an entry has an empty name"));
    }
    if name.len() > MAX_PATH {
        return Err(Problem::TooLarge(format!(
            "the name of an entry has {} bytes, {MAX_PATH} are allowed",
            name.len()
        )));
    }
    if name.contains(&0) {
        return Err(Problem::malformed("the name of an entry contains a NUL byte"));
    }
    if name[0] == b'/' && absolute == Absolute::Refuse {
        return Err(Problem::Escape("the name is absolute".into()));
    }
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Problem::Escape("the name contains “..”".into())),
            _ if component.len() > 255 => {
                return Err(Problem::TooLarge(format!(
                    "a component of the name has {} bytes, 255 are allowed",
                    component.len()
                )));
            }
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    Ok(path)
}

/// Splits a clean, non-empty path into its directory and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The target of a symbolic link: any text that the kernel accepts.
///
/// Where it points is not judged here: links of a root may well be absolute or dangling;
/// nothing of ours follows one except below the root.
pub(crate) fn link_target(target: &[u8]) -> Result<&[u8], Problem> {
    if target.is_empty() || target.len() >= MAX_PATH || target.contains(&0) {
        return Err(Problem::malformed(format!(
            "the target of a symbolic link is empty or impossible: {}",
            shown(target)
        )));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_and_slashes_are_normalised() {
        let clean = |name: &str| clean(name.as_bytes(), Absolute::Refuse).unwrap();
        assert_eq!(clean("./usr/bin/"), b"usr/bin");
        assert_eq!(clean("usr//bin/./x"), b"usr/bin/x");
        assert_eq!(clean("./"), b"");
        assert_eq!(clean("..."), b"...");
    }

    #[test]
    fn names_that_leave_the_root_are_refused() {
        for name in ["/etc/passwd", "../x", "a/../../x", "a/.."] {
            let problem = clean(name.as_bytes(), Absolute::Refuse).unwrap_err();
            assert!(matches!(problem, Problem::Escape(_)), "{name}: {problem}");
        }
        assert_eq!(clean(b"//etc/passwd", Absolute::Strip).unwrap(), b"etc/passwd");
        assert!(clean(b"/../x", Absolute::Strip).is_err());
    }

    proptest! {
        #[test]
        fn a_clean_path_has_only_plain_components(name in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(path) = clean(&name, Absolute::Strip) {
                prop_assert!(!path.starts_with(b"/") && !path.ends_with(b"/"));
                if !path.is_empty() {
                    for part in path.split(|&b| b == b'/') {
                        prop_assert!(!part.is_empty() && part != b"." && part != b"..");
                        prop_assert!(!part.contains(&0));
                    }
                }
                prop_assert_eq!(clean(&path, Absolute::Refuse).ok(), (!path.is_empty()).then(|| path.clone()));
            }
        }
    }
}
