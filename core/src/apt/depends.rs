//! What a source package needs to be built, as Debian's build daemons read it.

use crate::archive::deb822::Control;
use crate::archive::relation::Relations;
use crate::archive::writer::empty_deb;
use crate::error::{Error, ErrorKind, Result};

/// The package that carries dependencies while apt resolves. People and tools know sbuild's name
/// for it from logs.
pub const DUMMY: &str = "sbuild-build-depends-main-dummy";

/// Which dependencies of a source package count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyOptions {
    /// The architecture that is built on and for.
    pub architecture: String,
    /// Active build profiles.
    pub profiles: Vec<String>,
    /// Packages for one architecture are built: `Build-Depends-Arch`, `Build-Conflicts-Arch`.
    pub any: bool,
    /// Packages for all architectures are built: `Build-Depends-Indep`, `Build-Conflicts-Indep`.
    pub all: bool,
    /// Further dependencies, in the syntax of `Build-Depends`.
    pub add: Vec<String>,
    /// `fakeroot` is needed, too.
    pub fakeroot: bool,
}

/// The dependencies of a build, reduced to an architecture and profiles (Policy sections 7.1 and
/// 7.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildDependencies {
    source: String,
    depends: Relations,
    conflicts: Relations,
}

impl BuildDependencies {
    /// Those of the source package that `control` describes: the `.dsc`, or the first paragraph
    /// of `debian/control`.
    ///
    /// In this order, which matters where a package satisfies several: `Build-Depends`, added
    /// ones, `build-essential` (and `fakeroot`), those for one architecture, those for all.
    ///
    /// # Errors
    /// [`ErrorKind::Source`] for a field that is not understood; [`ErrorKind::Usage`] for an
    /// added dependency that is not.
    pub fn of(control: &Control, options: &DependencyOptions) -> Result<Self> {
        let source = control.get("Source").unwrap_or("the source package").to_owned();
        let field = |name: &str| match control.get(name) {
            None => Ok(Relations::default()),
            Some(text) => Relations::parse(text).map_err(|error| {
                error.with_kind(ErrorKind::Source).context(format!("cannot use {name} of {source}"))
            }),
        };
        let mut depends = field("Build-Depends")?;
        for text in &options.add {
            let added = Relations::parse(text).map_err(|error| {
                error
                    .with_kind(ErrorKind::Usage)
                    .context(format!("cannot add the dependency {text:?}"))
            })?;
            depends.0.extend(added.0);
        }
        depends.0.extend(parse_own("build-essential:native")?);
        if options.fakeroot {
            depends.0.extend(parse_own("fakeroot:native")?);
        }
        let mut conflicts = field("Build-Conflicts")?;
        for (wanted, part) in [(options.any, "Arch"), (options.all, "Indep")] {
            if wanted {
                depends.0.extend(field(&format!("Build-Depends-{part}"))?.0);
                conflicts.0.extend(field(&format!("Build-Conflicts-{part}"))?.0);
            }
        }
        let reduce = |relations: Relations| {
            let mut reduced = relations.reduce(&options.architecture, &options.profiles);
            // Dependencies of a binary package cannot say `:native`; not cross-building, it is
            // the architecture that they mean anyway.
            for relation in reduced.0.iter_mut().flatten() {
                relation.qualifier.take_if(|qualifier| qualifier == "native");
            }
            reduced
        };
        Ok(BuildDependencies { source, depends: reduce(depends), conflicts: reduce(conflicts) })
    }

    /// Just these dependencies, in the syntax of `Build-Depends` without restrictions.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not understood.
    pub fn just(source: &str, depends: &str) -> Result<Self> {
        let depends =
            Relations::parse(depends).map_err(|error| error.with_kind(ErrorKind::Usage))?;
        Ok(BuildDependencies {
            source: source.to_owned(),
            depends,
            conflicts: Relations::default(),
        })
    }

    /// Name of the source package.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All of them, with every alternative.
    pub fn merged(&self) -> &Relations {
        &self.depends
    }

    /// What must not be installed.
    pub fn conflicts(&self) -> &Relations {
        &self.conflicts
    }

    /// The `.deb` whose installation would satisfy them. Of alternatives only the first one
    /// counts, so that a build does not depend on what happens to be installable.
    pub(super) fn dummy(&self, architecture: &str) -> Result<Vec<u8>> {
        let mut control =
            format!("Package: {DUMMY}\nVersion: 0.invalid.0\nArchitecture: {architecture}\n");
        let depends = self.depends.first_alternatives();
        if !depends.is_empty() {
            control += &format!("Depends: {depends}\n");
        }
        // A package cannot say that it conflicts with one thing or another: all of them.
        let conflicts = Relations(
            self.conflicts.0.iter().flatten().map(|relation| vec![relation.clone()]).collect(),
        );
        if !conflicts.is_empty() {
            control += &format!("Conflicts: {conflicts}\n");
        }
        control += "Maintainer: debmock <debmock@localhost>\n\
            Description: carries build dependencies while apt resolves them\n \
            It is never installed.\n";
        empty_deb(&control, 0)
    }
}

fn parse_own(text: &str) -> Result<Vec<Vec<crate::archive::relation::Relation>>> {
    Relations::parse(text)
        .map(|relations| relations.0)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "a bug of debmock").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> DependencyOptions {
        DependencyOptions {
            architecture: "amd64".into(),
            profiles: Vec::new(),
            any: true,
            all: false,
            add: Vec::new(),
            fakeroot: false,
        }
    }

    const DSC: &[u8] = b"Source: x\nBuild-Depends: a (>= 1) [linux-any] <!nocheck>, b:native | c, d [i386]\n\
        Build-Depends-Arch: e\nBuild-Depends-Indep: f\nBuild-Conflicts: g, h [i386]\nBuild-Conflicts-Indep: i\n";

    fn of(options: &DependencyOptions) -> BuildDependencies {
        BuildDependencies::of(&Control::parse(DSC, "x").unwrap(), options).unwrap()
    }

    #[test]
    fn fields_count_by_what_is_built() {
        assert_eq!(of(&options()).merged().to_string(), "a (>= 1), b | c, build-essential, e");
        let all = DependencyOptions { any: false, all: true, fakeroot: true, ..options() };
        assert_eq!(of(&all).merged().to_string(), "a (>= 1), b | c, build-essential, fakeroot, f");
        assert_eq!(of(&all).conflicts().to_string(), "g, i");
        let profiles = DependencyOptions {
            profiles: vec!["nocheck".into()],
            add: vec!["z (= 1)".into()],
            ..options()
        };
        assert_eq!(of(&profiles).merged().to_string(), "b | c, z (= 1), build-essential, e");
    }

    #[test]
    fn bad_dependencies_say_where_they_stand() {
        let control = Control::parse(b"Source: x\nBuild-Depends: a b\n", "x").unwrap();
        let error = BuildDependencies::of(&control, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert!(error.to_string().contains("Build-Depends of x"), "{error}");
        let added = DependencyOptions { add: vec!["(".into()], ..options() };
        let control = Control::parse(b"Source: x\n", "x").unwrap();
        let error = BuildDependencies::of(&control, &added).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_dummy_has_first_alternatives_only() {
        let deb = of(&options()).dummy("amd64").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        std::fs::write(&path, deb).unwrap();
        let output = std::process::Command::new("dpkg-deb")
            .args(["-f"])
            .arg(&path)
            .args(["Depends", "Conflicts"])
            .output()
            .expect("this test needs dpkg-deb");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "Depends: a (>= 1), b, build-essential, e\nConflicts: g\n"
        );
    }
}
