use super::*;
use crate::config::{Keyring, Refresh, Variant};
use std::time::Duration;

/// A host of its own below a temporary directory.
struct Host {
    dir: tempfile::TempDir,
    places: Places,
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        Host { dir, places }
    }

    fn debian(suite: &str) -> Host {
        Host::new().file("etc/os-release", &format!("ID=debian\nVERSION_CODENAME={suite}\n"))
    }

    fn file(self, path: &str, text: &str) -> Host {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn etc(self, name: &str, text: &str) -> Host {
        self.file(&format!("etc/debmock/{name}.toml"), text)
    }

    fn user(self, name: &str, text: &str) -> Host {
        self.file(&format!("home/.config/debmock/{name}.toml"), text)
    }

    fn loader(&self) -> Loader {
        Loader::at(self.places.clone())
    }

    fn load(&self, name: &str) -> Config {
        self.loader().load(name).unwrap()
    }

    /// The complaint, with the temporary directory left out.
    fn complaint(&self, name: &str) -> String {
        let error = self.loader().load(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{error}{hint}").replace(&self.dir.path().display().to_string(), "")
    }
}

fn origin_of(config: &Config, key: &str) -> String {
    let setting = config.explain().iter().find(|setting| setting.key == key).unwrap();
    let origins: Vec<String> = setting.origins.iter().map(ToString::to_string).collect();
    origins.join(", ")
}

fn value_of<'a>(config: &'a Config, key: &str) -> &'a str {
    &config.explain().iter().find(|setting| setting.key == key).unwrap().value
}

#[test]
fn built_in_configs_load_anywhere_without_any_file() {
    let host = Host::new();
    for (name, distribution, suite) in [
        ("debian-bullseye", "debian", "bullseye"),
        ("debian-oldoldstable", "debian", "bullseye"),
        ("debian-oldstable", "debian", "bookworm"),
        ("debian-stable", "debian", "trixie"),
        ("debian-testing", "debian", "forky"),
        ("debian-unstable-arm64", "debian", "sid"),
        ("ubuntu-noble-riscv64", "ubuntu", "noble"),
    ] {
        let config = host.load(name);
        assert_eq!(config.name, name);
        assert_eq!((config.distribution.name(), config.suite.as_str()), (distribution, suite));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    let config = host.load("ubuntu-noble-riscv64");
    assert_eq!(config.architecture.as_str(), "riscv64");
    assert_eq!(config.archives[0].uri, "http://ports.ubuntu.com/ubuntu-ports");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = Host::new().load("debian-sid");
    assert_eq!(config.refresh, Refresh::After(Duration::from_secs(3600)));
    assert_eq!(config.packages.variant, Variant::Buildd);
    assert_eq!(config.packages.wanted(), ["apt", "build-essential"]);
    assert_eq!(config.build.path, Path::new("/build/reproducible-path"));
    assert_eq!(config.build.user, "sbuild");
    assert_eq!(config.build.silence_timeout, Some(Duration::from_secs(150 * 60)));
    assert_eq!(config.build.timeout, None);
    assert_eq!(
        (config.isolation.root_ids.base, config.isolation.root_ids.count),
        (1_879_048_192, 65536)
    );
    assert!(config.limits.required && config.limits.memory.is_none());
    assert_eq!(config.lock_timeout, None);
    assert!(config.build.parallel() >= 1);
}

#[test]
fn each_layer_comes_over_the_one_before_it() {
    let name = "debian-trixie";
    let jobs = |host: &Host| host.load(name).build.jobs;
    let host = Host::new().etc("config", "build.jobs = 1");
    assert_eq!(jobs(&host), 1);
    let host = host.etc(name, "build.jobs = 2");
    assert_eq!(jobs(&host), 2);
    let host = host.user("config", "build.jobs = 3");
    assert_eq!(jobs(&host), 3);
    let host = host.user(name, "\n[build]\njobs = 4");
    assert_eq!(jobs(&host), 4);
    assert_eq!(
        origin_of(&host.load(name), "build.jobs"),
        format!("{}/home/.config/debmock/{name}.toml:3", host.dir.path().display())
    );
    let config = host.loader().options(&["build.jobs=5", "build.jobs=6"]).load(name).unwrap();
    assert_eq!(config.build.jobs, 6);
    assert_eq!(origin_of(&config, "build.jobs"), "option -o build.jobs");
    assert_eq!(origin_of(&config, "suite"), "built-in config debian-trixie");
    assert_eq!(origin_of(&config, "bootstrap"), "default");
}

#[test]
fn a_config_that_extends_another_comes_over_it_and_its_files() {
    let host = Host::new()
        .etc("debian-trixie", "build.options = [\"base\"]\nbuild.jobs = 1")
        .etc("team", "extends = \"debian-stable\"\nbuild.options_add = [\"team\"]\nbuild.jobs = 2")
        .user("mine", "extends = \"team-arm64\"\nbuild.options_add = [\"mine\"]");
    let config = host.load("mine");
    assert_eq!(config.build.options, ["base", "team", "mine"]);
    assert_eq!(config.build.jobs, 2);
    assert_eq!((config.suite.as_str(), config.architecture.as_str()), ("trixie", "arm64"));
    let origins = origin_of(&config, "build.options");
    assert_eq!(origins.matches(".toml:").count(), 3, "{origins}");
}

#[test]
fn circles_of_extends_are_refused_with_the_whole_chain() {
    let host = Host::new()
        .etc("a", "extends = \"b\"")
        .user("b", "\nextends = \"c\"")
        .etc("c", "extends = \"b\"");
    assert_eq!(
        host.complaint("a"),
        "configs extend each other in a circle: b extends c (/home/.config/debmock/b.toml:2); c extends b (/etc/debmock/c.toml:1)"
    );
    let host = Host::new().user("debian-sid", "extends = \"debian-sid\"");
    assert_eq!(
        host.complaint("debian-sid"),
        "configs extend each other in a circle: debian-sid extends debian-sid (/home/.config/debmock/debian-sid.toml:1) (a file called debian-sid.toml builds on the built-in config of that name anyway; remove the line)"
    );
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let host = Host::new().etc("team", "extends = \"debian-trixy\"");
    assert_eq!(
        host.complaint("debian-bokworm"),
        "no config is called \"debian-bokworm\" (did you mean debian-bookworm?)"
    );
    assert_eq!(
        host.complaint("team"),
        "/etc/debmock/team.toml:1: `extends`: no config is called \"debian-trixy\" (did you mean debian-trixie?)"
    );
    assert_eq!(
        host.complaint("qqqqqq"),
        "no config is called \"qqqqqq\" (`debmock list` names them all)"
    );
    assert!(host.complaint("debian-trixie-vax").contains("debian-trixie"));
}

#[test]
fn names_never_lead_out_of_their_directory() {
    let host = Host::new();
    for name in ["", ".x", "-x", "a b", "a\nb", "config", "..", "x\0"] {
        assert!(host.complaint(name).contains("cannot be the name of a config"), "{name:?}");
    }
    let host = host.etc("x", "extends = \"../../etc/passwd\"");
    assert!(
        host.complaint("x").starts_with("/etc/debmock/x.toml:1: `extends`: \"../../etc/passwd\"")
    );
}

#[test]
fn wrong_values_name_file_line_key_and_what_is_expected() {
    for (text, expected) in [
        (
            "architecture = \"x86_64\"",
            "x.toml:1: `architecture`: \"x86_64\" is not the name of an architecture (the Debian name of x86_64 is amd64)",
        ),
        ("suite = \"a b\"", "x.toml:1: `suite`: \"a b\" is not the name of a suite"),
        (
            "suite = \"zurg\"",
            "debmock does not know which distribution has the suite zurg (set `distribution` as well)",
        ),
        (
            "packages.include = [\n\"-x\"]",
            "x.toml:2: `packages.include`: \"-x\" is not the name of a package",
        ),
        ("build.user = \"root\"", "x.toml:1: `build.user`: \"root\" is not a user name"),
        (
            "build.path = \"build\"",
            "x.toml:1: `build.path`: \"build\" is not an absolute path without ..",
        ),
        ("build.path = \"/\"", "x.toml:1: `build.path`: / belongs to the system"),
        (
            "build.environment.\"A B\" = \"\"",
            "x.toml:1: `build.environment`: \"A B\" is not the name of a variable",
        ),
        (
            "build.environment.A = \"x\\ny\"",
            "x.toml:1: `build.environment.A` must be one line of text",
        ),
        (
            "isolation.hostname = \"a_b\"",
            "x.toml:1: `isolation.hostname`: \"a_b\" is not a host name",
        ),
        (
            "isolation.root_id_base = 4294967294",
            "x.toml:1: `isolation.root_id_base` and `root_id_count` go beyond",
        ),
        (
            "isolation.binds = [{inside = \"/x\"}]",
            "x.toml:1: an entry of `isolation.binds` lacks `host`",
        ),
        (
            "isolation.binds = [{host = \"/\"}]",
            "x.toml:1: `isolation.binds.inside` must not be the root itself",
        ),
        (
            "mirror = \"ftp://mirror.example.org/x\"",
            "x.toml:1: `mirror`: \"ftp://mirror.example.org/x\" is not the URI of an archive",
        ),
        ("keyring = \"x.gpg\"", "x.toml:1: \"x.gpg\" is no absolute path of a key file"),
        ("keyring = []", "x.toml:1: a keyring without keys would accept nothing"),
        ("[[archives]]\nsuites = \"x\"", "x.toml:1: an entry of `archives` lacks `uri`"),
        ("[[archives]]\nuri = \"file:/x\"", "x.toml:1: an entry of `archives` lacks `suites`"),
        (
            "distribution = \"ubuntu\"",
            "the config names a distribution, but no suite (set `suite`)",
        ),
        (
            "distribution = \"zurg\"\nsuite = \"x\"",
            "the config x has no archives, and debmock knows none for zurg x",
        ),
        ("network.timeout = 0", "x.toml:1: `network.timeout` must be longer than 0"),
        (
            "network.http_proxy = \"proxy:3128\"",
            "x.toml:1: `network.http_proxy`: \"proxy:3128\" is not the URI of a proxy",
        ),
    ] {
        let complaint = Host::new().etc("x", text).complaint("x");
        let complaint = complaint.trim_start_matches("/etc/debmock/");
        assert!(complaint.starts_with(expected), "{text}: {complaint}");
    }
}

#[test]
fn extends_has_no_place_in_config_toml_and_options() {
    let host = Host::new().etc("config", "extends = \"debian-sid\"");
    assert!(
        host.complaint("debian-sid").starts_with("/etc/debmock/config.toml:1: `extends` makes")
    );
    let error = Host::new().loader().options(&["extends=x"]).load("debian-sid").unwrap_err();
    assert!(error.to_string().contains("name the config instead"), "{error}");
}

#[test]
fn the_default_is_the_hosts_own_suite_or_what_default_toml_says() {
    assert_eq!(Host::new().loader().load_default().unwrap().name, "debian-stable");
    let host = Host::debian("bookworm");
    assert_eq!(host.loader().load_default().unwrap().name, "debian-bookworm");
    let host = host.etc("default", "extends = \"debian-sid\"");
    let config = host.loader().load_default().unwrap();
    assert_eq!((config.name.as_str(), config.suite.as_str()), ("default", "sid"));
    // A suite that is newer than this debmock.
    let host = Host::debian("zurg")
        .file("etc/apt/sources.list", "deb http://mirror.example.org/debian zurg main\n");
    let config = host.loader().load_default().unwrap();
    assert_eq!((config.name.as_str(), config.archives.len()), ("debian-zurg", 1));
}

#[test]
fn a_config_without_a_suite_has_the_hosts_own() {
    let host = Host::debian("bookworm").user("mine", "packages.include = [\"ccache\"]");
    let config = host.load("mine");
    assert_eq!(config.suite.as_str(), "bookworm");
    assert_eq!(config.packages.wanted(), ["apt", "build-essential", "ccache"]);
    assert!(origin_of(&config, "suite").ends_with("/etc/os-release"));
}

#[test]
fn files_texts_and_tables_are_configs_too() {
    let host = Host::new().file("x/ci.toml", "extends = \"debian-sid\"\nbuild.jobs = 3");
    let path = host.dir.path().join("x/ci.toml");
    let config = host.load(path.to_str().unwrap());
    assert_eq!((config.name.as_str(), config.build.jobs), ("ci", 3));
    let config = host.loader().load_str("t", "suite = \"noble\"").unwrap();
    assert_eq!(config.distribution.name(), "ubuntu");
    let mut table = toml::Table::new();
    table.insert("suite".into(), "sid".into());
    assert_eq!(host.loader().load_table("t", &table).unwrap().suite.as_str(), "sid");
    table.insert("siut".into(), "sid".into());
    let error = host.loader().load_table("t", &table).unwrap_err();
    assert_eq!(error.to_string(), "t: unknown key `siut`; the nearest known key is `suite`");
}

#[test]
fn the_list_names_every_config_with_its_places() {
    let host = Host::new()
        .etc("team", "extends = \"debian-sid\"")
        .user("team", "build.jobs = 1")
        .user("debian-sid", "build.jobs = 1")
        .etc("config", "")
        .etc("broken", "=")
        .file("etc/debmock/notes.txt", "");
    let list = host.loader().list().unwrap();
    let find = |name: &str| list.iter().find(|known| known.name == name).unwrap();
    assert_eq!(find("team").places.len(), 2);
    assert_eq!(find("team").extends.as_deref(), Some("debian-sid"));
    assert_eq!(find("debian-sid").places.len(), 2);
    assert_eq!(find("debian-stable").extends.as_deref(), Some("debian-trixie"));
    assert!(list.iter().any(|known| known.name == "broken"));
    assert!(!list.iter().any(|known| known.name == "config" || known.name == "notes"));
    assert!(list.is_sorted_by(|a, b| a.name <= b.name));
}

#[test]
fn archives_of_the_config_replace_or_join_the_default_ones() {
    let entry = "uri = \"https://user:secret@mirror.example.org/x/\"\nsuites = [\"a\", \"b\"]\n";
    let host = Host::new().etc("x", &format!("suite = \"trixie\"\n[[archives]]\n{entry}"));
    let config = host.load("x");
    assert_eq!(config.archives.len(), 2);
    assert_eq!(config.archives[1].uri, "https://mirror.example.org/x");
    assert_eq!(config.archives[1].suite, "b");
    assert_eq!(config.archives[1].components, ["main"]);
    assert_eq!(config.archives[1].keyring, Keyring::BuiltIn("debian".into()));
    assert_eq!(config.network.credentials[0].password, "secret");
    assert!(config.explain().iter().all(|setting| !setting.value.contains("secret")));
    let host =
        host.etc("y", &format!("suite = \"trixie\"\n[[archives_add]]\ntrusted = true\n{entry}"));
    let config = host.load("y");
    assert_eq!(config.archives.len(), 5);
    assert!(config.archives[4].trusted && !config.archives[0].trusted);
}

#[test]
fn checks_can_be_turned_off_for_all_archives_or_for_one() {
    let config =
        Host::new().loader().options(&["check_valid_until=false"]).load("debian-sid").unwrap();
    assert!(!config.archives[0].check_valid_until && config.archives[0].check_date);
    let config = Host::new().loader().options(&["check_date=false"]).load("debian-sid").unwrap();
    assert!(!config.archives[0].check_valid_until && !config.archives[0].check_date);
    let host = Host::new().etc("x", "suite = \"sid\"\narchives_add = [{uri = \"file:/x\", suites = \"./\", check_valid_until = false}]");
    let config = host.load("x");
    assert!(config.archives[0].check_valid_until && !config.archives[1].check_valid_until);
    assert!(config.archives[1].components.is_empty());
}

#[test]
fn the_environment_gives_the_source_date_epoch() {
    let mut host = Host::new();
    host.places.environment.insert("SOURCE_DATE_EPOCH".into(), "1700000000".into());
    let config = host.load("debian-sid");
    assert_eq!(config.source_date_epoch, Some(1_700_000_000));
    assert_eq!(origin_of(&config, "source_date_epoch"), "environment SOURCE_DATE_EPOCH");
    host.places.environment.insert("SOURCE_DATE_EPOCH".into(), "today".into());
    assert!(host.complaint("debian-sid").contains("\"today\""));
    let host = host.etc("debian-sid", "source_date_epoch = 5");
    assert_eq!(host.load("debian-sid").source_date_epoch, Some(5));
}

/// A value for each key that differs from what holds without it.
fn another(key: &schema::Key) -> &'static str {
    match key.path {
        "extends" => "\"debian-trixie\"",
        "distribution" => "\"ubuntu\"",
        "suite" => "\"noble\"",
        "architecture" => "\"s390x\"",
        "archives" => "[{uri = \"file:/x\", suites = \"x\"}]",
        "mirror" | "security_mirror" => "\"http://mirror.example.org/x\"",
        "keyring" => "\"/k.gpg\"",
        "refresh" => "\"never\"",
        "source_date_epoch" => "7",
        "packages.variant" => "\"apt\"",
        "isolation.binds" => "[{host = \"/x\"}]",
        "network.http_proxy" | "network.https_proxy" => "\"http://proxy.example.org\"",
        "network.verify_peer"
        | "use_host_apt"
        | "check_valid_until"
        | "check_date"
        | "limits.required" => "false",
        path if path.ends_with("path") || path.ends_with("ca_info") => "\"/x\"",
        _ => match key.kind {
            schema::Kind::Choice(words) => match words {
                ["native", ..] => "\"dpkg\"",
                ["auto", ..] => "\"simple\"",
                _ => "\"never\"",
            },
            schema::Kind::Integer(..) => "70000",
            schema::Kind::List => "[\"x\"]",
            schema::Kind::Map => "{x = \"y\"}",
            schema::Kind::Text => "\"x\"",
            schema::Kind::Bool => "true",
            _ => "7",
        },
    }
}

#[test]
fn every_key_changes_the_config() {
    let host = Host::debian("bookworm")
        .file("etc/apt/sources.list", "deb http://mirror.example.org/debian bookworm main\n");
    let before = host.load("debian-bookworm");
    let shown = |config: &Config| {
        let mut config = config.clone();
        config.settings.clear();
        config.name.clear();
        format!("{config:?}")
    };
    for key in KEYS {
        let value = match key.path {
            "build.jobs" | "network.retries" | "network.parallel" => "11",
            _ => another(key),
        };
        let text = match key.path {
            "extends" => format!("{} = {value}", key.path),
            _ => format!("extends = \"debian-bookworm\"\n{} = {value}", key.path),
        };
        let config = host.loader().load_str("x", &text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_ne!(shown(&config), shown(&before), "{text}");
        if key.path != "archives" {
            assert_eq!(origin_of(&config, key.path).split(':').next(), Some("x"), "{text}");
            assert!(!value_of(&config, key.path).is_empty());
        }
    }
}
