//! What this machine can do, and how a test says that it cannot run here.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a test cannot run here: a whole sentence that says what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints `skipped: WHY` and adds a line to the file named by `DEBMOCK_SKIPPED`, so that
/// `tests/run` can list at its end what was left out. With `DEBMOCK_NO_SKIP=1` it panics: for a
/// machine that is known to be able to do everything.
pub fn report_skip(test: &str, why: &Skip) {
    assert!(
        std::env::var_os("DEBMOCK_NO_SKIP").is_none_or(|v| v != "1"),
        "{test} cannot run here, and DEBMOCK_NO_SKIP=1 forbids to skip: {why}"
    );
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("DEBMOCK_SKIPPED") {
        let line = format!("{test}: {why}\n");
        // one write of one line in append mode: tests of several processes do not mix
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(e) = written {
            panic!("cannot note a skipped test in {}: {e}", Path::new(&path).display());
        }
    }
}

/// The name of the running test, as nextest or the test harness gives it.
pub fn test_name() -> String {
    std::env::var("NEXTEST_TEST_NAME")
        .ok()
        .or_else(|| std::thread::current().name().map(str::to_string))
        .unwrap_or_else(|| "a test".into())
}

/// Ends the test as skipped, with a reason (format string and arguments).
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => {{
        let why = $crate::machine::Skip(format!($($why)+));
        $crate::machine::report_skip(&$crate::machine::test_name(), &why);
        return;
    }};
}

/// The value of a `Result<T, Skip>`; ends the test as skipped if there is none.
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => {
                $crate::machine::report_skip(&$crate::machine::test_name(), &why);
                return;
            }
        }
    };
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Nothing as root; a reason to skip otherwise.
pub fn need_root() -> Result<(), Skip> {
    if is_root() { Ok(()) } else { Err(Skip("this test needs root".into())) }
}

fn program(variable: &str, name: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!("{variable} is not set: run tests/run, or build {name} and export its path");
    };
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
    path
}

/// The program `debmock-helper`. A test of sandboxes fails without it.
pub fn helper() -> PathBuf {
    program("DEBMOCK_HELPER", "debmock-helper")
}

/// The program `debmock`.
pub fn debmock() -> PathBuf {
    program("DEBMOCK_BIN", "debmock")
}

/// The same program where every user may run it: a copy in `folder`.
pub fn for_users(program: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join(program.file_name().unwrap_or_default());
    if !copy.exists() {
        fs::copy(program, &copy)
            .unwrap_or_else(|e| panic!("cannot copy {}: {e}", program.display()));
    }
    copy
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |elapsed| elapsed.as_secs())
}

/// The root of the source tree.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Whether a program is found in `PATH`, or in the places of root's programs.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

/// Runs a command, and gives its standard output as text; panics with everything that it said if
/// it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Takes a lock that all tests of this machine's user share, until the file is dropped. It is
/// for what only one process may do at a time, such as adding users.
pub fn lock(name: &str) -> nix::fcntl::Flock<fs::File> {
    let path = std::env::temp_dir()
        .join(format!("debmock-tests-{}-{name}.lock", nix::unistd::geteuid().as_raw()));
    let file = fs::File::create(&path)
        .unwrap_or_else(|e| panic!("cannot create the lock {}: {e}", path.display()));
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive)
        .unwrap_or_else(|(_, e)| panic!("cannot lock {}: {e}", path.display()))
}

/// Debian's archive as the host's own apt reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// URI of the archive, with a slash at its end.
    pub uri: String,
    /// URI of the security archive, if apt has it.
    pub security: Option<String>,
    /// Codename of the suite that the host uses.
    pub codename: String,
    /// Keyring that signs it.
    pub keyring: PathBuf,
}

/// Finds the mirror in apt's configuration, among the entries whose Release file (as apt has
/// verified it) names Debian as origin.
pub fn mirror() -> Result<Mirror, Skip> {
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(CODENAME)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .map_err(|e| Skip(format!("apt-get cannot be run to find the mirror: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> =
        text.lines().map(|l| l.split('|').collect()).filter(|r: &Vec<_>| r.len() == 4).collect();
    let debian = || rows.iter().filter(|r| r[0] == "Debian");
    let security = debian().find(|r| r[2].ends_with("-security")).map(|r| r[1].to_string());
    let main = debian().find(|r| !r[2].contains('-')).ok_or_else(|| {
        Skip("apt has no index of a Debian suite: run apt-get update, or add a source".into())
    })?;
    let keyring = PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg");
    if !keyring.is_file() {
        return Err(Skip(format!(
            "{} is missing: install debian-archive-keyring",
            keyring.display()
        )));
    }
    Ok(Mirror { uri: main[1].into(), security, codename: main[3].into(), keyring })
}
