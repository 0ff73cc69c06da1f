//! Gets a set of packages into the store.

use super::checksum::Sha256;
use super::parallel::in_parallel;
use super::transport::{Download, Size, Started, Transport, into_error};
use super::uri;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::event::{PackageAction, Unit, What};
use crate::operation::Scope;
use crate::solve::PackageEntry;
use crate::store::debs::Debs;
use std::cmp::Reverse;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A first root waits for it, since it may bring the links of a merged /usr.
const AWAITED: &str = "base-files";

/// Gets every package of `packages` that the store does not have, `parallel` at once: `base-files`
/// before all others, then the largest first. `deliver` is called for each one, in the thread that
/// got it, as soon as its file is complete and verified; the packages that were there already come
/// first, verified again.
///
/// After an error no other transfer begins, and those that run come to their end. After one of
/// `deliver` they are broken off at once, and `transport` can be used for nothing else
/// ([`Transport::interrupt`]).
///
/// # Errors
/// [`ErrorKind::Archive`] for a file that is missing or is not what the index says; nothing of it
/// is kept then. What an interrupted transfer has got is kept and continued by the next call.
pub fn fetch(
    packages: &[PackageEntry],
    debs: &Debs,
    transport: &dyn Transport,
    parallel: usize,
    scope: &Scope,
    deliver: impl Fn(&PackageEntry, &Path) -> Result<()> + Sync,
) -> Result<()> {
    let order = |package: &&PackageEntry| (package.name != AWAITED, Reverse(package.size));
    let mut wanted: Vec<&PackageEntry> = packages.iter().collect();
    wanted.sort_by_key(order);
    let mut missing = Vec::new();
    let mut present = Vec::new();
    for package in wanted {
        match debs.lookup(package.sha256, package.size) {
            Some(path) => present.push((package, path)),
            None => missing.push(package),
        }
    }
    for (package, path) in present {
        scope.check()?;
        // Nothing unverified is ever unpacked: disks rot, and other programs write.
        if debs.is_sound(package.sha256) {
            deliver(package, &path)?;
        } else {
            let (name, version) = (&package.name, &package.version);
            let hint = "check the disk that the store lies on".to_owned();
            scope.warn(
                format!("{name} {version} is damaged in the store and is fetched again"),
                Some(hint),
            );
            missing.push(package);
        }
    }
    missing.sort_by_key(order);
    let total = missing.iter().map(|package| package.size).sum();
    let progress = Progress { scope, total, done: Mutex::new(0) };
    in_parallel(parallel, &missing, |package| {
        let path = one(package, debs, transport, &progress)?;
        scope.emit(What::Package {
            action: PackageAction::Fetched,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
        });
        // What else is on its way is for nobody then, and may take long.
        deliver(package, &path).inspect_err(|_| transport.interrupt())
    })?;
    Ok(())
}

fn one(
    package: &PackageEntry,
    debs: &Debs,
    transport: &dyn Transport,
    progress: &Progress<'_>,
) -> Result<PathBuf> {
    let shown = uri::redacted(&package.uri);
    let failed = |error: Error| {
        let error = error.or_hint("use another mirror");
        error.context(format!("cannot fetch {} {}", package.name, package.version))
    };
    let mut partial = debs.partial(package.sha256, package.size)?;
    progress.add(partial.size());
    let mut resumed = partial.size() > 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // A file that is complete already needs only its check.
        if partial.size() < package.size || !resumed {
            let started = Download::start(
                transport,
                progress.scope,
                &package.uri,
                partial.size(),
                Size::Exactly(package.size),
                None,
            );
            let mut stream = match started.map_err(failed)? {
                Started::Stream(stream) => stream,
                Started::Missing(how) => {
                    let error = Error::new(ErrorKind::Archive, how)
                        .with_hint("the index is older than the archive: run `debmock update`, or use another mirror");
                    return Err(failed(error));
                }
                // Not asked for.
                Started::Unchanged => {
                    return Err(failed(Error::new(
                        ErrorKind::Archive,
                        format!("{shown} was not sent"),
                    )));
                }
            };
            loop {
                let count = stream.read(&mut buffer).map_err(|error| {
                    failed(into_error(error, || format!("cannot fetch {shown}")))
                })?;
                if count == 0 {
                    break;
                }
                partial.write_all(&buffer[..count]).doing(|| format!("cannot store {shown}"))?;
                progress.add(count as u64);
            }
        }
        let got = partial.sha256();
        if got == package.sha256 {
            return partial.publish(package.sha256, package.size);
        }
        if !resumed {
            partial.discard();
            return Err(failed(wrong(&shown, got, package.sha256)));
        }
        // What was left behind may have been bad: once more from the start.
        resumed = false;
        progress.take(partial.size());
        partial.restart()?;
    }
}

pub(super) fn wrong(shown: &str, got: Sha256, wanted: Sha256) -> Error {
    Error::new(
        ErrorKind::Archive,
        format!(
            "{shown} has the SHA-256 {got} instead of the {wanted} that the signed index names"
        ),
    )
    .with_hint("the mirror or a proxy on the way to it is damaged or hostile: use another one")
}

struct Progress<'a> {
    scope: &'a Scope,
    total: u64,
    done: Mutex<u64>,
}

impl Progress<'_> {
    fn add(&self, bytes: u64) {
        self.change(|done| done + bytes);
    }

    fn take(&self, bytes: u64) {
        self.change(|done| done.saturating_sub(bytes));
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let mut done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *done = change(*done);
        // Sent under the lock, so that the numbers do not go back and forth.
        let (done, total) = (*done, Some(self.total));
        self.scope.emit(What::Progress { stage: "fetch".into(), done, total, unit: Unit::Bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::transport::HostTransport;
    use crate::archive::transport::tests::{Behaviour, Hasty, Server};
    use crate::config::Network;
    use crate::operation::CancelToken;
    use std::time::Duration;

    fn entry(server: &Server, name: &str, body: &[u8]) -> PackageEntry {
        PackageEntry {
            name: name.to_owned(),
            version: "1".into(),
            architecture: "all".into(),
            size: body.len() as u64,
            sha256: Sha256::of(body),
            uri: server.url(&format!("/{name}")),
            essential: false,
            automatic: false,
            phase: 0,
        }
    }

    fn get(entries: &[PackageEntry], cache: &Path) -> Result<Vec<String>> {
        let delivered = Mutex::new(Vec::new());
        fetch(entries, &Debs::open(cache)?, &Hasty::new(), 4, &Scope::quiet(), |package, path| {
            assert_eq!(Sha256::of_file(path).unwrap(), (package.sha256, package.size));
            delivered.lock().unwrap().push(package.name.clone());
            Ok(())
        })?;
        let mut names = delivered.into_inner().unwrap();
        names.sort();
        Ok(names)
    }

    #[test]
    fn packages_are_delivered_once_each_and_not_fetched_again() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        let entries: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                server.set(&format!("/{name}"), Behaviour::File(name.repeat(100_000).into_bytes()));
                entry(&server, name, name.repeat(100_000).as_bytes())
            })
            .into();
        assert_eq!(get(&entries, cache.path()).unwrap(), ["a", "b", "c"]);
        assert_eq!(server.requests().len(), 3);
        assert_eq!(get(&entries, cache.path()).unwrap(), ["a", "b", "c"]);
        assert!(server.requests().is_empty());
    }

    #[test]
    fn what_others_wait_for_comes_first_and_then_the_largest() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        let entries = [("small", 10), ("base-files", 100), ("large", 1000)].map(|(name, size)| {
            server.set(&format!("/{name}"), Behaviour::File(vec![b'x'; size]));
            entry(&server, name, &vec![b'x'; size])
        });
        let debs = Debs::open(cache.path()).unwrap();
        fetch(&entries, &debs, &Hasty::new(), 1, &Scope::quiet(), |_, _| Ok(())).unwrap();
        assert_eq!(server.requests(), ["/base-files", "/large", "/small"]);
    }

    #[test]
    fn the_next_run_goes_on_where_the_last_one_stopped() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        let body = b"x".repeat(100_000);
        let entries = [entry(&server, "a", &body)];
        server.set("/a", Behaviour::Stops(body.clone(), 10_000));
        let error = get(&entries, cache.path()).unwrap_err();
        assert!(error.to_string().contains("cannot fetch a 1"), "{error}");
        assert!(error.to_string().contains("40000 of 100000 bytes"), "{error}");
        server.requests();
        server.set("/a", Behaviour::File(body));
        get(&entries, cache.path()).unwrap();
        assert_eq!(server.requests(), ["/a from 40000"]);
    }

    #[test]
    fn a_consumer_that_fails_ends_the_other_transfers_at_once() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        // Longer than any test may last.
        let network = Network { timeout: Duration::from_secs(86_400), ..Network::default() };
        let transport = HostTransport::new(&network, CancelToken::new()).unwrap();
        server.set("/a", Behaviour::File(b"good".into()));
        server.set("/b", Behaviour::Silent);
        let entries = [entry(&server, "a", b"good"), entry(&server, "b", b"never")];
        let debs = Debs::open(cache.path()).unwrap();
        let error = fetch(&entries, &debs, &transport, 2, &Scope::quiet(), |_, _| {
            while server.requests().iter().all(|path| path != "/b") {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Error::new(ErrorKind::Bootstrap, "the consumer failed"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "the consumer failed");
    }

    #[test]
    fn a_bad_beginning_is_fetched_again() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        let body = b"x".repeat(1000);
        let entries = [entry(&server, "a", &body)];
        for bad in [&b"y".repeat(10)[..], &b"y".repeat(1000), &b"y".repeat(2000)] {
            let debs = Debs::open(cache.path()).unwrap();
            debs.partial(entries[0].sha256, 5000).unwrap().write_all(bad).unwrap();
            server.set("/a", Behaviour::File(body.clone()));
            get(&entries, cache.path()).unwrap();
            std::fs::remove_file(debs.path(entries[0].sha256)).unwrap();
        }
    }

    #[test]
    fn what_is_not_what_the_index_says_stops_everything_and_is_not_kept() {
        let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
        let entries = [entry(&server, "a", b"good")];
        for (body, why) in [
            (&b"evil"[..], "SHA-256"),
            (b"longer", "6 bytes instead of the 4"),
            (b"x", "1 bytes instead of the 4"),
        ] {
            server.set("/a", Behaviour::File(body.into()));
            let error = get(&entries, cache.path()).unwrap_err();
            assert!(error.to_string().contains(why) && error.hint().is_some(), "{error:?}");
            assert!(error.to_string().contains("a 1"), "{error}");
        }
        server.remove("/a");
        assert!(get(&entries, cache.path()).unwrap_err().to_string().contains("404"));
        assert_eq!(std::fs::read_dir(cache.path().join("debs/v1/partial")).unwrap().count(), 0);
        server.set("/a", Behaviour::File(b"good".into()));
        get(&entries, cache.path()).unwrap();
    }
}
