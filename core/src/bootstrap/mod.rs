//! From a package set to the first layer.
//!
//! The host process resolves and downloads, the helper unpacks and configures, both at the same
//! time: a package is handed over the moment its file is complete and verified. The layer's key is
//! made of the package set and of everything else that decides what is in the tree.

mod job;
mod memory;
mod native;

use crate::archive::access::Archives;
use crate::archive::state::sources_list;
use crate::buildroot::POLICY_FILE;
use crate::config::{Bootstrap, Config, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::operation::Scope;
use crate::solve::{PackageSet, Request, solve};
use crate::store::Zone;
use crate::store::layer::{self, Layer, LayerKey};
use memory::Memory;
use std::sync::Arc;

/// Counts up when the same inputs give another tree.
const FORMAT: &[u8] = b"1";
/// What a root is called while something is made in it that others share.
pub(crate) const HOSTNAME: &str = "debmock";

/// Everything that decides what a base layer is.
#[derive(Debug)]
pub struct Recipe {
    /// The packages.
    pub set: PackageSet,
    /// `/etc/apt/sources.list` of the root.
    pub sources: String,
    /// `SOURCE_DATE_EPOCH` for maintainer scripts; nothing: the newest package's own time.
    pub epoch: Option<u64>,
}

/// How roots can be made here.
#[derive(Debug, Clone, Copy)]
struct Site {
    /// Accept a weaker `/proc` or `/sys` with a warning.
    accept_weak: bool,
    /// The programs are of the 32-bit architecture of this 64-bit machine.
    linux32: bool,
    /// Overlays cannot be mounted: a layer is one tree, which roots are copies of.
    flat: bool,
}

impl Recipe {
    fn key(&self, flat: bool) -> LayerKey {
        let mut set = String::new();
        for package in &self.set.packages {
            let auto = if package.automatic { "auto" } else { "manual" };
            set += &format!("{} {} {}\n", package.sha256, auto, package.phase);
        }
        let epoch = self.epoch.map_or_else(|| "newest".into(), |epoch| epoch.to_string());
        let mut parts = vec![
            FORMAT,
            self.set.architecture.as_bytes(),
            set.as_bytes(),
            self.sources.as_bytes(),
            epoch.as_bytes(),
            POLICY_FILE.as_bytes(),
        ];
        // Whoever copies a layer needs all of it in one tree.
        if flat {
            parts.push(b"flat");
        }
        LayerKey::of("base", &parts)
    }
}

/// The base layer of `config`, made if it is missing.
///
/// # Errors
/// [`ErrorKind::Archive`], [`ErrorKind::Signature`] and [`ErrorKind::Dependency`] from the
/// archives, [`ErrorKind::Bootstrap`] if a package cannot be unpacked or configured,
/// [`ErrorKind::Isolation`] if programs of the architecture cannot run here.
pub fn provide(zone: &Arc<Zone>, config: &Config, scope: &Scope) -> Result<Layer> {
    if config.bootstrap == Bootstrap::Dpkg {
        return Err(Error::new(ErrorKind::Config, "bootstrap = \"dpkg\" does not work yet")
            .with_hint("use bootstrap = \"native\""));
    }
    host::check_architecture(&config.architecture)?;
    let archives = Archives::open(config, zone.places(), scope)?;
    let state = archives.state(scope)?;
    let flat = match zone.probe_overlay() {
        Ok(()) => false,
        Err(error) if error.kind() == ErrorKind::Isolation => true,
        Err(error) => return Err(error),
    };
    let request = Request {
        essential: true,
        required: config.packages.variant == Variant::Buildd,
        packages: config.packages.wanted(),
    };
    let (epoch, limit) = (config.source_date_epoch, config.lock_timeout);
    let memory = Memory::of(&state, &request, epoch, flat);
    if let Some(key) = memory.recall()
        && let Some(layer) = layer::find(zone, &key, limit, scope)?
    {
        return Ok(layer);
    }
    let recipe = scope.stage("resolve", format!("the packages of {}", config.name), || {
        let packages = archives.packages(&state)?;
        let set = solve(&packages, config.architecture.as_str(), &request, scope)?;
        Ok(Recipe { set, sources: sources_list(&state), epoch })
    })?;
    let key = recipe.key(flat);
    let layer = layer::provide(zone, &key, limit, scope, |home| {
        let accept_weak = config.isolation.accept_weak;
        let site = Site { accept_weak, linux32: config.architecture.is_32_bit_here(), flat };
        native::make(zone, &recipe, &archives, home, site, scope)
    })?;
    memory.remember(&key);
    Ok(layer)
}
