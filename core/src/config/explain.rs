//! Each value of a config with where it came from, for `debmock config show`.

use super::apt::shown;
use super::read::{Computed, Values};
use super::schema::KEYS;
use super::tree::{Node, Table, Value};
use super::{ArchiveSource, ByHash, Config, Keyring, Origin, Setting};
use std::collections::BTreeMap;

/// Every key, in the order of the schema; archives one by one.
pub(crate) fn settings(
    config: &Config,
    components: &[String],
    merged: &Table,
    computed: &Computed,
    archives: &[(ArchiveSource, Origin)],
) -> Vec<Setting> {
    let values = Values(merged);
    let mut settings = Vec::new();
    for key in KEYS {
        if key.path == "archives" {
            for (index, (source, origin)) in archives.iter().enumerate() {
                settings.push(Setting {
                    key: format!("archives.{index}"),
                    value: archive(source).to_string(),
                    origins: vec![origin.clone()],
                });
            }
            continue;
        }
        let node = values.node(key.path);
        let from_config = effective(config, components, key.path);
        let value = match (from_config, node) {
            (Some(value), _) => value,
            (None, Some(node)) => masked(&node.value),
            (None, None) => String::new(),
        };
        let origins = match (node, computed.get(key.path)) {
            (Some(node), _) => origins(node),
            (None, Some(origin)) => vec![origin.clone()],
            (None, None) => vec![Origin::default_value()],
        };
        settings.push(Setting { key: key.path.to_owned(), value, origins });
    }
    settings
}

/// Values that are computed, or that mean something else than what was written.
fn effective(config: &Config, components: &[String], key: &str) -> Option<String> {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let optional =
        |value: &Option<String>| value.as_ref().map_or(String::new(), |v| text(&shown(v)));
    let network = &config.network;
    let list = |items: &[String]| toml::Value::from(items.to_vec()).to_string();
    Some(match key {
        "distribution" => text(config.distribution.name()),
        "suite" => text(config.suite.as_str()),
        "architecture" => text(config.architecture.as_str()),
        "components" => list(components),
        "source_date_epoch" => config.source_date_epoch.map_or(String::new(), |e| e.to_string()),
        "network.http_proxy" => optional(&network.http_proxy),
        "network.https_proxy" => optional(&network.https_proxy),
        "network.host_proxies" => {
            let map: BTreeMap<_, _> =
                network.host_proxies.iter().map(|(k, v)| (k.clone(), shown(v))).collect();
            toml::Value::from(map).to_string()
        }
        "network.no_proxy" => list(&network.no_proxy),
        "network.retries" => network.retries.to_string(),
        "network.timeout" => network.timeout.as_secs().to_string(),
        "network.ca_info" => {
            network.ca_info.as_ref().map_or(String::new(), |p| text(&p.display().to_string()))
        }
        "network.verify_peer" => network.verify_peer.to_string(),
        _ => return None,
    })
}

/// TOML without the logins that URIs may hold.
fn masked(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::String(shown(text)).to_string(),
        other => other.plain().to_string(),
    }
}

fn origins(node: &Node) -> Vec<Origin> {
    let mut origins = Vec::new();
    let mut add = |origin: &Origin| {
        if !origins.contains(origin) {
            origins.push(origin.clone());
        }
    };
    match &node.value {
        Value::List(items) if !items.is_empty() => items.iter().for_each(|i| add(&i.origin)),
        Value::Table(table) if !table.is_empty() => table.values().for_each(|n| add(&n.origin)),
        _ => add(&node.origin),
    }
    origins
}

/// An archive as an entry of `archives` would say it.
fn archive(source: &ArchiveSource) -> toml::Value {
    let mut table = toml::Table::new();
    let mut set = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
    set("uri", shown(&source.uri).into());
    set("suites", vec![source.suite.clone()].into());
    set("components", source.components.clone().into());
    if !source.architectures.is_empty() {
        set("architectures", source.architectures.clone().into());
    }
    set("signed_by", keys(&source.keyring).into());
    if source.trusted {
        set("trusted", true.into());
    }
    set("check_valid_until", source.check_valid_until.into());
    set("check_date", source.check_date.into());
    if let Some(oldest) = source.valid_until_max {
        set("valid_until_max", i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX).into());
    }
    match source.by_hash {
        ByHash::Auto => None,
        ByHash::No => set("by_hash", "no".into()),
        ByHash::Force => set("by_hash", "force".into()),
    };
    if let Some(origin) = &source.origin {
        set("origin", origin.clone().into());
    }
    table.into()
}

fn keys(keyring: &Keyring) -> Vec<String> {
    match keyring {
        Keyring::Files { files, fingerprints } => {
            let files = files.iter().map(|path| path.display().to_string());
            files.chain(fingerprints.iter().cloned()).collect()
        }
        Keyring::Inline(armored) => vec![armored.clone()],
        Keyring::BuiltIn(name) => vec![format!("builtin:{name}")],
        Keyring::Any(keyrings) => keyrings.iter().flat_map(keys).collect(),
        Keyring::Only { keyring, fingerprints } => {
            keys(keyring).into_iter().chain(fingerprints.iter().cloned()).collect()
        }
    }
}
