//! Packages that layers have unpacked already.

use super::layer;
use super::{Held, Zone};
use crate::archive::checksum::Sha256;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use debmock_helper::protocol::{Reply, Request, encode, unexpected};
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A layer from which packages can be copied.
#[derive(Debug)]
pub(crate) struct Stock<'a> {
    /// A mount of its tree.
    pub tree: OwnedFd,
    /// What was unpacked in it.
    pub records: OwnedFd,
    /// The places in the package set of what is copied from it.
    pub packages: &'a [u32],
}

/// What of a package set need not be unpacked anew.
#[derive(Debug)]
pub(crate) struct Known {
    /// Layers, and the places in the package set of what each of them has.
    layers: Vec<(String, Vec<u32>)>,
    /// Keeps the layers from being removed.
    _locks: Vec<Held>,
}

impl Known {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Known { layers: Vec::new(), _locks: Vec::new() }
    }

    /// Looks through the layers of the zone for the packages with these hashes; only through those
    /// that have a tree in which nothing has run, if it has to be `pristine`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn find(
        zone: &Zone,
        packages: impl Iterator<Item = Sha256>,
        pristine: bool,
        scope: &Scope,
    ) -> Result<Self> {
        let hashes: Vec<String> = packages.map(|hash| hash.to_string()).collect();
        let wanted = in_memory(&encode(&hashes)?)?;
        let channel = zone.helper().request(&Request::Known { pristine }, &[wanted.as_fd()])?;
        let mut known = Known::nothing();
        loop {
            let layer = match channel.reply()?.0 {
                Reply::Done => return Ok(known),
                Reply::Known { layer, packages } => (layer, packages),
                other => return Err(unexpected(&other).into()),
            };
            let held = known.layers.iter().any(|(held, _)| *held == layer.0);
            if !held {
                match layer::hold(zone, &layer.0, scope) {
                    Ok(lock) => known._locks.push(lock),
                    // Somebody removes it.
                    Err(error) if error.kind() == ErrorKind::Locked => continue,
                    Err(error) => return Err(error),
                }
            }
            known.layers.push(layer);
        }
    }

    /// Layers, and the places of what each of them has.
    pub(crate) fn layers(&self) -> &[(String, Vec<u32>)] {
        &self.layers
    }

    /// The places of what is known.
    pub(crate) fn places(&self) -> BTreeSet<u32> {
        self.layers.iter().flat_map(|(_, places)| places.iter().copied()).collect()
    }

    /// What can be copied; otherwise the places of what is gone.
    ///
    /// # Errors
    /// A layer cannot be mounted.
    pub(crate) fn stocks(&self, zone: &Zone) -> Result<Result<Vec<Stock<'_>>, Vec<u32>>> {
        let (mut stocks, mut gone) = (Vec::new(), Vec::new());
        for (layer, packages) in self.layers.iter().filter(|(_, packages)| !packages.is_empty()) {
            let channel = zone.helper().request(&Request::Stock(layer.clone()), &[])?;
            let (reply, mut descriptors) = channel.reply()?;
            match (reply, descriptors.pop(), descriptors.pop()) {
                (Reply::Stock, Some(records), Some(tree)) => {
                    stocks.push(Stock { tree, records, packages });
                }
                (Reply::Missing, ..) => gone.extend(packages),
                (other, ..) => return Err(unexpected(&other).into()),
            }
        }
        Ok(if gone.is_empty() { Ok(stocks) } else { Err(gone) })
    }

    /// The packages at `places` have to be unpacked anew, which is told; `names` are those of all.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if none of them was known.
    pub(crate) fn forget(
        &mut self,
        places: &[u32],
        names: &[impl AsRef<str>],
        scope: &Scope,
    ) -> Result<()> {
        let before = self.places().len();
        for (_, known) in &mut self.layers {
            known.retain(|place| !places.contains(place));
        }
        if self.places().len() == before {
            let what = "packages of the store change while they are taken";
            return Err(Error::new(ErrorKind::Store, what)
                .with_hint("`debmock scrub layers` removes the layers that nobody uses"));
        }
        let changed: Vec<&str> = places
            .iter()
            .filter_map(|&place| names.get(place as usize).map(AsRef::as_ref))
            .collect();
        scope.warn(
            format!(
                "what the store has of {} is not as it was unpacked; it is unpacked anew",
                changed.join(", ")
            ),
            Some("`debmock scrub layers` removes the layers that nobody uses".into()),
        );
        Ok(())
    }
}

/// A file that has no name, to be read from its beginning.
///
/// # Errors
/// There is no memory for it.
pub(crate) fn in_memory(content: &[u8]) -> Result<File> {
    let doing = || "cannot prepare the plan".to_owned();
    let mut file = File::from(memfd_create("debmock-plan", MemfdFlags::CLOEXEC).doing(doing)?);
    file.write_all(content).doing(doing)?;
    rewound(&file)?;
    Ok(file)
}

/// A file that another process has written to or read, from its beginning.
///
/// # Errors
/// It cannot be read.
pub(crate) fn rewound(file: &File) -> Result<BorrowedFd<'_>> {
    let mut at = file;
    at.seek(SeekFrom::Start(0)).doing(|| "cannot read what was unpacked".into())?;
    Ok(file.as_fd())
}
