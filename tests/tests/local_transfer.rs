//! How archives are reached: through the proxies and with the certificates of apt's
//! configuration; and that no transfer outlives what it is for.

use debmock::ErrorKind;
use debmock_tests::deb::{Deb, Hostile};
use debmock_tests::rig::{Rig, tiny_archive};
use debmock_tests::server::{Fault, Server, Times};
use debmock_tests::tls::{Authority, Https};
use debmock_tests::{or_skip, tiny};

/// A host that only a proxy can reach: names below `.invalid` have no address (RFC 6761).
const FAR: &str = "http://archive.invalid";

/// A proxy of which nothing may be asked: nobody listens there.
const DEAD: &str = "http://127.0.0.1:1";

fn proxy(server: &Server, login: &str) -> String {
    format!("http://{login}{}", server.address())
}

fn all_to_proxy(server: &Server) -> bool {
    let requests = server.requests();
    assert!(!requests.is_empty());
    requests.iter().all(|request| request.to_proxy)
}

#[test]
fn a_proxy_of_apts_configuration_is_used_for_every_file() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    rig.at(FAR);
    rig.apt_conf(&format!("Acquire::http::Proxy \"{}\";", proxy(&server, "")));
    rig.assert_works();
    assert!(all_to_proxy(&server), "{:?}", server.requests());
}

#[test]
fn a_proxys_login_is_taken_from_its_uri() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    server.require_proxy_basic("user", "p@ss");
    rig.at(FAR);
    rig.apt_conf(&format!("Acquire::http::Proxy \"{}\";", proxy(&server, "")));
    rig.assert_refused(ErrorKind::Archive, &["archive.invalid", "407", "proxy", "login"]);
    rig.apt_conf(&format!("Acquire::http::Proxy \"{}\";", proxy(&server, "user:p%40ss@")));
    rig.assert_works();
    // the archive is not told who the proxy's user is
    assert!(server.requests().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    rig.apt_conf(&format!("Acquire::http::Proxy \"{DEAD}\";"));
    rig.assert_refused(ErrorKind::Archive, &["refused", "proxy"]);
    assert!(server.requests().is_empty(), "the proxy was passed over");
}

#[test]
fn direct_for_one_host_passes_the_proxy_over() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    rig.apt_conf(&format!(
        "Acquire::http::Proxy \"{DEAD}\";\nAcquire::http::Proxy::127.0.0.1 \"DIRECT\";"
    ));
    rig.assert_works();
    assert!(server.requests().iter().all(|request| !request.to_proxy));
}

#[test]
fn a_proxy_for_one_host_rules_over_that_for_all() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    rig.at(FAR);
    for all in [DEAD, "DIRECT"] {
        rig.apt_conf(&format!(
            "Acquire::http {{ Proxy \"{all}\"; Proxy {{ archive.invalid \"{}\"; }}; }};",
            proxy(&server, "")
        ));
        rig.assert_works();
    }
    assert!(all_to_proxy(&server));
}

#[test]
fn https_is_believed_with_the_authority_of_apts_configuration_only() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    let authority = Authority::new(&rig.area.path().join("authority"));
    let other = Authority::new(&rig.area.path().join("other"));
    let https = Https::in_front_of(&server, &authority);
    rig.at(&https.url());
    let url = https.url();
    let info = |authority: &Authority| {
        format!("Acquire::https::CAInfo \"{}\";", authority.certificate().display())
    };
    for conf in [String::new(), info(&other)] {
        rig.apt_conf(&conf);
        rig.assert_refused(ErrorKind::Archive, &[&url, "certificate", "ca-certificates"]);
        assert!(server.requests().is_empty(), "{:?}", server.requests());
    }
    rig.apt_conf(&info(&authority));
    rig.assert_works();
    assert!(!server.requests().is_empty());
}

#[test]
fn https_without_verify_peer_is_taken_as_it_is() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    let https = Https::in_front_of(&server, &Authority::new(&rig.area.path().join("authority")));
    rig.at(&https.url());
    rig.apt_conf("Acquire::https::Verify-Peer \"false\";");
    rig.assert_works();
}

#[test]
fn https_goes_through_a_proxy_in_a_tunnel() {
    let (mut rig, server) = or_skip!(Rig::served(&or_skip!(tiny_archive())));
    let authority = Authority::new(&rig.area.path().join("authority"));
    let https = Https::in_front_of(&server, &authority);
    let between = Server::new(&rig.area.path().join("nothing"));
    between.forward().require_proxy_basic("user", "pass");
    rig.at(&https.url());
    rig.apt_conf(&format!(
        "Acquire::https::CAInfo \"{}\";\nAcquire::https::Proxy \"{}\";",
        authority.certificate().display(),
        proxy(&between, "user:pass@")
    ));
    rig.assert_works();
    // it sees whom the client wants to talk to, and nothing of what is said
    assert!(between.requests().iter().all(|request| request.method == "CONNECT"));
    assert!(!between.requests().is_empty() && !server.requests().is_empty());
}

#[test]
fn a_package_that_cannot_be_unpacked_ends_the_transfers_of_the_others() {
    let evil = Deb::new("evil", "1.0-1", &tiny::native()).essential();
    let builder = or_skip!(tiny_archive()).deb(evil.hostile(Hostile::TruncatedAt(400)).build());
    let mut rig = or_skip!(Rig::new(&builder));
    let server = Server::new(&rig.archive.root);
    rig.at(&server.url());
    // who waits for this meets the runner's own limit first
    rig.set("[network]\ntimeout = \"1d\"\n");
    server.fault("*/libc6_*.deb", Fault::StallAfter(1000), Times::Always);
    rig.assert_refused(ErrorKind::Bootstrap, &["evil"]);
    assert_eq!(server.requests_for("*/libc6_*.deb").len(), 1);
}
