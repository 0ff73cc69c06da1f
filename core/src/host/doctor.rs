//! Which isolation modes work here, and what to do about those that do not.

use super::{choose_range, find_helper};
use crate::error::{Error, Result};
use crate::operation::Scope;
use crate::store::{Places, Zone, ZoneOptions};
use debmock_helper::protocol::{
    Keeper, Mode, Open, Place, Program, Reply, Request, Tree, unexpected,
};
use std::fs;
use std::os::fd::AsFd;

/// What is known about one isolation mode.
#[derive(Debug)]
pub struct Verdict {
    /// Its name in the config.
    pub mode: &'static str,
    /// Why it does not work; nothing: it works.
    pub problem: Option<Error>,
    /// What else to know about it.
    pub notes: Vec<String>,
}

/// What `debmock doctor` tells.
#[derive(Debug)]
pub struct Diagnosis {
    /// The helper, if there is one.
    pub helper: Result<Program>,
    /// One verdict a mode, best first.
    pub modes: Vec<Verdict>,
    /// What the machine has or lacks beside them.
    pub notes: Vec<String>,
}

impl Diagnosis {
    /// Whether any mode works.
    pub fn is_usable(&self) -> bool {
        self.modes.iter().any(|verdict| verdict.problem.is_none())
    }

    /// The JSON form, which is the same in every language; members are only ever added.
    pub fn to_json(&self) -> serde_json::Value {
        let mode = |verdict: &Verdict| {
            serde_json::json!({
                "mode": verdict.mode,
                "works": verdict.problem.is_none(),
                "reason": verdict.problem.as_ref().map(ToString::to_string),
                "hint": verdict.problem.as_ref().and_then(Error::hint),
                "notes": verdict.notes,
            })
        };
        let helper = self.helper.as_ref().ok().map(|program| program.path.display().to_string());
        serde_json::json!({
            "schema": crate::event::SCHEMA,
            "usable": self.is_usable(),
            "helper": helper,
            "modes": self.modes.iter().map(mode).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// Tries every mode for real: enters it, mounts an overlay and opens a session, in the store that
/// commands would use (it is made if it is missing): another disk may answer differently.
pub fn diagnose(explicit: Option<&Program>, root_range: (u32, u32)) -> Diagnosis {
    let helper = find_helper(explicit);
    let modes = match &helper {
        Ok(program) => vec![
            verdict("userns", program, Mode::Userns, root_range),
            verdict("simple", program, Mode::Simple, root_range),
        ],
        Err(_) => Vec::new(),
    };
    Diagnosis { helper, modes, notes: machine_notes() }
}

fn verdict(name: &'static str, program: &Program, mode: Mode, range: (u32, u32)) -> Verdict {
    let mut notes = Vec::new();
    let problem = attempt(program, mode, range, &mut notes).err().map(explain);
    Verdict { mode: name, problem, notes }
}

fn attempt(
    program: &Program,
    mode: Mode,
    range: (u32, u32),
    notes: &mut Vec<String>,
) -> Result<()> {
    let ids = match mode {
        Mode::Userns => {
            let choice = choose_range(range)?;
            let ids = choice.ids();
            notes.push(format!("ids {}:{} of the host", ids.uid, ids.count));
            ids
        }
        Mode::Simple => debmock_helper::protocol::IdMap { uid: 0, gid: 0, count: u32::MAX },
    };
    let places = Places { cache: crate::config::cache_dir()?, state: crate::config::state_dir()? };
    let program = program.clone();
    let zone = Zone::open(&ZoneOptions { places, mode, ids, program, binds: Vec::new() })?;
    match zone.probe_overlay() {
        Ok(()) => notes.push("overlay mounts work".into()),
        Err(error) => notes.push(format!(
            "overlay mounts do not work below {} ({error}): roots are copied, which is slower",
            zone.places().state.display(),
        )),
    }
    probe_session(&zone, notes)
}

/// Opens a session on an empty tree: what is laid out in it a surrounding container may forbid.
fn probe_session(zone: &Zone, notes: &mut Vec<String>) -> Result<()> {
    let helper = zone.helper();
    let place = Place::root(format!(".doctor.{}", std::process::id()));
    zone.make_directory(place.clone())?;
    let open = |accept_weak| -> Result<()> {
        let (_keeper, theirs) = Keeper::pair()?;
        let tree = Tree::Directory { place: place.clone(), writable: true };
        let open = Open {
            home: None,
            memory: 0,
            tree,
            files: Vec::new(),
            hostname: "debmock".into(),
            binds: Vec::new(),
            accept_weak,
            linux32: false,
        };
        let channel = helper.request(&Request::Open(Box::new(open)), &[theirs.as_fd()])?;
        match channel.reply()?.0 {
            Reply::Opened { session, .. } => {
                Ok(helper.request(&Request::End { session }, &[])?.done()?)
            }
            other => Err(unexpected(&other).into()),
        }
    };
    let outcome = match open(false) {
        Err(strict) => open(true).map(|()| {
            notes.push(format!("only with isolation.accept_weak = true, because: {strict}"));
        }),
        works => works,
    };
    zone.remove(place, &Scope::quiet())?;
    outcome
}

/// Adds to a refused mode the reason that this machine shows for it.
pub(crate) fn explain(error: Error) -> Error {
    if error.kind() != crate::ErrorKind::Isolation || error.message().contains("/etc/subuid") {
        return error;
    }
    let said = error.to_string();
    let hint = if said.contains("map refused") {
        "newuidmap and newgidmap must be setuid root: apt install --reinstall uidmap; and no `nosuid` mount or no_new_privs may be in the way; in a container they need its CAP_SYS_ADMIN as well (docs/containers.md)"
    } else if said.contains("newuidmap") || said.contains("newgidmap") {
        "install the package uidmap: apt install uidmap"
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        "user namespaces are off: as root, sysctl -w kernel.unprivileged_userns_clone=1"
    } else if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        "user namespaces are off: as root, sysctl -w user.max_user_namespaces=10000"
    } else if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        "AppArmor denies capabilities in user namespaces: install a profile that grants `userns` to debmock-helper, or as root, sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    } else if said.contains("is for root") {
        "only root can use it; other users have `userns`"
    } else {
        "a container or security module refuses it: in a container, run it with --privileged, or allow unshare and mount"
    };
    error.with_hint(hint)
}

fn setting(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn machine_notes() -> Vec<String> {
    let mut notes = Vec::new();
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        notes.push(format!("kernel {}", release.trim()));
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
            && (major, minor) < (5, 12)
        {
            notes.push("kernels before 5.12 lack calls that debmock needs".into());
        }
    }
    notes
}
