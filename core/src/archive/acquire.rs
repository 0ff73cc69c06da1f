//! Brings the index files up to date.
//!
//! For each source: the Release file by a conditional request, its signature, its dates, then
//! the indexes that the store does not have yet, all sources at once. Without a change this
//! costs one conditional request for each source and nothing else.

use super::checksum::{Hashing, Sha256};
use super::date;
use super::deb822;
use super::decode::{Compression, copy_bounded};
use super::release::{Listed, Release};
use super::signature::Keys;
use super::state::{ArchiveState, IndexFile, Lists, Seen, SignedFile, SuiteState, suite_url};
use super::transport::{
    Download, Size, Small, Started, Transport, Validators, into_error, read_small,
};
use super::uri;
use crate::config::{ArchiveSource, ByHash};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Unit, What};
use crate::operation::Scope;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// When servers are asked for new Release files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Every time.
    Always,
    /// If the last time is longer ago than this.
    OlderThan(Duration),
    /// Never: what is in the store must do.
    Never,
}

/// Largest Release file that is accepted, in bytes. Debian's have 200 kB.
const RELEASE: u64 = 16 * 1024 * 1024;

/// Largest decoded index where the Release file names only a compressed one, in bytes.
const UNLISTED: u64 = 1024 * 1024 * 1024;

/// What to do about a file that is not what an archive makes.
const DAMAGED: &str = "the mirror may be in the middle of an update or damaged, or something on the way answers in its place: try again later or use another one";

/// Everything that acquiring needs to know about its surroundings.
pub struct Acquire<'a> {
    /// How files are got.
    pub transport: &'a dyn Transport,
    /// The store of index files.
    pub lists: &'a Lists,
    /// Gives the archive keys that the library carries under a name.
    pub builtin_keys: fn(&str) -> Option<&'static [u8]>,
    /// Transfers at once.
    pub parallel: usize,
    /// Where events go and cancelling comes from.
    pub scope: &'a Scope,
}

impl Acquire<'_> {
    /// Brings the binary indexes of `sources` for `architecture` up to date.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] and [`ErrorKind::Signature`], as the parts of the chain have them;
    /// [`ErrorKind::Config`] if no source is left.
    pub fn refresh(
        &self,
        sources: &[ArchiveSource],
        architecture: &str,
        refresh: Refresh,
    ) -> Result<ArchiveState> {
        let releases = in_parallel(self.parallel, sources, |source| {
            self.release(source, refresh).map_err(|error| error.or_hint(DAMAGED))
        })?;
        let mut files = Vec::new();
        let mut suites = Vec::new();
        let mut wanted = Vec::new();
        for (source, found) in sources.iter().zip(releases) {
            let Some((release, signed)) = found else { continue };
            let url = suite_url(source);
            let mut file = |name: &str, sha256| {
                files.push((uri::list_name(&format!("{url}{name}")), self.lists.object(sha256)));
            };
            match signed {
                SignedFile::Inline(object) => file("InRelease", object),
                SignedFile::Unsigned(object) => file("Release", object),
                SignedFile::Detached { release, signature } => {
                    file("Release", release);
                    file("Release.gpg", signature);
                }
            }
            let own = [architecture.to_owned()];
            let architectures = match source.architectures.is_empty() {
                true => &own[..],
                false => &source.architectures,
            };
            for (component, architecture, path) in self.paths(source, &release, architectures) {
                wanted.push(Wanted { suite: suites.len(), component, architecture, path });
            }
            suites.push(SuiteState { source: source.clone(), release, indexes: Vec::new() });
        }
        if suites.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no archive is left to take packages from")
                .with_hint("set `archives` in the config"));
        }
        for (wanted, path) in self.indexes(&suites, wanted)? {
            let suite = &mut suites[wanted.suite];
            let url = format!("{}{}", suite_url(&suite.source), wanted.path);
            files.push((uri::list_name(&url), path.clone()));
            let (component, architecture) = (wanted.component, wanted.architecture);
            suite.indexes.push(IndexFile { component, architecture, path });
        }
        let (digest, lists) = self.lists.assemble(&files)?;
        Ok(ArchiveState { digest, lists, architecture: architecture.to_owned(), suites })
    }

    /// The indexes of source packages of all suites of `state`, fetched if the store does not
    /// have them.
    ///
    /// # Errors
    /// As [`Acquire::refresh`].
    pub fn source_indexes(&self, state: &ArchiveState) -> Result<Vec<(usize, IndexFile)>> {
        let mut wanted = Vec::new();
        for (suite, found) in state.suites.iter().enumerate() {
            let flat = found.source.suite.ends_with('/');
            let components = if flat { &[String::new()][..] } else { &found.source.components };
            for component in components {
                let path = match flat {
                    true => "Sources".to_owned(),
                    false => format!("{component}/source/Sources"),
                };
                if variants(&found.release, &path).next().is_some() {
                    let (component, architecture) = (component.clone(), "source".to_owned());
                    wanted.push(Wanted { suite, component, architecture, path });
                }
            }
        }
        let found = self.indexes(&state.suites, wanted)?;
        let index = |(wanted, path): (Wanted, PathBuf)| {
            let (component, architecture) = (wanted.component, wanted.architecture);
            (wanted.suite, IndexFile { component, architecture, path })
        };
        Ok(found.into_iter().map(index).collect())
    }

    /// The verified Release file of a source; `None` if it is to be left out.
    fn release(
        &self,
        source: &ArchiveSource,
        refresh: Refresh,
    ) -> Result<Option<(Release, SignedFile)>> {
        let url = suite_url(source);
        let shown = uri::redacted(&url);
        let seen = self.lists.seen(source);
        let now = date::now();
        let ask = match (&seen, refresh) {
            (_, Refresh::Always) | (None, Refresh::OlderThan(_)) => true,
            (Some(seen), Refresh::OlderThan(age)) => !(0..=i64::try_from(age.as_secs())
                .unwrap_or(i64::MAX))
                .contains(&(now - seen.asked)),
            (Some(_), Refresh::Never) => false,
            (None, Refresh::Never) => {
                let error = Error::new(
                    ErrorKind::Archive,
                    format!("there is no index of {shown} in the store, and none may be fetched"),
                );
                return Err(error.with_hint(
                    "run `debmock update`, or set `refresh` to something else than `never`",
                ));
            }
        };
        let keys = match source.trusted {
            true => None,
            false => Some(Keys::load(&source.keyring, self.builtin_keys)?),
        };
        let mut fresh = None;
        if ask {
            let known =
                seen.as_ref().filter(|seen| !matches!(seen.signed, SignedFile::Unsigned(_)));
            fresh = self.fetch_release(&url, source, known.map(|seen| &seen.validators))?;
        }
        let taken = match (fresh, seen) {
            (None, Some(seen)) => self.stored(&seen, &url, keys.as_ref(), ask)?,
            (Some(fetched), seen) => {
                let text = fetched.verify(&url, keys.as_ref())?;
                let release = Release::parse(&text, &fetched.name(&url))?;
                match seen {
                    Some(seen) if seen.date > release.date() => {
                        self.scope.warn(
                            format!("{} is older than the one that was seen before; the newer one is used", fetched.name(&url)),
                            Some("the mirror is behind or its servers are not in step".into()),
                        );
                        self.stored(&seen, &url, keys.as_ref(), true)?
                    }
                    _ => (release, fetched.store(self.lists)?, Some(fetched.validators)),
                }
            }
            (None, None) => {
                return Err(Error::new(ErrorKind::Archive, format!("{shown} has no Release file")));
            }
        };
        let (release, signed, validators) = taken;
        if let Some(origin) = &source.origin
            && release.origin() != origin
        {
            self.scope.warn(
                format!(
                    "{shown} is left out: its Origin is {:?}, not {origin:?}",
                    release.origin()
                ),
                None,
            );
            return Ok(None);
        }
        for warning in release.check(source, now)? {
            self.scope.warn(warning, None);
        }
        if let Some(validators) = validators {
            self.lists
                .set_seen(source, &Seen { signed, validators, date: release.date(), asked: now })?;
        }
        Ok(Some((release, signed)))
    }

    /// The Release file that the store has. It is verified again: keys may have changed.
    fn stored(
        &self,
        seen: &Seen,
        url: &str,
        keys: Option<&Keys>,
        asked: bool,
    ) -> Result<(Release, SignedFile, Option<Validators>)> {
        let fetched = Fetched::load(seen, self.lists)?;
        let text = fetched.verify(url, keys)?;
        let release = Release::parse(&text, &fetched.name(url))?;
        Ok((release, seen.signed, asked.then(|| seen.validators.clone())))
    }

    /// Gets `InRelease`, else `Release` and `Release.gpg`; `None` if nothing has changed.
    fn fetch_release(
        &self,
        url: &str,
        source: &ArchiveSource,
        known: Option<&Validators>,
    ) -> Result<Option<Fetched>> {
        let get = |name: &str, known| {
            let url = format!("{url}{name}");
            read_small(self.transport, self.scope, &url, RELEASE, known)
        };
        let missing = match get("InRelease", known)? {
            Small::Unchanged => return Ok(None),
            Small::Bytes(text, validators) => {
                return Ok(Some(Fetched { text, proof: Proof::Inline, validators }));
            }
            Small::Missing(how) => how,
        };
        let (text, validators) = match get("Release", None)? {
            Small::Bytes(text, validators) => (text, validators),
            _ => {
                let shown = uri::redacted(url);
                return Err(Error::new(
                    ErrorKind::Archive,
                    format!("{shown} has neither InRelease nor Release: {missing}"),
                )
                .with_hint(format!(
                    "check the archive's URI and whether it has the suite {:?}",
                    source.suite
                )));
            }
        };
        let proof = match get("Release.gpg", None)? {
            Small::Bytes(signature, _) => Proof::Detached(signature),
            _ => Proof::None,
        };
        Ok(Some(Fetched { text, proof, validators }))
    }

    /// Component, architecture and path of the indexes of binary packages.
    fn paths(
        &self,
        source: &ArchiveSource,
        release: &Release,
        architectures: &[String],
    ) -> Vec<(String, String, String)> {
        if source.suite.ends_with('/') {
            let architecture = architectures.first().cloned().unwrap_or_default();
            return vec![(String::new(), architecture, "Packages".to_owned())];
        }
        let shown = uri::redacted(&suite_url(source));
        let mut paths = Vec::new();
        for component in &source.components {
            if !release.has_files_below(&format!("{component}/")) {
                self.scope.warn(
                    format!("{shown} has no component {component:?}"),
                    Some("check the spelling of `components` in the config".into()),
                );
                continue;
            }
            let all = "all".to_owned();
            let apart = release.has_own_all_index().then_some(&all);
            for architecture in architectures.iter().chain(apart) {
                let path = format!("{component}/binary-{architecture}/Packages");
                if variants(release, &path).next().is_some() {
                    paths.push((component.clone(), architecture.clone(), path));
                } else if architecture != "all" {
                    let what =
                        if release.has_architecture(architecture) { "index" } else { "packages" };
                    self.scope.warn(
                        format!("{shown} has no {what} for {component} on {architecture}"),
                        None,
                    );
                }
            }
        }
        paths
    }

    fn indexes(
        &self,
        suites: &[SuiteState],
        wanted: Vec<Wanted>,
    ) -> Result<Vec<(Wanted, PathBuf)>> {
        let size = |wanted: &Wanted| {
            variants(&suites[wanted.suite].release, &wanted.path)
                .next()
                .map_or(0, |(_, listed)| listed.size)
        };
        let missing = |wanted: &&Wanted| {
            let release = &suites[wanted.suite].release;
            self.in_store(release, &wanted.path).is_none()
        };
        let total = wanted.iter().filter(missing).map(size).sum();
        let progress = Progress { scope: self.scope, done: AtomicU64::new(0), total };
        let mut wanted = wanted;
        // The largest first, or it alone decides how long everything takes.
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(size(&wanted[*index])));
        let mut paths = in_parallel(self.parallel, &order, |index| {
            let wanted = &wanted[*index];
            self.index(&suites[wanted.suite], &wanted.path, &progress).map(|path| (*index, path))
        })?;
        paths.sort_by_key(|(index, _)| *index);
        Ok(wanted.drain(..).zip(paths.into_iter().map(|(_, path)| path)).collect())
    }

    /// The decoded index, if the store has it.
    fn in_store(&self, release: &Release, path: &str) -> Option<PathBuf> {
        match release.file(path) {
            Some(plain) => self.lists.find(plain.sha256, plain.size),
            None => variants(release, path).find_map(|(_, listed)| {
                let path = self.lists.object(unlisted_name(listed));
                path.is_file().then_some(path)
            }),
        }
    }

    /// One index, decoded, from the store or the archive.
    fn index(&self, suite: &SuiteState, path: &str, progress: &Progress<'_>) -> Result<PathBuf> {
        let (source, release) = (&suite.source, &suite.release);
        if let Some(found) = self.in_store(release, path) {
            return Ok(found);
        }
        let base = suite_url(source);
        let by_hash = match source.by_hash {
            ByHash::Auto => release.by_hash(),
            ByHash::No => false,
            ByHash::Force => true,
        };
        let mut absent = String::new();
        for (compression, listed) in variants(release, path) {
            let named = format!("{base}{path}{}", compression.suffix());
            let folder = named.rsplit_once('/').map_or("", |(folder, _)| folder);
            let hashed = format!("{folder}/by-hash/SHA256/{}", listed.sha256);
            let urls = match (by_hash, source.by_hash) {
                (true, ByHash::Force) => vec![hashed],
                (true, _) => vec![hashed, named],
                (false, _) => vec![named],
            };
            for url in urls {
                match Download::start(
                    self.transport,
                    self.scope,
                    &url,
                    0,
                    Size::Exactly(listed.size),
                    None,
                )? {
                    Started::Stream(stream) => {
                        let plain = release.file(path);
                        return self.decode(stream, &url, compression, listed, plain, progress);
                    }
                    Started::Missing(how) => absent = how,
                    Started::Unchanged => {}
                }
            }
        }
        Err(Error::new(
            ErrorKind::Archive,
            format!("the index {}{path} is missing: {absent}", uri::redacted(&base)),
        )
        .with_hint(
            "the mirror may be in the middle of an update: try again later or use another one",
        ))
    }

    fn decode(
        &self,
        stream: Download<'_>,
        url: &str,
        compression: Compression,
        listed: Listed,
        plain: Option<Listed>,
        progress: &Progress<'_>,
    ) -> Result<PathBuf> {
        let shown = uri::redacted(url);
        let damaged = |why: String| {
            Error::new(ErrorKind::Archive, format!("{shown} {why}"))
                .with_hint("the mirror may be in the middle of an update or damaged: try again later or use another one")
        };
        let mut input = Hashing::new(Counted { inner: stream, progress });
        let mut object = self.lists.create()?;
        let limit = plain.map_or(UNLISTED, |plain| plain.size);
        let copied = {
            let mut decoder = BufReader::with_capacity(256 * 1024, compression.decode(&mut input)?);
            copy_bounded(&mut decoder, &mut object, limit)
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::io(format!("cannot store {shown}"), error)
            }
            _ => match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => damaged("cannot be decoded".to_owned()).with_source(error),
            },
        };
        // What the decoder did not need belongs to the hash all the same. If it was not fed what
        // the archive made, that is the reason to name.
        let drained = io::copy(&mut input, &mut io::sink());
        let (_, sha256, _) = input.finish();
        if drained.is_ok() && sha256 != listed.sha256 {
            return Err(damaged(format!(
                "has the SHA-256 {sha256} instead of the {} that the Release file names",
                listed.sha256
            )));
        }
        let copied = copied.map_err(failed)?;
        drained.map_err(|error| into_error(error, || format!("cannot fetch {shown}")))?;
        if copied.is_none() {
            return Err(damaged(format!(
                "decodes to more than the {limit} bytes that it may have"
            )));
        }
        let (file, sha256, size) = self.lists.finish(object)?;
        let name = match plain {
            Some(plain) if (plain.sha256, plain.size) != (sha256, size) => {
                return Err(damaged(format!(
                    "decodes to {size} bytes with the SHA-256 {sha256} instead of {} bytes with {}",
                    plain.size, plain.sha256
                )));
            }
            Some(plain) => plain.sha256,
            None => unlisted_name(listed),
        };
        self.lists.keep_as(file, name)
    }
}

/// An index that is to be on disk.
struct Wanted {
    suite: usize,
    component: String,
    architecture: String,
    /// Below the suite's directory, without suffix.
    path: String,
}

/// The forms of an index that the Release file names.
fn variants<'a>(
    release: &'a Release,
    path: &'a str,
) -> impl Iterator<Item = (Compression, Listed)> + 'a {
    Compression::ALL.into_iter().filter_map(move |compression| {
        Some((compression, release.file(&format!("{path}{}", compression.suffix()))?))
    })
}

/// Under which name a decoded index is kept whose own hash the Release file does not name.
fn unlisted_name(listed: Listed) -> Sha256 {
    Sha256::of(format!("decoded from {}", listed.sha256).as_bytes())
}

/// A Release file as it was fetched.
struct Fetched {
    text: Vec<u8>,
    proof: Proof,
    validators: Validators,
}

enum Proof {
    Inline,
    Detached(Vec<u8>),
    None,
}

impl Fetched {
    fn load(seen: &Seen, lists: &Lists) -> Result<Self> {
        let (text, proof) = match seen.signed {
            SignedFile::Inline(object) => (lists.read(object)?, Proof::Inline),
            SignedFile::Unsigned(object) => (lists.read(object)?, Proof::None),
            SignedFile::Detached { release, signature } => {
                (lists.read(release)?, Proof::Detached(lists.read(signature)?))
            }
        };
        Ok(Fetched { text, proof, validators: seen.validators.clone() })
    }

    fn name(&self, url: &str) -> String {
        let name = if matches!(self.proof, Proof::Inline) { "InRelease" } else { "Release" };
        format!("{}{name}", uri::redacted(url))
    }

    /// The text that is covered by a signature; without keys (a trusted source) all of it.
    fn verify(&self, url: &str, keys: Option<&Keys>) -> Result<Vec<u8>> {
        let name = self.name(url);
        match (keys, &self.proof) {
            (None, _) => deb822::strip_signature(&self.text, &name),
            (Some(keys), Proof::Inline) => keys.verify_inline(&self.text, &name),
            (Some(keys), Proof::Detached(signature)) => {
                keys.verify_detached(&self.text, signature, &name).map(|()| self.text.clone())
            }
            (Some(_), Proof::None) => Err(super::signature::unsigned(&name)),
        }
    }

    fn store(&self, lists: &Lists) -> Result<SignedFile> {
        let text = lists.put(&self.text)?;
        Ok(match &self.proof {
            Proof::Inline => SignedFile::Inline(text),
            Proof::Detached(signature) => {
                SignedFile::Detached { release: text, signature: lists.put(signature)? }
            }
            Proof::None => SignedFile::Unsigned(text),
        })
    }
}

/// Bytes of indexes that have arrived, as events.
struct Progress<'a> {
    scope: &'a Scope,
    done: AtomicU64,
    total: u64,
}

struct Counted<'a, R> {
    inner: R,
    progress: &'a Progress<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let done = self.progress.done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        self.progress.scope.emit(What::Progress {
            stage: "indexes".into(),
            done: done.min(self.progress.total),
            total: Some(self.progress.total),
            unit: Unit::Bytes,
        });
        Ok(count)
    }
}

/// Runs `work` on all items, at most `parallel` at once. The first error wins; what has not
/// begun then does not begin.
pub(super) fn in_parallel<T: Sync, R: Send>(
    parallel: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    let lock = |error| std::sync::PoisonError::into_inner(error);
    std::thread::scope(|threads| {
        let worker = || {
            while failure.lock().unwrap_or_else(lock).is_none() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { break };
                match work(item) {
                    Ok(result) => {
                        results
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((index, result));
                    }
                    Err(error) => {
                        failure.lock().unwrap_or_else(lock).get_or_insert(error);
                    }
                }
            }
        };
        let count = parallel.max(1).min(items.len());
        for _ in 1..count {
            threads.spawn(worker);
        }
        worker();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
pub(crate) mod tests;
