//! The host's half of a native bootstrap.
//!
//! Packages are unpacked into a tree of their own, `below`, which nobody changes any more: scripts
//! run in an overlay above it, whose upper becomes the tree `root`. So whatever has been unpacked once
//! can be taken into the next layer by a hard link.

use super::{HOSTNAME, Recipe, Site, job};
use crate::archive::access::Archives;
use crate::buildroot::{Session, SessionOptions, announce, is_of_layers, policy};
use crate::error::Result;
use crate::operation::Scope;
use crate::solve::PackageEntry;
use crate::store::Zone;
use crate::store::known::{Known, in_memory, is_of, rewound};
use crate::store::layer::below;
use debmock_helper::protocol::{
    BootstrapPlan, ComposePlan, Job, Place, Reply, Request, SessionFile, Tree, bytes, encode,
    unexpected,
};
use debmock_helper::store::{APART, BELOW, RECORDS};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Fills the directory `home` of a layer with the packages of `recipe`.
pub(super) fn make(
    zone: &Arc<Zone>,
    recipe: &Recipe,
    archives: &Archives<'_>,
    home: &Place,
    site: Site,
    scope: &Scope,
) -> Result<()> {
    let work = Making { zone, recipe, archives, home, site, scope };
    if site.flat {
        return work.in_one_tree();
    }
    match work.in_two_trees() {
        Err(error) if is_of_layers(&error) => {
            announce(scope);
            for part in [BELOW, RECORDS, APART, "upper", "work"] {
                zone.discard(below(home, part), scope)?;
            }
            Making { site: Site { flat: true, ..site }, ..work }.in_one_tree()
        }
        other => other,
    }
}

struct Making<'a> {
    zone: &'a Arc<Zone>,
    recipe: &'a Recipe,
    archives: &'a Archives<'a>,
    home: &'a Place,
    site: Site,
    scope: &'a Scope,
}

impl Making<'_> {
    /// Makes the tree `root`, in which scripts run.
    fn in_one_tree(&self) -> Result<()> {
        let (tree, left) = (below(self.home, "root"), in_memory(b"")?);
        let newest = self.unpack(&tree, &left)?;
        self.configure(self.directory(&tree), newest, &left)
    }

    /// Makes `below`, and `root` above it.
    fn in_two_trees(&self) -> Result<()> {
        let (lower, left) = (below(self.home, BELOW), in_memory(b"")?);
        let newest = match self.compose(&left)? {
            Some(newest) => newest,
            None => self.unpack(&lower, &left)?,
        };
        let tree = Tree::Overlay { lower: vec![lower], upper: Some(self.home.clone()) };
        self.configure(tree, newest, &left)?;
        // The kernel's marks in it speak to an overlay of which it is the upper, and no other.
        self.zone.rename(below(self.home, "upper"), below(self.home, "root"))?;
        self.zone.discard(below(self.home, "work"), self.scope)
    }

    /// Unpacks every package into the new directory `place`.
    fn unpack(&self, place: &Place, left: &File) -> Result<u64> {
        self.zone.make_directory(place.clone())?;
        let records = in_memory(b"")?;
        let plan = in_memory(&encode(&self.plan())?)?;
        let files = [plan.as_fd(), left.as_fd(), records.as_fd()];
        let session = self.session(self.directory(place))?;
        let packages = &self.recipe.set.packages;
        let unpack = (Job::Bootstrap { apart: false }, &files[..]);
        let newest = job::unpack(&session, unpack, packages, self.archives, self.scope)?;
        session.end()?;
        let hashes = packages.iter().map(|package| package.sha256);
        if !self.site.flat && is_of(&records, hashes)? {
            let request = Request::Keep(below(self.home, RECORDS));
            self.zone.helper().request(&request, &[rewound(&records)?])?.done()?;
        }
        Ok(newest)
    }

    /// Makes the tree of what other layers have, and of the rest, which is unpacked apart. Nothing if
    /// there is too little that is known.
    fn compose(&self, left: &File) -> Result<Option<u64>> {
        let packages = &self.recipe.set.packages;
        let hashes = packages.iter().map(|package| package.sha256);
        let mut known = Known::find(self.zone, hashes, true, self.scope)?;
        loop {
            let places = known.places();
            let is_known = |(place, _): &(u32, &PackageEntry)| places.contains(place);
            let (old, new): (Vec<_>, Vec<_>) = (0..).zip(packages).partition(is_known);
            let size = |all: &[(u32, &PackageEntry)]| all.iter().map(|one| one.1.size).sum::<u64>();
            // Everything is named once more than if it were unpacked where it belongs.
            if size(&old) < size(&new) / 4 || old.is_empty() {
                known.discredit(self.zone, self.scope)?;
                return Ok(None);
            }
            let new: Vec<PackageEntry> = new.into_iter().map(|(_, one)| one.clone()).collect();
            let records = self.unpack_apart(&new)?;
            let newest = self.join(&mut known, &records, left)?;
            self.zone.discard(below(self.home, APART), self.scope)?;
            if newest.is_some() {
                known.discredit(self.zone, self.scope)?;
                return Ok(newest);
            }
            self.zone.discard(below(self.home, BELOW), self.scope)?;
            rewound(left)?;
        }
    }

    /// Makes the tree `below` of what is known and of what was unpacked apart; `left` gets what
    /// there is to be configured. When the newest package was built, in seconds since 1970; nothing
    /// if packages turned out to be unknown: the tree is of no use then.
    fn join(&self, known: &mut Known, apart: &File, left: &File) -> Result<Option<u64>> {
        let packages = &self.recipe.set.packages;
        let plan = ComposePlan { bootstrap: self.plan(), layers: known.layers().to_vec() };
        let plan = in_memory(&encode(&plan)?)?;
        let files = [plan.as_fd(), rewound(apart)?, left.as_fd()];
        let request = Request::Compose { home: self.home.clone() };
        let channel = self.zone.helper().request(&request, &files)?;
        match job::follow(packages.len(), &channel, self.scope)? {
            Reply::Composed { newest } => Ok(Some(newest)),
            Reply::Changed(places) => {
                let names: Vec<&str> = packages.iter().map(|one| one.name.as_str()).collect();
                known.forget(&places, &names, self.scope)?;
                Ok(None)
            }
            other => Err(unexpected(&other).into()),
        }
    }

    /// Unpacks each of `packages` into a directory of its own; their records.
    fn unpack_apart(&self, packages: &[PackageEntry]) -> Result<File> {
        let records = in_memory(b"")?;
        if packages.is_empty() {
            return Ok(records);
        }
        let place = below(self.home, APART);
        self.zone.make_directory(place.clone())?;
        let (plan, left) = (in_memory(&encode(&self.plan())?)?, in_memory(b"")?);
        let files = [plan.as_fd(), left.as_fd(), records.as_fd()];
        let session = self.session(self.directory(&place))?;
        let unpack = (Job::Bootstrap { apart: true }, &files[..]);
        job::unpack(&session, unpack, packages, self.archives, self.scope)?;
        session.end()?;
        Ok(records)
    }

    /// Runs the maintainer scripts in `tree`.
    fn configure(&self, tree: Tree, newest: u64, left: &File) -> Result<()> {
        let plan = in_memory(&encode(&self.plan())?)?;
        rewound(left)?;
        let epoch = self.recipe.epoch.unwrap_or(newest);
        job::configure(self.session(tree)?, epoch, &plan, left, self.scope)
    }

    fn directory(&self, place: &Place) -> Tree {
        Tree::Directory { place: place.clone(), writable: true }
    }

    fn session(&self, tree: Tree) -> Result<Session> {
        let options = SessionOptions {
            tree,
            files: Vec::new(),
            hostname: HOSTNAME.into(),
            binds: Vec::new(),
            accept_weak: self.site.accept_weak,
            linux32: self.site.linux32,
            home: None,
            memory: 0,
        };
        Session::open(self.zone, options, Vec::new(), self.scope)
    }

    fn plan(&self) -> BootstrapPlan {
        let set = &self.recipe.set;
        let packages = set.packages.iter().map(|package| {
            (
                package.name.clone(),
                package.version.clone(),
                package.architecture.clone(),
                package.automatic,
            )
        });
        let file = |path: &str, content: &str| SessionFile {
            path: path.into(),
            mode: 0o644,
            content: bytes(content),
        };
        BootstrapPlan {
            architecture: set.architecture.clone(),
            packages: packages.collect(),
            hashes: set.packages.iter().map(|package| package.sha256.to_string()).collect(),
            files: vec![
                file("etc/hostname", &format!("{HOSTNAME}\n")),
                file("etc/resolv.conf", ""),
                file("etc/apt/sources.list", &self.recipe.sources),
            ],
            passing_files: vec![policy()],
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        }
    }
}
