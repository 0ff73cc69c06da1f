//! A buildroot on an archive that the test made: what may go wrong is asked of it, and that
//! nothing is lost afterwards.
//!
//! The tiny distribution ([`crate::tiny`]) is bootstrapped for real, by the library in the test's
//! own process ([`Rig::init`]) or by the program `debmock` ([`Rig::program`]) where another user,
//! another disk or an exit status is the point.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use debmock::buildroot::{Access, Buildroot, BuildrootOptions, Run};
use debmock::config::{Config, Loader, Places};
use debmock::event::What;
use debmock::operation::{self, CancelToken, Scope};
use debmock::store;
use debmock::{Error, ErrorKind};
use nix::pty::openpty;
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::archive::{Archive, ArchiveBuilder};
use crate::area::{Area, leftovers_of_this_test, nothing_within};
use crate::machine::{self, Skip};
use crate::server::Server;
use crate::tiny;
use crate::user::User;

/// Name of the suite of every rig.
pub const SUITE: &str = "tiny";

/// An area with an archive and the config of a buildroot on it.
#[derive(Debug)]
pub struct Rig {
    /// Where everything lies.
    pub area: Area,
    /// The archive as it was written last.
    pub archive: Archive,
    uri: String,
    /// Text of the config after the archive's own table.
    settings: String,
    /// Text inside the archive's table.
    archive_settings: String,
    /// Whether apt's configuration of a host is used ([`Rig::apt_conf`]).
    host_apt: bool,
}

/// What an attempt gave, and what was told meanwhile.
#[derive(Debug)]
pub struct Outcome<T = ()> {
    /// The result.
    pub result: Result<T, Error>,
    /// Warnings, each with its hint.
    pub warnings: Vec<String>,
    /// Whom it waited for.
    pub waited_for: Vec<String>,
}

/// The tiny distribution as an archive under construction.
pub fn tiny_archive() -> Result<ArchiveBuilder, Skip> {
    tiny::archive(SUITE)
}

impl Rig {
    /// A rig of whoever runs the tests on an archive at a `file:` URI. Needs root or sub-ids.
    pub fn new(builder: &ArchiveBuilder) -> Result<Rig, Skip> {
        if !machine::is_root() {
            User::with_sub_ids()?;
        }
        machine::helper();
        Ok(Rig::of(Area::new(), builder))
    }

    /// A rig in an area that exists.
    pub fn of(area: Area, builder: &ArchiveBuilder) -> Rig {
        let archive = builder.write(&area.path().join("archive"));
        let uri = archive.uri();
        let (settings, archive_settings) = (String::new(), String::new());
        Rig { area, archive, uri, settings, archive_settings, host_apt: false }
    }

    /// A rig whose archive is served by a web server with faults; its connections are as
    /// impatient as the config allows.
    pub fn served(builder: &ArchiveBuilder) -> Result<(Rig, Server), Skip> {
        let mut rig = Rig::new(builder)?;
        let server = Server::new(&rig.archive.root);
        rig.uri = server.url();
        rig.settings = "[network]\nretries = 2\ntimeout = 2\n".into();
        Ok((rig, server))
    }

    /// Writes the archive anew, dated now: it is mended.
    pub fn mend(&mut self, builder: &ArchiveBuilder) {
        let now = machine::now();
        self.rewrite(&builder.clone().date(now).valid_until(Some(now + 7 * 86_400)));
    }

    /// Writes the archive anew, with other content, as the builder says.
    pub fn rewrite(&mut self, builder: &ArchiveBuilder) {
        self.archive = builder.write(&self.archive.root);
    }

    /// The archive is trusted by another keyring file.
    pub fn trust(&mut self, certificate: &[u8]) {
        let path = self.area.path().join("trusted.gpg");
        fs::write(&path, certificate)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        self.archive.keyring = path;
    }

    /// Adds lines at the end of the config.
    pub fn set(&mut self, settings: &str) {
        self.settings.push_str(settings);
    }

    /// The archive is asked for at this URI.
    pub fn at(&mut self, uri: &str) {
        self.uri = uri.into();
    }

    /// The host has this `apt.conf(5)`, for work in the test's own process.
    pub fn apt_conf(&mut self, text: &str) {
        let folder = self.nowhere().join("etc/apt");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("apt.conf"), text))
            .unwrap_or_else(|e| panic!("cannot write to {}: {e}", folder.display()));
        self.host_apt = true;
    }

    /// Stands for the host's `/`, as far as configs are concerned.
    fn nowhere(&self) -> PathBuf {
        self.area.path().join("nowhere")
    }

    /// Adds lines to the config's table of the archive.
    pub fn set_archive(&mut self, settings: &str) {
        self.archive_settings.push_str(settings);
    }

    fn text(&self) -> String {
        format!(
            "distribution = \"tiny\"\nsuite = \"{SUITE}\"\nuse_host_apt = {}\n\
             refresh = \"always\"\n{}\n[[archives]]\nuri = \"{}\"\nsuites = \"{SUITE}\"\n\
             components = [\"main\"]\nsigned_by = \"{}\"\n{}\n",
            self.host_apt,
            self.settings.split_once('[').map_or(self.settings.as_str(), |(plain, _)| plain),
            self.uri,
            self.archive.keyring.display(),
            self.archive_settings,
        ) + self.settings.find('[').map_or("", |at| &self.settings[at..])
    }

    /// The config, as the library reads it.
    pub fn config(&self) -> Config {
        Loader::at(Places::below(&self.nowhere()))
            .load_str(SUITE, &self.text())
            .unwrap_or_else(|e| panic!("the rig's config is refused: {e:?}\n{}", self.text()))
    }

    /// The config as a file.
    pub fn config_file(&self) -> PathBuf {
        let path = self.area.work().join(format!("{SUITE}.toml"));
        // one that is being read by a program is not touched: half a config is a config, too
        let text = self.text();
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return path;
        }
        fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }

    /// The buildroot.
    pub fn buildroot(&self) -> Result<Buildroot, Error> {
        let places = store::Places { cache: self.area.cache(), state: self.area.state() };
        let options = BuildrootOptions { places: Some(places), ..BuildrootOptions::default() };
        Buildroot::new(self.config(), &options)
    }

    /// Works with the buildroot in this process, as any embedder does.
    pub fn with<T: Send>(
        &self,
        work: impl FnOnce(&Buildroot, &Scope) -> Result<T, Error> + Send,
    ) -> Outcome<T> {
        let (mut warnings, mut waited_for) = (Vec::new(), Vec::new());
        let result = operation::run(
            CancelToken::new(),
            |event| match &event.what {
                What::Warning { message, hint } => {
                    warnings.push(format!("{message} {}", hint.as_deref().unwrap_or_default()));
                }
                What::Waiting { holder, .. } => waited_for.push(holder.clone()),
                _ => {}
            },
            |scope| work(&self.buildroot()?, scope),
        );
        Outcome { result, warnings, waited_for }
    }

    /// Makes the buildroot.
    pub fn init(&self) -> Outcome {
        self.with(Buildroot::init)
    }

    /// The next run succeeds: the buildroot is made and a program of it runs.
    pub fn assert_works(&self) {
        let outcome = self.with(|root, scope| {
            let session = root.session(Access::default(), scope)?;
            session.output(&Run::new(["cat", "/var/lib/tiny/configured"]), 1000, scope)
        });
        let (exit, output) =
            outcome.result.unwrap_or_else(|e| panic!("the next run does not succeed: {e:?}"));
        let output = String::from_utf8_lossy(&output);
        assert_eq!(output.trim(), "configure", "{exit:?}");
        self.assert_nothing_lost();
    }

    /// Fails unless `init` is refused with this kind and all of these words in its message or
    /// hint, and nothing is lost by it.
    pub fn assert_refused(&self, kind: ErrorKind, words: &[&str]) -> Error {
        let error = match self.init().result {
            Ok(()) => panic!("this was accepted; expected {kind:?} with {words:?}"),
            Err(error) => error,
        };
        assert_says(&error, kind, words);
        self.assert_nothing_lost();
        error
    }

    /// No process is left, no layer is half made, and no mount is visible.
    pub fn assert_nothing_lost(&self) {
        nothing_within(Duration::from_secs(5), leftovers_of_this_test);
        nothing_within(Duration::from_secs(5), || self.area.leftovers());
        if machine::is_root() {
            // the trash is emptied beside the work
            nothing_within(Duration::from_secs(30), || {
                half_made(&self.area).iter().map(|path| path.display().to_string()).collect()
            });
        }
    }

    /// Number of base layers that exist.
    pub fn layers(&self) -> usize {
        let all = below(&self.area.cache().join("layers/v1"), 2);
        all.iter().filter(|path| name(path).starts_with("base-")).count()
    }

    /// The program with the rig's config and these arguments, as the area's user.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let program = machine::for_users(&machine::debmock(), self.area.path());
        let helper = machine::for_users(&machine::helper(), self.area.path());
        let mut command = self.area.command(program);
        command.env("DEBMOCK_HELPER", helper).arg("-r").arg(self.config_file()).args(arguments);
        command
    }
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub code: Option<i32>,
    /// Standard output and error.
    pub text: String,
}

/// Runs a command to its end.
pub fn said(mut command: Command) -> Said {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    Said { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// Runs a command to its end on a terminal of its own, which it takes for one that obeys. Lines
/// end as the command ended them.
pub fn said_on_terminal(mut command: Command) -> Said {
    let pty = openpty(None, None).unwrap_or_else(|e| panic!("cannot make a terminal: {e}"));
    let mut modes = tcgetattr(&pty.slave).expect("a terminal has modes");
    modes.output_flags.remove(OutputFlags::OPOST);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).expect("a terminal's modes can be set");
    let slave = || pty.slave.try_clone().expect("a descriptor can be copied");
    command.env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(slave());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    // Nobody but the child has the other side now: its end is the end of what is read.
    drop((command, pty.slave));
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    let mut terminal = fs::File::from(pty.master);
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    let code = child.wait().expect("a child can be waited for").code();
    Said { code, text: String::from_utf8_lossy(&text).into_owned() }
}

impl Said {
    /// Fails if a terminal would obey anything of it but ends of lines and the program's own way
    /// of drawing its last line again. Colours are to be switched off (`NO_COLOR`).
    pub fn assert_harmless(&self) {
        let left = self.text.replace("\r\x1b[2K", "");
        let bad = left.find(|c: char| c.is_control() && c != '\n');
        assert_eq!(bad, None, "the terminal would obey this: {left:?}");
    }

    /// Fails unless it ended with the exit status of this kind and said all of these words and a
    /// hint.
    pub fn assert_refused(&self, kind: ErrorKind, words: &[&str]) {
        assert_eq!(
            self.code,
            Some(kind.exit_code().into()),
            "{kind:?} was expected:\n{}",
            self.text
        );
        for word in words.iter().chain(&["hint:"]) {
            assert!(self.text.contains(word), "{word:?} is missing:\n{}", self.text);
        }
    }

    /// Fails unless it succeeded.
    pub fn assert_success(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text);
    }
}

/// Fails unless the error has this kind, all of these words in its message or hint, and a hint.
pub fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = format!("{error} {}", error.hint().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {error:?}");
    }
    assert!(error.hint().is_some(), "it does not say what to do: {error:?}");
    assert!(!text.contains('\u{1b}'), "an archive wrote to the terminal: {text:?}");
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Paths that deep below a directory.
fn below(path: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    match depth {
        1 => entries.collect(),
        _ => entries.flat_map(|path| below(&path, depth - 1)).collect(),
    }
}

/// What a run that failed must not leave: layers that are half made, temporary files, trash.
fn half_made(area: &Area) -> Vec<PathBuf> {
    let zones = [area.cache().join("layers/v1"), area.state().join("roots/v1")];
    let mut left: Vec<PathBuf> = zones
        .iter()
        .flat_map(|zone| below(zone, 2))
        .filter(|path| name(path).starts_with("making-"))
        .collect();
    left.extend(
        zones
            .iter()
            .flat_map(|zone| below(zone, 3))
            .filter(|path| path.parent().is_some_and(|parent| name(parent) == "trash")),
    );
    for folder in ["lists/v1", "lists/v1/objects", "lists/v1/seen", "debs/v1/sets"] {
        let all = below(&area.cache().join(folder), 1);
        left.extend(all.into_iter().filter(|path| name(path).starts_with(".new-")));
    }
    left
}
