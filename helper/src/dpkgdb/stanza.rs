//! Paragraphs of fields, as in control files and dpkg's `status` (`deb822(5)`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One paragraph; fields keep their order and the bytes of their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stanza {
    fields: Vec<(String, Vec<u8>)>,
}

/// Why text is no paragraph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct StanzaError {
    line: usize,
    what: String,
}

impl Stanza {
    /// The paragraphs of `text`, separated by blank lines.
    ///
    /// # Errors
    /// A line that is neither a field nor a continuation, a field twice in one paragraph.
    pub fn parse(text: &[u8]) -> Result<Vec<Self>, StanzaError> {
        let mut found = Vec::new();
        let mut current = Self::default();
        for (number, line) in text.split(|&b| b == b'\n').enumerate() {
            let fail = |what: String| StanzaError { line: number + 1, what };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() {
                found.extend(current.complete());
                continue;
            }
            if line[0] == b' ' || line[0] == b'\t' {
                let Some((_, value)) = current.fields.last_mut() else {
                    return Err(fail("a continuation line without a field before it".into()));
                };
                value.push(b'\n');
                value.extend_from_slice(line);
                continue;
            }
            let name_end = line.iter().position(|&b| b == b':').unwrap_or(0);
            let name = &line[..name_end];
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err(fail(format!("“{}” is no field", line.escape_ascii())));
            }
            let name: String = name.iter().copied().map(char::from).collect();
            if current.get(&name).is_some() {
                return Err(fail(format!("the field {name} is there twice")));
            }
            let value = line[name_end + 1..].trim_ascii_start();
            current.fields.push((name, value.to_vec()));
        }
        found.extend(current.complete());
        Ok(found)
    }

    /// Takes the fields that were collected. Like dpkg, drops blanks at the end of a value but
    /// keeps them at the end of a line inside one.
    fn complete(&mut self) -> Option<Self> {
        let mut stanza = std::mem::take(self);
        for (_, value) in &mut stanza.fields {
            value.truncate(value.trim_ascii_end().len());
        }
        (!stanza.fields.is_empty()).then_some(stanza)
    }

    /// The only paragraph of `text`.
    ///
    /// # Errors
    /// Those of [`Stanza::parse`], no paragraph, more than one.
    pub fn parse_one(text: &[u8]) -> Result<Self, StanzaError> {
        let mut all = Self::parse(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(stanza), true) => Ok(stanza),
            (None, _) => Err(StanzaError { line: 1, what: "there is no field".into() }),
            (Some(_), false) => {
                Err(StanzaError { line: 1, what: "there is more than one paragraph".into() })
            }
        }
    }

    /// The value of a field, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a field as text; bytes that are no UTF-8 count as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Changes the value of a field, or appends it.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        match self.fields.iter_mut().find(|(field, _)| field.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.push(name, value),
        }
    }

    /// Appends a field; the caller knows that it is new.
    pub(crate) fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.fields.push((name.into(), value.into()));
    }

    /// Writes the fields, each line ended, without the blank line that ends a paragraph.
    pub fn write_to(&self, text: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            if !value.is_empty() && !value.starts_with(b"\n") {
                text.push(b' ');
            }
            text.extend_from_slice(value);
            text.push(b'\n');
        }
    }
}

/// Which package exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Package name.
    pub name: String,
    /// Version, with epoch and revision.
    pub version: String,
    /// Architecture, `all` included.
    pub architecture: String,
}

impl Identity {
    /// From the fields `Package`, `Version` and `Architecture`.
    ///
    /// # Errors
    /// One is missing, or not in the form that Debian Policy §5.6 gives: names become file
    /// names in the database.
    pub fn of(stanza: &Stanza) -> Result<Self, StanzaError> {
        let field = |name: &str, extra: &[u8]| {
            let fail = |what: String| StanzaError { line: 1, what };
            let value =
                stanza.text(name).ok_or_else(|| fail(format!("the field {name} is missing")))?;
            let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b));
            let starts_well = value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            if !plain || !starts_well || value.len() > 200 {
                return Err(fail(format!("the field {name} is “{}”", value.escape_debug())));
            }
            Ok(value.to_owned())
        };
        Ok(Self {
            name: field("Package", b"+-.")?,
            version: field("Version", b"+-.~:")?,
            architecture: field("Architecture", b"-")?,
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_keep_order_and_continuations() {
        let text = b"Package: a\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a x\n\nPackage: b\n";
        let all = Stanza::parse(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("description").unwrap(), b"short\n long\n .\n more");
        let mut written = Vec::new();
        all[0].write_to(&mut written);
        assert_eq!(written, &text[..text.len() - "\nPackage: b\n".len()]);
    }

    #[test]
    fn damaged_text_names_the_line() {
        assert_eq!(Stanza::parse(b"A: 1\nnonsense\n").unwrap_err().line, 2);
        assert!(Stanza::parse(b" continued\n").is_err());
        assert!(Stanza::parse(b"A: 1\na: 2\n").is_err());
    }

    #[test]
    fn names_that_would_be_paths_are_refused() {
        for name in ["../x", "a/b", "", "-x", "a b"] {
            let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
            let stanza = Stanza::parse_one(text.as_bytes()).unwrap();
            assert!(Identity::of(&stanza).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec(("[A-Z][a-z]{1,6}", "[!-~]{1,9}(\n [!-~]{1,9}){0,3}"), 1..6)) {
            let mut stanza = Stanza::default();
            for (name, value) in fields {
                if stanza.get(&name).is_none() {
                    stanza.push(&name, value);
                }
            }
            let mut text = Vec::new();
            stanza.write_to(&mut text);
            prop_assert_eq!(Stanza::parse_one(&text).unwrap(), stanza);
        }

        #[test]
        fn any_text_gives_a_result(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stanza::parse(&text);
        }
    }
}
