//! The deb822 form of sources: stanzas of fields, in files that end in `.sources`.

use super::conf::boolean;
use super::sources::{Entry, Options, left_out};
use crate::config::Warning;

struct Field {
    name: String,
    value: String,
}

/// Reads the stanzas of one file. Those that make no sense become warnings and are left out.
pub(crate) fn parse(
    text: &str,
    file: &str,
    architecture: &str,
    warnings: &mut Vec<Warning>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (line, fields) in stanzas(text) {
        let place = format!("{file}:{line}");
        let found = fields.and_then(|fields| stanza(&fields, &place, architecture, warnings));
        match found {
            Ok(found) => entries.extend(found),
            Err(message) => warnings.push(left_out(&place, &message)),
        }
    }
    entries
}

type Stanza = (usize, Result<Vec<Field>, String>);

/// The fields of each stanza with the line that it begins on. Lines that begin with `#` are not
/// there, also within a field; an empty line ends a stanza.
fn stanzas(text: &str) -> Vec<Stanza> {
    let mut stanzas: Vec<Stanza> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            inside = false;
            continue;
        }
        if !inside {
            stanzas.push((index + 1, Ok(Vec::new())));
            inside = true;
        }
        let Some((_, Ok(fields))) = stanzas.last_mut() else { continue };
        let problem = if line.starts_with([' ', '\t']) {
            match fields.last_mut() {
                Some(field) => {
                    field.value.push('\n');
                    field.value.push_str(line.trim());
                    None
                }
                None => Some("it begins with a continued line".to_owned()),
            }
        } else {
            match line.split_once(':') {
                Some((name, value)) if !name.contains(char::is_whitespace) => {
                    fields.push(Field {
                        name: name.to_ascii_lowercase(),
                        value: value.trim().to_owned(),
                    });
                    None
                }
                _ => Some(format!("line {} is no field", index + 1)),
            }
        };
        if let (Some(problem), Some(last)) = (problem, stanzas.last_mut()) {
            last.1 = Err(problem);
        }
    }
    stanzas
}

fn stanza(
    fields: &[Field],
    place: &str,
    architecture: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Entry>, String> {
    // Of a field that stands twice apt takes the last.
    let field = |name: &str| fields.iter().rev().find(|f| f.name == name).map(|f| f.value.as_str());
    if field("enabled").and_then(boolean) == Some(false) {
        return Ok(Vec::new());
    }
    let words = |name: &str| -> Result<Vec<String>, String> {
        let words: Vec<String> =
            field(name).unwrap_or("").split_whitespace().map(str::to_owned).collect();
        if words.is_empty() { Err(format!("it has no field {name}")) } else { Ok(words) }
    };
    let types = words("types")?;
    if let Some(kind) = types.iter().find(|kind| !matches!(kind.as_str(), "deb" | "deb-src")) {
        return Err(format!("the type {kind:?} is not known"));
    }
    let components: Vec<String> = words("components").unwrap_or_default();
    let mut options = Options::default();
    for name in fields.iter().map(|field| field.name.as_str()) {
        options.set(name, field(name).unwrap_or(""), place, warnings)?;
    }
    let mut entries = Vec::new();
    for uri in words("uris")? {
        for suite in words("suites")? {
            let mut entry = Entry {
                place: place.to_owned(),
                uri: uri.replace("$(ARCH)", architecture),
                suite: suite.replace("$(ARCH)", architecture),
                components: components.clone(),
                types: types.clone(),
                options: options.clone(),
            };
            if entry.finish(warnings)? {
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
