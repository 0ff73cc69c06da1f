//! What apt makes of indexes that debmock gives it. Needs the host's apt, and no archive.

use std::fs;

use debmock::archive::acquire::{Acquire, Refresh};
use debmock::archive::state::Lists;
use debmock::archive::transport::HostTransport;
use debmock::config::{ArchiveSource, Keyring, Network};
use debmock::operation::{CancelToken, Scope};
use debmock_tests::apt::would_install;

#[test]
fn apt_takes_a_flat_local_archive() {
    use debmock::archive::checksum::Sha256;
    use debmock::archive::writer;
    let folder = tempfile::tempdir().unwrap();
    // apt quotes `_` and `+` in the names of its lists.
    let archive = folder.path().join("my_archive+1");
    fs::create_dir(&archive).unwrap();
    let control = "Package: dummy\nVersion: 1:0\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: x\n";
    let deb = writer::empty_deb(control, 0).unwrap();
    let entry = writer::Indexed {
        control,
        filename: "./dummy.deb",
        size: deb.len() as u64,
        sha256: Sha256::of(&deb),
    };
    let index = writer::packages(&[entry]).unwrap();
    let release = writer::release(&[("Suite", "local")], &[("Packages", index.as_bytes())], 0);
    fs::write(archive.join("dummy.deb"), deb).unwrap();
    fs::write(archive.join("Packages"), index).unwrap();
    fs::write(archive.join("Release"), release).unwrap();
    let keyring = Keyring::Files { files: Vec::new(), fingerprints: Vec::new() };
    let uri = format!("copy:{}", archive.display());
    let source = ArchiveSource { trusted: true, ..ArchiveSource::new(&uri, "./", &[], keyring) };
    let scope = Scope::quiet();
    let transport = HostTransport::new(&Network::default(), CancelToken::new()).unwrap();
    let lists = Lists::open(&folder.path().join("cache")).unwrap();
    let acquire = Acquire {
        transport: &transport,
        lists: &lists,
        builtin_keys: |_| None,
        parallel: 1,
        scope: &scope,
    };
    let state = acquire.refresh(&[source], "amd64", Refresh::Always).unwrap();
    let chosen = would_install(&state, &folder.path().join("a"), "", &["dummy"]);
    assert_eq!(chosen, ["dummy 1:0".to_owned()].into());
}
