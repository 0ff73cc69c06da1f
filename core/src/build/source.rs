//! Where the source comes from: the archive, a `.dsc`, or a directory.

use super::{BuildType, SourceSpec, Workshop, tree};
use crate::archive::acquire::Acquire;
use crate::archive::architecture;
use crate::archive::checksum::Sha256;
use crate::archive::deb822::Control;
use crate::archive::index::find_source;
use crate::archive::source::{Dsc, SourceFiles, fetch_dsc, fetch_source};
use crate::archive::version::Version;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::operation::Scope;
use std::path::{Path, PathBuf};

/// A file of a source package, on the host and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, without a folder.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// A source package, ready to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name.
    pub name: String,
    /// Version.
    pub version: Version,
    /// Fields: those of the `.dsc`, or of the first paragraph of `debian/control`.
    pub control: Control,
    /// `Format` (`dpkg-source(1)`), such as `3.0 (quilt)`.
    pub format: String,
    /// The `.dsc` first, then what it names. Of a directory: its upstream tarballs, if any.
    pub files: Vec<SourceFile>,
    /// The unpacked source, if it is a directory.
    pub directory: Option<PathBuf>,
}

impl Source {
    /// The name of the `.dsc`, if there is one already.
    pub fn dsc(&self) -> Option<&str> {
        self.files.first().map(|file| file.name.as_str()).filter(|name| name.ends_with(".dsc"))
    }

    fn of_files(files: SourceFiles) -> Result<Self> {
        let folder = files.dsc.parent().unwrap_or(Path::new("."));
        let name = files.dsc.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (sha256, size) =
            Sha256::of_file(&files.dsc).doing(|| format!("cannot read {}", files.dsc.display()))?;
        let mut all = vec![SourceFile { name, path: files.dsc.clone(), size, sha256 }];
        all.extend(files.content.files.iter().map(|(name, size, sha256)| SourceFile {
            name: name.clone(),
            path: folder.join(name),
            size: *size,
            sha256: *sha256,
        }));
        let content = files.content;
        Ok(Source {
            name: content.name,
            version: content.version,
            control: content.control,
            format: content.format,
            files: all,
            directory: None,
        })
    }

    /// Takes over what the `.dsc` says that was made of a directory. Its files are in the root.
    pub(super) fn describe(&mut self, name: &str, text: &[u8]) -> Result<()> {
        let content = Dsc::parse(text, name)?;
        let file = |name: &str, size, sha256| SourceFile {
            name: name.to_owned(),
            path: PathBuf::new(),
            size,
            sha256,
        };
        self.files = vec![file(name, text.len() as u64, Sha256::of(text))];
        let listed = content.files.iter();
        self.files.extend(listed.map(|(name, size, sha256)| file(name, *size, *sha256)));
        self.control = content.control;
        self.directory = None;
        Ok(())
    }

    /// Refuses a source that has no package for what is built (Policy section 5.6.8).
    pub(super) fn check_architecture(&self, own: &str, build_type: &BuildType) -> Result<()> {
        let source_only = !build_type.any && !build_type.all;
        // Of a directory only the paragraphs of its binary packages know.
        let field = self.control.get("Architecture").filter(|_| self.directory.is_none());
        let Some(field) = field.filter(|_| !source_only) else { return Ok(()) };
        let mut words = field.split_whitespace();
        let fits = words.any(|word| match word {
            "all" => build_type.all,
            word => build_type.any && architecture::matches(word, own),
        });
        if fits {
            return Ok(());
        }
        let what = match (build_type.any, build_type.all) {
            (true, true) => format!("{own} or all"),
            (false, true) => "all".to_owned(),
            _ => own.to_owned(),
        };
        Err(Error::new(
            ErrorKind::Source,
            format!(
                "{} {} has no package for {what}; it has some for {}",
                self.name,
                self.version,
                field.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        ))
    }
}

/// Gets the source and checks it: against the signed index if it comes from the archive, else
/// against its `.dsc`.
pub(super) fn get(
    spec: &SourceSpec,
    workshop: &Workshop<'_>,
    scratch: PathBuf,
    scope: &Scope,
) -> Result<Source> {
    match spec {
        SourceSpec::Package { name, version } => {
            let acquire = Acquire {
                transport: workshop.transport,
                lists: workshop.lists,
                // Source indexes are named by Release files that are verified already.
                builtin_keys: |_| None,
                parallel: workshop.parallel,
                scope,
            };
            let indexes = acquire.source_indexes(workshop.archive)?;
            let entry = find_source(workshop.archive, &indexes, name, version.as_deref())?;
            let folder = workshop.sources.join(format!("{}_{}", entry.name, entry.version));
            std::fs::create_dir_all(&folder)
                .doing(|| format!("cannot make {}", folder.display()))?;
            let files = fetch_source(&entry, &folder, workshop.transport, scope);
            Source::of_files(files.map_err(explain_missing)?)
        }
        SourceSpec::Dsc(location) => {
            Source::of_files(fetch_dsc(location, &scratch, workshop.transport, scope)?)
        }
        SourceSpec::Directory(path) => tree::describe(path, workshop, scope),
    }
}

/// A file that the signed index names and the archive does not have: what helps is another thing
/// than with a `.dsc` of the caller's.
fn explain_missing(error: Error) -> Error {
    let missing = error.kind() == ErrorKind::Archive
        && error.message().starts_with("the file ")
        && error.message().contains(" is missing: ");
    match missing {
        true => error.with_hint(
            "the index may be older than the archive, or the mirror incomplete: run the command \
             again with `-o refresh=always`, or use another mirror",
        ),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_for_another_architecture_is_refused() {
        let source = |architecture: &str| Source {
            name: "x".into(),
            version: Version::parse("1").unwrap(),
            control: Control::parse(format!("Architecture: {architecture}\n").as_bytes(), "x")
                .unwrap(),
            format: "1.0".into(),
            files: Vec::new(),
            directory: None,
        };
        let any = BuildType { any: true, all: false, source: false };
        let all = BuildType { any: false, all: true, source: false };
        let check = |architecture: &str, what: &BuildType| {
            source(architecture).check_architecture("amd64", what)
        };
        check("any all", &any).unwrap();
        check("any-amd64 armhf", &any).unwrap();
        check("all", &BuildType::default()).unwrap();
        check("armhf", &BuildType { any: false, all: false, source: true }).unwrap();
        let error = check("all", &any).unwrap_err();
        assert!(error.to_string().contains("no package for amd64"), "{error}");
        assert!(check("any", &all).is_err() && check("armhf hurd-any", &any).is_err());
    }
}
