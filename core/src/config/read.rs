//! From the merged layers to the typed config: every value is checked for what it means.

use self::archives::read_keyring;
use super::apt::{self, HostApt};
use super::archives::{Request, default_archives};
use super::check::*;
use super::schema;
use super::settings::*;
use super::system::System;
use super::tree::{Node, Table, Value};
use super::{Architecture, ArchiveSource, Config, Distribution, Network, Origin, Places, Suite};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod archives;

/// Makes the config. `merged` has passed the check of `schema`.
pub(crate) fn config(
    name: &str,
    merged: &Table,
    host: &HostApt,
    system: &System,
    places: &Places,
    mut warnings: Vec<Warning>,
) -> Result<Config> {
    let values = Values(merged);
    let nothing = HostApt::default();
    let host = if values.flag("use_host_apt") == Some(false) { &nothing } else { host };
    let mut computed = Computed::new();
    let (mut network, choices) = apt::network(host, &places.environment, &mut warnings);
    for (field, origin) in choices {
        computed.insert(format!("network.{field}"), origin);
    }
    values.network(&mut network)?;

    let (distribution, suite) = values.suite(system, places, &mut computed)?;
    let architecture = match values.parsed::<Architecture>("architecture")? {
        Some(architecture) => architecture,
        None => {
            computed.insert("architecture".into(), Origin::host("this host"));
            system.architecture.clone()
        }
    };
    let components = match values.list("components", "a component", is_component)? {
        list if !list.is_empty() => list,
        _ => distribution.components().iter().map(|c| (*c).to_owned()).collect(),
    };
    let keyring = values.node("keyring").map(|node| read_keyring(node, host)).transpose()?;
    let mut uri = |key: &str| -> Result<Option<(String, Origin)>> {
        let Some((text, origin)) = values.text_at(key) else { return Ok(None) };
        check_uri(text, key, origin)?;
        let uri = match apt::without_login(text) {
            Some((uri, credential)) => {
                network.credentials.insert(0, credential);
                uri
            }
            None => text.to_owned(),
        };
        Ok(Some((uri, origin.clone())))
    };
    let (mirror, security_mirror) = (uri("mirror")?, uri("security_mirror")?);
    let request = Request {
        distribution: &distribution,
        suite: &suite,
        architecture: &architecture,
        components: &components,
        mirror: mirror.as_ref().map(|(uri, origin)| (uri.as_str(), origin.clone())),
        security_mirror: security_mirror
            .as_ref()
            .map(|(uri, origin)| (uri.as_str(), origin.clone())),
        keyring: keyring.as_ref(),
        check_valid_until: values.flag("check_valid_until"),
        check_date: values.flag("check_date"),
        host,
        system,
    };
    let mut archives: Vec<(ArchiveSource, Origin)> = match values.node("archives") {
        Some(_) => values.archives("archives", &request, &mut network)?,
        None => default_archives(&request, &mut warnings),
    };
    archives.extend(values.archives("archives_add", &request, &mut network)?);
    if archives.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the config {name} has no archives, and debmock knows none for {distribution} {suite}"),
        )
        .with_hint("set `mirror`, or list them in `archives`; docs/config.md shows how"));
    }

    let mut config = Config {
        name: name.to_owned(),
        refresh: values.refresh(),
        packages: values.packages()?,
        bootstrap: match values.text("bootstrap") {
            "dpkg" => Bootstrap::Dpkg,
            _ => Bootstrap::Native,
        },
        source_date_epoch: values.epoch(places, &mut computed)?,
        isolation: values.isolation()?,
        limits: values.limits(),
        build: values.build()?,
        store: StoreLimits {
            layers_max: values.size("store.layers_max"),
            debs_max: values.size("store.debs_max"),
        },
        lock_timeout: values.duration("lock_timeout"),
        archives: archives.iter().map(|(source, _)| source.clone()).collect(),
        distribution,
        suite,
        architecture,
        network,
        warnings,
        settings: Vec::new(),
    };
    config.settings = super::explain::settings(&config, &components, merged, &computed, &archives);
    Ok(config)
}

/// Where computed values came from, by key.
pub(crate) type Computed = BTreeMap<String, Origin>;

/// Typed access to the merged layers. That a value is of its kind was checked before.
pub(crate) struct Values<'a>(pub(crate) &'a Table);

impl<'a> Values<'a> {
    pub(crate) fn node(&self, key: &str) -> Option<&'a Node> {
        let (sections, name) = match key.rsplit_once('.') {
            Some((sections, name)) => (Some(sections), name),
            None => (None, key),
        };
        let mut table = self.0;
        for section in sections.into_iter().flat_map(|sections| sections.split('.')) {
            match table.get(section) {
                Some(Node { value: Value::Table(inner), .. }) => table = inner,
                _ => return None,
            }
        }
        table.get(name)
    }

    fn text_at(&self, key: &str) -> Option<(&'a str, &'a Origin)> {
        match self.node(key) {
            Some(Node { value: Value::Text(text), origin }) => Some((text, origin)),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> &'a str {
        self.text_at(key).map_or("", |(text, _)| text)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.node(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn integer(&self, key: &str) -> Option<i64> {
        match self.node(key)?.value {
            Value::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// A duration; 0 and nothing mean none.
    fn duration(&self, key: &str) -> Option<Duration> {
        schema::duration(&self.node(key)?.value).filter(|duration| !duration.is_zero())
    }

    /// A size; 0 and nothing mean none.
    fn size(&self, key: &str) -> Option<u64> {
        schema::size(&self.node(key)?.value).filter(|size| *size > 0)
    }

    fn parsed<T: std::str::FromStr<Err = Error>>(&self, key: &str) -> Result<Option<T>> {
        let Some((text, origin)) = self.text_at(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: Error| error.context(format!("{origin}: `{key}`")))
    }

    fn list(&self, key: &str, what: &str, good: fn(&str) -> bool) -> Result<Vec<String>> {
        match self.node(key) {
            Some(node) => checked_words(node, key, what, good),
            None => Ok(Vec::new()),
        }
    }

    fn map(
        &self,
        key: &str,
        what: &str,
        good: fn(&str) -> bool,
    ) -> Result<BTreeMap<String, String>> {
        let Some(Node { value: Value::Table(table), .. }) = self.node(key) else {
            return Ok(BTreeMap::new());
        };
        let mut map = BTreeMap::new();
        for (name, node) in table {
            if !good(name) {
                return Err(node.origin.error(format!("`{key}`: {name:?} is not {what}")));
            }
            if let Value::Text(text) = &node.value {
                check_text(text, &format!("{key}.{name}"), &node.origin)?;
                map.insert(name.clone(), text.clone());
            }
        }
        Ok(map)
    }

    fn checked(&self, key: &str, what: &str, good: fn(&str) -> bool) -> Result<String> {
        match self.text_at(key) {
            Some((text, origin)) if !good(text) => {
                Err(origin.error(format!("`{key}`: {text:?} is not {what}")))
            }
            other => Ok(other.map_or(String::new(), |(text, _)| text.to_owned())),
        }
    }

    fn suite(
        &self,
        system: &System,
        places: &Places,
        computed: &mut Computed,
    ) -> Result<(Distribution, Suite)> {
        let distribution = self.parsed::<Distribution>("distribution")?;
        let suite = self.parsed::<Suite>("suite")?;
        let os_release = || Origin::host(places.os_release.display().to_string());
        let own = system.own.as_ref();
        match (distribution, suite) {
            (Some(distribution), Some(suite)) => Ok((distribution, suite)),
            (None, Some(suite)) => {
                let known = Distribution::of_suite(suite.as_str());
                let own = || own.filter(|(_, own)| *own == suite).map(|(d, _)| d.clone());
                match known.or_else(own) {
                    Some(distribution) => {
                        computed.insert("distribution".into(), Origin::default_value());
                        Ok((distribution, suite))
                    }
                    None => Err(Error::new(
                        ErrorKind::Config,
                        format!("debmock does not know which distribution has the suite {suite}"),
                    )
                    .with_hint("set `distribution` as well")),
                }
            }
            (named, None) => {
                match own.filter(|(d, _)| named.as_ref().is_none_or(|named| named == d)) {
                    Some((distribution, suite)) => {
                        computed.insert("suite".into(), os_release());
                        computed.insert("distribution".into(), os_release());
                        Ok((distribution.clone(), suite.clone()))
                    }
                    None if named.as_ref().is_none_or(|d| *d == Distribution::Debian) => {
                        computed.insert("suite".into(), Origin::default_value());
                        computed.insert("distribution".into(), Origin::default_value());
                        Ok((Distribution::Debian, "stable".parse()?))
                    }
                    None => Err(Error::new(
                        ErrorKind::Config,
                        "the config names a distribution, but no suite",
                    )
                    .with_hint("set `suite`")),
                }
            }
        }
    }

    fn network(&self, network: &mut Network) -> Result<()> {
        for (key, field) in [
            ("network.http_proxy", &mut network.http_proxy),
            ("network.https_proxy", &mut network.https_proxy),
        ] {
            if let Some((text, origin)) = self.text_at(key) {
                *field = proxy(text, key, origin)?;
            }
        }
        if self.node("network.host_proxies").is_some() {
            let map = self.map("network.host_proxies", "the name of a host", is_host)?;
            network.host_proxies =
                map.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
        }
        if self.node("network.no_proxy").is_some() {
            network.no_proxy = self.list("network.no_proxy", "the name of a host", is_host)?;
        }
        if let Some(retries) = self.integer("network.retries") {
            network.retries = u32::try_from(retries).unwrap_or(0);
        }
        if let Some(node) = self.node("network.timeout") {
            network.timeout = self
                .duration("network.timeout")
                .ok_or_else(|| node.origin.error("`network.timeout` must be longer than 0"))?;
        }
        if let Some((text, origin)) = self.text_at("network.ca_info") {
            network.ca_info = Some(absolute(text, "network.ca_info", origin)?);
        }
        network.verify_peer = self.flag("network.verify_peer").unwrap_or(network.verify_peer);
        if let Some(parallel) = self.integer("network.parallel") {
            network.parallel = usize::try_from(parallel).unwrap_or(1);
        }
        Ok(())
    }

    fn refresh(&self) -> Refresh {
        match self.node("refresh").map(|node| &node.value) {
            Some(Value::Text(text)) if text == "always" => Refresh::Always,
            Some(Value::Text(text)) if text == "never" => Refresh::Never,
            _ => match self.duration("refresh") {
                Some(duration) => Refresh::After(duration),
                None => Refresh::Always,
            },
        }
    }

    fn packages(&self) -> Result<Packages> {
        Ok(Packages {
            variant: match self.text("packages.variant") {
                "essential" => Variant::Essential,
                "apt" => Variant::Apt,
                _ => Variant::Buildd,
            },
            include: self.list(
                "packages.include",
                "the name of a package, or NAME=VERSION",
                is_package,
            )?,
        })
    }

    fn epoch(&self, places: &Places, computed: &mut Computed) -> Result<Option<u64>> {
        if let Some(epoch) = self.integer("source_date_epoch") {
            return Ok(u64::try_from(epoch).ok());
        }
        let Some(text) = places.environment.get("SOURCE_DATE_EPOCH").filter(|t| !t.is_empty())
        else {
            return Ok(None);
        };
        let epoch = text.parse::<i64>().ok().and_then(|epoch| u64::try_from(epoch).ok());
        let Some(epoch) = epoch else {
            return Err(Error::new(
                ErrorKind::Config,
                format!("the environment's SOURCE_DATE_EPOCH is {text:?}, which is not a number of seconds"),
            )
            .with_hint("unset it, or set it to seconds since 1970"));
        };
        computed.insert("source_date_epoch".into(), Origin::host("environment SOURCE_DATE_EPOCH"));
        Ok(Some(epoch))
    }

    fn isolation(&self) -> Result<Isolation> {
        let id = |key| self.integer(key).and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        let root_ids =
            IdRange { base: id("isolation.root_id_base"), count: id("isolation.root_id_count") };
        // The last id of 32 bits is the invalid one.
        if root_ids.base.checked_add(root_ids.count).is_none() {
            let node = self.node("isolation.root_id_base");
            let origin = node.map_or_else(Origin::default_value, |node| node.origin.clone());
            return Err(origin.error(format!(
                "`isolation.root_id_base` and `root_id_count` go beyond the ids that there are: {}:{}",
                root_ids.base, root_ids.count
            )));
        }
        Ok(Isolation {
            mode: match self.text("isolation.mode") {
                "userns" => IsolationMode::Userns,
                "simple" => IsolationMode::Simple,
                _ => IsolationMode::Auto,
            },
            root_ids,
            hostname: self.checked("isolation.hostname", "a host name", is_hostname)?,
            binds: self.binds()?,
            accept_weak: self.flag("isolation.accept_weak").unwrap_or(false),
        })
    }

    fn binds(&self) -> Result<Vec<Bind>> {
        let mut binds = Vec::new();
        for (entry, origin) in self.tables("isolation.binds") {
            let (host, at) = entry
                .text_at("host")
                .ok_or_else(|| origin.error("an entry of `isolation.binds` lacks `host`"))?;
            let host = absolute(host, "isolation.binds.host", at)?;
            let inside = match entry.text_at("inside") {
                Some((text, at)) => absolute(text, "isolation.binds.inside", at)?,
                None => host.clone(),
            };
            if inside == Path::new("/") {
                return Err(origin.error("`isolation.binds.inside` must not be the root itself"));
            }
            binds.push(Bind { host, inside, read_only: entry.flag("read_only").unwrap_or(true) });
        }
        Ok(binds)
    }

    fn limits(&self) -> Limits {
        let cpus = match self.node("limits.cpus").map(|node| &node.value) {
            Some(Value::Float(cpus)) => *cpus,
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 processors")]
            Some(Value::Integer(cpus)) => *cpus as f64,
            _ => 0.0,
        };
        Limits {
            memory: self.size("limits.memory"),
            processes: self.size("limits.processes"),
            cpus: (cpus > 0.0).then_some(cpus),
            disk: self.size("limits.disk"),
            required: self.flag("limits.required").unwrap_or(true),
        }
    }

    fn build(&self) -> Result<Build> {
        let path = match self.text_at("build.path") {
            Some((text, origin)) => absolute(text, "build.path", origin)?,
            None => PathBuf::new(),
        };
        let node = self.node("build.path");
        let origin = node.map_or_else(Origin::default_value, |node| node.origin.clone());
        if path.to_str().is_some_and(|path| path.contains([' ', ':'])) {
            return Err(origin.error(
                "`build.path` must have no blanks and colons, which make and PATH cannot take",
            ));
        }
        if !is_build_place(&path) {
            let shown = path.display();
            return Err(origin.error(format!("`build.path`: {shown} belongs to the system of the root")).with_hint(
                "take a directory of its own, such as /build, or one below /home, /mnt, /opt, /srv, /tmp, /usr/src or /var/tmp",
            ));
        }
        Ok(Build {
            path,
            user: self.checked("build.user", "a user name", is_user)?,
            jobs: self
                .integer("build.jobs")
                .and_then(|jobs| usize::try_from(jobs).ok())
                .unwrap_or(0),
            profiles: self.list("build.profiles", "a build profile", is_profile)?,
            options: self.list("build.options", "a word of DEB_BUILD_OPTIONS", is_word)?,
            environment: self.map("build.environment", "the name of a variable", is_variable)?,
            silence_timeout: self.duration("build.silence_timeout"),
            timeout: self.duration("build.timeout"),
            cleanup_after: match self.text("build.cleanup_after") {
                "always" => CleanupAfter::Always,
                "never" => CleanupAfter::Never,
                _ => CleanupAfter::Success,
            },
            in_memory: self.size("build.in_memory"),
        })
    }

    fn tables(&self, key: &str) -> Vec<(Values<'a>, &'a Origin)> {
        let Some(Node { value: Value::List(items), .. }) = self.node(key) else {
            return Vec::new();
        };
        let tables = items.iter().filter_map(|item| match &item.value {
            Value::Table(table) => Some((Values(table), &item.origin)),
            _ => None,
        });
        tables.collect()
    }
}
