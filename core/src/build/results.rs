//! The result directory.
//!
//! Everything is written into a directory beside it and gets its place at the end. A result
//! directory that does not exist yet appears by one rename. One that exists keeps what other
//! files it has; the files of an earlier result in it are replaced, and `result.json` is the first
//! one that goes and the last one that comes: a directory without it has no complete result.

use super::ResultDir;
use super::record::BuildResult;
use crate::buildroot::aside;
use crate::error::{Error, ErrorKind, IoContext, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Logs that a result may have.
const LOGS: &[&str] = &["build.log", "root.log", "state.log", "installed_pkgs.log"];
const RECORD: &str = "result.json";
/// Names that no file of a build may have.
pub(super) const RESERVED: &[&str] =
    &["build.log", "root.log", "state.log", "installed_pkgs.log", RECORD];
/// Name of the directories beside; the process that works there follows.
const ASIDE: &str = ".debmock-result.";

/// Where results are gathered and where they go.
#[derive(Debug)]
pub(super) struct Results {
    /// The directory beside; removed when this is dropped.
    beside: aside::Folder,
    /// Where they go; named after what was asked for as long as the source is unknown.
    target: PathBuf,
    below: Option<PathBuf>,
}

impl Results {
    /// Makes sure that results can be written. Until [`Results::name`] tells more, a directory
    /// below another one is called `label`.
    pub(super) fn open(place: &ResultDir, label: &str) -> Result<Self> {
        let refused = |error: io::Error, path: &Path| {
            Error::io(format!("cannot write results to {}", path.display()), error)
                .with_kind(ErrorKind::ResultDir)
                .with_hint("choose another directory with --resultdir")
        };
        let absolute = |path: &Path| std::path::absolute(path).map_err(|e| refused(e, path));
        let (parent, target, below) = match place {
            ResultDir::Below(folder) => {
                let folder = absolute(folder)?;
                (folder.clone(), folder.join(label), Some(folder))
            }
            ResultDir::Exactly(folder) => {
                let folder = absolute(folder)?;
                // Files are renamed into an existing directory: it must be of the same file system.
                let parent = match folder.exists() {
                    true => folder.clone(),
                    false => folder.parent().unwrap_or(Path::new("/")).to_owned(),
                };
                (parent, folder, None)
            }
        };
        fs::create_dir_all(&parent).map_err(|error| refused(error, &parent))?;
        let beside = aside::directory(&parent, ASIDE).map_err(|error| refused(error, &parent))?;
        Ok(Results { beside, target, below })
    }

    /// Where a file is as long as the result is not complete.
    pub(super) fn aside(&self, name: &str) -> PathBuf {
        self.beside.path().join(name)
    }

    /// Where the results go.
    pub(super) fn place(&self) -> &Path {
        &self.target
    }

    /// Bytes that may be written there.
    pub(super) fn free(&self) -> Result<u64> {
        let path = self.beside.path();
        let disk =
            rustix::fs::statvfs(path).doing(|| format!("cannot look at {}", path.display()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// A directory for files that do not belong to the result.
    pub(super) fn scratch(&self) -> Result<PathBuf> {
        let path = self.aside(".scratch");
        fs::create_dir_all(&path).doing(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Tells the name of what is built, which the result directory may be named after.
    pub(super) fn name(&mut self, source: &str, version: &str) {
        if let Some(below) = self.below.take() {
            let version = version.split_once(':').map_or(version, |(_, rest)| rest);
            self.target = below.join(format!("{source}_{version}"));
        }
    }

    /// Gives the logs, the record and `files` their place, which is returned.
    ///
    /// # Errors
    /// [`ErrorKind::ResultDir`].
    pub(super) fn publish(&self, record: &mut BuildResult, files: &[PathBuf]) -> Result<PathBuf> {
        let target = self.target.clone();
        let folder = self.beside.path();
        let present = |name: &&&str| folder.join(name).is_file();
        record.logs = LOGS.iter().filter(present).map(|name| (*name).to_owned()).collect();
        record.resultdir.clone_from(&target);
        let mut text = serde_json::to_vec_pretty(&record).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "cannot write result.json").with_source(error)
        })?;
        text.push(b'\n');
        let move_all = || -> Result<()> {
            fs::write(folder.join(RECORD), text).doing(|| format!("cannot write {RECORD}"))?;
            // Neither what a collection left that failed, nor scratch files, are results.
            for name in entries(folder)? {
                let path = folder.join(&name);
                if path.is_dir() {
                    fs::remove_dir_all(&path).doing(|| format!("cannot remove {name}"))?;
                } else if !RESERVED.contains(&name.as_str()) && !files.contains(&path) {
                    fs::remove_file(&path).doing(|| format!("cannot remove {name}"))?;
                }
            }
            let new = match target.exists() {
                true => None,
                false => fs::create_dir(&target).is_ok().then_some(()),
            };
            // A new directory has the mode that the caller's umask gives it.
            if new.is_some() && take_place(folder, &target).is_ok() {
                return Ok(());
            }
            // A build that failed does not take away what an earlier one gave.
            let replaced =
                if files.is_empty() { Vec::new() } else { earlier_files(&target.join(RECORD)) };
            move_into(folder, &target, &replaced)
        };
        move_all().map_err(|error| error.with_kind(ErrorKind::ResultDir))?;
        Ok(target)
    }
}

/// Renames `folder` over the empty directory `target`, with its mode.
fn take_place(folder: &Path, target: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::metadata(target)?.permissions())?;
    fs::rename(folder, target)
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    let doing = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).doing(doing)? {
        names.push(entry.doing(doing)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Replaces logs, record and the files `old` in an existing directory.
fn move_into(folder: &Path, target: &Path, old: &[String]) -> Result<()> {
    remove_if_there(&target.join(RECORD))?;
    for name in old.iter().map(String::as_str).chain(LOGS.iter().copied()) {
        remove_if_there(&target.join(name))?;
    }
    let mut names = entries(folder)?;
    names.sort_by_key(|name| name == RECORD);
    for name in names {
        let to = target.join(&name);
        fs::rename(folder.join(&name), &to).doing(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot replace {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The files that an earlier `result.json` names.
fn earlier_files(record: &Path) -> Vec<String> {
    let Ok(text) = fs::read(record) else { return Vec::new() };
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&text) else { return Vec::new() };
    let outputs = value.get("outputs").and_then(serde_json::Value::as_array);
    let names = outputs.into_iter().flatten().filter_map(|file| file.get("name")?.as_str());
    names.filter(|name| !name.contains('/') && !name.starts_with('.')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::FileHash;
    use super::*;
    use crate::archive::checksum::Sha256;
    use std::time::SystemTime;

    fn result(results: &Results, file: &str) -> (BuildResult, Vec<PathBuf>) {
        let mut record = BuildResult::new(SystemTime::now());
        let path = results.aside(file);
        fs::write(&path, file).unwrap();
        fs::write(results.aside("build.log"), "x").unwrap();
        fs::write(results.aside("left over"), "x").unwrap();
        results.scratch().unwrap();
        let sha256 = Sha256::of(file.as_bytes());
        record.outputs = vec![FileHash { name: file.into(), size: 1, sha256 }];
        (record, vec![path])
    }

    fn listing(path: &Path) -> Vec<String> {
        let mut names = entries(path).unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_result_appears_at_once_and_replaces_only_an_earlier_result() {
        let home = tempfile::tempdir().unwrap();
        let place = ResultDir::Below(home.path().join("results"));
        for (file, before) in [("a.deb", None), ("b.deb", Some("mine"))] {
            let mut results = Results::open(&place, "x").unwrap();
            results.name("x", "1:2-3");
            let (mut record, files) = result(&results, file);
            let target = home.path().join("results/x_2-3");
            if let Some(mine) = before {
                fs::write(target.join(mine), "").unwrap();
            }
            assert_eq!(results.publish(&mut record, &files).unwrap(), target);
            drop(results);
            let mut wanted = vec![file, "build.log", "result.json"];
            wanted.extend(before);
            wanted.sort_unstable();
            assert_eq!(listing(&target), wanted);
            assert_eq!(listing(&home.path().join("results")), ["x_2-3"]);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_the_start() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        for place in ["file", "file/below"] {
            let place = ResultDir::Exactly(home.path().join(place));
            let error = Results::open(&place, "x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResultDir);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn without_a_source_the_logs_are_where_they_were_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let results = Results::open(&ResultDir::Below(home.path().to_owned()), "x").unwrap();
        let (mut record, _) = result(&results, "a.deb");
        assert_eq!(results.publish(&mut record, &[]).unwrap(), home.path().join("x"));
        drop(results);
        assert_eq!(listing(&home.path().join("x")), ["build.log", "result.json"]);
    }

    #[test]
    fn a_failure_keeps_what_an_earlier_build_gave() {
        let home = tempfile::tempdir().unwrap();
        let place = ResultDir::Exactly(home.path().join("out"));
        let results = Results::open(&place, "x").unwrap();
        let (mut record, files) = result(&results, "a.deb");
        results.publish(&mut record, &files).unwrap();
        let results = Results::open(&place, "x").unwrap();
        fs::write(results.aside("build.log"), "failed").unwrap();
        let mut record = BuildResult::new(SystemTime::now());
        results.publish(&mut record, &[]).unwrap();
        drop(results);
        let out = home.path().join("out");
        assert_eq!(listing(&out)[..2], ["a.deb", "build.log"]);
        assert_eq!(fs::read(out.join("build.log")).unwrap(), b"failed");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let left = home.path().join(format!("{ASIDE}999999999.x"));
        fs::create_dir(&left).unwrap();
        let results = Results::open(&ResultDir::Below(home.path().to_owned()), "x").unwrap();
        assert!(!left.exists() && results.beside.path().exists());
    }
}
