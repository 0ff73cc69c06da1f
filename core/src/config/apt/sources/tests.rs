use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::process::Command;

fn read(text: &str) -> (Vec<Entry>, Vec<String>) {
    let mut warnings = Vec::new();
    let entries = one_line(text, "s.list", "amd64", &mut warnings);
    (entries, warnings.into_iter().map(|warning| warning.message).collect())
}

#[test]
fn options_of_a_line_are_followed() {
    let (entries, warnings) = read(
        "# head\n\
         deb [ arch=amd64,i386 signed-by=/k.gpg,0123456789abcdef0123456789ABCDEF01234567! trusted=yes by-hash=force ] http://mirror.example.org/debian/ trixie main contrib # tail\n\
         deb [check-valid-until=no check-date=no valid-until-max=60 by-hash=no] file:///srv/x $(ARCH)/\n\
         deb-src\thttps://mirror.example.org/debian  trixie\tmain\n",
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let [first, second, third] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(first.place, "s.list:2");
    assert_eq!(first.uri, "http://mirror.example.org/debian");
    assert_eq!(first.components, ["main", "contrib"]);
    assert_eq!(first.options.architectures, ["amd64", "i386"]);
    assert_eq!(first.options.signed_by.files, [Path::new("/k.gpg")]);
    assert_eq!(first.options.signed_by.fingerprints, ["0123456789ABCDEF0123456789ABCDEF01234567!"]);
    assert_eq!((first.options.trusted, first.options.by_hash), (Some(true), Some(ByHash::Force)));
    assert_eq!((second.uri.as_str(), second.suite.as_str()), ("file:/srv/x", "amd64/"));
    assert_eq!(second.options.check_valid_until, Some(false));
    assert_eq!(second.options.check_date, Some(false));
    assert_eq!(second.options.valid_until_max, Some(Duration::from_secs(60)));
    assert_eq!(second.options.by_hash, Some(ByHash::No));
    assert_eq!(third.types, ["deb-src"]);
}

#[test]
fn architectures_are_added_to_and_taken_from_the_default() {
    let line = |option: &str| {
        read(&format!("deb [{option}] http://mirror.example.org/d x main")).0[0].options.clone()
    };
    assert!(line("arch+=i386").architectures.is_empty());
    assert_eq!(line("arch=amd64 arch+=i386").architectures, ["amd64", "i386"]);
    assert_eq!(line("arch-=amd64").without, ["amd64"]);
}

#[test]
fn kinds_that_need_more_than_a_transfer_are_skipped_with_a_warning() {
    for uri in
        ["cdrom:[Debian 12 _Bookworm_ #1]/", "tor+http://x/", "mirror+file:/m", "mirror://x/y"]
    {
        let (entries, warnings) = read(&format!("deb {uri} bookworm main"));
        assert!(entries.is_empty());
        assert!(warnings[0].starts_with("s.list:1: sources of the kind "), "{warnings:?}");
    }
}

#[test]
fn lines_that_make_no_sense_are_left_out_with_a_warning_and_the_others_stay() {
    for (line, complaint) in [
        ("deb", "it has no URI"),
        ("deb http://x.example.org", "it has no suite"),
        ("deb http://x.example.org x", "it has no component"),
        ("deb http://x.example.org x/ main", "a suite that ends in / has no components"),
        ("deb http://x.example.org ../x main", "its suite or a component is no name"),
        ("deb [arch=amd64 http://x.example.org x main", "its [ has no ]"),
        ("deb [arch] http://x.example.org x main", "the option \"arch\" has no value"),
        (
            "deb [signed-by=x] http://x.example.org x main",
            "signed-by holds \"x\", which is neither an absolute path nor a fingerprint",
        ),
        ("deb-foo http://x.example.org x main", "the type \"deb-foo\" is not known"),
        (
            "deb ftp://u:secret@x.example.org x main",
            "the URI \"ftp://x.example.org\" is none of http, https, file and copy",
        ),
        ("deb /srv/x x main", "the URI \"/srv/x\" is none of http, https, file and copy"),
        ("deb \"http://x.example.org/a b\" x main", "its URI contains blanks"),
    ] {
        let (entries, warnings) = read(&format!("{line}\ndeb http://y.example.org y main\n"));
        assert_eq!(warnings, [format!("s.list:1: {complaint}; this source is not used")]);
        assert_eq!(entries.len(), 1);
    }
}

#[test]
fn values_that_apt_ignores_are_ignored_with_a_warning() {
    let (entries, warnings) = read(
        "deb [trusted=perhaps valid-until-max=x allow-insecure=yes] http://x.example.org x main",
    );
    assert_eq!(warnings.len(), 3);
    assert_eq!(entries[0].options, Options::default());
}

/// `Packages` and `Sources` as apt would fetch them: kind, URI, suite, component.
fn apt(dir: &Path) -> BTreeSet<String> {
    let done = Command::new("apt-get")
        .args(["indextargets", "--no-release-info"])
        .args(["--format", "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)"])
        .arg(format!("-oDir::Etc={}", dir.display()))
        .args(["-oDir::Etc::sourcelist=sources.list", "-oDir::Etc::sourceparts=sources.list.d"])
        .arg("-oAPT::Architecture=amd64")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("this test compares with apt-get; install the package apt");
    let lines = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let wanted = |line: &&str| line.starts_with("Packages ") || line.starts_with("Sources ");
    lines.lines().filter(wanted).map(|line| line.replace("$(COMPONENT)", "")).collect()
}

fn ours(dir: &Path) -> BTreeSet<String> {
    let mut warnings = Vec::new();
    let mut found = BTreeSet::new();
    for entry in of_host(dir, "amd64", &mut warnings) {
        let flat = vec![String::new()];
        for kind in &entry.types {
            let kind = if kind == "deb" { "Packages" } else { "Sources" };
            let components = if entry.components.is_empty() { &flat } else { &entry.components };
            for component in components {
                found.insert(format!("{kind} {}/ {} {component}", entry.uri, entry.suite));
            }
        }
    }
    found
}

#[test]
fn oracle_apt_finds_the_same_sources_in_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let parts = dir.path().join("sources.list.d");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(
        dir.path().join("sources.list"),
        "deb [ arch=amd64 ] http://mirror.example.org/debian bookworm main contrib # c\n\
         deb-src http://mirror.example.org/debian/ bookworm main\n\
         #deb http://no.example.org/debian bookworm main\n\
         deb [trusted=yes] file:///srv/x ./\n\
         deb http://u:p@mirror.example.org:8080/d/$(ARCH) x/$(ARCH)/\n\
         deb http://mirror.example.org/e x main#c\n",
    )
    .unwrap();
    std::fs::write(
        parts.join("a.sources"),
        "# head\nTypes: deb deb-src\nURIs: https://a.example.org/debian\n https://b.example.org/debian/\n\
         suites: trixie\n# inside\n  trixie-updates\nComponents: main\n \n\tnon-free\n\n\n\
         Enabled: no\nTypes: deb\nURIs: https://c.example.org/debian\nSuites: x\nComponents: main\n\n\
         Types: deb\nTypes: deb-src\nURIs: https://d.example.org/$(ARCH)\nSuites: flat/\n",
    )
    .unwrap();
    std::fs::write(parts.join("b.list.off"), "deb http://no.example.org/d x main\n").unwrap();
    std::fs::write(parts.join("c.list"), "deb http://c.example.org/d x main\n").unwrap();
    assert_eq!(ours(dir.path()), apt(dir.path()));
}

#[test]
fn oracle_apt_finds_the_same_sources_on_this_host() {
    let ours = ours(Path::new("/etc/apt"));
    let apts = apt(Path::new("/etc/apt"));
    let http = |line: &&String| [" http", " file:", " copy:"].iter().any(|s| line.contains(s));
    assert_eq!(ours, apts.iter().filter(http).cloned().collect::<BTreeSet<_>>());
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "(deb|deb-src|\\[|\\]|=|arch|signed-by|http://x|#|\"|\\$\\(ARCH\\)| |/|\n|\u{e4}){0,20}") {
        let _ = read(&text);
    }

    #[test]
    fn what_is_written_is_read(
        uri in "https?://[a-z]{1,8}\\.example\\.org(/[a-z]{1,5}){0,2}",
        suite in "[a-z]{1,8}(-[a-z]{1,8})?",
        components in proptest::collection::vec("[a-z][a-z-]{0,6}", 1..4),
        blank in "[ \t]{1,3}",
    ) {
        let line = format!("deb{blank}{uri}{blank}{suite}{blank}{}{blank}# x", components.join(&blank));
        let (entries, warnings) = read(&line);
        prop_assert!(warnings.is_empty());
        prop_assert_eq!(&entries[0].uri, &uri);
        prop_assert_eq!(&entries[0].suite, &suite);
        prop_assert_eq!(&entries[0].components, &components);
    }
}
