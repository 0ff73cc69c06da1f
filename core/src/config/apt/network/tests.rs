use super::*;
use std::path::Path;

fn found(conf: &str, environment: &[(&str, &str)]) -> (Network, Vec<String>) {
    let mut host = HostApt::default();
    let mut warnings = Vec::new();
    host.conf.text(conf, Path::new("apt.conf"), 0, &mut warnings);
    let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let (network, _) = network(&host, &environment, &mut warnings);
    (network, warnings.into_iter().map(|warning| warning.message).collect())
}

fn proxies(conf: &str, environment: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let (network, _) = found(conf, environment);
    (network.http_proxy, network.https_proxy)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn https_takes_what_http_has_unless_it_has_its_own() {
    let http = "Acquire::http::Proxy \"http://h:1\";";
    assert_eq!(proxies(http, &[]), (some("http://h:1"), some("http://h:1")));
    let both = format!("{http} Acquire::https::Proxy \"DIRECT\";");
    assert_eq!(proxies(&both, &[("https_proxy", "http://e")]), (some("http://h:1"), None));
}

#[test]
fn apts_configuration_comes_before_the_environment_and_lower_case_before_upper() {
    let http = "Acquire::http::Proxy \"http://h:1\";";
    assert_eq!(proxies(http, &[("http_proxy", "http://e")]).0, some("http://h:1"));
    let both = [("http_proxy", "http://low"), ("HTTP_PROXY", "http://up")];
    assert_eq!(proxies("", &both), (some("http://low"), some("http://low")));
    assert_eq!(proxies("", &[("HTTPS_PROXY", "up:3128")]), (None, some("http://up:3128")));
    assert_eq!(proxies("", &[("http_proxy", "")]), (None, None));
    let cgi = [("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")];
    assert_eq!(proxies("", &cgi), (None, None));
}

#[test]
fn hosts_have_proxies_of_their_own_or_none() {
    let (network, _) = found(
        "Acquire::http::Proxy::A.example.org \"DIRECT\"; Acquire::https::Proxy::b \"http://p\";",
        &[("no_proxy", "localhost, .example.net,,c")],
    );
    assert_eq!(network.host_proxies["a.example.org"], "DIRECT");
    assert_eq!(network.host_proxies["b"], "http://p");
    assert_eq!(network.no_proxy, ["localhost", ".example.net", "c"]);
}

#[test]
fn patience_and_certificates_are_apts() {
    let (network, warnings) = found(
        "Acquire { Retries \"7\"; http::Timeout \"9\"; https { CAInfo \"/ca\"; Verify-Peer \"no\"; }; };",
        &[],
    );
    assert!(warnings.is_empty());
    assert_eq!((network.retries, network.timeout), (7, Duration::from_secs(9)));
    assert_eq!(network.ca_info.as_deref(), Some(Path::new("/ca")));
    assert!(!network.verify_peer);
    let (network, warnings) = found("Acquire::Retries \"many\";", &[]);
    assert_eq!(network.retries, Network::default().retries);
    assert_eq!(
        warnings,
        ["apt.conf:1: Acquire::Retries is \"many\", which is not a number; it is not used"]
    );
}

#[test]
fn what_is_not_followed_is_said() {
    let (_, warnings) = found(
        "Acquire::http::Proxy-Auto-Detect \"/bin/x\"; Acquire::https::Verify-Host \"true\";",
        &[],
    );
    assert_eq!(warnings, ["apt.conf:1: Acquire::http::Proxy-Auto-Detect is not followed"]);
}

#[test]
fn a_login_leaves_the_uri() {
    let (uri, credential) =
        without_login("https://u%40x:p%3a%zz@mirror.example.org:8080/d").unwrap();
    assert_eq!(uri, "https://mirror.example.org:8080/d");
    assert_eq!(credential.machine, "https://mirror.example.org:8080/d");
    assert_eq!((credential.login.as_str(), credential.password.as_str()), ("u@x", "p:%zz"));
    assert!(without_login("https://mirror.example.org/a@b").is_none());
    assert!(without_login("file:/a@b").is_none());
}
