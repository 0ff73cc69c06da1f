//! What names, paths and URIs of a config may look like.
//!
//! They end up in command lines, files of apt and dpkg, and mounts, so that line ends, blanks and
//! `..` are refused here, once.

use super::apt;
use super::tree::{Node, Origin, Value};
use crate::error::Result;
use std::path::{Component, Path, PathBuf};

/// The strings of a node that is a string or a list of strings.
pub(crate) fn words(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Text(text) => vec![text],
        Value::List(items) => items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The same, each checked; `what` says what each must be.
pub(crate) fn checked_words(
    node: &Node,
    key: &str,
    what: &str,
    good: fn(&str) -> bool,
) -> Result<Vec<String>> {
    if let Value::List(items) = &node.value {
        for item in items {
            if let Value::Text(text) = &item.value
                && !good(text)
            {
                return Err(item.origin.error(format!("`{key}`: {text:?} is not {what}")));
            }
        }
    }
    let words = words(node);
    match words.iter().find(|word| !good(word)) {
        Some(word) => Err(node.origin.error(format!("`{key}`: {word:?} is not {what}"))),
        None => Ok(words.into_iter().map(str::to_owned).collect()),
    }
}

/// A text of one line without NUL.
pub(crate) fn check_text(text: &str, key: &str, origin: &Origin) -> Result<()> {
    if text.contains(['\0', '\n', '\r']) {
        return Err(origin.error(format!("`{key}` must be one line of text")));
    }
    Ok(())
}

/// An absolute path without `..`; a path that is not the same by another spelling.
pub(crate) fn absolute(text: &str, key: &str, origin: &Origin) -> Result<PathBuf> {
    check_text(text, key, origin)?;
    let path = Path::new(text);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(origin.error(format!("`{key}`: {text:?} is not an absolute path without ..")));
    }
    Ok(path.components().collect())
}

/// A directory that builds may have for themselves: it is given to the build user, and removed.
pub(crate) fn is_build_place(path: &Path) -> bool {
    /// What Debian's packages (Policy section 9.1, FHS) and the session have at the top.
    const SYSTEM: &[&str] = &[
        "bin",
        "boot",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libo32",
        "libx32",
        "lost+found",
        "proc",
        "root",
        "run",
        "sbin",
        "sys",
        "usr",
        "var",
    ];
    /// Directories that many share.
    const SHARED: &[&str] = &["home", "media", "mnt", "opt", "srv", "tmp", "usr/src", "var/tmp"];
    let Ok(path) = path.strip_prefix("/") else { return false };
    let below = |of: &&str| path.starts_with(of) && path != Path::new(of);
    let Some(top) = path.components().next() else { return false };
    let top = Path::new(&top);
    let shared = SHARED.iter().any(below);
    shared || ![SYSTEM, SHARED].concat().iter().any(|name| top == Path::new(name))
}

/// A URI that archives can be read from.
pub(crate) fn check_uri(text: &str, key: &str, origin: &Origin) -> Result<()> {
    let good = match text.split_once(':') {
        Some(("http" | "https", rest)) => {
            rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        }
        Some(("file" | "copy", rest)) => rest.starts_with('/'),
        _ => false,
    };
    if !good || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(origin
            .error(format!("`{key}`: {:?} is not the URI of an archive", apt::shown(text)))
            .with_hint("archives are read from http://, https://, file:/ and copy:/"));
    }
    Ok(())
}

/// A proxy; `DIRECT` and an empty text are none.
pub(crate) fn proxy(text: &str, key: &str, origin: &Origin) -> Result<Option<String>> {
    if text.is_empty() || text == "DIRECT" {
        return Ok(None);
    }
    let known = ["http://", "https://", "socks5h://", "socks5://", "socks4://", "socks4a://"];
    let blank = text.contains(|c: char| c.is_control() || c.is_whitespace());
    if blank || !known.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(origin
            .error(format!("`{key}`: {:?} is not the URI of a proxy", apt::shown(text)))
            .with_hint("for example http://proxy.example.org:3128, or DIRECT"));
    }
    Ok(Some(text.to_owned()))
}

fn made_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

/// A package name (Debian Policy 5.6.1), or one with its version (`hello=2.10-3`). The first layer
/// is made without apt: its other forms, `gcc:native` and `hello/trixie`, mean nothing there.
pub(crate) fn is_package(text: &str) -> bool {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.')
        })
        && text.len() <= 255
        && version.is_none_or(|version| crate::archive::version::Version::parse(version).is_ok())
}

/// A component, which may contain `/` (`updates/main`).
pub(crate) fn is_component(text: &str) -> bool {
    made_of(text, b"._+-/") && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// A suite, or the directory of a flat repository.
pub(crate) fn is_suite(text: &str) -> bool {
    matches!(text, "/" | "./")
        || (made_of(text, b"._+-/~:")
            && !text
                .strip_suffix('/')
                .unwrap_or(text)
                .split('/')
                .any(|part| matches!(part, "" | "..")))
}

/// A host's name or domain in a list of proxies.
pub(crate) fn is_host(text: &str) -> bool {
    made_of(text, b".-_:*[]/")
}

/// RFC 1123, with the length that the kernel takes.
pub(crate) fn is_hostname(text: &str) -> bool {
    text.len() <= 63
        && text
            .split('.')
            .all(|part| made_of(part, b"-") && !part.starts_with('-') && !part.ends_with('-'))
}

/// What `useradd` takes; never root, as whom nothing is built.
pub(crate) fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
        && text != "root"
}

/// A build profile's name.
pub(crate) fn is_profile(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && made_of(text, b".+-")
}

/// A word without blanks and quotes.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\''))
}

/// A name of an environment variable as POSIX shells take it.
pub(crate) fn is_variable(text: &str) -> bool {
    made_of(text, b"_") && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::default_value()
    }

    #[test]
    fn nothing_that_could_lead_elsewhere_passes() {
        for bad in ["", "../x", "a b", "a\nb", "-x", "A", "x;y", "x$(y)"] {
            assert!(!is_package(bad), "{bad:?}");
            assert!(!is_user(bad), "{bad:?}");
        }
        for bad in ["gcc:native", "libc6-dev:i386", "hello/trixie", "hello=", "hello=x", "a=1=2"] {
            assert!(!is_package(bad), "{bad:?}");
        }
        for bad in ["", "..", "../x", "a//b", "/a", "a b", "a\n"] {
            assert!(!is_suite(bad) && !is_component(bad), "{bad:?}");
        }
        for bad in ["", "-a", "a-", "a..b", ".a", "a_b", "a b"] {
            assert!(!is_hostname(bad), "{bad:?}");
        }
        for bad in ["", "1A", "A-B", "A=B", "A B", "\u{e4}"] {
            assert!(!is_variable(bad), "{bad:?}");
        }
        for bad in ["", "x", "x/y", "/x/../y", "/x\n"] {
            assert!(absolute(bad, "k", &origin()).is_err(), "{bad:?}");
        }
        for bad in ["", "http:", "http:///x", "ftp://x", "file:x", "http://a b", "/x", "http://x\n"]
        {
            assert!(check_uri(bad, "k", &origin()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_people_write_passes() {
        for good in ["g++", "libc6-dev", "hello=1:2.10~rc1-3", "0ad"] {
            assert!(is_package(good), "{good}");
        }
        for good in ["trixie", "trixie-updates", "./", "/", "all/", "buster/updates", "x/y/"] {
            assert!(is_suite(good), "{good}");
        }
        for good in
            ["http://mirror.example.org/debian", "file:/srv/x", "copy:///srv/x", "https://h:8/"]
        {
            assert!(check_uri(good, "k", &origin()).is_ok(), "{good}");
        }
        assert_eq!(absolute("/a//b/./c/", "k", &origin()).unwrap(), Path::new("/a/b/c"));
    }

    #[test]
    fn builds_have_a_directory_of_their_own() {
        for bad in [
            "/",
            "/etc",
            "/etc/x",
            "/proc/x",
            "/dev",
            "/usr",
            "/usr/lib/x",
            "/usr/src",
            "/tmp",
            "/var",
            "/var/tmp",
            "/var/lib/x",
            "/home",
            "/root/x",
            "/lib64",
            "/run/x",
        ] {
            assert!(!is_build_place(Path::new(bad)), "{bad}");
        }
        for good in [
            "/build/reproducible-path",
            "/build",
            "/builddir/build",
            "/tmp/x",
            "/usr/src/x",
            "/var/tmp/x",
            "/home/x",
            "/etcetera",
        ] {
            assert!(is_build_place(Path::new(good)), "{good}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_in_a_complaint() {
        let uri = "ftp://user:secret@mirror.example.org/x";
        assert!(!check_uri(uri, "k", &origin()).unwrap_err().to_string().contains("secret"));
        assert!(!proxy(uri, "k", &origin()).unwrap_err().to_string().contains("secret"));
    }
}
