//! The command line of debmock: arguments in, one call into the library, its events rendered.
//!
//! Nothing here knows anything about Debian. [`run`] changes nothing of the process that it runs
//! in: it takes its streams, its helper and its signals from the [`Host`] and returns the exit
//! status, so that another program, such as a Python module, can be the command line too.

#![forbid(unsafe_code)]

mod arguments;
mod command;
mod mock;
mod relay;
mod screen;
mod signals;
mod streams;
mod terminal;
mod words;

pub use arguments::Arguments;
pub use signals::{Came, Signals};
pub use streams::Streams;

use clap::Parser;
use clap::error::ErrorKind as Clap;
use debmock::operation::{CancelToken, Scope, watch};
use debmock::{Error, ErrorKind};
use debmock_helper::protocol::Program;
use screen::{Screen, Style};
use std::cell::Cell;
use std::ffi::OsString;

/// What a command line runs in.
#[derive(Debug)]
pub struct Host {
    /// Standard streams.
    pub streams: Streams,
    /// The helper; found by the library if not given.
    pub helper: Option<Program>,
    /// Stops whatever runs.
    pub cancel: CancelToken,
    /// The signals of the process, if they are this command line's to handle.
    pub signals: Option<Signals>,
}

/// One call of the command line.
struct Call<'a> {
    host: &'a Host,
    screen: Screen,
    global: arguments::Global,
    /// The signal that cancelled, once one did.
    ended_by: Cell<Option<i32>>,
}

/// Runs one command line, without the name of the program; its exit status.
pub fn run<I>(arguments: I, host: &Host) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let words: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let parsed = mock::translate(words).map_err(|sentence| {
        Error::new(ErrorKind::Usage, sentence).with_hint("`debmock --help` shows how")
    });
    let parsed = match parsed {
        Ok(words) => Arguments::try_parse_from(std::iter::once("debmock".into()).chain(words)),
        Err(error) => {
            let mut screen = Screen::new(&host.streams, Style { json, ..Style::default() });
            screen.failure(&error, error.kind().exit_code());
            return error.kind().exit_code();
        }
    };
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, host, json),
    };
    let style = Style {
        json: arguments.global.json,
        quiet: arguments.global.quiet,
        verbose: arguments.global.verbose,
    };
    let screen = Screen::new(&host.streams, style);
    let mut call = Call { host, screen, global: arguments.global, ended_by: Cell::new(None) };
    let chroot = matches!(arguments.command, arguments::Command::Chroot { .. });
    let status = match command::carry_out(arguments.command, &mut call) {
        Ok(status) => status,
        Err(error) => {
            let status = call.status_of(&error, chroot);
            call.screen.failure(&error, status);
            status
        }
    };
    complete(&mut call.screen, status)
}

/// The exit status, which is no success if part of the output is missing.
fn complete(screen: &mut Screen, status: u8) -> u8 {
    let Some(error) = screen.lost() else { return status };
    let status = if status == 0 { error.kind().exit_code() } else { status };
    screen.failure(&error, status);
    status
}

/// Says what is wrong with the arguments, or gives the help that was asked for.
fn refuse(error: &clap::Error, host: &Host, json: bool) -> u8 {
    let mut screen = Screen::new(&host.streams, Style { json, ..Style::default() });
    match error.kind() {
        Clap::DisplayHelp | Clap::DisplayVersion => {
            let text = error.render();
            screen.data(text.to_string().trim_end());
            complete(&mut screen, 0)
        }
        _ => {
            let status = ErrorKind::Usage.exit_code();
            screen.usage(error, status);
            status
        }
    }
}

impl Call<'_> {
    /// Exit status for a failure. A command inside has all the statuses to itself but 125, as with
    /// `chroot(1)` and `env(1)`.
    fn status_of(&self, error: &Error, chroot: bool) -> u8 {
        match (error.kind(), self.ended_by.get()) {
            (ErrorKind::Cancelled, Some(signal)) => 128 + u8::try_from(signal).unwrap_or(2),
            (ErrorKind::Cancelled, None) => error.kind().exit_code(),
            _ if chroot => 125,
            (kind, _) => kind.exit_code(),
        }
    }

    /// Runs a long call of the library, shows its events, and passes on the wish to stop.
    fn watch<T: Send>(
        &mut self,
        work: impl FnOnce(&Scope) -> debmock::Result<T> + Send,
    ) -> debmock::Result<T> {
        let (host, screen, ended_by) = (self.host, &mut self.screen, &self.ended_by);
        let result = watch(
            host.cancel.clone(),
            |event| {
                match event {
                    Some(event) => screen.event(event),
                    None => screen.tick(),
                }
                let Some(signals) = &host.signals else { return };
                while let Some(came) = signals.next() {
                    let Came::End(number) = came else { continue };
                    if ended_by.replace(Some(number)).is_some() {
                        screen.clear();
                        signals.give_in(number);
                    }
                    host.cancel.cancel();
                }
            },
            work,
        );
        self.screen.clear();
        result
    }
}
