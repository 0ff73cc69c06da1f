//! The files that a session brings along.

use crate::error::{IoContext, Result};
use debmock_helper::protocol::{SessionFile, bytes};
use std::fs;

/// Keeps services from being started by maintainer scripts: 101 is "action forbidden by policy"
/// (`invoke-rc.d(8)`, policy-rc.d specification).
pub(crate) const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Host name, hosts, resolver and service policy of a session. Without network the resolver's
/// configuration is empty, so that look-ups fail at once instead of waiting for a server.
pub(crate) fn session_files(hostname: &str, network: bool) -> Result<Vec<SessionFile>> {
    let resolver = if network {
        fs::read("/etc/resolv.conf").doing(|| "cannot read /etc/resolv.conf".into())?
    } else {
        Vec::new()
    };
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    );
    let file = |path: &str, mode, content: &[u8]| SessionFile {
        path: path.into(),
        mode,
        content: bytes(content),
    };
    Ok(vec![
        file("etc/hostname", 0o644, format!("{hostname}\n").as_bytes()),
        file("etc/hosts", 0o644, hosts.as_bytes()),
        file("etc/resolv.conf", 0o644, &resolver),
        policy(),
    ])
}

/// The service policy alone.
pub(crate) fn policy() -> SessionFile {
    SessionFile { path: "usr/sbin/policy-rc.d".into(), mode: 0o755, content: bytes(POLICY) }
}
