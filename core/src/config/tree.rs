//! TOML with the place of every value: what layers are merged as.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest config file that is read, in bytes. A config is a page of text; what is longer was
/// not meant to be one.
const LONGEST: u64 = 1 << 20;

/// Where a value of the config came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who said it.
    pub place: Place,
    /// The line, counted from 1, where the place is a text.
    pub line: Option<usize>,
}

/// Who may say something about a config.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Nobody: the library's default for every config.
    Default,
    /// The built-in config of this name.
    BuiltIn(Arc<str>),
    /// A config file.
    File(Arc<Path>),
    /// The key of a `-o KEY=VALUE` option; values may hold passwords.
    Option(Arc<str>),
    /// A text or table that the caller gave, by the name that the caller gave it.
    Given(Arc<str>),
    /// This host: a file of apt's, an environment variable, its architecture.
    Host(Arc<str>),
}

impl Origin {
    pub(crate) fn new(place: Place, line: Option<usize>) -> Origin {
        Origin { place, line }
    }

    pub(crate) fn default_value() -> Origin {
        Origin::new(Place::Default, None)
    }

    pub(crate) fn host(what: impl Into<Arc<str>>) -> Origin {
        Origin::new(Place::Host(what.into()), None)
    }

    /// An error of kind [`ErrorKind::Config`] about something at this place.
    pub(crate) fn error(&self, message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{self}: {message}"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => f.write_str("default")?,
            Place::BuiltIn(name) => return write!(f, "built-in config {name}"),
            Place::File(path) => write!(f, "{}", path.display())?,
            Place::Option(text) => return write!(f, "option -o {text}"),
            Place::Given(name) => f.write_str(name)?,
            Place::Host(what) => f.write_str(what)?,
        }
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A table of TOML.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value of TOML.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What people call this sort of value, with its article.
    pub(crate) fn sort(&self) -> &'static str {
        match self {
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "a string",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value as plain TOML.
    pub(crate) fn plain(&self) -> toml::Value {
        match self {
            Value::Bool(value) => toml::Value::Boolean(*value),
            Value::Integer(value) => toml::Value::Integer(*value),
            Value::Float(value) => toml::Value::Float(*value),
            Value::Text(text) | Value::Date(text) => toml::Value::String(text.clone()),
            Value::List(items) => {
                toml::Value::Array(items.iter().map(|item| item.value.plain()).collect())
            }
            Value::Table(table) => toml::Value::Table(
                table.iter().map(|(key, node)| (key.clone(), node.value.plain())).collect(),
            ),
        }
    }

    /// Whether the two say the same; a table says the same as one that says more, so that a short
    /// description removes a long entry from a list.
    pub(crate) fn is_said_by(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Table(short), Value::Table(long)) => short.iter().all(|(key, node)| {
                long.get(key).is_some_and(|other| node.value.is_said_by(&other.value))
            }),
            _ => self.plain() == other.plain(),
        }
    }
}

/// Reads a layer from a text.
pub(crate) fn parse(text: &str, place: &Place) -> Result<Table> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => convert_table(table.get_ref(), place, &lines),
        Err(error) => {
            let line = error.span().map(|span| lines.line(span.start));
            let message = error.message().trim().replace('\n', ", ");
            Err(Origin::new(place.clone(), line).error(format!("this is not TOML: {message}")))
        }
    }
}

/// Reads a layer from a file.
pub(crate) fn read(path: &Path) -> Result<Table> {
    let shown = path.display();
    let broken = |message: String| Error::new(ErrorKind::Config, message);
    let failed = |error| broken(format!("cannot read the config file {shown}")).with_source(error);
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(broken(format!("the config file {shown} is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(broken(format!("the config file {shown} is longer than {LONGEST} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        broken(format!("{shown}:{line}: this is not UTF-8"))
    })?;
    parse(&text, &Place::File(path.into()))
}

/// Makes a layer of a table without places, such as a caller's dictionary.
pub(crate) fn from_plain(table: &toml::Table, place: &Place) -> Table {
    let origin = Origin::new(place.clone(), None);
    table.iter().map(|(key, value)| (key.clone(), node(value, &origin))).collect()
}

fn node(value: &toml::Value, origin: &Origin) -> Node {
    let value = match value {
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(date) => Value::Date(date.to_string()),
        toml::Value::Array(items) => {
            Value::List(items.iter().map(|item| node(item, origin)).collect())
        }
        toml::Value::Table(table) => Value::Table(
            table.iter().map(|(key, value)| (key.clone(), node(value, origin))).collect(),
        ),
    };
    Node { value, origin: origin.clone() }
}

fn convert_table(table: &DeTable<'_>, place: &Place, lines: &Lines) -> Result<Table> {
    table
        .iter()
        .map(|(key, value)| {
            let line = lines.line(key.span().start);
            Ok((key.get_ref().to_string(), convert(value, Some(line), place, lines)?))
        })
        .collect()
}

fn convert(
    value: &Spanned<DeValue<'_>>,
    line: Option<usize>,
    place: &Place,
    lines: &Lines,
) -> Result<Node> {
    let line = line.unwrap_or_else(|| lines.line(value.span().start));
    let origin = Origin::new(place.clone(), Some(line));
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| origin.error(format!("the integer {number} is too large")))?,
        ),
        DeValue::Float(number) => Value::Float(
            number
                .as_str()
                .parse()
                .map_err(|_| origin.error(format!("the number {number} cannot be read")))?,
        ),
        DeValue::Array(items) => Value::List(
            items.iter().map(|item| convert(item, None, place, lines)).collect::<Result<_>>()?,
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, place, lines)?),
    };
    Ok(Node { value, origin })
}

/// The offsets at which lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines(std::iter::once(0).chain(ends.map(|(offset, _)| offset + 1)).collect())
    }

    /// The line, from 1, of a byte offset.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Place {
        Place::Given("x.toml".into())
    }

    #[test]
    fn values_know_their_line() {
        let table = parse("a = 1\n\n[b]\nc = [\n  \"x\",\n  \"y\"]\n", &given()).unwrap();
        assert_eq!(table["a"].origin.to_string(), "x.toml:1");
        let Value::Table(b) = &table["b"].value else { panic!() };
        assert_eq!(b["c"].origin.line, Some(4));
        let Value::List(items) = &b["c"].value else { panic!() };
        assert_eq!(items[1].origin.line, Some(6));
    }

    #[test]
    fn broken_toml_names_the_line() {
        let error = parse("a = 1\nb = = 2\n", &given()).unwrap_err();
        assert!(error.to_string().starts_with("x.toml:2: this is not TOML"), "{error}");
        let error = parse("a = 1\nb = 99999999999999999999\n", &given()).unwrap_err();
        assert!(error.to_string().starts_with("x.toml:2: the integer"), "{error}");
    }

    #[test]
    fn numbers_of_every_radix_are_read() {
        let table = parse("a = 0x1_0\nb = -1_000\nc = 1e3\n", &given()).unwrap();
        assert!(matches!(table["a"].value, Value::Integer(16)));
        assert!(matches!(table["b"].value, Value::Integer(-1000)));
        assert!(matches!(table["c"].value, Value::Float(1000.0)));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let text = format!("a = {}1{}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(parse(&text, &given()).is_err());
    }

    #[test]
    fn files_that_cannot_be_configs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        std::fs::write(&path, b"a = 1\nb = \"\xff\"").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("x.toml:2: this is not UTF-8"));
        std::fs::write(&path, vec![b'#'; 1 + LONGEST as usize]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(read(&dir.path().join("none")).is_err());
    }
}
