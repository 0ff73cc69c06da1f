//! How layers become one: tables merge, scalars and lists replace, `x_add` and `x_remove` change
//! an inherited list.

use super::Warning;
use super::schema::{self, Change, KEYS};
use super::tree::{self, Node, Origin, Place, Table, Value};
use crate::error::{Error, ErrorKind, Result};

/// Puts a checked layer over what is there. Entries of `x_remove` that remove nothing become
/// warnings: they are misspelled, or no longer needed.
pub(crate) fn merge(base: &mut Table, layer: Table, warnings: &mut Vec<Warning>) {
    merge_below(base, layer, "", warnings);
}

fn merge_below(base: &mut Table, layer: Table, prefix: &str, warnings: &mut Vec<Warning>) {
    let mut changes = Vec::new();
    for (name, node) in layer {
        let path = schema::join(prefix, &name);
        if let Some((_, change)) = schema::change(KEYS, &path) {
            changes.push((name, path, change, node));
            continue;
        }
        match (base.get_mut(&name), node) {
            (
                Some(Node { value: Value::Table(old), .. }),
                Node { value: Value::Table(new), .. },
            ) => {
                merge_below(old, new, &path, warnings);
            }
            (_, node) => {
                // A replaced list forgets what was added to the one before it.
                base.remove(&format!("{name}_add"));
                base.insert(name, node);
            }
        }
    }
    for (name, path, change, node) in changes {
        let Value::List(items) = node.value else { continue };
        match change {
            Change::Add => add(base, &name, node.origin, items),
            Change::Remove => remove(base, &name, &path, items, warnings),
        }
    }
}

fn add(base: &mut Table, name: &str, origin: Origin, items: Vec<Node>) {
    let stem = name.strip_suffix("_add").unwrap_or(name);
    // A list that is computed at the end (`archives`) is not there yet: what is added waits
    // beside it.
    let place = if base.contains_key(stem) { stem } else { name };
    let list = base
        .entry(place.to_owned())
        .or_insert_with(|| Node { value: Value::List(Vec::new()), origin });
    if let Value::List(old) = &mut list.value {
        for item in items {
            if !old.iter().any(|other| other.value.plain() == item.value.plain()) {
                old.push(item);
            }
        }
    }
}

fn remove(base: &mut Table, name: &str, path: &str, items: Vec<Node>, warnings: &mut Vec<Warning>) {
    let stem = name.strip_suffix("_remove").unwrap_or(name);
    for item in items {
        let mut found = false;
        for place in [stem.to_owned(), format!("{stem}_add")] {
            if let Some(Node { value: Value::List(old), .. }) = base.get_mut(&place) {
                let before = old.len();
                old.retain(|other| !item.value.is_said_by(&other.value));
                found |= old.len() < before;
            }
        }
        if !found {
            warnings.push(Warning {
                message: format!(
                    "{}: `{path}` names {}, which the inherited list does not have",
                    item.origin,
                    item.value.plain()
                ),
                hint: Some("`debmock config show` prints the list".into()),
            });
        }
    }
}

/// The layer of an option `KEY=VALUE`: the value is TOML, or else a string.
///
/// # Errors
/// [`ErrorKind::Usage`] for a text without a key; [`ErrorKind::Config`] as any layer.
pub(crate) fn option(text: &str) -> Result<Table> {
    let usage = || {
        Error::new(ErrorKind::Usage, format!("{text:?} is not an option of the form KEY=VALUE"))
            .with_hint("for example -o build.jobs=4")
    };
    let (key, value) = text.split_once('=').ok_or_else(usage)?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || key.contains(['\n', '\r', '#']) {
        return Err(usage());
    }
    let place = Place::Option(key.into());
    let path = tree::parse(&format!("{key} = 0"), &place).map_err(|_| usage())?;
    let value = match tree::parse(&format!("v = {value}"), &place) {
        Ok(mut table) if table.len() == 1 => table.remove("v").map(|node| node.value),
        _ => None,
    }
    .unwrap_or_else(|| Value::Text(value.to_owned()));
    let mut layer = graft(path, &value, &place);
    if schema::check(&layer).is_err() && !matches!(value, Value::Text(_)) {
        // `-o suite=12` and `-o build.environment.LEVEL=2` mean strings.
        let (_, raw) = text.split_once('=').unwrap_or_default();
        let path = tree::parse(&format!("{key} = 0"), &place).map_err(|_| usage())?;
        let as_text = graft(path, &Value::Text(raw.trim().to_owned()), &place);
        if schema::check(&as_text).is_ok() {
            layer = as_text;
        }
    }
    Ok(layer)
}

/// Replaces the leaf of a table that has one, and the lines, which mean nothing in an option.
fn graft(table: Table, leaf: &Value, place: &Place) -> Table {
    let origin = Origin::new(place.clone(), None);
    table
        .into_iter()
        .map(|(key, node)| {
            let value = match node.value {
                Value::Table(inner) => Value::Table(graft(inner, leaf, place)),
                _ => without_lines(leaf, &origin),
            };
            (key, Node { value, origin: origin.clone() })
        })
        .collect()
}

fn without_lines(value: &Value, origin: &Origin) -> Value {
    let plain =
        |node: &Node| Node { value: without_lines(&node.value, origin), origin: origin.clone() };
    match value {
        Value::List(items) => Value::List(items.iter().map(plain).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, node)| (key.clone(), plain(node))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(layers: &[&str]) -> (String, Vec<Warning>) {
        let mut base = Table::new();
        let mut warnings = Vec::new();
        for layer in layers {
            let layer = tree::parse(layer, &Place::Given("x".into())).unwrap();
            schema::check(&layer).unwrap();
            merge(&mut base, layer, &mut warnings);
        }
        (Value::Table(base).plain().to_string(), warnings)
    }

    fn assert_merged(layers: &[&str], expected: &str) {
        let expected: toml::Table = expected.parse().unwrap();
        assert_eq!(merged(layers).0, toml::Value::Table(expected).to_string());
    }

    #[test]
    fn tables_merge_and_scalars_and_lists_replace() {
        assert_merged(
            &[
                "suite='a'\nbuild.jobs=1\nbuild.options=['x']",
                "build.options=['y']\nbuild.user='u'",
            ],
            "suite='a'\nbuild.jobs=1\nbuild.options=['y']\nbuild.user='u'",
        );
    }

    #[test]
    fn lists_can_be_changed_and_a_replacement_comes_before_a_change_of_the_same_layer() {
        assert_merged(
            &["build.options=['a','b']", "build.options_add=['c','a']\nbuild.options_remove=['b']"],
            "build.options=['a','c']",
        );
        assert_merged(
            &["build.options=['a']", "build.options_add=['c']\nbuild.options=['z']"],
            "build.options=['z','c']",
        );
    }

    #[test]
    fn additions_to_a_computed_list_wait_beside_it_until_it_is_replaced() {
        let extra = "[[archives_add]]\nuri='u'\nsuites='s'\n";
        assert_merged(&[extra, extra], extra);
        assert_merged(&[extra, "archives=[]"], "archives=[]");
        assert_merged(&[extra, "archives_remove=[{uri='u'}]"], "archives_add=[]");
    }

    #[test]
    fn removing_what_is_not_there_is_a_warning_with_its_place() {
        let (_, warnings) = merged(&["packages.include=[]", "packages.include_remove=['gcc']"]);
        assert_eq!(
            warnings[0].message,
            "x:1: `packages.include_remove` names \"gcc\", which the inherited list does not have"
        );
    }

    #[test]
    fn option_values_are_toml_or_else_strings() {
        for (text, expected) in [
            ("build.jobs=4", "build.jobs=4"),
            ("suite=trixie", "suite='trixie'"),
            ("suite='trixie'", "suite='trixie'"),
            ("suite=12", "suite='12'"),
            ("packages.include=[\"a\", \"b\"]", "packages.include=['a','b']"),
            ("build.environment.LEVEL=2", "build.environment.LEVEL='2'"),
            ("build.environment.\"A.B\"=x=y", "build.environment.\"A.B\"='x=y'"),
            (
                "mirror=http://mirror.example.org/debian",
                "mirror='http://mirror.example.org/debian'",
            ),
            ("mirror=", "mirror=''"),
        ] {
            let expected: toml::Table = expected.parse().unwrap();
            let layer = Value::Table(option(text).unwrap()).plain();
            assert_eq!(layer, toml::Value::Table(expected), "{text}");
        }
        for text in ["", "x", "=1", "a\nb=1", "a b=1", "#=1", "a..b=1"] {
            assert_eq!(option(text).unwrap_err().kind(), ErrorKind::Usage, "{text:?}");
        }
        let error = schema::check(&option("build.jobs=four").unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("option -o build.jobs: `build.jobs` must be"), "{error}");
    }

    #[test]
    fn an_option_cannot_smuggle_in_a_second_key() {
        let layer = option("suite=1\nbuild.jobs=7").unwrap();
        assert_eq!(layer.len(), 1);
        assert!(layer.contains_key("suite"));
    }

    proptest! {
        #[test]
        fn options_never_panic(text in "\\PC{0,30}") {
            if let Ok(layer) = option(&text) {
                let _ = schema::check(&layer);
            }
        }

        #[test]
        fn merging_the_same_layer_twice_is_merging_it_once(
            options in proptest::collection::vec("[a-d]{1,2}", 0..5),
            jobs in 0..9,
        ) {
            let layer = format!("build.options = {options:?}\nbuild.jobs = {jobs}");
            prop_assert_eq!(merged(&[&layer]).0, merged(&[&layer, &layer]).0);
        }
    }
}
