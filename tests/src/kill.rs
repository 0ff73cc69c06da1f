//! Kills the caller, the helper or process 1 of a session in the middle of something, and checks
//! what is left: no process, no mount, no half layer, and a store that works on.

use crate::area::nothing_within;
use crate::drive::{self, Drive, descendants, gone_within};
use crate::machine::{Skip, run};
use crate::user::User;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The process that uses the library.
    Caller,
    /// The caller, after it has forked a child that only sleeps.
    CallerWithChild,
    /// The helper.
    Helper,
    /// Process 1 of the session.
    Keeper,
}

/// A moment: the steps that lead to it, the line that announces it, and how long after that line.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Its name.
    pub name: &'static str,
    /// Steps of the driver; `TAR` stands for the stored root, `IN` for a directory of files, `OUT`
    /// for a file that does not exist.
    pub steps: &'static [&'static str],
    /// The beginning of the line.
    pub line: &'static str,
    /// Milliseconds after it.
    pub after: u64,
    /// Whether a session must be open by then, and thus a keeper.
    pub session: bool,
}

const fn moment(
    name: &'static str,
    steps: &'static [&'static str],
    line: &'static str,
    after: u64,
    session: bool,
) -> Moment {
    Moment { name, steps, line, after, session }
}

/// The moments that are worth it; the first three are the quick subset.
pub const MOMENTS: [Moment; 12] = [
    moment("unpack", &["init", "hold"], "stage unpack", 30, true),
    moment(
        "command running",
        &["import", "TAR", "run", "root", "echo up; sleep 1000 & setsid sleep 1000 & sleep 1000"],
        "out up",
        0,
        true,
    ),
    moment("import", &["import", "TAR", "hold"], "stage import", 60, true),
    moment("indexes", &["init", "hold"], "stage indexes", 0, false),
    moment("fetch", &["init", "hold"], "stage fetch", 0, true),
    moment("skeleton", &["init", "hold"], "stage skeleton", 0, true),
    moment("configure", &["init", "hold"], "stage configure", 20, true),
    moment("publish of the layer", &["init", "hold"], "finished tidy", 1, false),
    moment("open session", &["import", "TAR", "session", "hold"], "start session", 2, false),
    moment(
        "copy in",
        &["import", "TAR", "session", "copyin", "IN", "/var/in", "hold"],
        "start copyin",
        15,
        true,
    ),
    moment("export", &["import", "TAR", "export", "OUT", "hold"], "stage export", 8, true),
    moment(
        "clean",
        &["import", "TAR", "run", "root", "cp -a /usr /var/usr", "clean", "hold"],
        "start clean",
        3,
        false,
    ),
];

/// Kills `victim` at `moment` and checks everything that must hold then.
pub fn at(moment: Moment, victim: Victim, user: User, mode: &str) -> Result<(), Skip> {
    let tar = drive::root_tar()?;
    let drive = Drive::new(user, mode)?;
    let area = drive.area();
    let (input, output) = (area.work().join("in"), area.work().join("out.tar"));
    fs::create_dir(&input).expect("a directory is made");
    for number in 0..300 {
        fs::write(input.join(number.to_string()), vec![b'x'; 65_536]).expect("a file is written");
    }
    let word = |step: &&str| match *step {
        "TAR" => tar.to_string_lossy().into_owned(),
        "IN" => input.to_string_lossy().into_owned(),
        "OUT" => output.to_string_lossy().into_owned(),
        other => other.to_owned(),
    };
    let mut steps: Vec<String> = moment.steps.iter().map(word).collect();
    if victim == Victim::CallerWithChild {
        steps.insert(0, "fork-sleeper".into());
    }
    let words: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut running = drive.start(&words);
    assert!(running.until(moment.line), "{}: {:#?}", moment.name, running.lines);
    std::thread::sleep(Duration::from_millis(moment.after));
    let sleeper = running.lines.iter().find_map(|line| line.strip_prefix("sleeper "));
    let sleeper: Option<u32> = sleeper.and_then(|pid| pid.parse().ok());
    let mut family = descendants(running.pid());
    family.retain(|pid| Some(*pid) != sleeper);
    let named = |of: u32, name: &str| {
        descendants(of).into_iter().find(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim() == name
        })
    };
    let kill = |pid: u32| {
        let pid = nix::unistd::Pid::from_raw(pid as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    };
    let helper = named(running.pid(), "debmock-helper");
    match victim {
        Victim::Caller | Victim::CallerWithChild => running.kill(),
        Victim::Helper => kill(helper.expect("there is a helper")),
        Victim::Keeper => {
            let helper = helper.expect("there is a helper");
            match descendants(helper).first() {
                Some(keeper) => kill(*keeper),
                None => assert!(!moment.session, "{}: there is no keeper", moment.name),
            }
        }
    }
    // the helper lives on when only a session of it was killed
    if victim == Victim::Keeper {
        family.retain(|pid| Some(*pid) != helper);
    }
    let left = gone_within(Duration::from_secs(1), &family);
    assert!(left.is_empty(), "{}, {victim:?}: processes {left:?} are left", moment.name);
    running.kill();
    if let Some(sleeper) = sleeper {
        assert_eq!(gone_within(Duration::ZERO, &[sleeper]), [sleeper], "the child was killed too");
        kill(sleeper);
    }
    area.assert_nothing_left();
    nothing_within(Duration::from_secs(1), || half_layers(&area.cache()));
    if output.exists() {
        // it was faster than the kill: then it is complete
        run(Command::new("tar").arg("-tf").arg(&output));
        fs::remove_file(&output).expect("the archive can be removed");
    }
    // the next run succeeds, waits for nobody, and cleans up
    let tar = tar.to_string_lossy();
    let next = if moment.steps[0] == "init" { vec!["init"] } else { vec!["import", &tar] };
    let mut words = next.clone();
    words.extend(["run", "root", "echo alive; test -e /etc/passwd"]);
    let said = drive.steps(&words).succeeded();
    assert!(said.out().contains("alive"), "{:#?}", said.lines);
    assert!(said.of("waiting").is_empty(), "{:#?}", said.lines);
    drive.steps(&["scrub"]).succeeded();
    let left = what_is_left(&area.cache().join("layers"), &["trash", "locks"]);
    assert!(left.is_empty(), "scrub left {left:?}");
    let left = what_is_left(&area.state().join("roots"), &["trash", "locks"]);
    assert!(left.is_empty(), "scrub left {left:?}");
    let left = fs::read_dir(area.work()).expect("it can be read").flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "in" && !name.starts_with(".debmock-export."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    area.assert_nothing_left();
    Ok(())
}

/// Directories of layers that look complete by their name and are not.
fn half_layers(cache: &Path) -> Vec<String> {
    let mut half = Vec::new();
    for zone in fs::read_dir(cache.join("layers/v1")).into_iter().flatten().flatten() {
        for layer in fs::read_dir(zone.path()).into_iter().flatten().flatten() {
            let name = layer.file_name().to_string_lossy().into_owned();
            let complete = layer.path().join("layer.json").exists();
            if !complete && name != "trash" && name != "locks" && !name.starts_with("making-") {
                half.push(format!("the layer {name} is not complete"));
            }
        }
    }
    half
}

/// What lies in the zones below `top`, but for these names, which must be empty unless they are
/// locks.
fn what_is_left(top: &Path, known: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    for zone in fs::read_dir(top.join("v1")).into_iter().flatten().flatten() {
        for entry in fs::read_dir(zone.path()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let full = fs::read_dir(entry.path()).is_ok_and(|mut inner| inner.next().is_some());
            if !known.contains(&name.as_str()) || full && name != "locks" {
                left.push(entry.path().display().to_string());
            }
        }
    }
    left
}
