//! Buildroots of the tiny distribution, driven through `debmock-drive` as any user and in any
//! isolation mode, so that a test can look at the process from outside, and kill it.

use crate::area::Area;
use crate::machine::{self, Skip, run};
use crate::user::User;
use crate::{oracle, tiny};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// An area with a config of the tiny distribution and the driver in it.
#[derive(Debug)]
pub struct Drive {
    area: Area,
    config: PathBuf,
    program: PathBuf,
}

/// What a driver said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its lines.
    pub lines: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
}

impl Said {
    /// The lines that began with that word, without it.
    pub fn of(&self, word: &str) -> Vec<&str> {
        let with_word = format!("{word} ");
        self.lines.iter().filter_map(|line| line.strip_prefix(&with_word)).collect()
    }

    /// What commands printed.
    pub fn out(&self) -> String {
        self.of("out").join("\n")
    }

    /// The driver must have carried out every step.
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "the driver failed:\n{}", self.lines.join("\n"));
        self
    }
}

/// A driver that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it said so far.
    pub lines: Vec<String>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads until a line begins with `word`; false if it ended before.
    pub fn until(&mut self, word: &str) -> bool {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            self.lines.push(line.trim_end().to_owned());
            if line.starts_with(word) {
                return true;
            }
        }
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Said {
        while self.until("\0") {}
        let status = self.child.wait().expect("the driver can be waited for");
        Said { lines: std::mem::take(&mut self.lines), status }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drive {
    /// A drive of `user` in isolation `mode` (`userns` or `simple`), with further lines of config.
    pub fn new(user: User, mode: &str) -> Result<Drive, Skip> {
        let area = Area::of(user);
        let archive = archive()?;
        let program = area.path().join("debmock-drive");
        let built = built()?;
        // it is large; a link will do where the disk is the same
        if fs::hard_link(&built, &program).is_err() {
            fs::copy(&built, &program)
                .unwrap_or_else(|e| panic!("cannot copy {}: {e}", built.display()));
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode is set");
        }
        let config = area.path().join("tiny.toml");
        let text = format!(
            "distribution = \"debian\"\nsuite = \"sid\"\narchitecture = \"amd64\"\n\
             use_host_apt = false\nlock_timeout = {}\n\
             [[archives]]\nuri = \"file:{}\"\nsuites = \"sid\"\ncomponents = [\"main\"]\n\
             signed_by = \"{}\"\ncheck_valid_until = false\n\
             [packages]\nvariant = \"apt\"\n[isolation]\nmode = \"{mode}\"\n",
            0,
            archive.display(),
            archive.join("keyring.gpg").display(),
        );
        fs::write(&config, text).unwrap_or_else(|e| panic!("cannot write the config: {e}"));
        area.user().own(&config);
        Ok(Drive { area, config, program })
    }

    /// The area.
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// Replaces a word of the config.
    pub fn configure(&self, old: &str, new: &str) {
        let text = fs::read_to_string(&self.config).expect("the config can be read");
        assert!(text.contains(old), "the config has no {old}:\n{text}");
        fs::write(&self.config, text.replace(old, new)).expect("the config can be written");
    }

    /// A command that drives these steps.
    pub fn command(&self, steps: &[&str]) -> Command {
        let mut command = self.area.command(&self.program);
        command.env("DEBMOCK_HELPER", machine::helper());
        command.arg("tiny").arg(&self.config).args(steps);
        command.stdin(Stdio::null());
        command
    }

    /// Drives these steps to their end.
    pub fn steps(&self, steps: &[&str]) -> Said {
        self.start(steps).finish()
    }

    /// Starts to drive these steps.
    pub fn start(&self, steps: &[&str]) -> Running {
        start(self.command(steps))
    }

    /// Makes a buildroot of the stored tar archive.
    pub fn import(&self) -> Result<(), Skip> {
        let tar = root_tar()?;
        self.steps(&["import", &tar.to_string_lossy()]).succeeded();
        Ok(())
    }

    /// Runs a script in a session as `user` of the root; what it printed. Fails the test if it
    /// fails.
    pub fn inside(&self, user: &str, script: &str) -> String {
        let said = self.steps(&["run", user, script]).succeeded();
        assert_eq!(said.of("exit"), ["0"], "{script:?} failed:\n{}", said.lines.join("\n"));
        said.out()
    }
}

/// Starts a driver's command and reads its lines.
pub fn start(mut command: Command) -> Running {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    Running { child, output, lines: Vec::new() }
}

/// The driver beside the running test program.
fn built() -> Result<PathBuf, Skip> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = own.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("debmock-drive");
    if path.is_file() { Ok(path) } else { Err(Skip(format!("{} is not built", path.display()))) }
}

/// The tiny archive as a directory that everybody may read, written once.
pub fn archive() -> Result<PathBuf, Skip> {
    oracle::need_from("dpkg-deb", "dpkg")?;
    let inputs = ["2", &oracle::version("libc6"), &oracle::version("apt")];
    Ok(oracle::cached("tiny-archive", &inputs, |dir| {
        let builder = tiny::archive("sid").unwrap_or_else(|why| panic!("{why}"));
        let written = builder.write(&dir.join("archive"));
        fs::copy(&written.keyring, dir.join("archive/keyring.gpg")).expect("the keyring is there");
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(dir));
    })
    .join("archive"))
}

/// A tar archive of a root of the tiny distribution, made once by the library itself.
pub fn root_tar() -> Result<PathBuf, Skip> {
    let inputs = ["2", &oracle::version("libc6"), &oracle::version("apt")];
    let folder = oracle::cached("tiny-root", &inputs, |dir| {
        let drive = Drive::new(User::current(), "userns").unwrap_or_else(|why| panic!("{why}"));
        let tar = drive.area().work().join("root.tar");
        drive.steps(&["init", "export", &tar.to_string_lossy()]).succeeded();
        fs::copy(&tar, dir.join("root.tar")).expect("the archive can be copied");
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(dir));
    });
    Ok(folder.join("root.tar"))
}

/// Compiles a C program of `tests/probes/` into the area.
pub fn probe(area: &Area, name: &str) -> Result<PathBuf, Skip> {
    oracle::need_from("cc", "gcc")?;
    let source = machine::workspace().join("tests/probes").join(format!("{name}.c"));
    let program = area.path().join(name);
    run(Command::new("cc").args(["-O1", "-w", "-o"]).arg(&program).arg(&source));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode is set");
    Ok(program)
}

/// Process ids of all descendants of a process, itself not included.
pub fn descendants(of: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if let Some(Ok(parent)) = fields.split(' ').nth(1).map(str::parse::<u32>) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.remove(0);
    found
}

/// Waits until these processes are gone or zombies, at most that long; those that are left.
pub fn gone_within(limit: Duration, pids: &[u32]) -> Vec<u32> {
    let end = Instant::now() + limit;
    loop {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| runs(*pid)).collect();
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// A drive with an imported root for each kind of user and mode that this machine has.
pub fn everywhere() -> Result<Vec<(&'static str, Drive)>, Skip> {
    let mut drives = vec![("user", Drive::new(User::with_sub_ids()?, "userns")?)];
    if machine::is_root() {
        drives.push(("root", Drive::new(User::current(), "userns")?));
        drives.push(("simple", Drive::new(User::current(), "simple")?));
    }
    for (_, drive) in &drives {
        drive.import()?;
    }
    Ok(drives)
}
