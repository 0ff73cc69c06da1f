//! apt's own configuration: the grammar of `apt.conf(5)` and the order in which apt reads files.

use super::files;
use crate::config::Warning;
use std::path::{Path, PathBuf};

/// Deepest nesting of scopes and of `#include` that is followed.
const DEEPEST: usize = 20;

/// The tree of options. Names compare without regard to case; children keep their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct AptConf {
    root: Item,
}

#[derive(Debug, Clone, Default)]
struct Item {
    name: String,
    value: String,
    place: Option<(PathBuf, usize)>,
    children: Vec<Item>,
}

impl Item {
    /// The child of this name, made if it is missing. A nameless child is always a new one:
    /// that is how lists grow.
    fn child(&mut self, name: &str) -> &mut Item {
        let found = match name {
            "" => None,
            _ => self.children.iter().position(|child| child.name.eq_ignore_ascii_case(name)),
        };
        let index = found.unwrap_or_else(|| {
            self.children.push(Item { name: name.to_owned(), ..Item::default() });
            self.children.len() - 1
        });
        &mut self.children[index]
    }

    fn find(&self, path: &str) -> Option<&Item> {
        path.split("::").try_fold(self, |item, name| {
            item.children.iter().find(|child| child.name.eq_ignore_ascii_case(name))
        })
    }

    #[cfg(test)]
    fn dump(&self, prefix: &str, lines: &mut Vec<String>) {
        for child in &self.children {
            let path = if prefix.is_empty() {
                child.name.clone()
            } else {
                format!("{prefix}::{}", child.name)
            };
            lines.push(format!("{path} \"{}\";", child.value));
            child.dump(&path, lines);
        }
    }
}

impl AptConf {
    /// Reads what apt reads: the file that `APT_CONFIG` names, the parts, then `apt.conf`.
    pub(crate) fn of_host(
        apt: &Path,
        apt_config: Option<&str>,
        warnings: &mut Vec<Warning>,
    ) -> AptConf {
        let mut conf = AptConf::default();
        if let Some(path) = apt_config.filter(|path| !path.is_empty()) {
            conf.file(Path::new(path), 0, warnings);
        }
        for path in files::parts(&apt.join("apt.conf.d"), &["", "conf"], warnings) {
            conf.file(&path, 0, warnings);
        }
        let main = apt.join("apt.conf");
        if main.exists() {
            conf.file(&main, 0, warnings);
        }
        conf
    }

    /// The value of an option; `None` if it is unset or empty, which apt does not tell apart.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.root.find(path).map(|item| item.value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where an option was set, as `FILE:LINE`.
    pub(crate) fn place(&self, path: &str) -> Option<String> {
        let (file, line) = self.root.find(path)?.place.as_ref()?;
        Some(format!("{}:{line}", file.display()))
    }

    /// A boolean option, as apt reads words; `None` if unset or no boolean.
    pub(crate) fn flag(&self, path: &str) -> Option<bool> {
        boolean(self.get(path)?)
    }

    /// The named options below a scope.
    pub(crate) fn below(&self, path: &str) -> Vec<(&str, &str)> {
        let children = self.root.find(path).map(|item| item.children.as_slice());
        children
            .unwrap_or_default()
            .iter()
            .filter(|item| !item.name.is_empty() && !item.value.is_empty())
            .map(|item| (item.name.as_str(), item.value.as_str()))
            .collect()
    }

    /// Every option in the form of `apt-config dump`.
    #[cfg(test)]
    fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.root.dump("", &mut lines);
        lines
    }

    fn file(&mut self, path: &Path, depth: usize, warnings: &mut Vec<Warning>) {
        match files::read(path) {
            Ok(text) => self.text(&text, path, depth, warnings),
            Err(message) => warnings.push(Warning::new(message)),
        }
    }

    /// Reads one file's text. What comes after a mistake is not read, as with apt.
    pub(crate) fn text(
        &mut self,
        text: &str,
        path: &Path,
        depth: usize,
        warnings: &mut Vec<Warning>,
    ) {
        if let Err((line, message)) = self.statements(text, path, depth, warnings) {
            warnings.push(Warning {
                message: format!(
                    "{}:{line}: {message}; the rest of the file is not used",
                    path.display()
                ),
                hint: Some("`apt-config dump` shows what apt thinks of it".into()),
            });
        }
    }

    fn statements(
        &mut self,
        text: &str,
        path: &Path,
        depth: usize,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), (usize, String)> {
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        let mut tokens = Tokens { rest: text, line: 1 };
        while let Some(token) = tokens.next()? {
            let line = tokens.line;
            match token {
                Token::Word(word) => words.push(word),
                Token::Open | Token::End => {
                    let open = matches!(token, Token::Open);
                    let words = std::mem::take(&mut words);
                    if open && words.is_empty() {
                        return Err((line, "a scope without a name".into()));
                    }
                    if let Some(command) = words.first().and_then(Word::command) {
                        if open || !scopes.is_empty() {
                            return Err((line, format!("#{command} within a scope")));
                        }
                        self.command(command, &words[1..], line, path, depth, warnings)?;
                        continue;
                    }
                    let name = self.set(&scopes, &words, open, path, line)?;
                    if open {
                        if scopes.len() >= DEEPEST {
                            return Err((line, "scopes are nested too deeply".into()));
                        }
                        scopes.push(name);
                    }
                }
                Token::Close => {
                    let words = std::mem::take(&mut words);
                    self.set(&scopes, &words, false, path, line)?;
                    // apt forgives a } without its {.
                    scopes.pop();
                }
            }
        }
        if !words.is_empty() {
            return Err((tokens.line, "the file ends within a statement".into()));
        }
        Ok(())
    }

    /// Handles `NAME "value"`, a lone value or a lone name, and returns the whole name.
    fn set(
        &mut self,
        scopes: &[String],
        words: &[Word],
        open: bool,
        path: &Path,
        line: usize,
    ) -> Result<String, (usize, String)> {
        let scope = scopes.last().map_or("", String::as_str);
        let below = |name: &str| match (scope, name) {
            ("", _) => name.to_owned(),
            _ => format!("{scope}::{name}"),
        };
        let (name, value) = match words {
            [] => return Ok(scope.to_owned()),
            [name] if open => (below(&name.text), None),
            // A lone value is an entry of the list that the scope is; outside of scopes it is
            // nothing.
            [value] => (below(""), Some(value.text.clone())),
            [name, value] => (below(&name.text), Some(value.text.clone())),
            // Quoted texts side by side are one value.
            [name, values @ ..] if values.iter().all(|value| value.quoted) => {
                let texts: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
                (below(&name.text), Some(texts.join(" ")))
            }
            [_, _, junk, ..] => {
                return Err((line, format!("{:?} is one word too many", junk.text)));
            }
        };
        if let Some(value) = value
            && !name.is_empty()
            && !name.starts_with("::")
        {
            let item = name.split("::").fold(&mut self.root, |item, name| item.child(name));
            item.value = value;
            item.place = Some((path.to_owned(), line));
        }
        Ok(name)
    }

    fn command(
        &mut self,
        command: &str,
        arguments: &[Word],
        line: usize,
        path: &Path,
        depth: usize,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), (usize, String)> {
        match (command, arguments) {
            ("clear", [name]) => {
                let path = name.text.trim_end_matches("::").split("::");
                let item = path.into_iter().try_fold(&mut self.root, |item, part| {
                    item.children.iter_mut().find(|c| c.name.eq_ignore_ascii_case(part))
                });
                if let Some(item) = item {
                    item.value.clear();
                    item.children.clear();
                }
            }
            ("include", [name]) => {
                if depth >= DEEPEST {
                    return Err((line, "files include one another too deeply".into()));
                }
                let parent = path.parent().unwrap_or(Path::new("/"));
                let included = parent.join(&name.text);
                if name.text.ends_with('/') {
                    for part in files::parts(&included, &["", "conf"], warnings) {
                        self.file(&part, depth + 1, warnings);
                    }
                } else {
                    self.file(&included, depth + 1, warnings);
                }
            }
            // A marker for `apt-config`'s documentation.
            ("x-apt-configure-index", _) => {}
            _ => return Err((line, format!("#{command} is not understood"))),
        }
        Ok(())
    }
}

/// A boolean as apt reads it in `apt.conf` and in sources.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn command(&self) -> Option<&str> {
        if self.quoted { None } else { self.text.strip_prefix('#') }
    }
}

enum Token {
    Word(Word),
    Open,
    Close,
    End,
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn skip(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].bytes().filter(|byte| *byte == b'\n').count();
        self.rest = &self.rest[bytes..];
    }

    /// `#` begins a comment unless one of the commands follows at once.
    fn comment(&self) -> Option<usize> {
        let rest = self.rest;
        if let Some(inner) = rest.strip_prefix("/*") {
            return Some(inner.find("*/").map_or(rest.len(), |end| end + 4));
        }
        let command = ["#clear", "#include", "#x-apt-configure-index"]
            .iter()
            .any(|command| rest.starts_with(command));
        if rest.starts_with("//") || (rest.starts_with('#') && !command) {
            return Some(rest.find('\n').unwrap_or(rest.len()));
        }
        None
    }

    fn next(&mut self) -> Result<Option<Token>, (usize, String)> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            if blank > 0 {
                self.skip(blank);
            } else if let Some(length) = self.comment() {
                self.skip(length);
            } else {
                break;
            }
        }
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let single = match first {
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            ';' => Some(Token::End),
            _ => None,
        };
        if let Some(token) = single {
            self.skip(1);
            return Ok(Some(token));
        }
        let mut word = Word { text: String::new(), quoted: first == '"' };
        while let Some(c) = self.rest.chars().next() {
            if c.is_whitespace() || matches!(c, '{' | '}' | ';') {
                break;
            }
            if let Some(rest) = self.rest.strip_prefix('"') {
                let end = rest.find(['"', '\n']).filter(|end| rest[*end..].starts_with('"'));
                let Some(end) = end else {
                    return Err((self.line, "a quotation mark without its partner".into()));
                };
                word.text.push_str(&rest[..end]);
                self.skip(end + 2);
            } else if let Some(length) = self.comment() {
                self.skip(length);
            } else {
                word.text.push(c);
                self.skip(c.len_utf8());
            }
        }
        Ok(Some(Token::Word(word)))
    }
}

#[cfg(test)]
mod tests;
