//! A caller of the library in a process of its own: `drive -r CONFIG.toml init`, and
//! `drive -r CONFIG.toml chroot -- COMMAND…`. Says errors and exits as `debmock` does.

use std::path::Path;
use std::process::ExitCode;

use debmock::Error;
use debmock::buildroot::{Access, Buildroot, BuildrootOptions, Run};
use debmock::config::Config;
use debmock::event::What;
use debmock::operation::{self, CancelToken};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let command: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["-r", file, action, rest @ ..] = &command[1..] else {
        eprintln!("usage: drive -r CONFIG.toml init | chroot -- COMMAND…");
        return ExitCode::from(5);
    };
    match drive(file, action, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn drive(file: &str, action: &str, rest: &[&str]) -> Result<(), Error> {
    let config = Config::from_file(Path::new(file))?;
    let root = Buildroot::new(config, &BuildrootOptions::default())?;
    let report = |event: &debmock::event::Event| match &event.what {
        What::Warning { message, .. } => eprintln!("warning: {message}"),
        What::Waiting { what, holder } => eprintln!("waiting for {what}: held by {holder}"),
        _ => {}
    };
    operation::run(CancelToken::new(), report, |scope| {
        if action == "init" {
            return root.init(scope);
        }
        let session = root.session(Access::default(), scope)?;
        let argv = rest.iter().filter(|word| **word != "--");
        let (_, output) = session.output(&Run::new(argv), 1 << 20, scope)?;
        print!("{}", String::from_utf8_lossy(&output));
        Ok(())
    })
}
