//! Finding the layers of a config and putting them together.

use super::apt::HostApt;
use super::distribution::{self, builtin, split_architecture};
use super::merge::{merge, option};
use super::read;
use super::schema::{self, KEYS};
use super::system::System;
use super::tree::{self, Node, Table, Value};
use super::{Config, Origin, Place, Places, Warning};
use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Loads configs from given places, with options over them. [`Config::load`] and its siblings are
/// the short forms for this host.
#[derive(Debug, Clone)]
#[must_use = "a loader does nothing until it loads"]
pub struct Loader {
    places: Places,
    options: Vec<String>,
}

/// A config that can be loaded by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// The name. Every built-in name can also be followed by an architecture
    /// (`debian-trixie-arm64`); these are not listed.
    pub name: String,
    /// Where it is described, in the order in which its layers are read.
    pub places: Vec<Place>,
    /// The config that it extends, where it says so itself.
    pub extends: Option<String>,
}

impl Known {
    /// Its places on one line, for people: `built in, /etc/debmock/x.toml`.
    pub fn shown_places(&self) -> String {
        let place = |place: &Place| match place {
            Place::BuiltIn(_) => "built in".to_owned(),
            Place::File(path) => path.display().to_string(),
            other => format!("{other:?}"),
        };
        self.places.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    /// The JSON form, which is the same in every language; members are only ever added.
    pub fn to_json(&self) -> serde_json::Value {
        let places = self.shown_places();
        serde_json::json!({"name": self.name, "places": places, "extends": self.extends})
    }
}

/// One config of a chain of `extends`, with its layers.
struct Member {
    name: String,
    builtin: Option<Table>,
    etc: Option<Table>,
    user: Option<Table>,
}

impl Member {
    fn exists(&self) -> bool {
        self.builtin.is_some() || self.etc.is_some() || self.user.is_some()
    }

    fn extends(&self) -> Result<Option<(String, Origin)>> {
        let layers = [&self.user, &self.etc, &self.builtin];
        layers.into_iter().flatten().find_map(extends).transpose()
    }
}

fn extends(layer: &Table) -> Option<Result<(String, Origin)>> {
    let node = layer.get("extends")?;
    let Value::Text(name) = &node.value else { return None };
    Some(match check_name(name) {
        Ok(()) => Ok((name.clone(), node.origin.clone())),
        Err(error) => Err(error.context(format!("{}: `extends`", node.origin))),
    })
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// A loader for this host and this process's environment.
    pub fn new() -> Loader {
        Loader::at(Places::host())
    }

    /// A loader that reads from these places alone.
    pub fn at(places: Places) -> Loader {
        Loader { places, options: Vec::new() }
    }

    /// Adds options `KEY=VALUE`, which come over everything else; later ones over earlier ones.
    pub fn options<T: AsRef<str>>(mut self, options: &[T]) -> Loader {
        self.options.extend(options.iter().map(|option| option.as_ref().to_owned()));
        self
    }

    /// Loads a config by its name; see [`Config::load`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self, name: &str) -> Result<Config> {
        if name.contains('/') || name.ends_with(".toml") {
            return self.load_file(Path::new(name));
        }
        check_name(name)?;
        self.finish(name, self.chain(name, None)?, None)
    }

    /// See [`Config::default_for_host`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_default(&self) -> Result<Config> {
        if self.member("default")?.exists() {
            return self.load("default");
        }
        let mut unused = Vec::new();
        let (_, system) = self.host(&mut unused);
        match system.own {
            None => self.load("debian-stable"),
            Some((distribution, suite)) => {
                let name = format!("{distribution}-{suite}");
                if self.member(&name)?.exists() {
                    return self.load(&name);
                }
                let text = format!("distribution = \"{distribution}\"\nsuite = \"{suite}\"\n");
                let origin = Place::Host(self.places.os_release.display().to_string().into());
                self.finish(&name, Vec::new(), Some(tree::parse(&text, &origin)?))
            }
        }
    }

    /// Loads a file; see [`Config::from_file`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_file(&self, path: &Path) -> Result<Config> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        check_name(name).map_err(|error| error.context(format!("{}", path.display())))?;
        self.over(name, tree::read(path)?)
    }

    /// Makes a config of a text; see [`Config::from_toml_str`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_str(&self, name: &str, text: &str) -> Result<Config> {
        check_name(name)?;
        self.over(name, tree::parse(text, &Place::Given(name.into()))?)
    }

    /// Makes a config of a table; see [`Config::from_table`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_table(&self, name: &str, table: &toml::Table) -> Result<Config> {
        check_name(name)?;
        self.over(name, tree::from_plain(table, &Place::Given(name.into())))
    }

    /// The configs that [`Loader::load`] knows by name, sorted. Files that are broken are listed
    /// like any other.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a directory of configs cannot be listed.
    pub fn list(&self) -> Result<Vec<Known>> {
        let mut known: Vec<Known> = Vec::new();
        for name in distribution::builtin_names() {
            let place = Place::BuiltIn(name.as_str().into());
            known.push(Known { name, places: vec![place], extends: None });
        }
        for dir in [Some(&self.places.etc), self.places.user.as_ref()].into_iter().flatten() {
            for (name, path) in configs_in(dir)? {
                let place = Place::File(path.as_path().into());
                match known.iter_mut().find(|other| other.name == name) {
                    Some(other) => other.places.push(place),
                    None => known.push(Known { name, places: vec![place], extends: None }),
                }
            }
        }
        for known in &mut known {
            let parent = self.member(&known.name).and_then(|member| member.extends());
            known.extends = parent.ok().flatten().map(|(name, _)| name);
        }
        known.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(known)
    }

    /// A layer that the caller has, over the configs that it extends.
    fn over(&self, name: &str, layer: Table) -> Result<Config> {
        schema::check(&layer)?;
        let chain = match extends(&layer).transpose()? {
            Some((parent, origin)) => self.chain(&parent, Some(origin))?,
            None => Vec::new(),
        };
        self.finish(name, chain, Some(layer))
    }

    /// The config of this name and those that it extends, the last ancestor first.
    fn chain(&self, name: &str, asked_by: Option<Origin>) -> Result<Vec<Member>> {
        let mut chain: Vec<Member> = Vec::new();
        let mut links: Vec<String> = Vec::new();
        let mut next = Some((name.to_owned(), asked_by));
        while let Some((name, asked_by)) = next {
            if chain.iter().any(|member| member.name == name) {
                let start = chain.iter().position(|member| member.name == name).unwrap_or(0);
                let circle = links.split_off(start);
                let mut error = Error::new(
                    ErrorKind::Config,
                    format!("configs extend each other in a circle: {}", circle.join("; ")),
                );
                if circle.len() == 1 && builtin(&name).is_some() {
                    error = error.with_hint(format!(
                        "a file called {name}.toml builds on the built-in config of that name anyway; remove the line"
                    ));
                }
                return Err(error);
            }
            let mut member = self.member(&name)?;
            if !member.exists()
                && let Some((parent, architecture)) = split_architecture(&name)
                && self.member(parent)?.exists()
            {
                let text = distribution::of_architecture(parent, architecture);
                member.builtin = Some(tree::parse(&text, &Place::BuiltIn(name.as_str().into()))?);
            }
            if !member.exists() {
                return Err(self.unknown(&name, asked_by));
            }
            next = member.extends()?.map(|(parent, origin)| {
                links.push(format!("{name} extends {parent} ({origin})"));
                (parent, Some(origin))
            });
            chain.push(member);
        }
        chain.reverse();
        Ok(chain)
    }

    fn member(&self, name: &str) -> Result<Member> {
        let builtin = builtin(name)
            .map(|text| tree::parse(&text, &Place::BuiltIn(name.into())))
            .transpose()?;
        let layer = |dir: &Path| layer(&dir.join(format!("{name}.toml")));
        Ok(Member {
            name: name.to_owned(),
            builtin,
            etc: layer(&self.places.etc)?,
            user: self.places.user.as_deref().map_or(Ok(None), layer)?,
        })
    }

    fn unknown(&self, name: &str, asked_by: Option<Origin>) -> Error {
        let known: Vec<String> =
            self.list().unwrap_or_default().into_iter().map(|known| known.name).collect();
        let near = schema::nearest_few(name, known.iter().map(String::as_str));
        let message = format!("no config is called {name:?}");
        let error = match asked_by {
            Some(origin) => origin.error(format!("`extends`: {message}")),
            None => Error::new(ErrorKind::Config, message),
        };
        error.with_hint(match near.as_slice() {
            [] => "`debmock list` names them all".to_owned(),
            near => format!("did you mean {}?", near.join(" or ")),
        })
    }

    fn finish(&self, name: &str, chain: Vec<Member>, last: Option<Table>) -> Result<Config> {
        let mut warnings = Vec::new();
        let mut merged = Table::new();
        let mut put = |layer| merge(&mut merged, layer, &mut warnings);
        put(defaults()?);
        let (mut etc, mut user) = (Vec::new(), Vec::new());
        for member in chain {
            member.builtin.map(&mut put);
            etc.push(member.etc);
            user.push(member.user);
        }
        let dirs = [(Some(&self.places.etc), etc), (self.places.user.as_ref(), user)];
        for (dir, members) in dirs {
            let Some(dir) = dir else { continue };
            if let Some(layer) = layer(&dir.join("config.toml"))? {
                if let Some(node) = layer.get("extends") {
                    return Err(node.origin.error(
                        "`extends` makes no sense in config.toml, which belongs to every config",
                    ));
                }
                put(layer);
            }
            members.into_iter().flatten().for_each(&mut put);
        }
        last.map(&mut put);
        for text in &self.options {
            let layer = option(text)?;
            schema::check(&layer)?;
            if let Some(node) = layer.get("extends") {
                return Err(node.origin.error("`extends` is for files; name the config instead"));
            }
            put(layer);
        }
        let (host, system) = self.host(&mut warnings);
        read::config(name, &merged, &host, &system, &self.places, warnings)
    }

    /// What the host's apt knows and which system it is.
    fn host(&self, warnings: &mut Vec<Warning>) -> (HostApt, System) {
        let architecture = super::Architecture::host();
        let host = HostApt::read(&self.places, architecture.as_str(), warnings);
        let system = System::of_host(&self.places, &host);
        (host, system)
    }
}

/// The defaults of every key as the lowest layer.
fn defaults() -> Result<Table> {
    let lines: Vec<String> = KEYS
        .iter()
        .filter(|key| !key.default.is_empty())
        .map(|key| format!("{} = {}\n", key.path, key.default))
        .collect();
    let mut table = tree::parse(&lines.concat(), &Place::Default)?;
    for node in table.values_mut() {
        forget_lines(node);
    }
    Ok(table)
}

fn forget_lines(node: &mut Node) {
    node.origin.line = None;
    if let Value::Table(table) = &mut node.value {
        table.values_mut().for_each(forget_lines);
    }
}

/// A file's layer, checked; `None` if there is no such file.
fn layer(path: &Path) -> Result<Option<Table>> {
    match path.symlink_metadata() {
        Ok(_) => {
            let layer = tree::read(path)?;
            schema::check(&layer)?;
            Ok(Some(layer))
        }
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::new(
            ErrorKind::Config,
            format!("cannot read the config file {}", path.display()),
        )
        .with_source(error)),
    }
}

/// Names and paths of the configs in a directory; `config.toml` is none.
fn configs_in(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => {
            return Err(Error::new(
                ErrorKind::Config,
                format!("cannot list the configs in {}", dir.display()),
            )
            .with_source(error));
        }
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
            check_name(&name).ok()?;
            Some((name, path))
        })
        .collect())
}

/// A config's name is part of file names, so that nothing in it may lead elsewhere.
fn check_name(name: &str) -> Result<()> {
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    if !plain || name == "config" {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{name:?} cannot be the name of a config"),
        )
        .with_hint(
            "names are made of letters, digits and . _ + -; config.toml belongs to every config",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
