use super::keys::{ARCHIVE_KEYS, BIND_KEYS};
use super::nearest::distance;
use super::*;
use crate::config::tree::{Place, parse};
use proptest::prelude::*;
use std::time::Duration;

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
        ("[biuld]\njobs = 1", "x.toml:1: unknown key `biuld`; the nearest known key is `build`"),
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
        ("archives = [1]", "x.toml:1: `archives` must be a list of tables, but holds an integer"),
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
