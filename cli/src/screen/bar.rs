//! The last line of a terminal: what is being done, how far, for how long.

use crate::words;
use debmock::event::Unit;
use std::time::{Duration, Instant};

/// Time between two drawings: faster, nobody can read.
const PAUSE: Duration = Duration::from_millis(80);
/// Characters of the bar itself.
const WIDTH: u64 = 24;

/// State of the line. Stages nest; the innermost is shown.
#[derive(Debug, Default)]
pub struct Bar {
    stages: Vec<Stage>,
    drawn: Option<Instant>,
    visible: bool,
}

#[derive(Debug)]
struct Stage {
    name: String,
    detail: String,
    started: Instant,
    moved: Option<(u64, Option<u64>, Unit)>,
    now: String,
}

impl Bar {
    /// A stage began.
    pub fn start(&mut self, name: &str, detail: &str) {
        self.stages.push(Stage {
            name: name.to_owned(),
            detail: detail.to_owned(),
            started: Instant::now(),
            moved: None,
            now: String::new(),
        });
        self.drawn = None;
    }

    /// A stage ended; what it worked on.
    pub fn finish(&mut self, name: &str) -> String {
        match self.stages.iter().rposition(|stage| stage.name == name) {
            Some(at) => self.stages.remove(at).detail,
            None => String::new(),
        }
    }

    /// A stage moved on.
    pub fn moved(&mut self, name: &str, done: u64, total: Option<u64>, unit: Unit) {
        if let Some(stage) = self.stages.iter_mut().rfind(|stage| stage.name == name) {
            stage.moved = Some((done, total, unit));
        }
    }

    /// What the innermost stage has at hand.
    pub fn now(&mut self, what: &str) {
        if let Some(stage) = self.stages.last_mut() {
            what.clone_into(&mut stage.now);
        }
    }

    /// The line, if it is time to draw it again.
    pub fn draw(&mut self, width: usize) -> Option<String> {
        let stage = self.stages.last()?;
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return None;
        }
        self.drawn = Some(Instant::now());
        self.visible = true;
        let line = super::harmless(&stage.line(stage.started.elapsed())).replace('\t', " ");
        // One column stays free, or some terminals would begin a new line.
        Some(line.chars().take(width.max(2) - 1).collect())
    }

    /// Whether the line was visible; now it is not.
    pub fn take_away(&mut self) -> bool {
        self.drawn = None;
        std::mem::take(&mut self.visible)
    }
}

impl Stage {
    fn line(&self, elapsed: Duration) -> String {
        let mut parts = vec![super::titled(&self.name, &self.detail)];
        match self.moved {
            Some((done, Some(total), unit)) if total > 0 => {
                let filled = (done.min(total) * WIDTH / total) as usize;
                let bar = format!("[{:-<1$}]", "#".repeat(filled), WIDTH as usize);
                parts.push(bar);
                parts.push(format!("{} of {}", counted(done, unit), counted(total, unit)));
            }
            Some((done, _, unit)) => parts.push(counted(done, unit)),
            None => {}
        }
        parts.push(format!("{} s", elapsed.as_secs()));
        if !self.now.is_empty() {
            parts.push(self.now.clone());
        }
        parts.join("  ")
    }
}

fn counted(count: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => words::bytes(count),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_stage_bar_numbers_and_time() {
        let mut bar = Bar::default();
        bar.start("fetch", "147 packages");
        bar.moved("fetch", 52_000_000, Some(104_000_000), Unit::Bytes);
        bar.now("gcc-12");
        let line = bar.draw(200).unwrap();
        let shown = "fetch: 147 packages  [############------------]  52 MB of 104 MB  0 s  gcc-12";
        assert_eq!(line, shown);
    }

    #[test]
    fn nothing_in_the_line_commands_the_terminal() {
        let mut bar = Bar::default();
        bar.start("fetch", "a\x1b[2Jb\n\tc");
        bar.now("x\r\u{9b}2J\u{202e}y");
        assert_eq!(bar.draw(200).unwrap(), "fetch: a[2Jb c  0 s  x2Jy");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_line() {
        let mut bar = Bar::default();
        bar.start("fetch", "147 packages");
        assert_eq!(bar.draw(8).unwrap(), "fetch: ");
    }
}
