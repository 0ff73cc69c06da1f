use crate::config::{Config, Keyring, Loader, Places};
use std::path::Path;

/// A host with this release and these sources; `etc/apt/…` files besides.
fn load(release: &str, sources: &str, files: &[(&str, &str)], name: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("etc/os-release", release);
    write("etc/apt/sources.list", sources);
    for (path, text) in files {
        write(path, text);
    }
    Loader::at(Places::below(dir.path())).load(name).unwrap()
}

const BOOKWORM: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";
const NOBLE: &str = "ID=ubuntu\nVERSION_CODENAME=noble\n";
const SOURCES: &str = "\
    deb [signed-by=/d.gpg] http://mirror.example.org/debian bookworm main contrib\n\
    deb-src [signed-by=/d.gpg] http://mirror.example.org/debian bookworm main\n\
    deb [signed-by=/d.gpg] http://mirror.example.org/debian oldstable-updates main\n\
    deb [signed-by=/d.gpg] http://mirror.example.org/debian bookworm-backports main\n\
    deb [signed-by=/d.gpg] http://mirror.example.org/debian bookworm-proposed-updates main\n\
    deb [signed-by=/s.gpg check-valid-until=no] http://sec.example.org/debian-security bookworm-security main\n\
    deb [signed-by=/x.gpg] https://third.example.org/debian bookworm stable\n";

fn lines(config: &Config) -> Vec<String> {
    let sources = config.archives.iter();
    sources.map(|s| format!("{} {} {}", s.uri, s.suite, s.components.join(" "))).collect()
}

fn files(path: &str) -> Keyring {
    Keyring::Files { files: vec![Path::new(path).into()], fingerprints: Vec::new() }
}

#[test]
fn the_hosts_own_suite_is_what_the_host_has_without_backports() {
    let config = load(BOOKWORM, SOURCES, &[], "debian-bookworm");
    assert_eq!(
        lines(&config),
        [
            "http://mirror.example.org/debian bookworm main",
            "http://mirror.example.org/debian bookworm-updates main",
            "http://sec.example.org/debian-security bookworm-security main",
        ]
    );
    assert_eq!(config.archives[0].keyring, files("/d.gpg"));
    assert!(config.archives.iter().all(|source| source.origin.as_deref() == Some("Debian")));
    let presumed: Vec<bool> = config.archives.iter().map(|source| source.presumed).collect();
    assert_eq!(presumed, [true, false, false]);
    let checks: Vec<bool> = config.archives.iter().map(|s| s.check_valid_until).collect();
    assert_eq!(checks, [true, true, false]);
    assert_eq!(config.warnings, []);
    let setting = config.explain().iter().find(|s| s.key == "archives.2").unwrap();
    assert!(setting.origins[0].to_string().ends_with("/etc/apt/sources.list:6"));
}

#[test]
fn another_suite_comes_from_the_same_mirrors_and_the_carried_keys_count_too() {
    let config = load(BOOKWORM, SOURCES, &[], "debian-trixie-arm64");
    assert_eq!(
        lines(&config),
        [
            "http://mirror.example.org/debian trixie main",
            "http://mirror.example.org/debian trixie-updates main",
            "http://sec.example.org/debian-security trixie-security main",
        ]
    );
    let carried = Keyring::BuiltIn("debian".into());
    assert_eq!(config.archives[0].keyring, Keyring::Any(vec![files("/d.gpg"), carried.clone()]));
    assert_eq!(config.archives[2].keyring, Keyring::Any(vec![files("/s.gpg"), carried]));
    assert_eq!(config.warnings, []);
    assert_eq!(
        lines(&load(BOOKWORM, SOURCES, &[], "debian-sid")),
        ["http://mirror.example.org/debian sid main"]
    );
}

#[test]
fn a_host_without_a_security_source_gets_the_well_known_one_for_other_suites_only() {
    let sources = "deb http://mirror.example.org/debian bookworm main\n";
    let config = load(BOOKWORM, sources, &[], "debian-bookworm");
    assert_eq!(lines(&config), ["http://mirror.example.org/debian bookworm main"]);
    let config = load(BOOKWORM, sources, &[], "debian-trixie");
    assert_eq!(
        lines(&config)[2],
        "http://security.debian.org/debian-security trixie-security main"
    );
}

#[test]
fn the_distributions_mirror_is_told_from_a_third_partys() {
    let sources = "\
        deb https://third.example.org/repo bookworm main\n\
        deb http://mirror.example.org/debian bookworm main\n\
        deb http://mirror.example.org/debian bookworm-updates main\n";
    let config = load(BOOKWORM, sources, &[], "debian-trixie");
    assert_eq!(config.archives[0].uri, "http://mirror.example.org/debian");
    // For the own suite, the Origin of the verified Release file tells them apart.
    assert_eq!(load(BOOKWORM, sources, &[], "debian-bookworm").archives.len(), 3);
}

#[test]
fn other_distributions_and_hosts_use_well_known_archives_and_carried_keys() {
    let config = load(BOOKWORM, SOURCES, &[], "ubuntu-noble-amd64");
    assert_eq!(
        lines(&config),
        [
            "http://archive.ubuntu.com/ubuntu noble main universe",
            "http://archive.ubuntu.com/ubuntu noble-updates main universe",
            "http://archive.ubuntu.com/ubuntu noble-security main universe",
        ]
    );
    assert_eq!(config.archives[0].keyring, Keyring::BuiltIn("ubuntu".into()));
    let config = load("ID=fedora\n", "", &[], "debian-stable");
    assert_eq!(
        lines(&config),
        [
            "http://ftp.debian.org/debian trixie main",
            "http://ftp.debian.org/debian trixie-updates main",
            "http://security.debian.org/debian-security trixie-security main",
        ]
    );
    let files = [("etc/debmock/debian-bookworm.toml", "use_host_apt = false")];
    let config = load(BOOKWORM, SOURCES, &files, "debian-bookworm");
    assert_eq!(config.archives[0].uri, "http://ftp.debian.org/debian");
    assert_eq!(config.warnings, []);
}

#[test]
fn a_host_whose_sources_do_not_serve_its_suite_is_told_so() {
    let sources = "deb http://mirror.example.org/x ./\n";
    let config = load(BOOKWORM, sources, &[], "debian-bookworm");
    assert_eq!(config.archives[0].uri, "http://ftp.debian.org/debian");
    assert!(
        config.warnings[0]
            .message
            .starts_with("no source of the host's apt serves debian bookworm")
    );
}

#[test]
fn architectures_of_sources_are_heeded() {
    let sources = "\
        deb [arch=zurg] http://zurg.example.org/ubuntu noble main\n\
        deb [arch=amd64,i386,arm64] http://mirror.example.org/ubuntu noble main\n\
        deb [arch=s390x] http://ports.example.org/ubuntu-ports noble main\n";
    let uri = |release, name| load(release, sources, &[], name).archives[0].uri.clone();
    assert_eq!(uri(NOBLE, "ubuntu-noble-amd64"), "http://mirror.example.org/ubuntu");
    assert_eq!(uri(NOBLE, "ubuntu-noble-s390x"), "http://ports.example.org/ubuntu-ports");
    assert_eq!(uri(NOBLE, "ubuntu-jammy-s390x"), "http://ports.example.org/ubuntu-ports");
    // Debian mirrors have every architecture, mostly; the restriction is the host's own need.
    let sources = "deb [arch=amd64] http://mirror.example.org/debian bookworm main\n";
    let config = load(BOOKWORM, sources, &[], "debian-bookworm-s390x");
    assert_eq!(config.archives[0].uri, "http://mirror.example.org/debian");
}

#[test]
fn sources_without_a_keyring_trust_what_apt_trusts() {
    let sources = "deb http://mirror.example.org/debian bookworm main\n";
    let trusted = [
        ("etc/apt/trusted.gpg.d/a.asc", "-----BEGIN"),
        ("etc/apt/trusted.gpg.d/b.gpg", "x"),
        ("etc/apt/trusted.gpg.d/c.gpg", "\0\0\0\x20\x01\x01\0\x02KBXf"),
        ("etc/apt/trusted.gpg.d/d.gpg~", "x"),
        ("etc/apt/trusted.gpg", ""),
    ];
    let config = load(BOOKWORM, sources, &trusted, "debian-bookworm");
    let Keyring::Files { files, .. } = &config.archives[0].keyring else { panic!() };
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.asc", "b.gpg"]);
    assert!(config.warnings[0].message.ends_with("c.gpg is a keybox and not used"));
    let config = load(BOOKWORM, sources, &[], "debian-bookworm");
    assert_eq!(config.archives[0].keyring, Keyring::BuiltIn("debian".into()));
}

#[test]
fn checks_of_apt_conf_hold_for_every_source_that_says_nothing_else() {
    let conf = |text| [("etc/apt/apt.conf", text)];
    let config =
        load(BOOKWORM, SOURCES, &conf("Acquire::Check-Date \"false\";"), "debian-bookworm");
    assert!(config.archives.iter().all(|s| !s.check_date && !s.check_valid_until));
    let text = "Acquire::Check-Valid-Until \"no\"; Acquire::By-Hash \"force\"; Acquire::Max-ValidTime \"60\"; Acquire::Max-ValidTime::Debian-Security \"70\";";
    for name in ["debian-bookworm", "debian-trixie"] {
        let config = load(BOOKWORM, SOURCES, &conf(text), name);
        assert!(config.archives.iter().all(|s| s.check_date && !s.check_valid_until));
        assert!(config.archives.iter().all(|s| s.by_hash == crate::config::ByHash::Force));
        let oldest: Vec<u64> =
            config.archives.iter().map(|s| s.valid_until_max.unwrap().as_secs()).collect();
        assert_eq!(oldest, [60, 60, 70]);
    }
}

#[test]
fn logins_and_proxies_of_the_host_are_used_for_every_suite() {
    let sources = "deb http://user:secret@mirror.example.org/debian bookworm main\n";
    let files = [
        ("etc/apt/auth.conf.d/a.conf", "machine x.example.org login l password p"),
        ("etc/apt/apt.conf.d/proxy", "Acquire::http::Proxy \"http://proxy.example.org:3128\";"),
    ];
    let config = load(BOOKWORM, sources, &files, "debian-sid");
    assert_eq!(config.archives[0].uri, "http://mirror.example.org/debian");
    assert_eq!(config.network.credentials.len(), 2);
    assert_eq!(config.network.http_proxy.as_deref(), Some("http://proxy.example.org:3128"));
    let setting = config.explain().iter().find(|s| s.key == "network.http_proxy").unwrap();
    assert!(setting.origins[0].to_string().ends_with("/etc/apt/apt.conf.d/proxy:1"));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn a_mirror_of_the_config_replaces_the_hosts() {
    let files = [("etc/debmock/config.toml", "mirror = \"https://m.example.org/debian/\"")];
    let config = load(BOOKWORM, SOURCES, &files, "debian-bookworm");
    assert_eq!(
        lines(&config),
        [
            "https://m.example.org/debian bookworm main",
            "https://m.example.org/debian bookworm-updates main",
            "http://sec.example.org/debian-security bookworm-security main",
        ]
    );
    assert_eq!(config.archives[0].keyring, Keyring::BuiltIn("debian".into()));
}

#[test]
fn this_hosts_configuration_can_be_read() {
    let config = Config::default_for_host().unwrap();
    assert!(!config.archives.is_empty());
}

#[test]
fn fingerprints_alone_restrict_the_carried_keys_where_apt_trusts_none() {
    let fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    let sources =
        format!("deb [signed-by={fingerprint}] http://mirror.example.org/debian bookworm main\n");
    let only = Keyring::BuiltIn("debian".into()).only(&[fingerprint.into()]);
    for name in ["debian-bookworm", "debian-trixie"] {
        let config = load(BOOKWORM, &sources, &[], name);
        assert_eq!(config.archives[0].keyring, only, "{name}");
    }
    let trusted = [("etc/apt/trusted.gpg.d/a.asc", "-----BEGIN")];
    let config = load(BOOKWORM, &sources, &trusted, "debian-trixie");
    let Keyring::Any(keyrings) = &config.archives[0].keyring else { panic!() };
    assert!(matches!(&keyrings[0], Keyring::Files { fingerprints, .. } if fingerprints.len() == 1));
    assert_eq!(keyrings[1], only);
    // What `config show` prints means the same when it is read again.
    let text = format!(
        "extends = \"debian-bookworm\"\nkeyring = [\"builtin:debian\", \"{fingerprint}\"]\n"
    );
    let config = load(BOOKWORM, "", &[("etc/debmock/own.toml", &text)], "own");
    assert_eq!(config.archives[0].keyring, only);
}
