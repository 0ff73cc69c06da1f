//! Packages that layers have unpacked already.

use super::layer;
use super::{Held, Zone};
use crate::archive::checksum::Sha256;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use debmock_helper::protocol::{Place, Reply, Request, encode, unexpected};
use debmock_helper::store::RECORDS;
use debmock_helper::unpack::Records;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Records of one package set have far fewer bytes.
const LONGEST: u64 = 1 << 30;

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
    /// Layers that were not as recorded.
    damaged: BTreeSet<String>,
    /// Keeps the layers from being removed.
    _locks: Vec<Held>,
}

impl Known {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Known { layers: Vec::new(), damaged: BTreeSet::new(), _locks: Vec::new() }
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
                    Ok(lock) => {
                        // Somebody may have removed it since it was found.
                        if zone.list(Place::layer(&layer.0))?.iter().all(|part| part != RECORDS) {
                            continue;
                        }
                        known._locks.push(lock);
                    }
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
        for (layer, known) in &mut self.layers {
            if known.iter().any(|place| places.contains(place)) {
                self.damaged.insert(layer.clone());
            }
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

    /// Takes the records from layers that were not as recorded, when what was made is complete: the
    /// next one would be made twice, too. Without them a layer is as good as any other to stand on.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn discredit(&self, zone: &Zone, scope: &Scope) -> Result<()> {
        self.damaged
            .iter()
            .try_for_each(|layer| zone.discard(Place::layer(format!("{layer}/{RECORDS}")), scope))
    }
}

/// Whether there are records in `file`, which comes from a worker that a package may have taken over:
/// it may name only `packages`.
///
/// # Errors
/// [`ErrorKind::Helper`] if there is something else in it; it cannot be read.
pub(crate) fn is_of(file: &File, packages: impl Iterator<Item = Sha256>) -> Result<bool> {
    let doing = || "cannot read what was unpacked".to_owned();
    let length = file.metadata().doing(doing)?.len();
    if length == 0 {
        return Ok(false);
    }
    let packages: BTreeSet<String> = packages.map(|hash| hash.to_string()).collect();
    let copy = file.try_clone().doing(doing)?;
    let records = (length <= LONGEST).then(|| Records::open(copy).ok()).flatten();
    match records.is_some_and(|records| records.names().all(|name| packages.contains(name))) {
        true => Ok(true),
        false => Err(Error::new(ErrorKind::Helper, "the helper recorded what was not to come")
            .with_hint("one of the packages may have taken the helper over: do not use them")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_name_packages_of_their_set_alone() {
        let (one, other) = (Sha256::of(b"one"), Sha256::of(b"other"));
        let list = encode(&vec![(one.to_string(), 0_u64, *Sha256::of(b"").as_bytes())]).unwrap();
        let (length, hash) = ((list.len() as u64).to_le_bytes(), Sha256::of(&list));
        let head = [b"debmock records 4\n", &length[..], hash.as_bytes()].concat();
        let file = in_memory(&[head, list].concat()).unwrap();
        assert!(is_of(&file, [other, one].into_iter()).unwrap());
        assert_eq!(is_of(&file, [other].into_iter()).unwrap_err().kind(), ErrorKind::Helper);
        let garbage = in_memory(b"something else").unwrap();
        assert_eq!(is_of(&garbage, [one].into_iter()).unwrap_err().kind(), ErrorKind::Helper);
        assert!(!is_of(&in_memory(b"").unwrap(), [one].into_iter()).unwrap());
    }
}
