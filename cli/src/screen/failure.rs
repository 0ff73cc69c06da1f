//! Failures: stage, reason, the last lines that matter, what to do.

use super::{Screen, harmless};
use debmock::{Error, ErrorKind};

impl Screen {
    /// Shows why a command failed. With `--json` it is the last line of standard output as well.
    pub fn failure(&mut self, error: &Error, status: u8) {
        let chain = error.chain();
        if self.style.json {
            let value = serde_json::json!({
                "schema": debmock::event::SCHEMA,
                "event": "failed",
                "kind": error.kind(),
                "message": error.message(),
                "causes": &chain[1..],
                "hint": error.hint(),
                "stage": self.failed.as_ref().map(|(stage, _)| stage),
                "exit_status": status,
            });
            self.json(&value);
        }
        if let Some((stage, detail)) = self.failed.take()
            && error.kind() != ErrorKind::Cancelled
            && !self.style.json
        {
            // The library says itself what matters of some logs.
            if !chain.iter().any(|sentence| sentence.contains('\n')) {
                self.lines_that_matter();
            }
            self.message(&format!("stage that failed: {}", super::titled(&stage, &detail)));
        }
        self.labelled("31;1", "error:", &chain[0]);
        for cause in &chain[1..] {
            self.message(&format!("  caused by: {cause}"));
        }
        if let Some(hint) = error.hint() {
            self.hint(hint);
        }
    }

    /// Shows what is wrong with the arguments.
    pub fn usage(&mut self, error: &clap::Error, status: u8) {
        if self.style.json {
            let value = serde_json::json!({
                "schema": debmock::event::SCHEMA,
                "event": "failed",
                "kind": ErrorKind::Usage,
                "message": error.render().to_string().trim(),
                "exit_status": status,
            });
            self.json(&value);
        }
        let text = error.render();
        let text = if self.colour { text.ansi().to_string() } else { text.to_string() };
        let lines: Vec<String> = text.trim_end().lines().map(only_colours).collect();
        self.show(&lines.join("\n"));
    }

    /// The end of the log, unless it was shown already.
    fn lines_that_matter(&mut self) {
        let lines = std::mem::take(&mut self.last_lines);
        if self.style.verbose || lines.is_empty() {
            return;
        }
        self.message("the last lines of the log:");
        for (_, line) in lines {
            self.message(&format!("  | {line}"));
        }
    }
}

/// A line in which nothing but colours is left of what a terminal would obey. Arguments stand in
/// it as they were given, and a script may have taken them from anywhere.
fn only_colours(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let mut kept = harmless(parts.next().unwrap_or_default());
    for part in parts {
        let colour = part.strip_prefix('[').and_then(|rest| {
            let (codes, _) = rest.split_once('m')?;
            codes.bytes().all(|b| b.is_ascii_digit() || b == b';').then_some(codes)
        });
        if colour.is_some() {
            kept.push('\x1b');
        }
        kept.push_str(&harmless(part));
    }
    kept
}
