//! What apt chose before.
//!
//! The answer of apt to a set of build dependencies follows from the index files, from dpkg's
//! database, from apt's own settings and preferences in the root, and from the dependencies. Where
//! all these are the same, apt is not asked again: its first question in a fresh root takes it a
//! second. What is remembered names packages of the verified index with their hashes; the directory
//! belongs to the host process.

use super::depends::BuildDependencies;
use super::order::Order;
use super::plan::{Plan, Planned, Removal};
use super::{Apt, setup};
use crate::archive::checksum::{Hasher, Sha256};
use crate::archive::state::NEW;
use crate::buildroot::Session;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Changes when apt's answers are understood in another way, or say more than before.
const FORMAT: &[u8] = b"3";
/// What decides besides index files and dependencies, in the root.
const FILES: &[&str] = &[
    "/var/lib/dpkg/status",
    "/var/lib/apt/extended_states",
    "/var/lib/dpkg/arch",
    "/etc/apt/apt.conf",
    "/etc/apt/preferences",
];
const FOLDERS: &[&str] = &["/etc/apt/apt.conf.d", "/etc/apt/preferences.d"];

/// Files that are larger make a root too unusual to remember anything about it, bytes.
const LARGEST: u64 = 128 * 1024 * 1024;

/// The place of one answer.
pub(super) struct Memory(PathBuf);

/// What was answered.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub install: Vec<Planned>,
    pub remove: Vec<Removal>,
    pub order: Option<Order>,
}

impl Memory {
    /// The place of the answer to `dependencies`; nothing if nothing is remembered.
    pub(super) fn of(apt: &Apt<'_>, dependencies: &BuildDependencies) -> Result<Option<Self>> {
        let Some(folder) = &apt.plans else { return Ok(None) };
        let mut hasher = Hasher::new();
        let mut add = |part: &[u8]| hasher.add_part(part);
        add(FORMAT);
        add(apt.archive.digest.as_bytes());
        // The same index files may be reached at other places.
        add(crate::archive::state::sources_list(apt.archive).as_bytes());
        add(&setup::identity());
        add(&dependencies.dummy(apt.architecture())?);
        let mut files: Vec<String> = FILES.iter().map(|path| (*path).to_owned()).collect();
        for folder in FOLDERS {
            match apt.session.list_directory(folder) {
                Ok(entries) => files.extend(
                    entries
                        .iter()
                        .map(|e| format!("{folder}/{}", String::from_utf8_lossy(&e.name))),
                ),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        for path in &files {
            add(path.as_bytes());
            match content(apt.session, path) {
                Ok(content) => add(content.as_bytes()),
                Err(error) if is_missing(&error) => add(b""),
                // Something is there that is no file: apt may know what to do with it.
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(Memory(folder.join(format!("{}.json", hasher.finish())))))
    }

    /// The answer, if there is one.
    pub(super) fn recall(&self) -> Option<Answer> {
        serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()
    }

    /// Keeps an answer. That it cannot be written only costs time.
    pub(super) fn remember(&self, plan: &Plan) {
        let Plan { install, remove, order, .. } = plan.clone();
        let answer = Answer { install, remove, order };
        let write = || -> Option<()> {
            let folder = self.0.parent()?;
            std::fs::create_dir_all(folder).ok()?;
            let mut file = tempfile::NamedTempFile::with_prefix_in(NEW, folder).ok()?;
            serde_json::to_writer(&mut file, &answer).ok()?;
            file.persist(&self.0).ok().map(drop)
        };
        let _ = write();
    }
}

fn content(session: &Session, path: &str) -> Result<Sha256> {
    Ok(Sha256::of(&session.read_file(path, LARGEST)?))
}

fn is_missing(error: &crate::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}
