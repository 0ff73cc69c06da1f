//! Packages that were unpacked once, for a layer above the layers of a root.
//!
//! As where a base is composed ([`compose`](super::compose)), files get another name and nothing is
//! decoded. But the root has packages already: of its directories those are made that paths of
//! packages lead through, and if a package would hide anything of the root, none is taken.

use super::compose::{BELOW, RECORDS, Stock, new_file};
use super::files::{look_alike, make_directory_at, open_at, open_directory};
use crate::apply::{check_below, is_declined};
use crate::bootstrap::Taken;
use crate::dpkgdb::{Identity, Objection};
use crate::protocol::{Doing, Failure, Place, Reply, TakePlan};
use crate::sandbox::identity::Entered;
use crate::sandbox::tree::{mount_read_only, open_layers};
use crate::unpack::{
    self, Ground, Problem, Progress, Record, Records, Tree, Unpacked, Unpacker, escaped, take_all,
};
use crate::work::apply::{leave, packages_of};
use crate::work::bootstrap::{explained, read_plan, write_records};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// Puts packages into the tree `below` of `home`. `descriptors` are those of
/// [`Request::Take`](crate::protocol::Request::Take).
pub fn take(
    entered: &Entered,
    home: &Place,
    mut descriptors: Vec<OwnedFd>,
    mut reply: impl FnMut(Reply) + Send,
) -> Result<Reply, Failure> {
    let (Some(left), Some(fresh), Some(plan)) =
        (descriptors.pop(), descriptors.pop(), descriptors.pop())
    else {
        return Err(Failure::request("taking packages needs a plan and two files"));
    };
    let plan: TakePlan = read_plan(plan)?;
    let packages = packages_of(&plan);
    // Before there is another thread: it needs this process's working directory.
    let root = mount_read_only(&open_layers(entered, &plan.stack)?)
        .isolating(|| "cannot mount the trees of the root".into())?;
    let home = open_directory(entered, home)?;
    let below = below_of(&home, &root)?;

    let mut changed = Vec::new();
    let stock = Stock::open(entered, &plan.layers, &mut changed);
    let trees = stock.trees();
    let package = |place: u32| {
        let (identity, hash) = packages.get(place as usize)?;
        Some((identity.clone(), hash.as_str()))
    };
    let known = stock.known(&trees, package, &mut changed);
    let fresh = match File::from(fresh) {
        file if file.metadata().is_ok_and(|data| data.len() == 0) => None,
        file => Some(Records::open(file).doing(|| "cannot read what was unpacked".into())?),
    };
    let never = AtomicBool::new(false);
    let unpacker = Unpacker::with_tree(Tree::new(below.as_fd()).only_new(), &never);
    let root = Tree::new(root.as_fd());
    let mut ground = Ground::new(&root, unpacker.tree());
    let records = Taken::default();
    let hashes: HashMap<&str, &Identity> =
        packages.iter().map(|(identity, hash)| (hash.as_str(), identity)).collect();
    for (number, hash) in fresh.iter().flat_map(|records| records.names().enumerate()) {
        let (Some(fresh), Some(identity)) = (&fresh, hashes.get(hash)) else { continue };
        let doing = || format!("cannot read what was unpacked of {}", identity.name);
        let bytes = fresh.bytes(number).doing(doing)?;
        let record = Records::decode(&bytes).doing(doing)?;
        if let Some(end) = declined(ground.prepare(&record), identity)? {
            return Ok(end);
        }
        records.add((*identity).clone(), bytes, record.built);
    }
    for one in &known {
        match one.records.bytes(one.number).and_then(|bytes| Records::decode(&bytes)) {
            Ok(record) => {
                let name = &one.identity.name;
                if let Err(Objection::Stands(why)) =
                    check_below(name, record.files(), record.has_links())
                {
                    return Ok(Reply::Declined(why));
                }
                if let Some(end) = declined(ground.prepare(&record), &one.identity)? {
                    return Ok(end);
                }
            }
            Err(_) => changed.extend(place_of(&packages, &one.identity)),
        }
    }
    if !changed.is_empty() {
        return Ok(Reply::Changed(changed));
    }

    let taken = Mutex::new(Vec::new());
    let each = |unpacked: Unpacked, record: Record, bytes: Vec<u8>| {
        records.add(unpacked.control.identity.clone(), bytes, record.built);
        taken.lock().unwrap_or_else(PoisonError::into_inner).push(unpacked);
        Ok(())
    };
    let mut tell = |progress: Progress| {
        let Identity { name, version, architecture } = progress.package;
        reply(Reply::Unpacked { name, version, architecture, done: progress.done as u64 });
    };
    let threads = plan.threads.max(1) as usize;
    match take_all(&unpacker, known, threads, None, &each, &mut tell) {
        Ok(changed) if changed.is_empty() => {}
        Ok(changed) => {
            let places = changed.iter().filter_map(|one| place_of(&packages, one));
            return Ok(Reply::Changed(places.collect()));
        }
        Err(error) if is_declined(error.problem()) => {
            return Ok(Reply::Declined(error.to_string()));
        }
        Err(error) => return Err(explained(error.into())),
    }
    let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((one, path)) = unpacker.lost_paths().first() {
        let why = format!("/{} of {} is replaced by another package", escaped(path), one.name);
        return Ok(Reply::Declined(why));
    }
    let covered: HashSet<&[u8]> = plan.covered.iter().map(|path| path.as_bytes()).collect();
    for one in &taken {
        let name = &one.control.identity.name;
        let mut paths = one.files.iter();
        let covers = paths.find(|path| covered.contains(path.get(1..).unwrap_or_default()));
        let hidden = match covers {
            Some(path) => Some(path.clone()),
            None => ground.hides(one).map_err(|problem| failed(problem, name))?,
        };
        if let Some(path) = hidden {
            let why = format!("{} of {name} is in the root already", escaped(&path));
            return Ok(Reply::Declined(why));
        }
    }
    ground.finish().map_err(|problem| failed(problem, BELOW))?;
    leave(left, &taken)?;
    let hashes: HashMap<&Identity, &str> =
        packages.iter().map(|(identity, hash)| (identity, hash.as_str())).collect();
    write_records(new_file(&home, RECORDS)?, &records, |one| {
        hashes.get(one).map(|&hash| hash.to_owned())
    })?;
    Ok(Reply::Done)
}

/// The tree of what is unpacked: the upper of those who have unpacked something, or a new one.
fn below_of(home: &OwnedFd, root: &OwnedFd) -> Result<OwnedFd, Failure> {
    match open_at(home, BELOW, super::files::DIRECTORY) {
        Ok(below) => Ok(below),
        Err(Errno::NOENT) => {
            let below = make_directory_at(home, BELOW)?;
            look_alike(&below, ".", std::slice::from_ref(root))?;
            Ok(below)
        }
        Err(error) => Err(Failure::system("cannot open what was unpacked", error)),
    }
}

fn place_of(packages: &[(Identity, String)], identity: &Identity) -> Option<u32> {
    packages.iter().position(|(one, _)| one == identity).map(|place| place as u32)
}

/// The end, if something stands in the way of a package.
fn declined(outcome: Result<(), Problem>, identity: &Identity) -> Result<Option<Reply>, Failure> {
    match outcome {
        Ok(()) => Ok(None),
        Err(problem) if is_declined(&problem) => {
            let error = unpack::Error::new(format!("package {}", identity.name), problem);
            Ok(Some(Reply::Declined(error.to_string())))
        }
        Err(problem) => Err(failed(problem, &identity.name)),
    }
}

fn failed(problem: Problem, what: &str) -> Failure {
    explained(unpack::Error::new(what, problem).into())
}
