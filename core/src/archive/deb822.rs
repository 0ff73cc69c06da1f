//! The paragraph format of Debian's control data (`deb822(5)`, Policy section 5.1).
//!
//! Two readers: [`paragraphs`] walks through a big index without copying anything, and
//! [`Control`] holds one small paragraph (`Release`, `.dsc`, `.changes`) and is strict about
//! what it accepts. The first is for data whose hash a signed file names, the second for
//! anything that people hand in.

use crate::error::{Error, ErrorKind, Result};
use memchr::memchr;
use std::fmt;

/// The paragraphs of `text`, in order. Lines that no paragraph can have are passed over.
pub fn paragraphs(text: &[u8]) -> Paragraphs<'_> {
    Paragraphs { text, at: 0 }
}

/// Iterator of [`paragraphs`].
pub struct Paragraphs<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Paragraphs<'a> {
    type Item = Paragraph<'a>;

    fn next(&mut self) -> Option<Paragraph<'a>> {
        while let Some(b'\n' | b'\r' | b' ' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let rest = &self.text[start..];
        let length = memchr::memmem::find(rest, b"\n\n").map_or(rest.len(), |end| end + 1);
        self.at = start + length;
        Some(Paragraph { text: &rest[..length] })
    }
}

/// One paragraph, as a piece of the text that it stands in.
#[derive(Clone, Copy)]
pub struct Paragraph<'a> {
    text: &'a [u8],
}

impl<'a> Paragraph<'a> {
    /// The paragraph that `text` consists of.
    pub fn new(text: &'a [u8]) -> Self {
        Paragraph { text }
    }

    /// Its text.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Names and values in order. A value has no white space around it; its further lines begin
    /// with white space.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.text }
    }

    /// The value of the field `name`, whose case does not matter.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the field `name` if it is UTF-8, else an empty text.
    pub fn text_of(&self, name: &str) -> &'a str {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }
}

/// Iterator of [`Paragraph::fields`].
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let mut end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let colon = memchr(b':', &self.rest[..end]);
            // Further lines of the value.
            while let Some(b' ' | b'\t') = self.rest.get(end + 1) {
                let next = &self.rest[end + 1..];
                end += 1 + memchr(b'\n', next).unwrap_or(next.len());
            }
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            if let Some(colon) = colon {
                return Some((&field[..colon], field[colon + 1..].trim_ascii()));
            }
        }
    }
}

/// One paragraph of its own: names and values as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    fields: Vec<(String, String)>,
}

impl Control {
    /// Reads `text`, which must hold exactly one paragraph. `origin` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`], with the number of the line: a line that is neither a field nor
    /// a continuation, a field that stands twice, a second paragraph, no field at all, text
    /// that is not UTF-8 or has a NUL.
    pub fn parse(text: &[u8], origin: &str) -> Result<Self> {
        let mut all = Control::parse_many(text, origin)?;
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(bad(origin, 1, "it is empty")),
            _ => Err(bad(origin, 1, "it has more than one paragraph")),
        }
    }

    /// Reads every paragraph of `text`, with the strictness of [`Control::parse`].
    pub fn parse_many(text: &[u8], origin: &str) -> Result<Vec<Self>> {
        let text = std::str::from_utf8(text)
            .map_err(|error| bad(origin, 1, "it is not UTF-8 text").with_source(error))?;
        let mut all = Vec::new();
        let mut current = Control::default();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.contains('\0') {
                return Err(bad(origin, index + 1, "it has a NUL byte"));
            }
            if line.starts_with('#') {
                continue;
            }
            if line.trim_matches([' ', '\t']).is_empty() {
                if !current.fields.is_empty() {
                    all.push(std::mem::take(&mut current));
                }
            } else if line.starts_with([' ', '\t']) {
                let Some((_, value)) = current.fields.last_mut() else {
                    return Err(bad(origin, index + 1, "a continuation line has no field"));
                };
                value.push('\n');
                value.push_str(line.trim_end());
            } else {
                let field = line.split_once(':').filter(|(name, _)| is_field_name(name));
                let Some((name, value)) = field else {
                    return Err(bad(origin, index + 1, "a line is not `Field: value`"));
                };
                if current.get(name).is_some() {
                    return Err(bad(origin, index + 1, &format!("the field {name} stands twice")));
                }
                current.fields.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        if !current.fields.is_empty() {
            all.push(current);
        }
        Ok(all)
    }

    /// The value of the field `name`, whose case does not matter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The value of the field `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if `origin` has no such field.
    pub fn require(&self, name: &str, origin: &str) -> Result<&str> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Error::new(ErrorKind::Archive, format!("{origin} has no field {name}")))
    }

    /// Sets a field; its further lines must begin with white space.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(field, _)| field.eq_ignore_ascii_case(name)) {
            Some(field) => field.1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.fields {
            let space = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            writeln!(f, "{name}:{space}{value}")?;
        }
        Ok(())
    }
}

/// Policy 5.1: printable US-ASCII without colon, not beginning with `#` or `-`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|c| (33..=126).contains(&c))
}

fn bad(origin: &str, line: usize, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{origin}, line {line}: {why}"))
}

const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// The text inside an OpenPGP clear signature (RFC 9580 section 7), dash escapes undone; text
/// without a signature as it is. The signature is **not** checked.
///
/// # Errors
/// [`ErrorKind::Archive`] for anything before or after the signed block, so that no part of the
/// file can be mistaken for signed text.
pub fn strip_signature(text: &[u8], origin: &str) -> Result<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split(|c| *c == b'\n').map(|line| line.trim_ascii_end()).collect();
    let is = |line: &[u8], marker: &str| line == marker.as_bytes();
    if !lines.iter().any(|line| line.starts_with(b"-----BEGIN PGP ")) {
        return Ok(text.to_vec());
    }
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    if !is(lines[start], SIGNED) {
        return Err(bad(origin, start + 1, "there is text before the signed message"));
    }
    let mut body = Vec::with_capacity(text.len());
    let mut rest = lines.iter().enumerate().skip(start + 1);
    for (_, line) in rest.by_ref() {
        if line.is_empty() {
            break;
        }
    }
    let mut closed = false;
    for (index, line) in rest.by_ref() {
        if is(line, SIGNATURE) {
            closed = true;
            break;
        }
        match line.strip_prefix(b"- ") {
            Some(escaped) => body.extend_from_slice(escaped),
            None if line.starts_with(b"-") => {
                return Err(bad(origin, index + 1, "a line of the signed text is not escaped"));
            }
            None => body.extend_from_slice(line),
        }
        body.push(b'\n');
    }
    let end = rest.by_ref().find(|(_, line)| is(line, END));
    if !closed || end.is_none() {
        return Err(bad(origin, lines.len(), "the signature is not complete"));
    }
    match rest.find(|(_, line)| !line.is_empty()) {
        Some((index, _)) => Err(bad(origin, index + 1, "there is text after the signature")),
        None => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn big_text_is_walked_without_copies() {
        let text = b"\nA: 1\nB: x\n y\n .\n\tz\n\n\nA: 2\nbroken\nC:\n D\n";
        let all: Vec<_> = paragraphs(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("b").unwrap(), b"x\n y\n .\n\tz");
        assert_eq!(all[1].fields().count(), 2);
        assert_eq!(all[1].text_of("C"), "D");
    }

    #[test]
    fn small_paragraphs_are_strict() {
        let control = Control::parse(b"# c\nA: 1\nFiles:\n a\n b\n", "x").unwrap();
        assert_eq!(control.get("files"), Some("\n a\n b"));
        assert_eq!(control.to_string(), "A: 1\nFiles:\n a\n b\n");
        for (text, why) in [
            (&b"A: 1\nA: 2\n"[..], "line 2: the field A stands twice"),
            (b" x\n", "line 1: a continuation line has no field"),
            (b"A: 1\nhello\n", "line 2: a line is not"),
            (b"A: 1\n\nB: 2\n", "more than one paragraph"),
            (b"", "it is empty"),
            (b"A: \xff\n", "not UTF-8"),
            (b"A: \0\n", "NUL"),
        ] {
            let error = Control::parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn only_the_signed_text_remains() {
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nA: 1\n- -x: 2\n\
                      -----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        assert_eq!(strip_signature(signed.as_bytes(), "x").unwrap(), b"A: 1\n-x: 2\n");
        for text in [
            format!("Evil: 1\n\n{signed}"),
            format!("{signed}Evil: 1\n"),
            signed.replace("-----END", "-----ENX"),
            signed.replace("- -x", "-x"),
        ] {
            assert!(strip_signature(text.as_bytes(), "x").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            for paragraph in paragraphs(&text) {
                paragraph.fields().count();
            }
            let _ = Control::parse(&text, "x");
            let _ = strip_signature(&text, "x");
        }

        #[test]
        fn what_is_written_is_read(fields in proptest::collection::btree_map("[A-Z][a-z-]{0,8}", "[a-z0-9][a-z0-9 ]{0,20}[a-z]", 1..6)) {
            let mut control = Control::default();
            for (name, value) in &fields {
                control.set(name, value.as_str());
            }
            let again = Control::parse(control.to_string().as_bytes(), "x").unwrap();
            prop_assert_eq!(again, control);
        }
    }
}
