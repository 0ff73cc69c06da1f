//! The package oracle for every kind of source; `oracle_packages.rs` has two of them.

use std::collections::BTreeMap;

use debmock_tests::or_skip;
use debmock_tests::package::Workshop;

/// What a source is an example of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Autotools,
    Cmake,
    Meson,
    Python,
    Perl,
    /// Its packages are for all architectures.
    All,
    /// Its packages hold files of other groups than root's (`Rules-Requires-Root` is not `no`).
    Fakeroot,
}

/// Each kind that there has to be, and how many examples of it at least.
const KINDS: [(Kind, usize); 7] = [
    (Kind::Autotools, 1),
    (Kind::Cmake, 1),
    (Kind::Meson, 1),
    (Kind::Python, 1),
    (Kind::Perl, 1),
    (Kind::All, 1),
    (Kind::Fakeroot, 2),
];

const SOURCES: [(&str, &[Kind]); 10] = [
    ("hello", &[Kind::Autotools]),
    ("bc", &[Kind::Autotools]),
    ("cmocka", &[Kind::Cmake]),
    ("libslirp", &[Kind::Meson]),
    // pure, by pybuild
    ("toolz", &[Kind::Python, Kind::All]),
    // an extension module
    ("libcap-ng", &[Kind::Python, Kind::Autotools]),
    ("libtry-tiny-perl", &[Kind::Perl, Kind::All]),
    ("ucf", &[Kind::All]),
    // directories of group staff
    ("base-files", &[Kind::Fakeroot]),
    // files of group crontab
    ("cron", &[Kind::Fakeroot]),
];

impl Kind {
    /// Whether the index says so too; of some kinds only the source itself could tell.
    fn shows(self, fields: &BTreeMap<String, String>) -> bool {
        let needs = |names: &[&str]| {
            let fields = ["Build-Depends", "Build-Depends-Indep"].map(|name| fields.get(name));
            let text = fields.into_iter().flatten().cloned().collect::<Vec<_>>().join(",");
            let words = text.split([',', '|', ' ', '(', ':', '\n']);
            words.into_iter().any(|word| names.contains(&word))
        };
        match self {
            Kind::Cmake => needs(&["cmake"]),
            Kind::Meson => needs(&["meson"]),
            Kind::Python => needs(&["dh-python", "dh-sequence-python3"]),
            Kind::Perl => needs(&["perl"]),
            Kind::All => fields.get("Architecture").is_some_and(|names| names == "all"),
            Kind::Autotools | Kind::Fakeroot => true,
        }
    }
}

#[test]
fn packages_of_every_kind_equal_sbuilds() {
    for (kind, least) in KINDS {
        let count = SOURCES.iter().filter(|(_, kinds)| kinds.contains(&kind)).count();
        assert!(count >= least, "only {count} of {kind:?}");
    }
    let workshop = or_skip!(Workshop::new());
    let mut failed = Vec::new();
    for (source, kinds) in SOURCES {
        eprintln!("{source} {kinds:?}");
        let fields = workshop.stanza(source);
        for kind in kinds {
            assert!(kind.shows(&fields), "{source} is not {kind:?}: {fields:?}");
        }
        // all of them, since each takes minutes; the reason is printed where it panics
        if std::panic::catch_unwind(|| workshop.assert_same(source)).is_err() {
            failed.push(source);
        }
    }
    assert!(failed.is_empty(), "not sbuild's packages: {failed:?}");
}
