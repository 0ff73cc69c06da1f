//! Indexes: which ones a suite has, and each of them, decoded, in the store.

use super::Acquire;
use crate::archive::checksum::{Hashing, Sha256};
use crate::archive::decode::{Compression, copy_bounded};
use crate::archive::parallel::in_parallel;
use crate::archive::release::{Listed, Release};
use crate::archive::state::{ArchiveState, IndexFile, SuiteState, suite_url};
use crate::archive::table::Scanner;
use crate::archive::transport::{Download, Size, Started, into_error};
use crate::archive::uri;
use crate::config::{ArchiveSource, ByHash};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Unit, What};
use crate::operation::Scope;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Largest decoded index where the Release file names only a compressed one, in bytes.
const UNLISTED: u64 = 1024 * 1024 * 1024;

/// An index that is to be on disk.
pub(super) struct Wanted {
    pub suite: usize,
    pub component: String,
    pub architecture: String,
    /// Below the suite's directory, without suffix.
    pub path: String,
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

impl Acquire<'_> {
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

    /// Component, architecture and path of the indexes of binary packages.
    pub(super) fn paths(
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

    pub(super) fn indexes(
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
        let parallel = if total == 0 { 1 } else { self.parallel };
        let mut paths = in_parallel(parallel, &order, |index| {
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
        let (mut copied, kept) = {
            let mut decoder = BufReader::with_capacity(256 * 1024, compression.decode(&mut input)?);
            // Decoding takes longer than all that happens to what is decoded.
            let (sender, receiver) = sync_channel::<Vec<u8>>(16);
            std::thread::scope(|threads| {
                let keeper = threads.spawn(|| {
                    let mut scanner = Scanner::default();
                    for piece in receiver {
                        object.write_all(&piece)?;
                        scanner.feed(&piece);
                    }
                    Ok(scanner.made())
                });
                let copied = copy_bounded(&mut decoder, &mut Pieces(sender), limit);
                (
                    copied,
                    keeper.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))),
                )
            })
        };
        // What could not be kept is why no more was decoded.
        let table = match kept {
            Ok(table) => Some(table),
            Err(error) => {
                copied = Err(error);
                None
            }
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
        let path = self.lists.keep_as(file, name)?;
        if let Some(table) = table {
            table.keep(&path);
        }
        Ok(path)
    }
}

/// Hands what is written on to another thread.
struct Pieces(SyncSender<Vec<u8>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(bytes.to_vec()).map_err(gone).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
