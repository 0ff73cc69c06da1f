//! Looking up host names, once each.
//!
//! ureq looks a name up for every request, also for those that go over a connection that is open
//! already. A resolver that loses one packet in a hundred would then stop a bootstrap for
//! seconds again and again.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// What is known about one host and port; its lock is held while it is looked up.
type Known = Arc<Mutex<Vec<SocketAddr>>>;

/// Remembers what it has found. Clones share it. A look-up that fails is not remembered.
#[derive(Clone, Default)]
pub(super) struct Names {
    known: Arc<Mutex<HashMap<String, Known>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let key = format!("{:?}://{:?}", uri.scheme(), uri.authority());
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        // Others who want the same name wait for this look-up instead of making their own.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            // Without limits on time it makes no thread.
            let found = DefaultResolver::default().resolve(uri, config, timeout)?;
            known.extend(found.iter());
        }
        let mut addresses = self.empty();
        known.iter().for_each(|address| addresses.push(*address));
        Ok(addresses)
    }
}

/// Names of hosts that are reached through a proxy: each of them is the proxy's address, and
/// nobody is asked for their own.
#[derive(Debug)]
pub(super) struct Through {
    pub names: Names,
    /// Its URI; without one hosts are reached directly.
    pub proxy: Option<Uri>,
}

impl Resolver for Through {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.names.resolve(self.proxy.as_ref().unwrap_or(uri), config, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_once() {
        let names = Names::default();
        let uri: Uri = "http://localhost:81/x".parse().unwrap();
        let config = Config::default();
        let first = names.resolve(&uri, &config, NextTimeout::default()).unwrap();
        assert!(first.iter().all(|address| address.port() == 81 && address.ip().is_loopback()));
        // What is remembered is what is given.
        let other: SocketAddr = "192.0.2.1:81".parse().unwrap();
        for known in names.known.lock().unwrap().values() {
            *known.lock().unwrap() = vec![other];
        }
        let second = names.clone().resolve(&uri, &config, NextTimeout::default()).unwrap();
        assert_eq!(&second[..], &[other]);
    }
}
