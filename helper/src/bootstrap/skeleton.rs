//! What has to be in the tree before the first package, and apt's marks.

use std::os::fd::BorrowedFd;

use super::plan::{Error, Plan};
use crate::dpkgdb::{ExtendedState, info};
use crate::unpack::Tree;
use crate::unpack::path::{Absolute, clean, split};
use crate::unpack::place::Placer;

/// Directories that apt and dpkg expect, and that not every package set brings.
const DIRECTORIES: [&str; 13] = [
    "etc/apt/apt.conf.d",
    "etc/apt/sources.list.d",
    "etc/apt/preferences.d",
    "etc/dpkg/dpkg.cfg.d",
    "var/cache/apt",
    "var/lib/apt/lists/partial",
    "var/lib/dpkg/alternatives",
    "var/lib/dpkg/info",
    "var/lib/dpkg/triggers",
    "var/lib/dpkg/updates",
    "var/log/apt",
    "var/cache/apt/archives/partial",
    "tmp",
];

/// Whether the directory is there before the first package.
pub(super) fn is_part(path: &[u8]) -> bool {
    DIRECTORIES.iter().any(|directory| {
        let rest = directory.as_bytes().strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// Makes the directories and the files of the plan.
pub(super) fn create(root: BorrowedFd<'_>, plan: &Plan) -> Result<(), Error> {
    let tree = Tree::new(root);
    rustix::fs::chmodat(root, ".", 0o755.into(), rustix::fs::AtFlags::empty())
        .map_err(|error| Error::tree("set the mode of", "", error))?;
    for path in DIRECTORIES {
        make_all(&tree, path)?;
    }
    let mode = rustix::fs::Mode::from_raw_mode(0o1777);
    rustix::fs::chmodat(root, "tmp", mode, rustix::fs::AtFlags::empty())
        .map_err(|error| Error::tree("set the mode of", "tmp", error))?;
    let mut architectures = format!("{}\n", plan.architecture);
    for foreign in &plan.foreign_architectures {
        architectures.push_str(foreign);
        architectures.push('\n');
    }
    put(&tree, "var/lib/dpkg/arch", 0o644, architectures.as_bytes())?;
    put(&tree, "etc/fstab", 0o644, b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")?;
    for file in &plan.files {
        put(&tree, &file.path, file.mode, &file.data)?;
    }
    Ok(())
}

/// apt's record of what was installed only as a dependency.
pub(super) fn write_extended_states(root: BorrowedFd<'_>, plan: &Plan) -> Result<(), Error> {
    let states: Vec<_> = plan
        .packages
        .iter()
        .map(|package| ExtendedState {
            name: package.identity.name.clone(),
            architecture: match package.identity.architecture.as_str() {
                "all" => plan.architecture.clone(),
                other => other.into(),
            },
            auto: package.auto,
        })
        .collect();
    let text = ExtendedState::write(&states);
    put(&Tree::new(root), "var/lib/apt/extended_states", 0o644, text.as_bytes())
}

/// A file of root's, its directories made as needed.
pub(super) fn put(tree: &Tree<'_>, path: &str, mode: u32, data: &[u8]) -> Result<(), Error> {
    let clean = clean(path.as_bytes(), Absolute::Strip)
        .map_err(|problem| Error::Plan(format!("the file {path} of the plan {problem}")))?;
    let (parent, name) = split(&clean);
    let parent = String::from_utf8_lossy(parent).into_owned();
    make_all(tree, &parent)?;
    let directory = info::open_dir(tree.root(), &parent)?;
    info::write(&directory, &parent, &String::from_utf8_lossy(name), mode, None, data)?;
    Ok(())
}

fn make_all(tree: &Tree<'_>, path: &str) -> Result<(), Error> {
    let mut placer = Placer::new(tree);
    let mut at = 0;
    while at < path.len() {
        let end = path[at..].find('/').map_or(path.len(), |next| at + next);
        let part = &path[..end];
        let fail = |problem: crate::unpack::Problem| {
            Error::Plan(format!("cannot make the directory /{part} in the new root: {problem}"))
        };
        let new = placer.walker.make(part.as_bytes(), 0o755).map_err(fail)?;
        if new {
            let directory = placer.walker.directory(part.as_bytes()).map_err(fail)?;
            crate::unpack::set_mode(&directory.fd, 0o755).map_err(fail)?;
        }
        at = end + 1;
    }
    Ok(())
}
