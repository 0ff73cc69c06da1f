//! Commands and shells inside a buildroot.

use crate::Call;
use crate::arguments::Enter;
use crate::relay::{self, Relay};
use debmock::buildroot::{Access, Run};
use debmock::event::{Log, What};
use debmock::{Error, ErrorKind, Result};
use std::error::Error as _;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The login shell that a root has, the better one first.
const SHELL: &str = "command -v bash >/dev/null && exec bash -l; exec sh -l";

pub fn chroot(
    call: &mut Call<'_>,
    enter: &Enter,
    shell_word: bool,
    words: &[OsString],
) -> Result<u8> {
    let run = match words {
        [word] if shell_word => shell_run(word),
        _ => Run::new(words.iter().map(|word| word.as_bytes())),
    };
    match inside(call, enter, run) {
        Err(error) if cannot_run(&error).is_some() => {
            let status = cannot_run(&error).unwrap_or(126);
            call.screen.failure(&error, status);
            Ok(status)
        }
        other => other,
    }
}

pub fn shell(call: &mut Call<'_>, enter: &Enter, words: &[OsString]) -> Result<u8> {
    let run = if words.is_empty() {
        shell_run(SHELL.as_ref())
    } else {
        shell_run(&words.join(" ".as_ref()))
    };
    inside(call, enter, run).map_err(|error| match error.kind() {
        ErrorKind::Exec => error.with_kind(ErrorKind::Buildroot).or_hint(
            "the root has no shell: `debmock clean` drops what was changed in it and begins anew",
        ),
        _ => error,
    })
}

fn shell_run(line: &std::ffi::OsStr) -> Run {
    Run::new([b"/bin/sh".as_slice(), b"-c", line.as_bytes()])
}

fn inside(call: &mut Call<'_>, enter: &Enter, run: Run) -> Result<u8> {
    let mut run = Run {
        directory: enter.cwd.clone(),
        user: enter.user.clone(),
        network: enter.enable_network,
        ..run
    };
    run = with_variables(run, enter);
    let root = call.buildroot()?;
    let access = Access { network: enter.enable_network };
    let session = call.watch(|scope| root.session(access, scope))?;
    if call.screen.is_json() {
        let exit = call.watch(|scope| {
            session.run(&run, scope, |line| {
                let text = String::from_utf8_lossy(line);
                scope.emit(What::LogLine {
                    log: Log::Command,
                    text: text.trim_end_matches(['\n', '\r']).to_owned(),
                });
                Ok(())
            })
        })?;
        return Ok(relay::status(&relay::End::Exit(exit)));
    }
    let host = call.host;
    let relay =
        Relay { streams: &host.streams, signals: host.signals.as_ref(), cancel: &host.cancel };
    if relay.has_terminal() {
        let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
        run = run.env("TERM", term.unwrap_or_else(|| "dumb".into()));
        // Prompts of shells show it.
        run = run.env("debian_chroot", root.name());
        // Somebody may want another TERM.
        run = with_variables(run, enter);
    }
    let end = relay.run(&session, &run);
    drop(session);
    Ok(relay::status(&end?))
}

fn with_variables(run: Run, enter: &Enter) -> Run {
    enter.env.iter().fold(run, |run, (name, value)| run.env(name, value))
}

/// As shells, env(1) and chroot(1) say that a command cannot be run: 127 if there is none, else
/// 126.
fn cannot_run(error: &Error) -> Option<u8> {
    if error.kind() != ErrorKind::Exec || !error.message().starts_with("cannot run ") {
        return None;
    }
    let cause = error.source()?.downcast_ref::<std::io::Error>()?;
    Some(if cause.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 })
}
