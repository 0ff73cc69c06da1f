//! What to build, and how.

use crate::config::{self, CleanupAfter};
use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Which source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// A source package of the archive; without a version the highest one.
    Package {
        /// Name.
        name: String,
        /// Version.
        version: Option<String>,
    },
    /// A `.dsc`: a path or a URI.
    Dsc(String),
    /// An unpacked source with a `debian` directory.
    Directory(PathBuf),
}

/// The build profile, and the word of `DEB_BUILD_OPTIONS`, under which no tests run.
const NOCHECK: &str = "nocheck";
/// Build profiles that imply the word of `DEB_BUILD_OPTIONS` with their name.
const IMPLIED: &[&str] = &[NOCHECK, "nodoc"];

const FORMS: &str =
    "give the name of a source package, a .dsc, or a directory with debian/ in it (./NAME)";

impl SourceSpec {
    /// Reads what people type: `NAME`, `NAME=VERSION`, a path or URI that ends in `.dsc`, or a
    /// directory, which must have a slash in it or be `.` or `..`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let usage = |message: String| Error::new(ErrorKind::Usage, message).with_hint(FORMS);
        if text.ends_with(".dsc") {
            return Ok(SourceSpec::Dsc(text.to_owned()));
        }
        if text.contains('/') || text == "." || text == ".." {
            let path = PathBuf::from(text);
            return match path.is_dir() {
                true => Ok(SourceSpec::Directory(path)),
                false => Err(usage(format!("{text} is neither a .dsc nor a directory"))),
            };
        }
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version.to_owned())),
            None => (text, None),
        };
        // Policy section 5.6.1.
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.".contains(&c));
        if !plain || version.as_deref() == Some("") {
            return Err(usage(format!("{text:?} is not the name of a source package")));
        }
        Ok(SourceSpec::Package { name: name.to_owned(), version })
    }

    /// A file name for what was asked for, as long as the source itself is unknown.
    pub(super) fn label(&self) -> String {
        let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
        let label = match self {
            SourceSpec::Package { name, version: None } => Some(name.clone()),
            SourceSpec::Package { name, version: Some(version) } => {
                let (_, version) = version.split_once(':').unwrap_or(("", version));
                Some(format!("{name}_{version}"))
            }
            SourceSpec::Dsc(location) => {
                last(location).map(|name| name.trim_end_matches(".dsc").to_owned())
            }
            SourceSpec::Directory(path) => std::path::absolute(path)
                .ok()
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        };
        let plain = |name: &String| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "+-._~".contains(c);
            !name.starts_with('.') && !name.is_empty() && name.chars().all(fits)
        };
        label.filter(plain).unwrap_or_else(|| "source".to_owned())
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::Package { name, version: None } => f.write_str(name),
            SourceSpec::Package { name, version: Some(version) } => write!(f, "{name}={version}"),
            SourceSpec::Dsc(location) => f.write_str(&crate::archive::uri::redacted(location)),
            SourceSpec::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which packages are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BuildType {
    /// Those for one architecture.
    pub any: bool,
    /// Those for all architectures.
    pub all: bool,
    /// The source package.
    pub source: bool,
}

impl Default for BuildType {
    fn default() -> Self {
        BuildType { any: true, all: true, source: false }
    }
}

impl BuildType {
    /// The option of `dpkg-buildpackage(1)`; `None` where nothing is to be built.
    pub(super) fn option(&self) -> Option<&'static str> {
        match (self.source, self.all, self.any) {
            (false, false, false) => None,
            (false, false, true) => Some("-B"),
            (false, true, false) => Some("-A"),
            (false, true, true) => Some("-b"),
            (true, false, false) => Some("-S"),
            (true, false, true) => Some("-G"),
            (true, true, false) => Some("-g"),
            (true, true, true) => Some("-F"),
        }
    }

    /// The architecture in the name of the `.changes`.
    pub(super) fn changes_architecture<'a>(&self, architecture: &'a str) -> &'a str {
        match (self.any, self.all) {
            (true, _) => architecture,
            (false, true) => "all",
            (false, false) => "source",
        }
    }
}

/// A binary-only upload (binNMU): the same source, built again under a higher version. As with
/// `sbuild(1)`, packages for all architectures are not built: they would get the version of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinNmu {
    /// The number behind `+b`.
    pub number: u32,
    /// What the changelog says about it.
    pub message: String,
    /// Who signs the changelog entry, `Name <address>`; the source's maintainer if not given.
    pub maintainer: Option<String>,
    /// The entry's time, seconds since 1970. If not given, as many seconds after the last entry
    /// as the number says: on every architecture and every machine the same.
    pub timestamp: Option<i64>,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultDir {
    /// Into this directory.
    Exactly(PathBuf),
    /// Into `SOURCE_VERSION` below this directory.
    Below(PathBuf),
}

/// How to rebuild a source package. What is not set is the config's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Which source.
    pub source: SourceSpec,
    /// Where results go.
    pub resultdir: ResultDir,
    /// Which packages.
    pub build_type: BuildType,
    /// Build profiles.
    pub profiles: Option<Vec<String>>,
    /// Do not run the package's tests: `DEB_BUILD_OPTIONS=nocheck`, and the build profile
    /// `nocheck`, which leaves out the dependencies of the tests.
    pub nocheck: bool,
    /// Parallel jobs.
    pub jobs: Option<usize>,
    /// A higher version from the same source.
    pub binnmu: Option<BinNmu>,
    /// `.deb` files, or directories of them, that may satisfy dependencies.
    pub extra_packages: Vec<PathBuf>,
    /// Lines of `sources.list(5)`: further archives for this build.
    pub extra_repositories: Vec<String>,
    /// Further build dependencies.
    pub add_depends: Vec<String>,
    /// The `Distribution` that the `.changes` names.
    pub dist: Option<String>,
    /// When the build directory and the dependencies are removed from the root.
    pub cleanup_after: Option<CleanupAfter>,
}

impl RebuildOptions {
    /// Everything as the config says.
    pub fn new(source: SourceSpec, resultdir: ResultDir) -> Self {
        RebuildOptions {
            source,
            resultdir,
            build_type: BuildType::default(),
            profiles: None,
            nocheck: false,
            jobs: None,
            binnmu: None,
            extra_packages: Vec::new(),
            extra_repositories: Vec::new(),
            add_depends: Vec::new(),
            dist: None,
            cleanup_after: None,
        }
    }

    /// As they are meant: what other options imply is said.
    pub(super) fn settled(mut self) -> Self {
        self.build_type.all &= self.binnmu.is_none();
        self
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if self.build_type.option().is_none() {
            return usage("nothing is to be built: neither packages nor the source".into());
        }
        if let Some(binnmu) = &self.binnmu {
            if self.build_type.source || !self.build_type.any {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "a binNMU builds packages for one architecture, and no source",
                )
                .with_hint("leave out --source, --no-arch-any and a lone --arch-all"));
            }
            if binnmu.number == 0 {
                return usage("the number of a binNMU begins at 1".into());
            }
            if binnmu.message.contains('\0') || binnmu.message.trim().is_empty() {
                return usage("a binNMU needs a message for the changelog".into());
            }
        }
        let word = |text: &&String| {
            !text.is_empty()
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._".contains(&c))
        };
        if let Some(bad) = self.profiles.iter().flatten().find(|profile| !word(profile)) {
            return usage(format!("{bad:?} is not the name of a build profile"));
        }
        if let Some(dist) = self.dist.as_ref().filter(|dist| !word(dist)) {
            return usage(format!("{dist:?} is not the name of a distribution"));
        }
        Ok(())
    }

    /// The build profiles.
    pub(super) fn profiles(&self, config: &config::Build) -> Vec<String> {
        let mut profiles = self.profiles.clone().unwrap_or_else(|| config.profiles.clone());
        if self.nocheck && !profiles.iter().any(|profile| profile == NOCHECK) {
            profiles.push(NOCHECK.into());
        }
        profiles
    }

    /// The value of `DEB_BUILD_OPTIONS`. Who builds under the profile `nocheck` or `nodoc` must
    /// set the option of that name, too
    /// (<https://wiki.debian.org/BuildProfileSpec#Registered_profile_names>); neither sbuild nor
    /// the dpkg of older releases does it by itself.
    pub(super) fn build_options(&self, config: &config::Build) -> String {
        let jobs = self.jobs.filter(|jobs| *jobs > 0).unwrap_or_else(|| config.parallel());
        let mut words = vec![format!("parallel={jobs}")];
        words.extend(config.options.iter().filter(|word| !word.starts_with("parallel=")).cloned());
        for option in self.profiles(config).into_iter().filter(|name| IMPLIED.contains(&&**name)) {
            if !words.contains(&option) {
                words.push(option);
            }
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let package = |name: &str, version: Option<&str>| SourceSpec::Package {
            name: name.into(),
            version: version.map(str::to_owned),
        };
        assert_eq!(SourceSpec::parse("g++-12").unwrap(), package("g++-12", None));
        assert_eq!(SourceSpec::parse("a=1:2-3").unwrap(), package("a", Some("1:2-3")));
        assert_eq!(SourceSpec::parse("./a.dsc").unwrap(), SourceSpec::Dsc("./a.dsc".into()));
        assert_eq!(SourceSpec::parse("/").unwrap(), SourceSpec::Directory("/".into()));
        for bad in ["", "a=", "Hello", "-x", "a b", "./nowhere", "a\n"] {
            assert_eq!(SourceSpec::parse(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn without_tests_means_profile_and_option() {
        let spec = SourceSpec::Dsc("x.dsc".into());
        let plain = RebuildOptions::new(spec, ResultDir::Below("results".into()));
        let config =
            config::Config::from_toml_str("x", "[build]\njobs = 2\nprofiles = [\"stage1\"]");
        let config = config.unwrap().build;
        assert_eq!(plain.build_options(&config), "parallel=2");
        let nocheck = RebuildOptions { nocheck: true, ..plain.clone() };
        assert_eq!(nocheck.profiles(&config), ["stage1", "nocheck"]);
        assert_eq!(nocheck.build_options(&config), "parallel=2 nocheck");
        let profiles = Some(vec!["nocheck".into(), "nodoc".into(), "cross".into()]);
        let profiles = RebuildOptions { profiles, ..nocheck };
        assert_eq!(profiles.profiles(&config), ["nocheck", "nodoc", "cross"]);
        assert_eq!(profiles.build_options(&config), "parallel=2 nocheck nodoc");
    }

    #[test]
    fn a_binnmu_builds_nothing_for_all_architectures() {
        let spec = SourceSpec::Dsc("x.dsc".into());
        let plain = RebuildOptions::new(spec, ResultDir::Below("results".into()));
        assert_eq!(plain.clone().settled(), plain);
        let binnmu = BinNmu { number: 1, message: "x".into(), maintainer: None, timestamp: None };
        let again = RebuildOptions { binnmu: Some(binnmu), ..plain };
        again.check().unwrap();
        assert_eq!(again.settled().build_type.option(), Some("-B"));
    }

    #[test]
    fn nonsense_is_refused() {
        let spec = SourceSpec::Dsc("x.dsc".into());
        let good = RebuildOptions::new(spec, ResultDir::Below("results".into()));
        good.check().unwrap();
        let nothing = BuildType { any: false, all: false, source: false };
        let binnmu = BinNmu { number: 1, message: "x".into(), maintainer: None, timestamp: None };
        for bad in [
            RebuildOptions { build_type: nothing, ..good.clone() },
            RebuildOptions { profiles: Some(vec!["a b".into()]), ..good.clone() },
            RebuildOptions { dist: Some("a\nb".into()), ..good.clone() },
            RebuildOptions {
                build_type: BuildType { source: true, ..BuildType::default() },
                binnmu: Some(binnmu.clone()),
                ..good.clone()
            },
            RebuildOptions { binnmu: Some(BinNmu { number: 0, ..binnmu }), ..good.clone() },
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
    }
}
