//! Which base was chosen before.
//!
//! The packages of a base follow from the index files, from the way to them, and from what the
//! config asks for. Where all these are the same, nothing is resolved again, as long as the store
//! has the layer that was the answer. The directory belongs to the host process.

use super::FORMAT;
use crate::archive::checksum::Hasher;
use crate::archive::state::{ArchiveState, NEW, PLANS, make_folder, publish, sources_list};
use crate::buildroot::POLICY_FILE;
use crate::solve::{CHOICE, Request};
use crate::store::layer::LayerKey;
use crate::store::used;
use debmock_helper::protocol::BUILD_ID;
use std::io::Write;
use std::path::PathBuf;

/// Among the directories for stacks of layers, that for what stands on none.
const FOLDER: &str = "none";

/// The place of one answer.
pub(super) struct Memory(PathBuf);

impl Memory {
    /// The place of the answer to `request`; `epoch` and `flat` are what else decides a layer.
    pub fn of(state: &ArchiveState, request: &Request, epoch: Option<u64>, flat: bool) -> Self {
        let mut hasher = Hasher::new();
        let mut add = |part: &[u8]| hasher.add_part(part);
        add(BUILD_ID.as_bytes());
        add(FORMAT);
        add(CHOICE);
        add(POLICY_FILE.as_bytes());
        add(state.digest.as_bytes());
        // The same index files may be reached at other places.
        add(sources_list(state).as_bytes());
        add(state.architecture.as_bytes());
        add(format!("{request:?} {epoch:?} {flat}").as_bytes());
        let name = hasher.finish().to_string();
        Memory(state.lists.with_file_name(PLANS).join(FOLDER).join(name))
    }

    /// The answer, if there is one.
    pub fn recall(&self) -> Option<LayerKey> {
        let key = LayerKey::parse(&std::fs::read_to_string(&self.0).ok()?)?;
        used::note(&self.0);
        Some(key)
    }

    /// Keeps an answer. That it cannot be written only costs time.
    pub fn remember(&self, key: &LayerKey) {
        let write = || -> Option<()> {
            let folder = self.0.parent()?;
            make_folder(folder).ok()?;
            let mut file = tempfile::NamedTempFile::with_prefix_in(NEW, folder).ok()?;
            file.write_all(key.as_str().as_bytes()).ok()?;
            publish(file, &self.0).ok()
        };
        let _ = write();
    }
}
