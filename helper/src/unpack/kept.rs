//! What of a package is still as it was unpacked, after scripts have run in its tree.

use std::collections::HashMap;

use super::path::{Absolute, clean, split};
use super::place::{Placer, is_of};
use super::record::Record;
use super::tarstream::Kind;
use super::tree::Tree;

/// Looks through a tree in which scripts have run.
pub(crate) struct Search<'t, 'a> {
    placer: Placer<'t, 'a>,
    /// Directories as packages name them, and where they lie; nothing for what is gone.
    places: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'t, 'a> Search<'t, 'a> {
    pub(crate) fn new(tree: &'t Tree<'a>) -> Self {
        Self { placer: Placer::new(tree), places: HashMap::new() }
    }

    /// Whether nobody has touched a file of the package since it was unpacked, which was at `time`
    /// at the latest; the record tells then where its directories lie. Whoever changes a file and
    /// gives it its old size and time again cannot do so with the time of that change. Conffiles
    /// got their names meanwhile, which is such a change.
    pub(crate) fn is_untouched(&mut self, record: &mut Record, time: (i64, u32)) -> bool {
        let Ok(conffiles) = record.control().and_then(|control| control.conffiles()) else {
            return false;
        };
        record.leads.clear();
        for entry in record.entries.iter().filter(|entry| entry.kind == Kind::File) {
            let Ok(path) = clean(&entry.name, Absolute::Refuse) else { return false };
            let (parent, name) = split(&path);
            let tree = self.placer.tree();
            let place =
                self.places.entry(parent.to_vec()).or_insert_with(|| tree.real(parent).ok());
            let Some(place) = place else { return false };
            if place != parent && !record.leads.contains_key(parent) {
                record.leads.insert(parent.to_vec(), place.clone());
            }
            let Ok(stat) = self.placer.stat(place, name) else { return false };
            let is_conffile =
                || conffiles.iter().any(|one| one.path.get(1..) == Some(path.as_slice()));
            let changed = (stat.st_ctime, stat.st_ctime_nsec as u32);
            if !is_of(&stat, entry) || changed > time && !is_conffile() {
                return false;
            }
        }
        true
    }
}
