use super::*;
use proptest::prelude::*;

fn read(text: &str) -> (Vec<Entry>, Vec<String>) {
    let mut warnings = Vec::new();
    let entries = parse(text, "s.sources", "amd64", &mut warnings);
    (entries, warnings.into_iter().map(|warning| warning.message).collect())
}

const STANZA: &str = "Types: deb\nURIs: http://mirror.example.org/d\nSuites: x\nComponents: main\n";

#[test]
fn each_uri_with_each_suite_is_an_entry_at_the_line_of_its_stanza() {
    let (entries, warnings) = read(
        "\n# head\n\nTypes: deb deb-src\nURIs: http://a.example.org\n  http://b.example.org\n\
         Suites: x y\nComponents: main\nSigned-By: /k.gpg\nCheck-Valid-Until: no\nBy-Hash: force\n\
         Architectures: amd64 arm64\nTrusted: yes\nX-Unknown: z\n",
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry.place == "s.sources:4"));
    assert!(entries.iter().all(|entry| entry.options.trusted == Some(true)));
    assert_eq!(entries[3].uri, "http://b.example.org");
    assert_eq!(entries[3].suite, "y");
    assert_eq!(entries[0].options.architectures, ["amd64", "arm64"]);
}

#[test]
fn a_key_may_stand_in_the_field() {
    let (entries, warnings) = read(&format!(
        "{STANZA}Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME+/=\n# comment\n -----END PGP PUBLIC KEY BLOCK-----\n"
    ));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(
        entries[0].options.signed_by.inline.as_deref(),
        Some(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME+/=\n-----END PGP PUBLIC KEY BLOCK-----\n"
        )
    );
}

#[test]
fn disabled_stanzas_are_not_there() {
    for value in ["no", "false", "off"] {
        let (entries, warnings) =
            read(&format!("{STANZA}Enabled: {value}\n\n{STANZA}Enabled: yes\n"));
        assert!(warnings.is_empty());
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].place, "s.sources:7");
    }
}

#[test]
fn stanzas_that_make_no_sense_are_left_out_with_a_warning_and_the_others_stay() {
    for (stanza, complaint) in [
        ("URIs: http://a.example.org\nSuites: x\nComponents: main", "it has no field types"),
        ("Types: deb\nSuites: x\nComponents: main", "it has no field uris"),
        ("Types: deb\nURIs: http://a.example.org\nComponents: main", "it has no field suites"),
        ("Types: deb\nURIs: http://a.example.org\nSuites: x", "it has no component"),
        ("Types: rpm\nURIs: http://a.example.org\nSuites: x", "the type \"rpm\" is not known"),
        ("Types: deb\nnonsense", "line 2 is no field"),
        (" continued\nTypes: deb", "it begins with a continued line"),
    ] {
        let (entries, warnings) = read(&format!("{stanza}\n\n{STANZA}"));
        assert_eq!(warnings, [format!("s.sources:1: {complaint}; this source is not used")]);
        assert_eq!(entries.len(), 1);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "(Types|URIs|Suites|Signed-By|: ?| |\t|deb|x|http://x|\n|#|-----BEGIN PGP PUBLIC KEY BLOCK-----){0,25}") {
        let _ = read(&text);
    }
}
