//! From a package set to the first layer.
//!
//! The host process resolves and downloads, the helper unpacks and configures, both at the same
//! time: a package is handed over the moment its file is complete and verified. The layer's key is
//! made of the package set and of everything else that decides what is in the tree.

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

impl Recipe {
    fn key(&self) -> LayerKey {
        let mut set = String::new();
        for package in &self.set.packages {
            let auto = if package.automatic { "auto" } else { "manual" };
            set += &format!("{} {} {}\n", package.sha256, auto, package.phase);
        }
        let epoch = self.epoch.map_or_else(|| "newest".into(), |epoch| epoch.to_string());
        LayerKey::of(
            "base",
            &[
                FORMAT,
                self.set.architecture.as_bytes(),
                set.as_bytes(),
                self.sources.as_bytes(),
                epoch.as_bytes(),
                POLICY_FILE.as_bytes(),
            ],
        )
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
    let recipe = scope.stage("resolve", format!("the packages of {}", config.name), || {
        let packages = archives.packages(&state)?;
        let request = Request {
            essential: true,
            required: config.packages.variant == Variant::Buildd,
            packages: config.packages.wanted(),
        };
        let set = solve(&packages, config.architecture.as_str(), &request, scope)?;
        Ok(Recipe { set, sources: sources_list(&state), epoch: config.source_date_epoch })
    })?;
    layer::provide(zone, &recipe.key(), config.lock_timeout, scope, |home| {
        let tree = layer::below(home, "root");
        zone.make_directory(tree.clone())?;
        let ways = (config.isolation.accept_weak, config.architecture.is_32_bit_here());
        native::make(zone, &recipe, &archives, &tree, ways, scope)
    })
}
