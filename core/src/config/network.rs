//! How the host process reaches archives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Proxies, credentials and patience, as `apt.conf(5)` and `apt_auth.conf(5)` express them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Proxy for `http` (`Acquire::http::Proxy`, else the environment's `http_proxy`).
    pub http_proxy: Option<String>,
    /// Proxy for `https`.
    pub https_proxy: Option<String>,
    /// Proxy by host name; `DIRECT` means none.
    pub host_proxies: BTreeMap<String, String>,
    /// Hosts that are reached directly (`no_proxy`): names or suffixes that begin with a dot.
    pub no_proxy: Vec<String>,
    /// How often a transfer is tried again after a failure that may pass.
    pub retries: u32,
    /// Longest silence on a connection.
    pub timeout: Duration,
    /// Certificate authorities instead of the host's own store (`Acquire::https::CAInfo`).
    pub ca_info: Option<PathBuf>,
    /// Whether certificates are checked (`Acquire::https::Verify-Peer`).
    pub verify_peer: bool,
    /// Logins by machine (`auth.conf`).
    pub credentials: Vec<Credential>,
    /// Transfers at once.
    pub parallel: usize,
}

/// One `machine` entry of `apt_auth.conf(5)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `host[:port][/path]`, with the scheme in front where the entry has one.
    pub machine: String,
    /// User name.
    pub login: String,
    /// Password; never shown.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} as {})", self.machine, self.login)
    }
}

impl Default for Network {
    fn default() -> Self {
        Network {
            http_proxy: None,
            https_proxy: None,
            host_proxies: BTreeMap::new(),
            no_proxy: Vec::new(),
            retries: 3,
            timeout: Duration::from_secs(30),
            ca_info: None,
            verify_peer: true,
            credentials: Vec::new(),
            parallel: 8,
        }
    }
}
