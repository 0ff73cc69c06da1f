//! The one table of keys: what a config may say, of which kind, and what holds otherwise.
//!
//! Layers are checked against it before they are merged, so that every complaint has a file and a
//! line; `docs/config.md` is tested against it.

use super::tree::{Node, Table, Value};
use crate::error::Result;
use std::time::Duration;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    Choice(&'static [&'static str]),
    Bool,
    Integer(i64, i64),
    /// A positive number, with or without a fraction.
    Number,
    /// Seconds, or a string with a unit.
    Duration,
    /// Bytes, or a string with a unit.
    Size,
    /// `always`, `never`, or a duration.
    Refresh,
    /// A list of strings.
    List,
    /// A string or a list of strings.
    Words,
    /// A table of strings with keys of the user's choice.
    Map,
    /// A list of tables with these keys.
    Tables(&'static [Key]),
}

impl Kind {
    /// What people call it, with its article.
    pub(crate) fn sort(self) -> String {
        match self {
            Kind::Text => "a string".into(),
            Kind::Choice(words) => format!("one of {}", quoted(words)),
            Kind::Bool => "true or false".into(),
            Kind::Integer(min, max) if max == i64::MAX => format!("an integer from {min}"),
            Kind::Integer(min, max) => format!("an integer from {min} to {max}"),
            Kind::Number => "a positive number".into(),
            Kind::Duration => {
                "a number of seconds or a string such as \"90s\", \"10min\", \"2h\", \"1d\"".into()
            }
            Kind::Size => "a number of bytes or a string such as \"512M\", \"4G\"".into(),
            Kind::Refresh => {
                "\"always\", \"never\", a number of seconds or a string such as \"1h\"".into()
            }
            Kind::List => "a list of strings".into(),
            Kind::Words => "a string or a list of strings".into(),
            Kind::Map => "a table of strings".into(),
            Kind::Tables(_) => "a list of tables".into(),
        }
    }
}

/// One key of the config.
#[derive(Debug, PartialEq)]
pub(crate) struct Key {
    /// Dotted path.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    /// The default as TOML; empty where it is computed, which `about` then describes.
    pub(crate) default: &'static str,
    /// One sentence for people; it is the text of `docs/config.md`.
    pub(crate) about: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { path, kind, default, about }
}

const COUNT: Kind = Kind::Integer(0, i64::MAX);

/// Every key, in the order in which people read them.
pub(crate) const KEYS: &[Key] = &[
    key(
        "extends",
        Kind::Text,
        "",
        "Name of the config that this one builds on; without it, the defaults.",
    ),
    key(
        "distribution",
        Kind::Text,
        "",
        "`debian`, `ubuntu` or another name. Default: the one that has the suite, else the host's own.",
    ),
    key(
        "suite",
        Kind::Text,
        "",
        "Codename of the suite, such as `trixie`; `stable`, `testing` and the like become the codename that they mean. Default: the host's own.",
    ),
    key(
        "architecture",
        Kind::Text,
        "",
        "Debian's name of the architecture, such as `arm64`. Default: the host's own.",
    ),
    key(
        "components",
        Kind::List,
        "",
        "Components of the default archives. Default: `main`, for Ubuntu `main` and `universe`.",
    ),
    key(
        "archives",
        Kind::Tables(ARCHIVE_KEYS),
        "",
        "Where packages and sources come from, instead of the default archives.",
    ),
    key(
        "mirror",
        Kind::Text,
        "",
        "URI that replaces the one of the suite and of `-updates` in the default archives.",
    ),
    key(
        "security_mirror",
        Kind::Text,
        "",
        "URI that replaces the one of `-security` in the default archives.",
    ),
    key(
        "use_host_apt",
        Kind::Bool,
        "true",
        "Take archives, keyrings, proxies and logins from the host's own apt configuration.",
    ),
    key(
        "keyring",
        Kind::Words,
        "",
        "Keys that may sign archives that name none: key files, fingerprints, an armored key, or `builtin:debian`. Default: what the host's apt trusts, or the keys that the library carries.",
    ),
    key(
        "check_valid_until",
        Kind::Bool,
        "",
        "Refuse Release files whose Valid-Until has passed. Default: as the host's apt does, else true. An archive's own setting wins.",
    ),
    key(
        "check_date",
        Kind::Bool,
        "",
        "Refuse Release files from the future; false also turns `check_valid_until` off. Default: as the host's apt does, else true.",
    ),
    key(
        "refresh",
        Kind::Refresh,
        "3600",
        "How old indexes may be before the archive is asked again, with a conditional request: `always`, `never`, or a duration.",
    ),
    key(
        "bootstrap",
        Kind::Choice(&["native", "dpkg"]),
        "\"native\"",
        "How the first layer is made: `native` unpacks in parallel, `dpkg` lets dpkg do everything and is slow.",
    ),
    key(
        "source_date_epoch",
        COUNT,
        "",
        "Time for files that bootstrap makes, in seconds since 1970. Default: the environment's SOURCE_DATE_EPOCH, else the newest file of the package set.",
    ),
    key(
        "lock_timeout",
        Kind::Duration,
        "0",
        "How long to wait for another debmock that uses the same buildroot; 0 waits for ever.",
    ),
    key(
        "packages.variant",
        Kind::Choice(&["essential", "apt", "buildd"]),
        "\"buildd\"",
        "What a new root contains: the essential set, with apt, or with apt and build-essential.",
    ),
    key("packages.include", Kind::List, "[]", "Further packages in a new root."),
    key(
        "build.path",
        Kind::Text,
        "\"/build/reproducible-path\"",
        "Directory inside the root that the source is unpacked in.",
    ),
    key("build.user", Kind::Text, "\"sbuild\"", "User inside the root that builds."),
    key(
        "build.jobs",
        Kind::Integer(0, 4096),
        "0",
        "Parallel jobs (`parallel=N`); 0 means as many as there are processors.",
    ),
    key("build.profiles", Kind::List, "[]", "Build profiles, such as `nocheck`."),
    key("build.options", Kind::List, "[]", "Words of DEB_BUILD_OPTIONS, besides `parallel`."),
    key("build.environment", Kind::Map, "{}", "Environment variables of the build."),
    key(
        "build.silence_timeout",
        Kind::Duration,
        "\"150min\"",
        "A build that prints nothing for this long is stopped; 0 never stops it.",
    ),
    key(
        "build.timeout",
        Kind::Duration,
        "0",
        "A build that takes this long is stopped; 0 never stops it.",
    ),
    key(
        "build.cleanup_after",
        Kind::Choice(&["always", "success", "never"]),
        "\"success\"",
        "When the build directory and the dependencies are removed from the root.",
    ),
    key(
        "isolation.mode",
        Kind::Choice(&["auto", "userns", "simple"]),
        "\"auto\"",
        "`userns` works in a user namespace, `simple` is real root in the other namespaces, `auto` takes the safest that works.",
    ),
    key(
        "isolation.root_id_base",
        Kind::Integer(1, 4294967294),
        "1879048192",
        "First id of the range that root's user namespaces use where /etc/subuid has no entry for root.",
    ),
    key(
        "isolation.root_id_count",
        Kind::Integer(65536, 4294967294),
        "65536",
        "Length of that range.",
    ),
    key("isolation.hostname", Kind::Text, "\"debmock\"", "Host name inside the root."),
    key(
        "isolation.binds",
        Kind::Tables(BIND_KEYS),
        "[]",
        "Directories and files of the host that are visible inside the root.",
    ),
    key(
        "limits.memory",
        Kind::Size,
        "0",
        "Memory of all processes of a session together; 0 means no limit.",
    ),
    key("limits.processes", COUNT, "0", "Processes and threads of a session; 0 means no limit."),
    key(
        "limits.cpus",
        Kind::Number,
        "0",
        "Processors' worth of time, such as 1.5; 0 means no limit.",
    ),
    key("limits.disk", Kind::Size, "0", "What a session may write; 0 means no limit."),
    key(
        "limits.required",
        Kind::Bool,
        "true",
        "Whether a limit that this host cannot enforce is an error; false makes it a warning.",
    ),
    key(
        "store.layers_max",
        Kind::Size,
        "0",
        "Size of all layers above which unused ones are removed, the least recently used first; 0 means no limit.",
    ),
    key("store.debs_max", Kind::Size, "0", "The same for downloaded packages and sources."),
    key(
        "network.http_proxy",
        Kind::Text,
        "",
        "Proxy for http, or `DIRECT`. Default: as the host's apt, then the environment's http_proxy.",
    ),
    key(
        "network.https_proxy",
        Kind::Text,
        "",
        "Proxy for https, or `DIRECT`. Default: as the host's apt, then the environment's https_proxy.",
    ),
    key(
        "network.host_proxies",
        Kind::Map,
        "",
        "Proxies by host name; `DIRECT` means none. Default: as the host's apt.",
    ),
    key(
        "network.no_proxy",
        Kind::List,
        "",
        "Hosts that are reached directly; a name that begins with a dot stands for a domain. Default: the environment's no_proxy.",
    ),
    key(
        "network.retries",
        Kind::Integer(0, 100),
        "",
        "How often a transfer is tried again. Default: as the host's apt, else 3.",
    ),
    key(
        "network.timeout",
        Kind::Duration,
        "",
        "Longest silence of a server. Default: as the host's apt, else 30 seconds.",
    ),
    key(
        "network.ca_info",
        Kind::Text,
        "",
        "File of certificate authorities instead of the host's own. Default: as the host's apt.",
    ),
    key(
        "network.verify_peer",
        Kind::Bool,
        "",
        "Check certificates of https servers. Default: as the host's apt, else true.",
    ),
    key("network.parallel", Kind::Integer(1, 64), "8", "Transfers at once."),
];

/// Keys of one entry of `archives`.
pub(crate) const ARCHIVE_KEYS: &[Key] = &[
    key("uri", Kind::Text, "", "Root of the archive: `http`, `https`, `file` or `copy`. Required."),
    key(
        "suites",
        Kind::Words,
        "",
        "Suites below `dists/`; a name that ends in `/` is a flat repository's directory. Required.",
    ),
    key("components", Kind::List, "", "Components. Default: those of the config."),
    key("architectures", Kind::List, "", "Architectures to take. Default: that of the config."),
    key("signed_by", Kind::Words, "", "Keys that may sign, as in `keyring`."),
    key("trusted", Kind::Bool, "", "Take it without any signature. Default: false."),
    key("check_valid_until", Kind::Bool, "", "As the key of the config, for this archive."),
    key("check_date", Kind::Bool, "", "As the key of the config, for this archive."),
    key("valid_until_max", Kind::Duration, "", "Refuse a Release file older than this."),
    key(
        "by_hash",
        Kind::Choice(&["auto", "no", "force"]),
        "",
        "Fetch indexes under their hash: as the archive says, never, always. Default: `auto`.",
    ),
    key(
        "origin",
        Kind::Text,
        "",
        "Leave the archive out, with a warning, if its verified Release file names another Origin.",
    ),
];

/// Keys of one entry of `isolation.binds`.
pub(crate) const BIND_KEYS: &[Key] = &[
    key("host", Kind::Text, "", "Path on the host. Required."),
    key("inside", Kind::Text, "", "Path inside the root. Default: the same."),
    key("read_only", Kind::Bool, "", "Whether the root may only read it. Default: true."),
];

/// Refuses everything in a layer that no key allows.
pub(crate) fn check(layer: &Table) -> Result<()> {
    check_table(layer, "", KEYS)
}

fn check_table(table: &Table, prefix: &str, keys: &'static [Key]) -> Result<()> {
    for (name, node) in table {
        let path = join(prefix, name);
        if let Some(key) = find(keys, &path) {
            check_value(node, &path, key.kind)?;
        } else if let Some((key, _)) = change(keys, &path) {
            let kind = if key.kind == Kind::Words { Kind::List } else { key.kind };
            check_value(node, &path, kind)?;
        } else if keys.iter().any(|key| is_below(key.path, &path)) {
            let Value::Table(inner) = &node.value else {
                return Err(node
                    .origin
                    .error(format!("`{path}` must be a table, not {}", node.value.sort())));
            };
            check_table(inner, &path, keys)?;
        } else {
            return Err(unknown(node, &path, keys));
        }
    }
    Ok(())
}

/// The key of this path.
pub(crate) fn find(keys: &'static [Key], path: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.path == path)
}

/// How `x_add` and `x_remove` change an inherited list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Add,
    Remove,
}

/// The list that a key such as `packages.include_add` changes.
pub(crate) fn change(keys: &'static [Key], path: &str) -> Option<(&'static Key, Change)> {
    let (stem, change) = match (path.strip_suffix("_add"), path.strip_suffix("_remove")) {
        (Some(stem), _) => (stem, Change::Add),
        (_, Some(stem)) => (stem, Change::Remove),
        _ => return None,
    };
    let key = find(keys, stem)?;
    matches!(key.kind, Kind::List | Kind::Tables(_)).then_some((key, change))
}

fn is_below(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// `a.b` and `c` as `a.b.c`.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn check_value(node: &Node, path: &str, kind: Kind) -> Result<()> {
    let fits = match (&node.value, kind) {
        (Value::Text(_), Kind::Text | Kind::Words) => true,
        (Value::Text(text), Kind::Choice(words)) => words.contains(&text.as_str()),
        (Value::Bool(_), Kind::Bool) => true,
        (Value::Integer(n), Kind::Integer(min, max)) => (min..=max).contains(n),
        (Value::Integer(n), Kind::Number) => *n >= 0,
        (Value::Float(n), Kind::Number) => n.is_finite() && *n >= 0.0,
        (_, Kind::Duration) => duration(&node.value).is_some(),
        (_, Kind::Size) => size(&node.value).is_some(),
        (Value::Text(text), Kind::Refresh) if text == "always" || text == "never" => true,
        (_, Kind::Refresh) => duration(&node.value).is_some(),
        (Value::List(items), Kind::List | Kind::Words) => {
            for item in items {
                if !matches!(item.value, Value::Text(_)) {
                    return Err(item.origin.error(format!(
                        "`{path}` must be a list of strings, but holds {}",
                        item.value.sort()
                    )));
                }
            }
            true
        }
        (Value::Table(table), Kind::Map) => {
            for (name, item) in table {
                if !matches!(item.value, Value::Text(_)) {
                    return Err(item.origin.error(format!(
                        "`{path}.{name}` must be a string, not {}",
                        item.value.sort()
                    )));
                }
            }
            true
        }
        (Value::List(items), Kind::Tables(keys)) => {
            for item in items {
                let Value::Table(table) = &item.value else {
                    return Err(item.origin.error(format!(
                        "`{path}` must be a list of tables, but holds {}",
                        item.value.sort()
                    )));
                };
                check_entry(table, path, keys)?;
            }
            true
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let found = match &node.value {
        Value::Text(_) | Value::Integer(_) | Value::Float(_) => node.value.plain().to_string(),
        other => other.sort().to_owned(),
    };
    let mut error = node.origin.error(format!("`{path}` must be {}, not {found}", kind.sort()));
    if let (Value::Text(text), Kind::List) = (&node.value, kind) {
        error = error.with_hint(format!("write [{:?}]", text));
    }
    if let (Value::Text(text), Kind::Choice(words)) = (&node.value, kind)
        && let Some(word) = nearest(text, words.iter().copied())
    {
        error = error.with_hint(format!("did you mean {word:?}?"));
    }
    Err(error)
}

fn check_entry(table: &Table, path: &str, keys: &'static [Key]) -> Result<()> {
    for (name, node) in table {
        match find(keys, name) {
            Some(key) => check_value(node, &format!("{path}.{name}"), key.kind)?,
            None => {
                let near = nearest(name, keys.iter().map(|key| key.path));
                return Err(unknown_key(
                    node,
                    &format!("{path}.{name}"),
                    near.map(|near| format!("{path}.{near}")),
                ));
            }
        }
    }
    Ok(())
}

fn unknown(node: &Node, path: &str, keys: &'static [Key]) -> crate::error::Error {
    let mut names: Vec<&str> = keys.iter().map(|key| key.path).collect();
    names
        .extend(keys.iter().filter_map(|key| key.path.split_once('.').map(|(section, _)| section)));
    let stem = ["_add", "_remove"].iter().find_map(|suffix| path.strip_suffix(suffix));
    let meant = stem.unwrap_or(path);
    let last = meant.rsplit('.').next().unwrap_or(meant);
    // A key in the wrong section is as common as a misspelled one.
    let near = nearest(meant, names.iter().copied())
        .or_else(|| names.iter().copied().find(|name| name.rsplit('.').next() == Some(last)))
        .or_else(|| {
            let near =
                nearest(last, names.iter().map(|name| name.rsplit('.').next().unwrap_or(name)))?;
            names.iter().copied().find(|name| name.rsplit('.').next() == Some(near))
        });
    unknown_key(node, path, near.map(str::to_owned))
}

fn unknown_key(node: &Node, path: &str, near: Option<String>) -> crate::error::Error {
    let message = match near {
        Some(near) => format!("unknown key `{path}`; the nearest known key is `{near}`"),
        None => format!("unknown key `{path}`"),
    };
    node.origin.error(message).with_hint("docs/config.md lists every key")
}

/// How far a word may be from a wrong one that stands for it.
fn farthest(wrong: &str) -> usize {
    match wrong.chars().count() {
        0..4 => 1,
        length => (length / 3).clamp(2, 6),
    }
}

/// The word that is most like `wrong`, if any is like it at all.
pub(crate) fn nearest<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = farthest(wrong);
    let scored = words.map(|word| (distance(wrong, word), word));
    let near = scored.filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// The words, three at most, that are most like `wrong`, the nearest first.
pub(crate) fn nearest_few<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = farthest(wrong);
    let mut near: Vec<(usize, &str)> = words
        .map(|word| (distance(wrong, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| *distance <= best + 1);
    near.into_iter().take(3).map(|(_, word)| word).collect()
}

/// How many letters must be added, removed, exchanged or swapped with their neighbour to make one
/// word of the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    // Only short words are compared; a hostile name must not cost quadratic time.
    let a: Vec<char> = a.chars().take(100).collect();
    let b: Vec<char> = b.chars().take(100).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Reads a duration: seconds, or a whole number with a unit.
pub(crate) fn duration(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok()?,
        Value::Text(text) => {
            let (number, unit) = split_unit(text)?;
            number.checked_mul(match unit {
                "" | "s" | "sec" => 1,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86400,
                _ => return None,
            })?
        }
        _ => return None,
    };
    // A hundred years is for ever, and leaves room for sums with the time of day.
    (seconds <= 100 * 366 * 86400).then(|| Duration::from_secs(seconds))
}

/// Reads a size in bytes: a number, or a whole number with a unit of powers of 1024.
pub(crate) fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => {
            let (number, unit) = split_unit(text)?;
            let unit = unit.strip_suffix("iB").or(unit.strip_suffix('B')).unwrap_or(unit);
            let shift = match unit {
                "" => 0,
                "k" | "K" => 10,
                "M" => 20,
                "G" => 30,
                "T" => 40,
                _ => return None,
            };
            number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok())
        }
        _ => None,
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Place, parse};
    use super::*;
    use proptest::prelude::*;

    fn complaint(text: &str) -> String {
        let layer = parse(text, &Place::Given("x.toml".into())).unwrap();
        let error = check(&layer).unwrap_err();
        match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        }
    }

    #[test]
    fn unknown_keys_name_file_line_and_the_nearest_key() {
        let hint = "(docs/config.md lists every key)";
        for (text, expected) in [
            (
                "\n[build]\njbos = 4",
                "x.toml:3: unknown key `build.jbos`; the nearest known key is `build.jobs`",
            ),
            ("jobs = 4", "x.toml:1: unknown key `jobs`; the nearest known key is `build.jobs`"),
            (
                "http_prxy = \"\"",
                "x.toml:1: unknown key `http_prxy`; the nearest known key is `network.http_proxy`",
            ),
            (
                "[biuld]\njobs = 1",
                "x.toml:1: unknown key `biuld`; the nearest known key is `build`",
            ),
            ("zzzzzzzz = 1", "x.toml:1: unknown key `zzzzzzzz`"),
            (
                "[[archives]]\nuri = \"\"\nsuite = \"\"",
                "x.toml:3: unknown key `archives.suite`; the nearest known key is `archives.suites`",
            ),
            (
                "suite_add = [\"x\"]",
                "x.toml:1: unknown key `suite_add`; the nearest known key is `suite`",
            ),
            (
                "packages.inlcude_add = [\"x\"]",
                "x.toml:1: unknown key `packages.inlcude_add`; the nearest known key is `packages.include`",
            ),
        ] {
            let complaint = complaint(text);
            assert!(complaint.starts_with(expected) && complaint.ends_with(hint), "{complaint}");
        }
    }

    #[test]
    fn wrong_types_name_file_line_and_what_is_expected() {
        for (text, expected) in [
            ("suite = 1", "x.toml:1: `suite` must be a string, not 1"),
            ("build = 1", "x.toml:1: `build` must be a table, not an integer"),
            ("build.jobs = -1", "x.toml:1: `build.jobs` must be an integer from 0 to 4096, not -1"),
            (
                "packages.include = \"gcc\"",
                "x.toml:1: `packages.include` must be a list of strings, not \"gcc\" (write [\"gcc\"])",
            ),
            (
                "packages.include = [\n\"a\",\n 1]",
                "x.toml:3: `packages.include` must be a list of strings, but holds an integer",
            ),
            (
                "bootstrap = \"natve\"",
                "x.toml:1: `bootstrap` must be one of \"native\", \"dpkg\", not \"natve\" (did you mean \"native\"?)",
            ),
            (
                "limits.required = \"yes\"",
                "x.toml:1: `limits.required` must be true or false, not \"yes\"",
            ),
            ("limits.cpus = nan", "x.toml:1: `limits.cpus` must be a positive number, not nan"),
            (
                "archives = [1]",
                "x.toml:1: `archives` must be a list of tables, but holds an integer",
            ),
            (
                "build.environment.A = 1",
                "x.toml:1: `build.environment.A` must be a string, not an integer",
            ),
            (
                "isolation.mode = 2020-01-01",
                "x.toml:1: `isolation.mode` must be one of \"auto\", \"userns\", \"simple\", not a date",
            ),
        ] {
            assert_eq!(complaint(text), expected);
        }
    }

    #[test]
    fn durations_and_sizes_have_units() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(duration(&text("150min")), Some(Duration::from_secs(9000)));
        assert_eq!(duration(&text(" 2 h ")), Some(Duration::from_secs(7200)));
        assert_eq!(duration(&Value::Integer(5)), Some(Duration::from_secs(5)));
        for bad in ["", "h", "1 fortnight", "-1", "1.5h", "99999999999999999999", "99999999999d"] {
            assert_eq!(duration(&text(bad)), None, "{bad}");
        }
        assert_eq!(size(&text("4G")), Some(4 << 30));
        assert_eq!(size(&text("4GiB")), Some(4 << 30));
        assert_eq!(size(&text("512MB")), Some(512 << 20));
        assert_eq!(size(&text("99999999999T")), None);
        assert_eq!(size(&Value::Integer(-1)), None);
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let layer = parse(&format!("{} = {}", key.path, key.default), &Place::Default).unwrap();
            check(&layer).unwrap();
        }
    }

    /// The table that `docs/config.md` holds.
    fn documentation(keys: &[Key]) -> String {
        let mut text = String::new();
        for key in keys {
            let default = match key.default {
                "" => String::new(),
                default => format!(" Default: `{default}`."),
            };
            let kind = match key.kind {
                Kind::Text => "string".to_owned(),
                Kind::Choice(words) => words.join(", "),
                Kind::Bool => "boolean".into(),
                Kind::Integer(..) => "integer".into(),
                Kind::Number => "number".into(),
                Kind::Duration => "duration".into(),
                Kind::Size => "size".into(),
                Kind::Refresh => "`always`, `never`, duration".into(),
                Kind::List => "list".into(),
                Kind::Words => "string, list".into(),
                Kind::Map => "table".into(),
                Kind::Tables(_) => "list of tables".into(),
            };
            text.push_str(&format!("| `{}` | {kind} | {}{default} |\n", key.path, key.about));
        }
        text
    }

    #[test]
    fn the_documentation_has_every_key_as_this_table_describes_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        let text = std::fs::read_to_string(path).unwrap();
        let tables = [KEYS, ARCHIVE_KEYS, BIND_KEYS].map(documentation);
        let missing: Vec<&String> = tables.iter().filter(|table| !text.contains(*table)).collect();
        assert!(missing.is_empty(), "docs/config.md lacks these rows:\n{missing:#?}");
    }

    proptest! {
        #[test]
        fn no_layer_makes_the_check_panic(text in "([a-z_.\\[\\]]{1,12} ?= ?[\"a-z0-9\\[\\]{}.]{0,10}\n){0,6}") {
            if let Ok(layer) = parse(&text, &Place::Default) {
                let _ = check(&layer);
            }
        }

        #[test]
        fn one_wrong_letter_still_finds_the_key(index in 0..KEYS.len(), at in 0usize..40) {
            let path = KEYS[index].path;
            prop_assume!(path.len() > 4);
            let mut wrong: Vec<char> = path.chars().collect();
            let at = at % wrong.len();
            prop_assume!(wrong[at] != '.');
            wrong[at] = '0';
            let wrong: String = wrong.into_iter().collect();
            let found = nearest(&wrong, KEYS.iter().map(|key| key.path)).unwrap();
            prop_assert_eq!(distance(&wrong, found), 1);
        }
    }
}
