//! What the user sees: events, data, failures.
//!
//! Data goes to standard output, messages go to standard error. On a terminal the last line shows
//! what is being done; elsewhere every stage is a plain line when it starts and when it ends. Signs
//! and colours only repeat what the words say.
//!
//! Whatever is shown may quote an archive, a package or a program of a root. Nothing that a terminal
//! would obey gets through: messages, the last line and data pass [`harmless`] on their way out,
//! and nowhere else. Further lines of a message are indented, so that none of them looks like a
//! message of its own.

mod bar;
mod failure;

use crate::streams::Streams;
use crate::words;
use bar::Bar;
use debmock::event::{Event, Log, What};
use debmock::{Error, ErrorKind};
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Lines of a log that a failure may show.
const LAST_LINES: usize = 20;

/// How much is shown, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// JSON lines on standard output.
    pub json: bool,
    /// Errors only.
    pub quiet: bool,
    /// Lines of logs too.
    pub verbose: bool,
}

/// Shows events, data and failures.
pub struct Screen {
    output: Option<File>,
    /// Why standard output could not be written to.
    lost: Option<io::Error>,
    messages: Option<File>,
    style: Style,
    terminal: bool,
    colour: bool,
    bar: Bar,
    /// Stages that run, outermost first, with what they work on.
    stages: Vec<(String, String)>,
    /// The stage that failed first: the innermost.
    failed: Option<(String, String)>,
    last_lines: VecDeque<(Log, String)>,
}

impl Screen {
    /// A screen on these streams. `NO_COLOR` and `TERM=dumb` are honoured.
    pub fn new(streams: &Streams, style: Style) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let terminal = rustix::termios::isatty(streams.error.as_fd()) && !dumb;
        Screen {
            output: streams.output.try_clone().ok(),
            lost: None,
            messages: streams.error.try_clone().ok(),
            style,
            terminal,
            colour: terminal && !set("NO_COLOR"),
            bar: Bar::default(),
            stages: Vec::new(),
            failed: None,
            last_lines: VecDeque::new(),
        }
    }

    /// Shows lines of logs from now on, unless only errors are wanted.
    pub fn show_logs(&mut self) {
        self.style.verbose = !self.style.quiet;
    }

    /// Whether everything goes out as JSON.
    pub fn is_json(&self) -> bool {
        self.style.json
    }

    /// A line of data. Where it cannot be written, [`Screen::lost`] tells.
    pub fn data(&mut self, text: &str) {
        let lines: Vec<String> = text.split('\n').map(harmless).collect();
        self.put(&lines.join("\n"));
    }

    fn put(&mut self, text: &str) {
        self.clear();
        let Some(output) = &mut self.output else { return };
        // In one piece: somebody else may write to the same pipe.
        if let Err(error) = output.write_all(format!("{text}\n").as_bytes()) {
            self.output = None;
            // A reader that went away has seen enough.
            self.lost = Some(error).filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        }
    }

    /// The error if something of what was to go to standard output could not be written.
    pub fn lost(&mut self) -> Option<Error> {
        let error = self.lost.take()?;
        let full = "cannot write to standard output: what is there is not all";
        Some(Error::new(ErrorKind::Io, full).with_source(error))
    }

    /// A line of JSON on standard output. Where it cannot be written, [`Screen::lost`] tells.
    pub fn json(&mut self, value: &impl Serialize) {
        let text = match serde_json::to_string(value) {
            Ok(text) => text,
            Err(error) => {
                self.lost.get_or_insert(error.into());
                return;
            }
        };
        // JSON itself asks for escapes below U+0020 only; a terminal obeys others, too.
        let obeyed = |c: char| c.is_control() || turns_text(c);
        self.put(&text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
            match obeyed(c) {
                true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => text.push(c),
            }
            text
        }));
    }

    /// A message that is no event: shown unless `-q` or `--json` was given.
    pub fn say(&mut self, text: &str) {
        if !self.style.quiet && !self.style.json {
            self.message(text);
        }
    }

    /// Warns.
    pub fn warn(&mut self, message: &str, hint: Option<&str>) {
        if self.style.quiet {
            return;
        }
        if self.style.json {
            let value = serde_json::json!({
                "schema": debmock::event::SCHEMA, "event": "warning", "message": message, "hint": hint,
            });
            self.json(&value);
            return;
        }
        self.labelled("33;1", "warning:", message);
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    fn hint(&mut self, hint: &str) {
        self.labelled("36;1", "hint:", hint);
    }

    /// Shows an event.
    pub fn event(&mut self, event: &Event) {
        self.remember(&event.what);
        if self.style.json {
            if !self.style.quiet || matches!(event.what, What::LimitHit { .. }) {
                self.json(event);
            }
            return;
        }
        if self.style.quiet {
            return;
        }
        match &event.what {
            What::StageStarted { stage, detail } => {
                if self.terminal {
                    self.bar.start(stage, detail);
                    self.tick();
                } else {
                    self.message(&titled(stage, detail));
                }
            }
            What::StageFinished { stage, seconds, success } => {
                let detail = self.bar.finish(stage);
                let time = words::seconds(*seconds);
                let titled = titled(stage, &detail);
                match (self.terminal, success) {
                    (true, true) => self.labelled("32", "✓", &format!("{titled} ({time})")),
                    (true, false) => {
                        self.labelled("31", "✗", &format!("{titled} failed after {time}"));
                    }
                    (false, true) => self.message(&format!("{stage}: done in {time}")),
                    (false, false) => self.message(&format!("{stage}: failed after {time}")),
                }
            }
            What::Progress { done, total, unit, stage } => {
                self.bar.moved(stage, *done, *total, *unit);
                if self.terminal {
                    self.tick();
                }
            }
            What::Package { action, name, version, architecture } => {
                let action = format!("{action:?}").to_lowercase();
                if self.style.verbose {
                    self.message(&format!("{action} {name} {version} {architecture}"));
                } else if self.terminal {
                    self.bar.now(name);
                    self.tick();
                }
            }
            What::LogLine { .. } | What::LinesSkipped { .. } if !self.style.verbose => {}
            What::LogLine { text, .. } => self.message(text),
            What::LinesSkipped { count, .. } => {
                self.message(&format!("({count} lines are only in the log)"));
            }
            What::Warning { message, hint } => self.warn(message, hint.as_deref()),
            What::Waiting { what, holder } => {
                self.message(&format!("waiting for {what}, which is in use by {holder}"));
            }
            What::LimitHit { limit } => self.message(&format!("the {limit} limit was reached")),
            _ => {}
        }
    }

    /// Time has passed without an event.
    pub fn tick(&mut self) {
        if !self.terminal || self.style.quiet || self.style.json {
            return;
        }
        let width = self
            .messages
            .as_ref()
            .and_then(|file| rustix::termios::tcgetwinsize(file).ok())
            .map_or(80, |size| usize::from(size.ws_col));
        if let Some(line) = self.bar.draw(width)
            && let Some(messages) = &mut self.messages
        {
            let _ = messages.write_all(format!("\r\x1b[2K{line}").as_bytes());
        }
    }

    /// Takes the line of progress away.
    pub fn clear(&mut self) {
        if self.bar.take_away()
            && let Some(messages) = &mut self.messages
        {
            let _ = messages.write_all(b"\r\x1b[2K");
        }
    }

    fn message(&mut self, text: &str) {
        self.show(&lines(text));
    }

    /// A message that begins with a coloured word or sign of ours.
    fn labelled(&mut self, colour: &str, label: &str, text: &str) {
        let text = lines(text);
        self.show(&match self.colour {
            true => format!("\x1b[{colour}m{label}\x1b[0m {text}"),
            false => format!("{label} {text}"),
        });
    }

    /// Writes what is known to be harmless.
    fn show(&mut self, text: &str) {
        self.clear();
        if let Some(messages) = &mut self.messages {
            // Where messages cannot be written, nobody can be told.
            let _ = messages.write_all(format!("{text}\n").as_bytes());
        }
    }

    fn remember(&mut self, what: &What) {
        match what {
            What::StageStarted { stage, detail } => {
                self.stages.push((stage.clone(), detail.clone()));
            }
            What::StageFinished { stage, success, .. } => {
                if let Some(at) = self.stages.iter().rposition(|(name, _)| name == stage) {
                    let ended = self.stages.remove(at);
                    if *success {
                        self.failed = None;
                        self.last_lines.clear();
                    } else if self.failed.is_none() {
                        self.failed = Some(ended);
                    }
                }
            }
            What::LogLine { log, text } => {
                if self.last_lines.len() == LAST_LINES {
                    self.last_lines.pop_front();
                }
                self.last_lines.push_back((*log, text.clone()));
            }
            _ => {}
        }
    }
}

fn titled(stage: &str, detail: &str) -> String {
    if detail.is_empty() { stage.to_owned() } else { format!("{stage}: {detail}") }
}

/// A line without what a terminal would obey: what is built must not paint over our own words, set
/// titles or answer as if somebody had typed.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| *c == '\t' || !(c.is_control() || turns_text(*c))).collect()
}

/// Whether a character makes what follows it stand in another order than it is (UAX #9).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text of one or several lines: the further ones stand below the first.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| harmless(line.trim_end())).collect();
    lines.join("\n    ")
}

#[cfg(test)]
mod tests;
