//! From a package set to the first layer.

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;
use crate::store::Zone;
use crate::store::layer::Layer;
use std::sync::Arc;

/// The base layer of `config`, made if it is missing.
pub fn provide(_zone: &Arc<Zone>, config: &Config, _scope: &Scope) -> Result<Layer> {
    Err(Error::new(ErrorKind::Bootstrap, format!("{} cannot be bootstrapped yet", config.name)))
}
