//! Packages that were unpacked once, for a layer that is being made.
//!
//! A base that was made of packages has, beside the tree `root` with what maintainer scripts made, a
//! tree `below` with what was unpacked, which no script has ever seen, and a file `records`. Files of
//! `below` get another name in the tree `below` of a new base, never a copy: trees that are mounted
//! as lower layers are never changed. Nothing is decoded here, so that nothing here needs the walls
//! of a session. A layer of packages above others has records of what lies in its `root`, from which
//! a session copies ([`stock`]).

use super::files::{boot_id, list, make_directory_at, open_at, open_directory, parent, read_at};
use super::{LOCKS, MAKING, TRASH};
use crate::bootstrap::{Bootstrap, Error};
use crate::dpkgdb::Identity;
use crate::protocol::{ComposePlan, Doing, Failure, Place, Reply, decode};
use crate::sandbox::identity::Entered;
use crate::sandbox::tree::mount_overlay;
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY, set_attributes};
use crate::unpack::{Known, Records, Stock, Tree, is_lack};
use crate::work::bootstrap::{
    explained, hashes_of, plan_of, read_plan, reply_of, write_left, write_records,
};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Name of the tree of a layer in which nothing is configured.
pub const BELOW: &str = "below";
/// Name of the records of a layer.
pub const RECORDS: &str = "records";
/// Name of the directory of a layer that is being made in which each package lies apart.
pub const APART: &str = "apart";
/// A list of packages is at most this long, in bytes.
const LONGEST: u64 = 16 << 20;
/// What fits into one message.
const MOST: usize = 20_000;

/// Tells which of the packages, whose SHA-256 are in `wanted`, can be taken from which layer: from as
/// few layers as possible, and only from those in whose tree nothing has run if it has to be
/// `pristine`.
pub fn known(
    entered: &Entered,
    pristine: bool,
    wanted: OwnedFd,
    mut reply: impl FnMut(Reply),
) -> Result<Reply, Failure> {
    let mut encoded = Vec::new();
    let doing = || "cannot read which packages are wanted".to_owned();
    File::from(wanted).take(LONGEST).read_to_end(&mut encoded).doing(doing)?;
    let wanted: Vec<String> = decode(&encoded)?;
    let places: HashMap<&str, u32> = wanted.iter().map(String::as_str).zip(0..).collect();
    let mut layers: Vec<(String, HashSet<u32>)> = Vec::new();
    for name in list(entered, &Place::layer("."))? {
        let apart = name == TRASH || name == LOCKS || name.starts_with(MAKING);
        // One that is damaged or removed just now has nothing for anybody.
        let fits = !apart && (!pristine || tree_of(entered, &name, BELOW).is_ok());
        if fits && let Some(records) = records_of(entered, &name)? {
            let has: HashSet<u32> =
                records.names().filter_map(|hash| places.get(hash).copied()).collect();
            layers.push((name, has));
        }
    }
    while let Some(at) = (0..layers.len()).max_by_key(|&at| layers[at].1.len()) {
        let (layer, has) = layers.swap_remove(at);
        if has.is_empty() {
            break;
        }
        for (_, others) in &mut layers {
            others.retain(|place| !has.contains(place));
        }
        let mut has: Vec<u32> = has.into_iter().collect();
        has.sort_unstable();
        for packages in has.chunks(MOST) {
            reply(Reply::Known { layer: layer.clone(), packages: packages.to_vec() });
        }
    }
    Ok(Reply::Done)
}

/// The records of a layer that is sound; nothing if it is not, or has none.
///
/// # Errors
/// This process lacks what it takes to tell.
fn records_of(entered: &Entered, layer: &str) -> Result<Option<Records>, Failure> {
    let Some(home) = there(open_directory(entered, &Place::layer(layer)))? else { return Ok(None) };
    match there(read_at(&home, "boot"))? {
        Some(boot) if boot.as_ref().is_none_or(|boot| *boot == boot_id()) => {}
        _ => return Ok(None),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let doing = || format!("cannot read what is in the layer {layer}");
    let file = openat(&home, RECORDS, flags, Mode::empty()).doing(doing);
    let Some(file) = there(file)? else { return Ok(None) };
    there(Records::open(File::from(file)).doing(doing))
}

/// What could be opened or read; nothing if it is damaged or gone.
fn there<T>(opened: Result<T, Failure>) -> Result<Option<T>, Failure> {
    let is_lack = |failure: &Failure| is_lack(&io::Error::from_raw_os_error(failure.errno));
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(failure) if is_lack(&failure) => Err(failure),
        Err(_) => Ok(None),
    }
}

fn tree_of(entered: &Entered, layer: &str, name: &str) -> Result<OwnedFd, Failure> {
    open_directory(entered, &Place::layer(format!("{layer}/{name}")))
}

/// A mount of the tree of a layer in which that lies what was unpacked, and the records of that;
/// nothing if the layer is damaged or gone.
///
/// It is an overlay that has nothing to change: a mount that is only marked as read-only can be
/// unmarked by whoever gets hold of it and makes a user namespace of their own.
///
/// # Errors
/// It cannot be mounted; this process lacks what it takes to tell.
pub fn stock(entered: &Entered, layer: &str) -> Result<Option<(OwnedFd, OwnedFd)>, Failure> {
    let tree = match tree_of(entered, layer, BELOW) {
        // One above others.
        Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => {
            tree_of(entered, layer, "root")
        }
        other => other,
    };
    let Some(tree) = there(tree)? else { return Ok(None) };
    let Some(records) = records_of(entered, layer)? else { return Ok(None) };
    let doing = || format!("cannot mount the layer {layer}");
    // An overlay of one layer and no upper does not exist.
    let nothing = make_directory_at(&open_directory(entered, &Place::layer(LOCKS))?, "nothing")?;
    let mount = mount_overlay(&[tree, nothing], None).isolating(doing)?;
    let attributes = RDONLY | NOSUID | NODEV | NOEXEC;
    set_attributes(mount.as_fd(), attributes, false).isolating(doing)?;
    Ok(Some((mount, sealed(records.into_file())?)))
}

/// A copy of a file that nobody can change: who gets hold of a descriptor of a file in the store can
/// open it for writing.
fn sealed(file: OwnedFd) -> Result<OwnedFd, Failure> {
    let doing = || "cannot copy what is in a layer".to_owned();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("records", flags).doing(doing)?);
    io::copy(&mut File::from(file), &mut copy).doing(doing)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals).doing(doing)?;
    Ok(copy.into())
}

/// The layer `name` with the places of packages that it has; nothing if it is damaged.
fn open_stock(entered: &Entered, name: &str, places: &[u32]) -> Result<Option<Stock>, Failure> {
    let Some(tree) = there(tree_of(entered, name, BELOW))? else { return Ok(None) };
    let Some(records) = records_of(entered, name)? else { return Ok(None) };
    Ok(Some(Stock { tree, records, packages: places.to_vec() }))
}

/// Fills the tree `below` of `home`. `descriptors` are those of
/// [`Request::Compose`](crate::protocol::Request::Compose).
pub fn compose(
    entered: &Entered,
    home: &Place,
    mut descriptors: Vec<OwnedFd>,
    reply: impl FnMut(Reply) + Send,
) -> Result<Reply, Failure> {
    let (Some(left), Some(apart), Some(plan)) =
        (descriptors.pop(), descriptors.pop(), descriptors.pop())
    else {
        return Err(Failure::request("a composition needs a plan and two files"));
    };
    let message: ComposePlan = read_plan(plan)?;
    let plan = plan_of(&message.bootstrap);
    let hashes = hashes_of(&message.bootstrap);
    let home = open_directory(entered, home)?;

    let named: Vec<Option<(Identity, String)>> = plan
        .packages
        .iter()
        .map(|one| Some((one.identity.clone(), (*hashes.get(&one.identity)?).to_owned())))
        .collect();
    let (mut stocks, mut changed) = (Vec::new(), Vec::new());
    for (layer, places) in &message.layers {
        match open_stock(entered, layer, places)? {
            Some(stock) => stocks.push(stock),
            None => changed.extend(places),
        }
    }
    let trees: Vec<Tree<'_>> = stocks.iter().map(Stock::tree).collect();
    let mut known = Vec::new();
    for (stock, tree) in stocks.iter().zip(&trees) {
        let package = |place: u32| named.get(place as usize)?.as_ref();
        known.extend(stock.known(tree, package, &mut changed));
    }
    // What was unpacked apart, each below its hash.
    let by_hash: HashMap<&str, &Identity> =
        hashes.iter().map(|(identity, hash)| (*hash, identity)).collect();
    let mut each = Vec::new();
    let records = match File::from(apart) {
        file if file.metadata().is_ok_and(|data| data.len() == 0) => None,
        file => Some(Records::open(file).doing(|| "cannot read what was unpacked".into())?),
    };
    for (number, hash) in records.iter().flat_map(|records| records.names().enumerate()) {
        if let Some(identity) = by_hash.get(hash) {
            let tree = open_at(&home, &format!("{APART}/{hash}"), super::files::DIRECTORY)
                .doing(|| format!("cannot open what was unpacked of {}", identity.name))?;
            each.push((tree, (*identity).clone(), number));
        }
    }
    let trees: Vec<Tree<'_>> = each.iter().map(|(tree, ..)| Tree::new(tree.as_fd())).collect();
    if let Some(records) = &records {
        known.extend(each.iter().zip(&trees).map(|((_, identity, number), tree)| Known {
            identity: identity.clone(),
            records,
            number: *number,
            tree,
        }));
    }
    if !changed.is_empty() {
        return Ok(Reply::Changed(changed));
    }

    let below = make_directory_at(&home, BELOW)?;
    let never = AtomicBool::new(false);
    let threads = message.bootstrap.threads.max(1) as usize;
    let bootstrap = Bootstrap::new(below.as_fd(), &plan, threads, &never);
    let reply = Mutex::new(reply);
    let mut events = |event| {
        if let Ok(mut reply) = reply.lock() {
            reply(reply_of(event));
        }
    };
    let staged = match bootstrap.compose(known, &mut events) {
        Ok(staged) => staged,
        Err(Error::Changed(packages)) => {
            let packages: HashSet<&Identity> = packages.iter().collect();
            let places = plan.packages.iter().zip(0..);
            let places = places.filter(|(one, _)| packages.contains(&one.identity));
            return Ok(Reply::Changed(places.map(|(_, place)| place).collect()));
        }
        Err(error) => return Err(explained(error)),
    };
    write_left(left, &staged)?;
    let taken = staged.records();
    write_records(new_file(&home, RECORDS)?, taken, |one| {
        hashes.get(one).map(|&hash| hash.to_owned())
    })?;
    Ok(Reply::Composed { newest: taken.newest() })
}

/// Writes the content of a descriptor to a new file of the store.
pub fn keep(entered: &Entered, place: &Place, content: OwnedFd) -> Result<Reply, Failure> {
    let doing = || format!("cannot write {} of the store", place.path);
    let (folder, name) = parent(entered, place)?;
    let mut file = File::from(new_file(&folder, name)?);
    io::copy(&mut File::from(content), &mut file).doing(doing)?;
    Ok(Reply::Done)
}

fn new_file(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from(0o644))
        .doing(|| format!("cannot write {name} in the store"))
}
