//! The terminal of the user: raw mode, which always ends, and its size.

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};
use std::fs::File;
use std::io;

/// A terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
#[must_use = "dropping it restores the terminal at once"]
pub struct Raw<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// Passes every key on, to the terminal inside.
    pub fn enter(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that has been hung up needs nothing.
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Rows and columns; 24 by 80 where the terminal does not say.
pub fn size(terminal: &File) -> (u16, u16) {
    match tcgetwinsize(terminal) {
        Ok(Winsize { ws_row, ws_col, .. }) if ws_row > 0 && ws_col > 0 => (ws_row, ws_col),
        _ => (24, 80),
    }
}
