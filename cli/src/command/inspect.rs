//! What there is: configs, buildroots, layers; what this machine can do.

use crate::Call;
use crate::words;
use debmock::buildroot::Listing;
use debmock::config::{Config, Known, Loader};
use debmock::host::{Diagnosis, ROOT_RANGE, diagnose};
use debmock::{ErrorKind, Result};
use serde_json::json;

pub fn list(call: &mut Call<'_>) -> Result<u8> {
    let known = Loader::new().list()?;
    let config = call.config()?;
    let name = config.name.clone();
    let listing = match call.buildroot_of(config) {
        Ok(root) => Some(call.watch(|scope| root.list(scope))?),
        Err(error) if error.kind() == ErrorKind::Isolation => {
            call.screen.warn(&format!("the store cannot be read: {error}"), error.hint());
            None
        }
        Err(error) => return Err(error),
    };
    if call.screen.is_json() {
        let configs: Vec<_> = known.iter().map(Known::to_json).collect();
        let value = json!({
            "schema": debmock::event::SCHEMA, "default": name, "configs": configs, "store": listing,
        });
        call.screen.json(&value);
        return Ok(0);
    }
    let mut lines = vec!["Configs".to_owned()];
    let rows: Vec<_> = known
        .iter()
        .map(|config| {
            let mark = if config.name == name { "the default or chosen one" } else { "" };
            vec![config.name.clone(), config.shown_places(), mark.to_owned()]
        })
        .collect();
    lines.extend(table(&rows));
    if let Some(listing) = &listing {
        lines.extend(store(listing));
    }
    call.screen.data(&lines.join("\n"));
    Ok(0)
}

fn store(listing: &Listing) -> Vec<String> {
    let mut lines = vec!["Buildroots".to_owned()];
    let rows = listing.buildroots.iter().map(|root| {
        let base = match &root.base {
            Some(base) => format!("on {}", base.layer),
            None => "damaged; `debmock scrub chroot` removes it".into(),
        };
        vec![root.name.clone(), words::bytes(root.bytes), base]
    });
    lines.extend(table(&rows.collect::<Vec<_>>()));
    lines.push("Layers".into());
    let rows = listing.layers.iter().map(|layer| {
        let used = if layer.used_by.is_empty() {
            "unused".to_owned()
        } else {
            format!("used by {}", layer.used_by.join(", "))
        };
        vec![layer.key.clone(), words::bytes(layer.bytes), used]
    });
    lines.extend(table(&rows.collect::<Vec<_>>()));
    lines.push("Downloads".into());
    lines.extend(table(&[
        vec!["packages and sources".into(), words::bytes(listing.debs)],
        vec!["indexes".into(), words::bytes(listing.lists)],
    ]));
    lines
}

/// Rows with aligned columns, indented; a line that says so if there are none.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["  none".into()];
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|text: &String| text.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        })
        .collect()
}

pub fn config(call: &mut Call<'_>) -> Result<u8> {
    let config = call.config()?;
    match call.screen.is_json() {
        true => call.screen.json(&config.to_json()),
        false => call.screen.data(&as_text(&config).join("\n")),
    }
    Ok(0)
}

fn as_text(config: &Config) -> Vec<String> {
    let mut lines = vec![format!("# config {}", config.name)];
    for setting in config.explain() {
        let origins: Vec<_> = setting.origins.iter().map(ToString::to_string).collect();
        let origins = origins.join(", ");
        lines.push(if setting.value.is_empty() {
            format!("# {} is not set", setting.key)
        } else {
            format!("{} = {}  # {origins}", setting.key, setting.value)
        });
    }
    lines
}

pub fn doctor(call: &mut Call<'_>) -> Result<u8> {
    // A config that cannot be read is no reason to say nothing about the machine.
    let range = match call.config() {
        Ok(config) => (config.isolation.root_ids.base, config.isolation.root_ids.count),
        Err(error) => {
            call.screen.warn(&format!("the config cannot be used: {error}"), error.hint());
            ROOT_RANGE
        }
    };
    let diagnosis = diagnose(call.host.helper.as_ref(), range);
    let status = if diagnosis.is_usable() { 0 } else { ErrorKind::Isolation.exit_code() };
    match call.screen.is_json() {
        true => call.screen.json(&diagnosis.to_json()),
        false => call.screen.data(&doctor_text(&diagnosis).join("\n")),
    }
    Ok(status)
}

fn doctor_text(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    match &diagnosis.helper {
        Ok(program) => lines.push(format!("helper  {}", program.path.display())),
        Err(error) => {
            lines.push(format!("✗ there is no helper: {error}"));
            lines.extend(error.hint().map(|hint| format!("  hint: {hint}")));
        }
    }
    for note in &diagnosis.notes {
        lines.push(format!("machine {note}"));
    }
    for verdict in &diagnosis.modes {
        match &verdict.problem {
            None => lines.push(format!("✓ {:<8} works", verdict.mode)),
            Some(problem) => {
                lines.push(format!("✗ {:<8} does not work: {problem}", verdict.mode));
                lines.extend(problem.hint().map(|hint| format!("  hint: {hint}")));
            }
        }
        lines.extend(verdict.notes.iter().map(|note| format!("  {note}")));
    }
    lines
}
