//! Hostile source packages, unpacked inside a real root by its own dpkg-source: nothing outside
//! the build directory is touched on the host, and the message says what was wrong.

use std::fs;

use debmock::build::{RebuildOptions, ResultDir, SourceSpec};
use debmock::buildroot::{Buildroot, BuildrootOptions};
use debmock::config::Config;
use debmock::operation::{self, CancelToken};
use debmock::{ErrorKind, store};
use debmock_tests::area::{Area, leftovers_of_this_test, nothing_within};
use debmock_tests::dsc::{Format, Hostile, Source};
use debmock_tests::{machine, or_skip};

#[test]
fn hostile_sources_never_leave_the_root() {
    or_skip!(machine::mirror());
    or_skip!(machine::need_root());
    machine::helper();
    let area = Area::new();
    let outside = area.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret\n").unwrap();
    let text = outside.display().to_string();
    let pwned = format!("{text}/pwned");
    let secret = format!("{text}/secret");
    let config = Config::load("debian-bookworm", &[]).unwrap();
    let places = store::Places { cache: area.cache(), state: area.state() };
    let options = BuildrootOptions { places: Some(places), ..BuildrootOptions::default() };
    let root = Buildroot::new(config, &options).unwrap();
    let rebuild = |source: &Source, name: &str| {
        let folder = area.work().join(name);
        fs::create_dir(&folder).unwrap();
        let dsc = source.build().write(&folder).display().to_string();
        let results = ResultDir::Exactly(folder.join("results"));
        let options = RebuildOptions::new(SourceSpec::Dsc(dsc), results);
        operation::run(CancelToken::new(), |_| {}, |scope| root.rebuild(options, scope).map(drop))
    };
    let up = "../".repeat(12);
    let ways = [
        Hostile::AbsolutePath(pwned.clone()),
        Hostile::DotDot(format!("{up}{}", pwned.trim_start_matches('/'))),
        Hostile::SymlinkThenWrite(text.clone()),
        Hostile::DebianSymlink(text.clone()),
        Hostile::HardlinkOutside(secret.clone()),
        Hostile::PatchOutside(format!("{up}{}", pwned.trim_start_matches('/'))),
        Hostile::TruncatedTarball(60),
        Hostile::OtherName("other".into()),
    ];
    for (number, way) in ways.iter().enumerate() {
        let formats = match way {
            Hostile::PatchOutside(_) => &[Format::Quilt, Format::V1][..],
            _ => &[Format::Quilt],
        };
        for format in formats {
            let source = Source::new("greeter", "1.0-1", *format).hostile(way.clone());
            let name = format!("{number}-{}", &format.name()[..1]);
            let outcome = rebuild(&source, &name);
            // what dpkg-source lets pass, such as a link that leads nowhere inside, may build
            if let Err(error) = outcome {
                assert!(
                    matches!(error.kind(), ErrorKind::Source | ErrorKind::Build),
                    "{way:?}: {error:?}"
                );
                assert!(error.hint().is_some(), "{way:?}: {error:?}");
            }
            let names: Vec<_> = fs::read_dir(&outside).unwrap().flatten().collect();
            assert_eq!(names.len(), 1, "{way:?}");
            assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret\n", "{way:?}");
        }
    }
    // the root is as usable as before
    rebuild(&Source::new("greeter", "1.0-1", Format::Quilt), "sound").unwrap();
    drop(root);
    nothing_within(std::time::Duration::from_secs(5), leftovers_of_this_test);
}
