//! What of a package looks as it was unpacked, after scripts have run in its tree.

use std::collections::HashMap;

use super::error::Problem;
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

    /// Whether every file of the package has the size, mode, owner and time with which it was
    /// unpacked; the record tells then where its directories lie. Where not, the record would only
    /// mislead whoever looks for something to take. Content that was changed all the same is
    /// noticed by who takes it, as is what is changed later.
    pub(crate) fn has_all(&mut self, record: &mut Record) -> bool {
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
            if !is_of(&stat, entry) {
                return false;
            }
        }
        true
    }
}

/// Whether the files of a package are where they can be copied from, as far as that can be told
/// without reading them.
///
/// # Errors
/// This process lacks what it takes to tell.
pub(crate) fn looks_whole(record: &Record, from: &Tree<'_>) -> Result<bool, Problem> {
    let mut placer = Placer::new(from);
    for entry in record.entries.iter().filter(|entry| entry.kind == Kind::File) {
        let Ok(path) = clean(&entry.name, Absolute::Refuse) else { return Ok(false) };
        let (parent, name) = split(&path);
        let folder = record.leads.get(parent).map_or(parent, Vec::as_slice);
        let mut is_here = |name: &[u8]| match placer.stat(folder, name) {
            Err(problem) if problem.is_lack() => Err(problem),
            other => Ok(other.is_ok_and(|stat| is_of(&stat, entry))),
        };
        // Conffiles of a package that is not configured.
        if !is_here(name)? && !is_here(&[name, b".dpkg-new"].concat())? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NEVER, Site, Tar, identity, package};
    use super::super::{Unpacker, Way};
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_touched_is_not_copied_whatever_its_time_says_and_copies_follow_no_link_outside() {
        let (site, other) = (Site::new(), Site::new());
        fs::create_dir_all(site.root().join("usr/lib")).unwrap();
        symlink("usr/lib", site.root().join("lib")).unwrap();
        let (root, target) = (File::open(site.root()).unwrap(), File::open(other.root()).unwrap());
        let deb = package("one", Tar::new().dir("./").dir("./lib/").file("./lib/x", b"some"));
        let mut unpacked = Unpacker::new(root.as_fd(), &NEVER)
            .with_hashes(true)
            .unpack_deb(&deb[..], &identity("one"), None)
            .unwrap();
        let mut record = Record::of(&mut unpacked, 0);
        let tree = Tree::new(root.as_fd());
        assert!(Search::new(&tree).has_all(&mut record));
        assert_eq!(record.leads[&b"lib"[..]], b"usr/lib");

        // where there is no such link, its file is found all the same
        fs::remove_file(site.root().join("lib")).unwrap();
        let take = |record: &Record| {
            let mut record = record.clone();
            Unpacker::new(target.as_fd(), &NEVER).take(&mut record, &tree, Way::Copy).map(drop)
        };
        take(&record).unwrap();
        assert_eq!(fs::read(other.root().join("lib/x")).unwrap(), b"some");
        fs::remove_file(other.root().join("lib/x")).unwrap();

        // what leads out of the tree ends at its top
        let secret = site.outside().join("x");
        fs::write(&secret, "some").unwrap();
        for lead in [site.outside().into_os_string().into_encoded_bytes(), b"../outside".to_vec()] {
            let mut lying = record.clone();
            lying.leads.insert(b"lib".to_vec(), lead);
            let error = take(&lying).unwrap_err();
            assert!(matches!(error.problem(), Problem::Changed(_)), "{error}");
        }
        fs::remove_file(secret).unwrap();

        symlink("usr/lib", site.root().join("lib")).unwrap();
        let file = site.root().join("usr/lib/x");
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let mut opened = OpenOptions::new().write(true).open(&file).unwrap();
        opened.write_all(b"SOME").unwrap();
        opened.set_modified(modified).unwrap();
        assert!(Search::new(&tree).has_all(&mut record));
        let error = take(&record).unwrap_err();
        assert!(error.to_string().contains("the content of the file is another"), "{error}");
        opened.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(!Search::new(&tree).has_all(&mut record));
    }
}
