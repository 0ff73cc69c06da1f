//! Looking up host names, once each.
//!
//! ureq looks a name up for every request, also for those that go over a connection that is open
//! already. A resolver that loses one packet in a hundred would then stop a bootstrap for
//! seconds again and again.
//!
//! The C library's resolver is asked, because it alone knows what the host's `nsswitch.conf` says,
//! and it cannot be interrupted: who cancels waits for the look-up that is under way, at most as
//! long as `resolv.conf(5)` lets the resolver try (with its defaults 10 seconds a name server). No
//! thread is left behind for it, and no other look-up begins once the operation is cancelled.

use super::stop::Stop;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// What is known about one host and port; its lock is held while it is looked up.
type Known = Arc<Mutex<Vec<SocketAddr>>>;

/// Remembers what it has found. Clones share it. A look-up that fails is not remembered.
#[derive(Clone)]
pub(super) struct Names {
    known: Arc<Mutex<HashMap<String, Known>>>,
    stop: Stop,
    proxy: Option<Uri>,
}

impl Names {
    /// Knows nothing yet; looks nothing up once `stop` is set.
    pub(super) fn new(stop: Stop) -> Self {
        Names { known: Arc::default(), stop, proxy: None }
    }

    /// The same for hosts that are reached through a proxy: each of them is the proxy's address,
    /// and nobody is asked for their own. Without a proxy they are reached directly.
    pub(super) fn through(&self, proxy: Option<Uri>) -> Self {
        Names { proxy, ..self.clone() }
    }
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
        let uri = self.proxy.as_ref().unwrap_or(uri);
        let key = format!("{:?}://{:?}", uri.scheme(), uri.authority());
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        // Others who want the same name wait for this look-up instead of making their own.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            // Each of those who waited for a name server that is silent would wait for it again.
            if self.stop.is_set() {
                return Err(ureq::Error::Io(io::Error::other("the operation was cancelled")));
            }
            // Without limits on time it makes no thread.
            let found = DefaultResolver::default().resolve(uri, config, timeout)?;
            known.extend(found.iter());
        }
        let mut addresses = self.empty();
        known.iter().for_each(|address| addresses.push(*address));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::CancelToken;

    #[test]
    fn no_look_up_begins_when_the_operation_is_cancelled() {
        let cancel = CancelToken::new();
        let names = Names::new(Stop::new(cancel.clone()));
        let look_up = |uri: &str| {
            let uri: Uri = uri.parse().unwrap();
            names.resolve(&uri, &Config::default(), NextTimeout::default())
        };
        look_up("http://localhost:81/x").unwrap();
        cancel.cancel();
        // What is known needs none.
        look_up("http://localhost:81/y").unwrap();
        assert!(look_up("http://localhost:82/").unwrap_err().to_string().contains("cancelled"));
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let names = Names::new(Stop::new(CancelToken::new()));
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
