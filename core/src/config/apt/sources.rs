//! apt's sources: the one-line and the deb822 form of `sources.list(5)`.

use super::conf::boolean;
use super::files;
use crate::config::{ByHash, Warning};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One suite of one archive as the host's apt knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// `file:LINE` of the line or stanza.
    pub(crate) place: String,
    /// Without a slash at its end.
    pub(crate) uri: String,
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    /// What `Types` said: `deb`, `deb-src`.
    pub(crate) types: Vec<String>,
    pub(crate) options: Options,
}

/// The options of an entry that debmock follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Only these architectures; empty: any.
    pub(crate) architectures: Vec<String>,
    /// All but these.
    pub(crate) without: Vec<String>,
    pub(crate) signed_by: SignedBy,
    pub(crate) trusted: Option<bool>,
    pub(crate) check_valid_until: Option<bool>,
    pub(crate) check_date: Option<bool>,
    pub(crate) valid_until_max: Option<Duration>,
    pub(crate) by_hash: Option<ByHash>,
}

/// `Signed-By`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SignedBy {
    pub(crate) files: Vec<PathBuf>,
    /// Upper case; with `!` at the end where subkeys do not count.
    pub(crate) fingerprints: Vec<String>,
    pub(crate) inline: Option<String>,
}

impl SignedBy {
    /// Reads the words of an option or field. The error is the word that is neither.
    pub(crate) fn parse(text: &str) -> Result<SignedBy, String> {
        let mut signed_by = SignedBy::default();
        if text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            let lines = text.trim().lines().map(|line| match line.trim() {
                "." => "",
                line => line,
            });
            signed_by.inline = Some(lines.flat_map(|line| [line, "\n"]).collect());
            return Ok(signed_by);
        }
        for word in text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()) {
            let digits = word.strip_suffix('!').unwrap_or(word);
            if word.starts_with('/') {
                signed_by.files.push(PathBuf::from(word));
            } else if matches!(digits.len(), 40 | 64)
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                signed_by.fingerprints.push(word.to_ascii_uppercase());
            } else {
                return Err(word.to_owned());
            }
        }
        Ok(signed_by)
    }
}

/// Every entry of `sources.list` and `sources.list.d`, in apt's order, with `$(ARCH)` replaced.
pub(crate) fn of_host(apt: &Path, architecture: &str, warnings: &mut Vec<Warning>) -> Vec<Entry> {
    let mut paths = files::parts(&apt.join("sources.list.d"), &["list", "sources"], warnings);
    let main = apt.join("sources.list");
    if main.exists() {
        paths.insert(0, main);
    }
    let mut entries = Vec::new();
    for path in paths {
        let text = match files::read(&path) {
            Ok(text) => text,
            Err(message) => {
                warnings.push(Warning::new(message));
                continue;
            }
        };
        let name = path.display().to_string();
        if name.ends_with(".sources") {
            entries.extend(super::deb822::parse(&text, &name, architecture, warnings));
        } else {
            entries.extend(one_line(&text, &name, architecture, warnings));
        }
    }
    entries
}

/// Reads the one-line form. Lines that make no sense become warnings and are left out.
pub(crate) fn one_line(
    text: &str,
    file: &str,
    architecture: &str,
    warnings: &mut Vec<Warning>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", index + 1);
        match parse_line(line, &place, architecture, warnings) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(message) => warnings.push(left_out(&place, &message)),
        }
    }
    entries
}

pub(crate) fn left_out(place: &str, message: &str) -> Warning {
    Warning {
        message: format!("{place}: {message}; this source is not used"),
        hint: Some("sources.list(5) describes the format".into()),
    }
}

fn parse_line(
    line: &str,
    place: &str,
    architecture: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Entry>, String> {
    let line = uncommented(line).trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (kind, mut rest) = line.split_once([' ', '\t']).ok_or("it has no URI")?;
    if !matches!(kind, "deb" | "deb-src") {
        return Err(format!("the type {kind:?} is not known"));
    }
    rest = rest.trim_start();
    let mut entry =
        Entry { place: place.to_owned(), types: vec![kind.to_owned()], ..Entry::default() };
    if let Some(inner) = rest.strip_prefix('[') {
        let (options, after) = inner.split_once(']').ok_or("its [ has no ]")?;
        for option in options.split_whitespace() {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("the option {option:?} has no value"))?;
            entry.options.set(name, value, place, warnings)?;
        }
        rest = after;
    }
    let mut words = words(rest).into_iter();
    entry.uri = words.next().ok_or("it has no URI")?.replace("$(ARCH)", architecture);
    entry.suite = words.next().ok_or("it has no suite")?.replace("$(ARCH)", architecture);
    entry.components = words.collect();
    entry.finish(warnings).map(|good| good.then_some(entry))
}

/// The line up to its comment; a `#` in brackets or quotation marks begins none.
fn uncommented(line: &str) -> &str {
    let (mut bracket, mut quote) = (false, false);
    for (offset, c) in line.char_indices() {
        match c {
            '#' if !bracket && !quote => return &line[..offset],
            '[' => bracket = true,
            ']' => bracket = false,
            '"' => quote = !quote,
            _ => {}
        }
    }
    // Brackets or quotes that never close hide nothing.
    if bracket || quote { line.split('#').next().unwrap_or("") } else { line }
}

/// Words between blanks; brackets and quotation marks keep blanks (`cdrom:[Debian 12]/`).
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut bracket, mut quote) = (false, false);
    for c in text.chars() {
        match c {
            '"' => quote = !quote,
            c if c.is_whitespace() && !bracket && !quote => words.push(String::new()),
            c => {
                bracket = c == '[' || (bracket && c != ']');
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Entry {
    /// Checks what both forms have in common. `Ok(false)`: left out, with a warning already.
    pub(crate) fn finish(&mut self, warnings: &mut Vec<Warning>) -> Result<bool, String> {
        let scheme = self.uri.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        let skipped = scheme == "cdrom"
            || scheme == "mirror"
            || scheme.starts_with("tor+")
            || scheme.starts_with("mirror+");
        if skipped {
            warnings.push(Warning {
                message: format!("{}: sources of the kind {scheme}: are not used", self.place),
                hint: Some("debmock reads http, https, file and copy".into()),
            });
            return Ok(false);
        }
        if !matches!(scheme.as_str(), "http" | "https" | "file" | "copy") {
            return Err(format!(
                "the URI {:?} is none of http, https, file and copy",
                shown(&self.uri)
            ));
        }
        self.uri = plain_uri(&self.uri);
        if self.suite.ends_with('/') {
            if !self.components.is_empty() {
                return Err("a suite that ends in / has no components".into());
            }
        } else if self.components.is_empty() {
            return Err("it has no component".into());
        }
        let printable = |text: &str| !text.chars().any(|c| c.is_control() || c.is_whitespace());
        let climbs = self.suite.split('/').any(|part| part == "..");
        if !printable(&self.uri) {
            return Err("its URI contains blanks".into());
        }
        if !printable(&self.suite) || !self.components.iter().all(|c| printable(c)) || climbs {
            return Err("its suite or a component is no name".into());
        }
        Ok(true)
    }
}

/// A URI in the one form that is used from here on: the scheme in lower case, `file:/x` without
/// slashes for a host, no slash at the end.
pub(crate) fn plain_uri(uri: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    let scheme = scheme.to_ascii_lowercase();
    let rest = match scheme.as_str() {
        "file" | "copy" => rest.strip_prefix("//").filter(|r| r.starts_with('/')).unwrap_or(rest),
        _ => rest,
    };
    format!("{scheme}:{}", rest.trim_end_matches('/'))
}

/// A URI without its login.
pub(crate) fn shown(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => uri.to_owned(),
    }
}

impl Options {
    /// Sets an option by its one-line name, which is the deb822 field's in lower case but for
    /// `arch`. Options that debmock has no use for are ignored, as apt ignores unknown ones.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: &str,
        place: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        // apt does not mind a value that it cannot read; whoever wrote it should know.
        let mut unreadable = |what: &str| {
            warnings.push(Warning::new(format!(
                "{place}: {name} must be {what}; {value:?} is not used"
            )));
        };
        let mut flag = || {
            let flag = boolean(value);
            if flag.is_none() {
                unreadable("yes or no");
            }
            flag
        };
        let items = || {
            value.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).map(str::to_owned)
        };
        match name.as_str() {
            "arch" | "architectures" => self.architectures = items().collect(),
            // Without a list to add to, the default stays: any architecture.
            "arch+" | "architectures-add" if self.architectures.is_empty() => {}
            "arch+" | "architectures-add" => self.architectures.extend(items()),
            "arch-" | "architectures-remove" => self.without.extend(items()),
            "signed-by" => {
                self.signed_by = SignedBy::parse(value).map_err(|word| {
                    format!("signed-by holds {word:?}, which is neither an absolute path nor a fingerprint")
                })?;
            }
            "trusted" => self.trusted = flag(),
            "check-valid-until" => self.check_valid_until = flag(),
            "check-date" => self.check_date = flag(),
            // 0 stands for no bound.
            "valid-until-max" => match value.trim().parse() {
                Ok(seconds) => {
                    self.valid_until_max = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                Err(_) => unreadable("a number of seconds"),
            },
            "by-hash" => {
                self.by_hash = match value.trim() {
                    "force" => Some(ByHash::Force),
                    _ => flag().map(|yes| if yes { ByHash::Auto } else { ByHash::No }),
                };
            }
            "allow-insecure" | "allow-weak" | "allow-downgrade-to-insecure"
                if boolean(value) == Some(true) =>
            {
                warnings.push(Warning {
                    message: format!("{place}: {name} is not followed: the archive must be signed"),
                    hint: Some("`trusted=yes` takes an archive without a signature".into()),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
