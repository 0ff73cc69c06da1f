//! The program `debmock`; as `debmock __helper` it plays the helper.

use debmock::operation::CancelToken;
use debmock_cli::{Host, Signals, Streams};
use debmock_helper::protocol::Program;
use std::process::ExitCode;

/// Told to the program that it is to be the helper.
const HELPER: &str = "__helper";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == HELPER) && arguments.next().is_none() {
        std::process::exit(debmock_helper::serve::run());
    }
    let streams = match Streams::of_process() {
        Ok(streams) => streams,
        Err(error) => {
            let why =
                format!("error: cannot use the standard streams: {error}\nhint: `ulimit -n`\n");
            // Where it cannot be said, nobody can be told.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes());
            return ExitCode::from(1);
        }
    };
    let host = Host {
        streams,
        helper: helper(),
        cancel: CancelToken::new(),
        signals: Signals::install().ok(),
    };
    ExitCode::from(debmock_cli::run(std::env::args_os().skip(1), &host))
}

/// Which program is the helper: that of `DEBMOCK_HELPER` (which the library looks up itself), the
/// installed one that belongs to this program, else this program, which is always of the same
/// build.
fn helper() -> Option<Program> {
    if std::env::var_os("DEBMOCK_HELPER").is_some_and(|path| !path.is_empty()) {
        return None;
    }
    let own = std::env::current_exe().ok()?;
    let installed = own.parent()?.join("../libexec/debmock/debmock-helper");
    if installed.is_file() {
        return Some(Program { path: installed, arguments: Vec::new() });
    }
    Some(Program { path: own, arguments: vec![HELPER.into()] })
}
