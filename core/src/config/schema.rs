//! The one table of keys: what a config may say, of which kind, and what holds otherwise.
//!
//! Layers are checked against it before they are merged, so that every complaint has a file and a
//! line; `docs/config.md` is tested against it.

use super::tree::{Node, Table, Value};
use crate::error::Result;

mod keys;
mod nearest;
mod units;

pub(crate) use keys::KEYS;
pub(crate) use nearest::{nearest, nearest_few};
pub(crate) use units::{duration, size};

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

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
