use super::*;
use proptest::prelude::*;
use std::process::Command;

fn read(text: &str) -> (AptConf, Vec<Warning>) {
    let mut conf = AptConf::default();
    let mut warnings = Vec::new();
    conf.text(text, Path::new("/etc/apt/apt.conf"), 0, &mut warnings);
    (conf, warnings)
}

#[test]
fn flat_nested_and_listed_options_are_one_tree() {
    let (conf, warnings) = read(
        "// one\nAcquire::http::Proxy \"http://a//b\"; # two\n\
         Acquire { Retries \"5\"; HTTP { Proxy::mirror.example.org \"DIRECT\"; }; };\n\
         /* three \"; */ APT::L { \"x\"; \"y\"; }; APT::L:: \"z\";",
    );
    assert_eq!(warnings, []);
    assert_eq!(conf.get("acquire::HTTP::proxy"), Some("http://a//b"));
    assert_eq!(conf.get("Acquire::Retries"), Some("5"));
    assert_eq!(conf.below("Acquire::http::Proxy"), [("mirror.example.org", "DIRECT")]);
    assert_eq!(conf.place("Acquire::Retries").as_deref(), Some("/etc/apt/apt.conf:3"));
    let list: Vec<_> = conf.dump().into_iter().filter(|l| l.starts_with("APT::L::")).collect();
    assert_eq!(list, ["APT::L:: \"x\";", "APT::L:: \"y\";", "APT::L:: \"z\";"]);
}

#[test]
fn clear_forgets_a_value_and_all_below_it() {
    let (conf, warnings) = read("A { B \"1\"; C \"2\"; };\n#clear A::B;\nA::D \"3\";");
    assert_eq!(warnings, []);
    assert_eq!((conf.get("A::B"), conf.get("A::C")), (None, Some("2")));
    let (conf, _) = read("A { B \"1\"; };\n#clear A;");
    assert_eq!(conf.get("A::B"), None);
}

#[test]
fn included_files_count_where_they_are_included_and_never_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loop.conf");
    std::fs::write(&path, "A \"1\";\n#include \"loop.conf\";\nB \"2\";").unwrap();
    let mut conf = AptConf::default();
    let mut warnings = Vec::new();
    conf.file(&path, 0, &mut warnings);
    assert_eq!(conf.get("A"), Some("1"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("loop.conf:2: files include one another too deeply"));
}

#[test]
fn files_are_read_in_apts_order_and_odd_names_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let parts = dir.path().join("apt.conf.d");
    std::fs::create_dir(&parts).unwrap();
    let write = |name: &str, text: &str| std::fs::write(parts.join(name), text).unwrap();
    write("10a", "A \"part\"; B \"part\"; C \"part\";");
    write("20b.conf", "C \"later\";");
    for name in ["30c.disabled", "30c~", "30c.conf.dpkg-old", ".30c"] {
        write(name, "C \"wrong\";");
    }
    std::fs::write(dir.path().join("apt.conf"), "B \"main\";").unwrap();
    let first = dir.path().join("first");
    std::fs::write(&first, "A \"first\"; D \"first\";").unwrap();
    let mut warnings = Vec::new();
    let conf = AptConf::of_host(dir.path(), first.to_str(), &mut warnings);
    let values = ["A", "B", "C", "D"].map(|name| conf.get(name).unwrap());
    assert_eq!(values, ["part", "main", "later", "first"]);
    assert_eq!(warnings, []);
}

#[test]
fn mistakes_are_warnings_with_their_line_and_what_stood_before_counts() {
    for (text, complaint) in [
        ("A \"1\";\nB \"x", ":2: a quotation mark without its partner"),
        ("A \"1\";\nB \"x\" junk;", ":2: \"junk\" is one word too many"),
        ("A \"1\";\nB \"2\"\n", ":3: the file ends within a statement"),
        ("A \"1\";\n{ B \"2\"; };", ":2: a scope without a name"),
        ("A \"1\";\nC { #clear A; };", ":2: #clear within a scope"),
        ("A \"1\";\n#include;", ":2: #include is not understood"),
        (&format!("A \"1\";\n{}", "B {".repeat(50)), ":2: scopes are nested too deeply"),
    ] {
        let (conf, warnings) = read(text);
        let expected = format!("/etc/apt/apt.conf{complaint}; the rest of the file is not used");
        assert_eq!(warnings[0].message, expected);
        assert_eq!(conf.get("A"), Some("1"), "{text}");
    }
}

#[test]
fn words_for_yes_and_no_are_apts() {
    assert_eq!(["yes", "TRUE", "with", "on", "enable", "1"].map(boolean), [Some(true); 6]);
    assert_eq!(["no", "false", "without", "off", "Disable", "0"].map(boolean), [Some(false); 6]);
    assert_eq!(["", "force", "2", "perhaps"].map(boolean), [None; 4]);
}

/// What apt makes of a text, without the options of this host; `None` if apt refuses it.
fn apt(text: &str) -> Option<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let done = Command::new("apt-config")
        .arg("dump")
        .env("APT_CONFIG", file.path())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("this test compares with apt-config; install the package apt");
    let lines = String::from_utf8(done.stdout).unwrap();
    let ours = lines.lines().filter(|line| line.starts_with("X::")).map(str::to_owned);
    done.status.success().then(|| ours.collect())
}

fn ours(text: &str) -> Vec<String> {
    let (conf, _) = read(text);
    conf.dump().into_iter().filter(|line| line.starts_with("X::")).collect()
}

#[test]
fn oracle_apt_reads_the_same_options() {
    for text in [
        "X { A \"1\"; B { C \"2\"; \"l\"; }; }\nX::D \"2\";",
        "X::A 1; X::B a\"b\"c; X::C \"a;b{c}//d /* e */ # f\";",
        "X::A \"1\" ; # c\nX::B \"2\"; /* c\n c */ X::C \"3\";",
        "X::L { x; y \"1\"; \"z\"; }; X::L:: \"w\"; X { L { \"v\"; }; };",
        "X::A \"1\"; X { B { C \"2\"; }; };\n#clear X::B;\n#clear X::A;",
        "X::A \"q\" { B \"1\"; }; x::a::c \"2\";",
        "X::A \"1\"; } X::B \"2\"; \"lone\"; X::C;",
        "X::F \"a\"\"b\"; X::G \"a\"  \"b\" \"c\"; X::H a/*b*/c;",
        "X::A\n\"1\"\n;\nX::B\n{\nC \"1\";\n}\n",
        "X {A \"1\";",
        "X::D {}; X::E { }; X::A \"\";",
    ] {
        let expected = apt(text).unwrap_or_else(|| panic!("apt refuses {text:?}"));
        assert_eq!(ours(text), expected, "{text}");
    }
}

// Not among the pieces: a comment that ends in `*///`, and `//` within `/* */`. apt cuts lines at
// `//` before it looks for the end of a comment, and so loses what follows.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn oracle_apt_reads_the_same_of_any_mixture(
        pieces in proptest::collection::vec(prop_oneof![
            Just("X::A \"1\";"), Just("X { "), Just("B \"2\"; "), Just("B { "), Just("};\n"), Just("} "),
            Just("\"i\";"), Just("// c\n"), Just("# c\n"), Just("/* c */ "), Just("C 3;"), Just("X::L:: \"l\";"),
            Just("\n"), Just("D \"a\" \"b\";"), Just("x::a \"4\";"), Just("X::L { \"m\"; };"), Just("E::F \"5\";"),
            Just("\n#clear X::B;\n"), Just("\"#x // y\";"), Just(";"), Just(" G"),
        ], 0..12)
    ) {
        let text = pieces.concat();
        if let Some(expected) = apt(&text) {
            prop_assert_eq!(ours(&text), expected, "{}", text);
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "([A-Z]|::|\"|;|[{}]|#clear |#include |//|/\\*|\\*/|\n| |\u{e4}){0,40}") {
        let _ = read(&text);
    }
}
