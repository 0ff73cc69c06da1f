//! A directory of a test's own, on a real disk, with debmock's caches and state in it; and the
//! proof that debmock left nothing behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machine::{self, Skip, run};
use crate::user::User;

/// The variable by which processes of an area are known: `/proc/PID/environ` shows it for the
/// helper and for what the helper forks without exec, the keeper first of all.
const MARK: &str = "DEBMOCK_TEST_AREA";

/// A directory that is removed when it is dropped. With `DEBMOCK_KEEP=1` it stays.
#[derive(Debug)]
pub struct Area {
    path: PathBuf,
    user: User,
}

impl Area {
    /// An area of whoever runs the tests, below `DEBMOCK_TEST_DIR` or `/var/tmp`: overlays and
    /// full disks behave on a tmpfs as they do nowhere else.
    pub fn new() -> Area {
        Area::of(User::current())
    }

    /// An area of that user.
    pub fn of(user: User) -> Area {
        let base = std::env::var_os("DEBMOCK_TEST_DIR").unwrap_or_else(|| "/var/tmp".into());
        let path = tempfile::Builder::new()
            .prefix("debmock-area.")
            .tempdir_in(&base)
            .unwrap_or_else(|e| {
                panic!("cannot make a directory in {}: {e}", Path::new(&base).display())
            })
            .keep();
        let area = Area { path, user };
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&area.path, mode)
            .unwrap_or_else(|e| panic!("cannot set the mode of {}: {e}", area.path.display()));
        area.user.own(&area.path);
        for dir in [area.cache(), area.state(), area.work()] {
            area.dir(dir);
        }
        area
    }

    fn dir(&self, path: PathBuf) {
        fs::create_dir(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
        self.user.own(&path);
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its owner.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// `DEBMOCK_CACHE_DIR` of its commands.
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// `DEBMOCK_STATE_DIR` of its commands.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The working directory of its commands.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// A command of the area's user: clean environment, caches and state in the area.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.user.command(program);
        command
            .current_dir(self.work())
            .env("DEBMOCK_CACHE_DIR", self.cache())
            .env("DEBMOCK_STATE_DIR", self.state())
            .env(MARK, &self.path);
        command
    }

    /// The program `debmock` as the area's user. It fails the test if the helper is not there.
    pub fn debmock(&self) -> Command {
        let helper = machine::helper();
        let mut command = self.command(machine::debmock());
        command.env("DEBMOCK_HELPER", helper);
        command
    }

    /// What is left of commands of this area: processes, and mounts in the host's namespace.
    /// Each line says what it is. A user cannot see the environment of an undumpable keeper, so
    /// only root's answer is complete.
    pub fn leftovers(&self) -> Vec<String> {
        let mut mark = OsString::from(format!("{MARK}="));
        mark.push(&self.path);
        let mut left = processes(|process| has_variables(process, &[mark.as_bytes()]));
        left.extend(mounts(&self.path.to_string_lossy()));
        left
    }

    /// Fails unless nothing is left within five seconds: the kernel needs a moment to end the
    /// processes of a namespace.
    pub fn assert_nothing_left(&self) {
        nothing_within(Duration::from_secs(5), || self.leftovers());
    }
}

impl Default for Area {
    fn default() -> Self {
        Area::new()
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        if std::env::var_os("DEBMOCK_KEEP").is_some_and(|v| v == "1") {
            eprintln!("kept: {}", self.path.display());
            return;
        }
        // the trash of a store may be emptied at the same time
        if fs::remove_dir_all(&self.path).is_err() && fs::remove_dir_all(&self.path).is_err() {
            // files of sub-ids belong to nobody that this user may be; inside a namespace with
            // all its ids it may
            let _ = Command::new("unshare")
                .args(["--map-auto", "--map-root-user", "rm", "-rf", "--"])
                .arg(&self.path)
                .output();
        }
        // a test that failed already says more than its rubbish
        if !std::thread::panicking() {
            assert!(!self.path.exists(), "{} could not be removed", self.path.display());
        }
    }
}

/// Processes that this test started and that still run, known by the variables that nextest sets:
/// for tests that use the library in their own process, whose helper gets no mark of an area.
/// Empty under another test runner.
pub fn leftovers_of_this_test() -> Vec<String> {
    let names = ["NEXTEST_RUN_ID", "NEXTEST_BINARY_ID", "NEXTEST_TEST_NAME"];
    let variables: Option<Vec<String>> =
        names.iter().map(|n| std::env::var(n).ok().map(|value| format!("{n}={value}"))).collect();
    let Some(variables) = variables else { return Vec::new() };
    let variables: Vec<&[u8]> = variables.iter().map(|v| v.as_bytes()).collect();
    processes(|process| has_variables(process, &variables))
}

/// Whether a process was started with all these variables, whatever it did to them since.
fn has_variables(process: &Path, wanted: &[&[u8]]) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let has = |w: &[u8]| environment.split(|b| *b == 0).any(|variable| variable == w);
    !environment.is_empty() && wanted.iter().all(|w| has(w))
}

/// What is left of debmock on this machine, whoever started it: processes named `debmock` or
/// `debmock-helper`, and mounts in the host's namespace whose paths name debmock. Only a test that
/// runs alone may ask (its name is in `.config/nextest.toml`).
pub fn leftovers_of_all() -> Vec<String> {
    let mut left = processes(|process| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let program = fs::read_link(process.join("exe")).unwrap_or_default();
        let program = program.file_name().map(|n| n.to_string_lossy().into_owned());
        // the kernel cuts names to 15 bytes, and says "(deleted)" of a program that is gone
        let ours = |n: &str| n == "debmock" || n.starts_with("debmock-helper");
        ours(name.trim()) || program.is_some_and(|p| ours(p.trim_end_matches(" (deleted)")))
    });
    left.extend(mounts("debmock"));
    left
}

/// Polls until `left` gives nothing, and fails with what it gave last.
pub fn nothing_within(limit: Duration, left: impl Fn() -> Vec<String>) {
    let end = Instant::now() + limit;
    loop {
        let now = left();
        if now.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left behind:\n{}", now.join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes(belongs: impl Fn(&Path) -> bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap_or_else(|e| panic!("cannot read /proc: {e}"));
    let mut left = Vec::new();
    for entry in entries.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) || !belongs(&entry.path()) {
            continue;
        }
        // field 3 of stat, after the name in parentheses (proc(5)); a zombie waits for its
        // parent, it runs no more
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |s| s.1);
        if state.starts_with('Z') || state.starts_with('X') || state.is_empty() {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        left.push(format!("process {pid}: {}", command.trim()));
    }
    left
}

fn mounts(word: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_else(|e| panic!("cannot read /proc/self/mountinfo: {e}"));
    table.lines().filter(|line| line.contains(word)).map(|line| format!("mount {line}")).collect()
}

/// A small ext4 filesystem in an image file. Each command sees it mounted at
/// [`SmallDisk::path`] in a mount namespace of its own, and nobody else does; what was written is
/// there for the next command.
#[derive(Debug)]
pub struct SmallDisk {
    image: PathBuf,
    path: PathBuf,
}

impl SmallDisk {
    /// Makes one of that many megabytes in an area, owned by the area's user. Needs root and loop
    /// devices.
    pub fn new(area: &Area, megabytes: u64) -> Result<SmallDisk, Skip> {
        machine::need_root()?;
        if !Path::new("/dev/loop-control").exists() {
            return Err(Skip("there are no loop devices (/dev/loop-control is missing)".into()));
        }
        let image = area.path().join("disk.ext4");
        let path = area.path().join("disk");
        area.dir(path.clone());
        let file = fs::File::create(&image)
            .unwrap_or_else(|e| panic!("cannot create {}: {e}", image.display()));
        file.set_len(megabytes << 20)
            .unwrap_or_else(|e| panic!("cannot size {}: {e}", image.display()));
        let owner = format!("root_owner={}:{}", area.user().uid, area.user().gid);
        // no blocks are kept back for root, or root and users would meet the end elsewhere
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", &owner]).arg(&image));
        Ok(SmallDisk { image, path })
    }

    /// Where commands see the disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same command with the disk mounted.
    pub fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -o loop \"$0\" \"$1\" && cd \"$2\" && shift 2 && exec \"$@\"")
            .arg(&self.image)
            .arg(&self.path)
            .arg(inner.get_current_dir().unwrap_or(Path::new("/")))
            .arg(inner.get_program())
            .args(inner.get_args());
        // a command that began with env_clear says so only by what it sets
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    /// Waits until nobody has it mounted: a process that empties the trash may outlive its command.
    pub fn wait_until_unused(&self) {
        nothing_within(Duration::from_secs(30), || {
            let devices = Command::new("losetup").arg("--associated").arg(&self.image).output();
            let devices = devices.unwrap_or_else(|e| panic!("cannot run losetup: {e}")).stdout;
            String::from_utf8_lossy(&devices).lines().map(str::to_owned).collect()
        });
    }

    /// Makes the disk larger, to that many megabytes: what a user does who has read the message.
    pub fn grow(&self, megabytes: u64) {
        self.wait_until_unused();
        let file = fs::File::options()
            .write(true)
            .open(&self.image)
            .unwrap_or_else(|e| panic!("cannot open {}: {e}", self.image.display()));
        file.set_len(megabytes << 20)
            .unwrap_or_else(|e| panic!("cannot size {}: {e}", self.image.display()));
        // resize2fs wants a check first; 1 means that it corrected something
        let _ = Command::new("e2fsck").args(["-f", "-p"]).arg(&self.image).output();
        run(Command::new("resize2fs").arg(&self.image));
    }
}
