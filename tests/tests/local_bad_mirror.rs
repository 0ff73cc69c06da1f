//! Mirrors that misbehave: they stop, stall, answer with errors, garbage, wrong lengths or in
//! circles. What may pass is tried again and resumed; what does not is named; nothing is lost.

use debmock::ErrorKind;
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, tiny_archive};
use debmock_tests::server::{Fault, Server, Times};

const DEB: &str = "*/dash_1.0-1_*.deb";
const INDEX: &str = "*/binary-*/*";
const RELEASE: &str = "*/InRelease";

/// Every kind of file with this fault for ever: refused with the words; then the server heals and
/// the next run succeeds.
fn refused_until_healed(fault: &Fault, words: &[&str]) {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    for pattern in [RELEASE, INDEX, DEB] {
        server.fault(pattern, fault.clone(), Times::Always);
        rig.assert_refused(ErrorKind::Archive, &[&[server.url().as_str()], words].concat());
        server.heal();
    }
    rig.assert_works();
}

/// Every kind of file with this fault once: nobody notices.
fn survived(fault: &Fault) {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    for pattern in [RELEASE, INDEX, DEB] {
        server.fault(pattern, fault.clone(), Times::Next(1));
    }
    rig.assert_works();
    assert!(retried(&server), "{:?}", server.requests());
}

fn retried(server: &Server) -> bool {
    server.requests_for(DEB).len() > 1
}

#[test]
fn a_mirror_that_stops_in_the_middle_is_resumed() {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    server.fault("*/libc6_*.deb", Fault::CloseAfter(300_000), Times::Next(2));
    rig.assert_works();
    let ranges: Vec<_> =
        server.requests_for("*/libc6_*.deb").into_iter().map(|request| request.range).collect();
    let expected = [None, Some("bytes=300000-".into()), Some("bytes=600000-".into())];
    assert_eq!(ranges, expected, "what had come was fetched again");
}

#[test]
fn a_mirror_that_always_stops_is_named_and_the_next_run_goes_on() {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    server.fault(DEB, Fault::CloseAfter(1000), Times::Always);
    let url = server.url();
    let words = ["dash 1.0-1", &url, "stopped after", "goes on where it stopped"];
    rig.assert_refused(ErrorKind::Archive, &words);
    server.heal();
    server.forget();
    rig.assert_works();
    let requests = server.requests_for(DEB);
    assert!(requests[0].range.is_some(), "it began again: {requests:?}");
}

#[test]
fn a_mirror_that_answers_404_is_named() {
    let sound = or_skip!(tiny_archive());
    for (pattern, words) in [
        (DEB, &["dash 1.0-1", "404", "debmock update"][..]),
        (INDEX, &["the index", "404", "try again later"]),
        ("*Release*", &["has neither InRelease nor Release", "404", "suite"]),
    ] {
        let (rig, server) = or_skip!(Rig::served(&sound));
        server.fault(pattern, Fault::Status(404), Times::Always);
        rig.assert_refused(ErrorKind::Archive, words);
        // a file that is not there is not asked for again and again
        let paths: Vec<_> = server.requests_for(pattern).into_iter().map(|r| r.path).collect();
        let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len(), "{paths:?}");
        server.heal();
        rig.assert_works();
    }
}

#[test]
fn a_mirror_that_answers_500_is_asked_again_and_then_named() {
    for status in [500, 502, 503, 429] {
        survived(&Fault::Status(status));
    }
    refused_until_healed(&Fault::Status(500), &["500", "gave up after 3 tries"]);
}

#[test]
fn a_mirror_that_forbids_is_named_with_what_to_do() {
    refused_until_healed(&Fault::Status(403), &["403"]);
    refused_until_healed(&Fault::Status(401), &["401"]);
}

#[test]
fn garbage_from_a_mirror_is_named() {
    let sound = or_skip!(tiny_archive());
    let portal = Fault::Body(b"<html><body>Please log in</body></html>".to_vec());
    for fault in [Fault::Garbage, portal, Fault::FlipByte(700), Fault::Truncated(500)] {
        for pattern in [RELEASE, INDEX, DEB] {
            let (rig, server) = or_skip!(Rig::served(&sound));
            server.fault(pattern, fault.clone(), Times::Always);
            let kind = if pattern == RELEASE { ErrorKind::Signature } else { ErrorKind::Archive };
            rig.assert_refused(kind, &[server.url().as_str()]);
            server.heal();
            rig.assert_works();
        }
    }
}

#[test]
fn a_mirror_that_does_not_speak_http_is_named() {
    refused_until_healed(&Fault::GarbageHead, &[]);
    refused_until_healed(&Fault::EndlessHead(50_000_000), &[]);
}

#[test]
fn a_mirror_that_stalls_is_left_after_the_timeout() {
    let sound = or_skip!(tiny_archive());
    for pattern in [RELEASE, INDEX, DEB] {
        let (rig, server) = or_skip!(Rig::served(&sound));
        server.fault(pattern, Fault::StallAfter(100), Times::Always);
        rig.assert_refused(ErrorKind::Archive, &[server.url().as_str(), "silent for 2 seconds"]);
        server.heal();
        rig.assert_works();
    }
    survived(&Fault::StallAfter(100));
}

#[test]
fn a_mirror_that_says_nothing_is_left_after_the_timeout() {
    survived(&Fault::Silence);
    survived(&Fault::Hangup);
}

#[test]
fn a_wrong_content_length_is_named() {
    let sound = or_skip!(tiny_archive());
    for length in [0, 10, 1_000_000_000_000] {
        for pattern in [INDEX, DEB] {
            let (rig, server) = or_skip!(Rig::served(&sound));
            server.fault(pattern, Fault::WrongLength(length), Times::Always);
            let words = [server.url(), format!("{length} bytes instead of the")];
            rig.assert_refused(ErrorKind::Archive, &[&words[0], &words[1]]);
            server.heal();
            rig.assert_works();
        }
    }
}

#[test]
fn a_file_without_end_is_not_read_for_ever() {
    let sound = or_skip!(tiny_archive());
    for pattern in [RELEASE, INDEX, DEB] {
        let (rig, server) = or_skip!(Rig::served(&sound));
        server.fault(pattern, Fault::Endless(1 << 30), Times::Always);
        rig.assert_refused(ErrorKind::Archive, &[server.url().as_str(), "bytes"]);
        assert!(server.bytes_served() < 400 << 20, "{} bytes", server.bytes_served());
        server.heal();
        rig.assert_works();
    }
}

#[test]
fn a_redirect_loop_is_named() {
    refused_until_healed(&Fault::RedirectLoop, &["redirect"]);
}

#[test]
fn a_redirect_to_a_file_of_this_machine_is_refused() {
    refused_until_healed(&Fault::Redirect("file:///etc/passwd".into()), &["redirect"]);
}

#[test]
fn odd_but_correct_answers_are_no_faults() {
    for fault in [Fault::Chunked, Fault::IgnoreRange] {
        let sound = or_skip!(tiny_archive());
        let (rig, server) = or_skip!(Rig::served(&sound));
        server.fault(DEB, Fault::CloseAfter(1000), Times::Next(1));
        server.fault("*", fault, Times::Always);
        rig.assert_works();
    }
}

#[test]
fn a_mirror_that_resumes_at_the_wrong_place_gives_no_wrong_package() {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    server.fault(DEB, Fault::CloseAfter(1000), Times::Next(1));
    server.fault(DEB, Fault::WrongRange, Times::Always);
    rig.assert_works();
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let sound = or_skip!(tiny_archive());
    let (rig, server) = or_skip!(Rig::served(&sound));
    let url = server.url();
    drop(server);
    rig.assert_refused(ErrorKind::Archive, &[&url, "refused"]);
}
