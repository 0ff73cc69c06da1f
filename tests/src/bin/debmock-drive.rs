//! Drives the library from a process of its own: for tests that need another user, a process that
//! may be killed, or a process that has done something unusual before it calls the library.
//!
//! `debmock-drive NAME CONFIG.toml STEP…` carries out the steps one after the other and tells each
//! event and outcome on a line of its own. A step is a verb with its arguments (see `main`); with
//! `try:` before the verb its failure does not end the program.

use debmock::buildroot::{
    Access, Buildroot, BuildrootOptions, ExportOptions, Run, Scrub, Session, Stdio,
};
use debmock::config::{Loader, Places};
use debmock::event::{Event, Log, What};
use debmock::operation::{CancelToken, Scope, run};
use debmock::{Error, ErrorKind, Result};
use debmock_helper::protocol::Place;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Who reads may be gone; the work goes on.
    let _ = writeln!(out, "{}", line.replace('\n', "\\n"));
    let _ = out.flush();
}

fn tell(event: &Event) {
    match &event.what {
        What::StageStarted { stage, .. } => say(&format!("stage {stage}")),
        What::StageFinished { stage, .. } => say(&format!("finished {stage}")),
        What::Warning { message, hint } => {
            say(&format!("warning {message} | {}", hint.as_deref().unwrap_or_default()));
        }
        What::LogLine { log: Log::Root, text } => say(&format!("root {text}")),
        What::Waiting { what, holder } => say(&format!("waiting {what} for {holder}")),
        _ => {}
    }
}

struct Driver {
    root: Buildroot,
    session: Option<Arc<Session>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.into_iter();
    let mut word = || words.next();
    let (Some(name), Some(config)) = (word(), word()) else {
        eprintln!("debmock-drive NAME CONFIG.toml STEP…");
        exit(5);
    };
    let text = std::fs::read_to_string(&config).expect("the config can be read");
    let places = Places::below(Path::new("/nonexistent"));
    let loaded = Loader::at(places).load_str(&name, &text).expect("the config is sound");
    let mut early = Vec::new();
    let mut rest: Vec<String> = std::iter::from_fn(word).collect();
    while rest.first().is_some_and(|w| ["ignore-sigchld", "odd-process"].contains(&w.as_str())) {
        early.push(rest.remove(0));
    }
    for verb in early {
        prepare(&verb);
    }
    let options = BuildrootOptions {
        uniqueext: std::env::var("DRIVE_EXT").ok(),
        ..BuildrootOptions::default()
    };
    let root = match Buildroot::new(loaded, &options) {
        Ok(root) => root,
        Err(error) => fail("new", &error),
    };
    say("ok new");
    let mut driver = Driver { root, session: None };
    let mut words = rest.into_iter();
    while let Some(verb) = words.next() {
        let (verb, may_fail) = match verb.strip_prefix("try:") {
            Some(verb) => (verb.to_owned(), true),
            None => (verb, false),
        };
        say(&format!("start {verb}"));
        match driver.step(&verb, &mut || words.next().unwrap_or_default()) {
            Ok(()) => say(&format!("ok {verb}")),
            Err(error) if may_fail => explain(&verb, &error),
            Err(error) => fail(&verb, &error),
        }
    }
    drop(driver.session.take());
    say("ok closed");
    drop(driver);
    say("ok end");
}

fn explain(verb: &str, error: &Error) {
    say(&format!("error {verb} {:?} {error} | {}", error.kind(), error.hint().unwrap_or_default()));
}

fn fail(verb: &str, error: &Error) -> ! {
    explain(verb, error);
    exit(1)
}

/// What a host may have done before it calls the library.
fn prepare(verb: &str) {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: ignoring a signal installs no handler.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.expect("SIGCHLD can be ignored");
    if verb == "odd-process" {
        // SAFETY: as above.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.expect("SIGPIPE can be ignored");
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        std::env::set_current_dir("/").expect("/ can be entered");
    }
}

/// Forks a child that does nothing but hold what it inherited.
fn fork_sleeper() {
    // SAFETY: the child calls only pause(2), which is async-signal-safe.
    match unsafe { nix::unistd::fork() }.expect("fork works") {
        nix::unistd::ForkResult::Child => loop {
            nix::unistd::pause();
        },
        nix::unistd::ForkResult::Parent { child } => say(&format!("sleeper {child}")),
    }
}

impl Driver {
    fn watched(&self, work: impl FnOnce(&Buildroot, &Scope) -> Result<()> + Send) -> Result<()> {
        run(CancelToken::new(), tell, |scope| work(&self.root, scope))
    }

    fn session(&mut self) -> Result<Arc<Session>> {
        if let Some(session) = &self.session {
            return Ok(Arc::clone(session));
        }
        let access = Access { network: std::env::var_os("DRIVE_NETWORK").is_some() };
        let root = &self.root;
        let session = run(CancelToken::new(), tell, |scope| root.session(access, scope))?;
        self.session = Some(Arc::clone(&session));
        Ok(session)
    }

    fn step(&mut self, verb: &str, next: &mut dyn FnMut() -> String) -> Result<()> {
        let scope = Scope::quiet();
        // these are for buildroots that nobody has open
        if ["import", "export", "clean", "scrub", "scrub-layers", "snapshot", "rollback"]
            .contains(&verb)
        {
            self.session = None;
        }
        match verb {
            "init" => self.watched(|root, scope| root.init(scope)),
            "session" => self.session().map(drop),
            "close" => {
                self.session = None;
                Ok(())
            }
            "import" => {
                let file = next();
                self.watched(|root, scope| root.import(Path::new(&file), scope))
            }
            "export" => {
                let file = next();
                let options = ExportOptions::for_file(Path::new(&file))?;
                self.watched(|root, scope| root.export(Path::new(&file), &options, scope))
            }
            "snapshot" => {
                let name = next();
                self.watched(|root, scope| root.snapshot(&name, scope))
            }
            "rollback" => {
                let name = next();
                self.watched(|root, scope| root.rollback(&name, scope))
            }
            "remove-snapshot" => {
                let name = next();
                self.watched(|root, scope| root.remove_snapshot(&name, scope))
            }
            "clean" => self.watched(|root, scope| root.clean(scope)),
            "scrub" => self.watched(|root, scope| root.scrub(&[Scrub::All], scope)),
            "scrub-layers" => self.watched(|root, scope| root.scrub(&[Scrub::Layers], scope)),
            "copyin" => {
                let (host, inside) = (next(), next());
                self.session()?.copy_in(Path::new(&host), &inside, &scope)
            }
            "copyout" => {
                let (inside, host) = (next(), next());
                self.session()?.copy_out(&inside, Path::new(&host), &scope)
            }
            // a command as that user, its output line by line
            "run" => {
                let (user, script) = (next(), next());
                let exit = self.session()?.run(&command(&user, &script), &scope, |line| {
                    let line = String::from_utf8_lossy(line);
                    say(&format!("out {}", line.trim_end_matches('\n')));
                    Ok(())
                })?;
                ended(exit.status, exit.signal);
                Ok(())
            }
            // a command with the driver's own standard streams
            "plain" => {
                let (user, script) = (next(), next());
                let copy = |fd: std::os::fd::BorrowedFd<'_>| {
                    fd.try_clone_to_owned().expect("a descriptor can be copied")
                };
                let streams = [
                    copy(std::io::stdin().as_fd()),
                    copy(std::io::stdout().as_fd()),
                    copy(std::io::stderr().as_fd()),
                ];
                let session = self.session()?;
                let process =
                    session.spawn(&command(&user, &script), Stdio::Descriptors(streams))?;
                loop {
                    if let Some(exit) = process.wait(Duration::from_secs(1))? {
                        ended(exit.status, exit.signal);
                        return Ok(());
                    }
                }
            }
            // a command on a terminal of the root's own
            "pty" => {
                let (user, script) = (next(), next());
                let session = self.session()?;
                let mut process =
                    session.spawn(&command(&user, &script), Stdio::Terminal(33, 99))?;
                let terminal: Option<OwnedFd> = process.terminal.take();
                let mut said = Vec::new();
                if let Some(terminal) = terminal {
                    // EIO is how a terminal ends
                    let _ = File::from(terminal).read_to_end(&mut said);
                }
                for line in String::from_utf8_lossy(&said).lines() {
                    say(&format!("out {line}"));
                }
                loop {
                    if let Some(exit) = process.wait(Duration::from_secs(1))? {
                        ended(exit.status, exit.signal);
                        return Ok(());
                    }
                }
            }
            // starts a command and leaves it running
            "background" => {
                let (user, script) = (next(), next());
                let null = || OwnedFd::from(File::open("/dev/null").expect("/dev/null opens"));
                let streams = [null(), null(), null()];
                let session = self.session()?;
                let process =
                    session.spawn(&command(&user, &script), Stdio::Descriptors(streams))?;
                // its socket stays open until this process ends
                std::mem::forget(process);
                Ok(())
            }
            "signal" => {
                let (number, script) = (next(), next());
                let null = || OwnedFd::from(File::open("/dev/null").expect("/dev/null opens"));
                let session = self.session()?;
                let streams = Stdio::Descriptors([null(), null(), null()]);
                let process = session.spawn(&command("root", &script), streams)?;
                std::thread::sleep(Duration::from_millis(300));
                process.signal(number.parse().expect("a number"))?;
                let exit = process.wait(Duration::from_secs(20))?;
                let exit = exit.ok_or_else(|| Error::new(ErrorKind::Timeout, "it did not end"))?;
                ended(exit.status, exit.signal);
                Ok(())
            }
            "write" => {
                let (path, text) = (next(), next());
                self.session()?.write_text(&path, text.as_bytes(), 0o644)
            }
            "read" => {
                let content = self.session()?.read_file(&next(), 1 << 20)?;
                say(&format!("out {}", String::from_utf8_lossy(&content)));
                Ok(())
            }
            "list" => {
                for entry in self.session()?.list_directory(&next())? {
                    say(&format!("out {}", String::from_utf8_lossy(&entry.name)));
                }
                Ok(())
            }
            "makedir" => self.session()?.make_directory(&next(), 0o755, (0, 0)),
            "remove" => self.session()?.remove(&next()),
            // a directory of the store is mounted, a command runs, it is unmounted
            "attached" => {
                let (target, user, script) = (next(), next(), next());
                let session = self.session()?;
                self.root.zone().make_directory(Place::root("for-test"))?;
                let attached = session.attach(Place::root("for-test"), &target)?;
                let exit = session.run(&command(&user, &script), &scope, |line| {
                    say(&format!("out {}", String::from_utf8_lossy(line).trim_end()));
                    Ok(())
                })?;
                ended(exit.status, exit.signal);
                drop(attached);
                Ok(())
            }
            "fork-sleeper" => {
                fork_sleeper();
                Ok(())
            }
            // what handles say in a forked child of the process that made them
            "forked" => {
                let session = self.session()?;
                // SAFETY: this process has one thread here, so that the child may do anything.
                match unsafe { nix::unistd::fork() }.expect("fork works") {
                    nix::unistd::ForkResult::Child => {
                        let kinds = [
                            session.read_file("/etc/passwd", 1 << 20).err(),
                            self.root.clean(&scope).err(),
                            self.root.exists().err(),
                            self.root
                                .session(Access::default(), &scope)
                                .err()
                                .or_else(|| session.write_text("/x", b"x", 0o644).err()),
                        ];
                        for error in kinds {
                            say(&format!("forked {:?}", error.map(|error| error.kind())));
                        }
                        self.session = None;
                        drop(session);
                        exit(0)
                    }
                    nix::unistd::ForkResult::Parent { child } => {
                        let _ = nix::sys::wait::waitpid(child, None);
                        Ok(())
                    }
                }
            }
            "hold" => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            "wait" => {
                std::thread::sleep(Duration::from_millis(next().parse().expect("a number")));
                Ok(())
            }
            other => Err(Error::new(ErrorKind::Usage, format!("there is no step {other}"))),
        }
    }
}

fn command(user: &str, script: &str) -> Run {
    let mut run = Run::new(["/bin/sh", "-c", script]).env("GIVEN", "exactly");
    run.user = user.to_owned();
    run.network = std::env::var_os("DRIVE_NETWORK").is_some();
    run
}

fn ended(status: Option<i32>, signal: Option<i32>) {
    match (status, signal) {
        (Some(status), _) => say(&format!("exit {status}")),
        (None, signal) => say(&format!("signal {}", signal.unwrap_or(0))),
    }
}
