//! Roots as images and directories, and back; images of strangers.

use debmock::ErrorKind;
use debmock_tests::area::Area;
use debmock_tests::deb::hex;
use debmock_tests::drive;
use debmock_tests::manifest::Manifest;
use debmock_tests::rig::{Rig, said, tiny_archive};
use debmock_tests::user::User;
use debmock_tests::{machine, or_skip};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything that one layer can do to those below.
const CHANGES: &str = "echo new > /srv/new; rm -r /var/lib/tiny; rm /etc/hosts; \
     mkdir -p /srv/a/b /srv/c; echo x > /srv/a/x; ln /srv/a/x /srv/a/y; ln -s a /srv/link; \
     chown -h 5:6 /srv/link; chmod 2755 /srv/c";
const MORE: &str = "rm -r /srv/a; mkdir /srv/a; echo z > /srv/a/z; rm -r /srv/c; echo file > /srv/c; \
     rm /srv/link; mkdir /srv/link; echo in > /srv/link/in; chmod 4755 /srv/new";

#[test]
fn images_and_directories_hold_what_the_root_holds() {
    let tar = or_skip!(drive::root_tar());
    let root = tar.to_string_lossy();
    for (who, drive) in or_skip!(drive::everywhere()) {
        let work = drive.area().work();
        let file = |name: &str| work.join(name).to_string_lossy().into_owned();
        let (plain, packed, gzipped) = (file("a.tar"), file("a.tar.zst"), file("a.tar.gz"));
        let (image, again, archive) = (file("a.oci"), file("b.oci"), file("a.oci.tar"));
        let directory = format!("{}/", file("directory"));
        let steps = [
            "import", &root, "run", "root", CHANGES, "snapshot", "one", "run", "root", MORE,
            "export", &plain, "export", &packed, "export", &gzipped, "export", &image, "export",
            &archive, "export", &directory,
        ];
        drive::start(drive.command(&steps)).finish().succeeded();
        let wanted = fs::read(&plain).unwrap();
        assert!(zstd::decode_all(&fs::read(&packed).unwrap()[..]).unwrap() == wanted);
        for source in [&packed, &gzipped, &image, &archive, &directory] {
            // A user's own directory cannot have the owners of the root.
            let exact = who != "user" || source != &directory;
            let (back, twice) = (file("back.tar"), file("twice.oci.tar"));
            let steps = ["import", source.as_str(), "export", &back, "export", &twice];
            drive::start(drive.command(&steps)).finish().succeeded();
            let found = fs::read(&back).unwrap();
            if exact {
                let differences = manifest(&wanted).differences(&manifest(&found));
                assert!(differences.is_empty(), "{who} {source}: {differences:#?}");
                assert!(found == wanted, "{who} {source}");
            } else {
                assert!(manifest(&found).paths() == manifest(&wanted).paths(), "{who} {source}");
            }
        }
        // The same content gives the same bytes, as often as it is asked for.
        let steps = ["import", image.as_str(), "export", &again];
        drive::start(drive.command(&steps)).finish().succeeded();
        let first = fs::read(work.join("b.oci/index.json")).unwrap();
        fs::remove_dir_all(&again).unwrap();
        drive::start(drive.command(&["export", &again])).finish().succeeded();
        assert!(fs::read(work.join("b.oci/index.json")).unwrap() == first, "{who}");
        let top = fs::metadata(&directory).unwrap();
        assert_eq!(top.uid() == 0, who != "user", "{who}");
        let setuid = fs::metadata(work.join("directory/srv/new")).unwrap().mode() & 0o7777;
        assert_eq!(setuid, if who == "user" { 0o755 } else { 0o4755 }, "{who}");
        let taken = drive::start(drive.command(&["try:export", &directory])).finish();
        assert!(taken.of("error").join("").contains("exists"), "{:#?}", taken.lines);
    }
}

fn manifest(tar: &[u8]) -> Manifest {
    Manifest::of_tar(tar).unwrap()
}

/// A layer of a stranger.
struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Layer(tar::Builder::new(Vec::new()))
    }

    fn add(mut self, kind: tar::EntryType, path: &str, content: &str) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        match kind {
            tar::EntryType::Symlink | tar::EntryType::Link => {
                header.set_size(0);
                header.set_link_name(content).unwrap();
                header.set_cksum();
                self.0.append(&header, &b""[..]).unwrap();
            }
            _ => {
                header.set_size(content.len() as u64);
                header.set_cksum();
                self.0.append(&header, content.as_bytes()).unwrap();
            }
        }
        self
    }

    fn directories(self, paths: &[&str]) -> Self {
        paths.iter().fold(self, |layer, path| layer.add(tar::EntryType::Directory, path, ""))
    }

    fn files(self, paths: &[&str]) -> Self {
        paths.iter().fold(self, |layer, path| layer.add(tar::EntryType::Regular, path, path))
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// What a layer is called, how it lies there, and what it is when it is unpacked.
type Packed = (&'static str, Vec<u8>, Vec<u8>);

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Writes a layout; each of its documents goes through `change` first.
fn layout(top: &Path, layers: &[Packed], change: &dyn Fn(&str, &mut Value)) {
    let blobs = top.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(blobs.join(&digest(bytes)[7..]), bytes).unwrap();
        json!({ "digest": digest(bytes), "size": bytes.len() })
    };
    let document = |name: &str, kind: &str, mut document: Value| {
        change(name, &mut document);
        let mut descriptor = put(document.to_string().as_bytes());
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}.v1+json").into();
        descriptor
    };
    let ids: Vec<String> = layers.iter().map(|(.., plain)| digest(plain)).collect();
    let config = json!({
        "architecture": here(), "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = document("config", "config", config);
    let blob = |(suffix, bytes, _): &Packed| {
        let mut descriptor = put(bytes);
        let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        descriptor["mediaType"] = kind.into();
        descriptor
    };
    let layers: Vec<Value> = layers.iter().map(blob).collect();
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let manifest = document("manifest", "manifest", manifest);
    let mut index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    change("index", &mut index);
    fs::write(top.join("index.json"), index.to_string()).unwrap();
    fs::write(top.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

fn plain(tar: Vec<u8>) -> Packed {
    ("", tar.clone(), tar)
}

fn base() -> Layer {
    let folders =
        ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "old", "old/sub"];
    let files = ["etc/keep", "etc/gone", "old/a", "old/sub/b", "becomes-folder"];
    Layer::new()
        .directories(&folders)
        .directories(&["becomes-file", "real"])
        .files(&files)
        .files(&["becomes-file/x", "real/r"])
        .add(tar::EntryType::Symlink, "link", "real")
}

fn rig() -> Result<Rig, machine::Skip> {
    Rig::new(&tiny_archive()?)
}

/// What images call the architecture of this machine.
fn here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn marks_and_compressors_of_strangers_mean_what_the_specification_says() {
    let rig = or_skip!(rig());
    let above = Layer::new()
        // in an order that nobody should need
        .files(&["old/new", "old/.wh..wh..opq", "etc/.wh.gone", ".wh..wh.plnk"])
        .directories(&["becomes-folder", "link"])
        .files(&["becomes-folder/y", "becomes-file", "link/z", ".wh.never-was"])
        .finish();
    // as zstd:chunked ends: with what other decoders pass over
    let mut chunked = zstd::encode_all(&above[..], 3).unwrap();
    chunked.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0]);
    chunked.extend_from_slice(b"table");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let first = base().finish();
    gzip.write_all(&first).unwrap();
    let top = rig.area.work().join("image");
    let empty = Layer::new().finish();
    let layers =
        [("+gzip", gzip.finish().unwrap(), first), ("+zstd", chunked, above), plain(empty)];
    // one of several platforms
    layout(&top, &layers, &|name, document| {
        if name == "index" {
            let mut ours = document["manifests"][0].clone();
            ours["platform"] = json!({ "architecture": here(), "os": "linux" });
            let mut other = ours.clone();
            other["platform"]["architecture"] = "mips".into();
            other["digest"] = digest(b"not here").into();
            document["manifests"] = json!([other, ours]);
        }
    });
    let back = rig.area.work().join("back.tar").to_string_lossy().into_owned();
    said(rig.program(&["import", &top.to_string_lossy()])).assert_success();
    said(rig.program(&["export", &back])).assert_success();
    let found = manifest(&fs::read(&back).unwrap());
    let paths: Vec<&str> = found
        .paths()
        .into_iter()
        .map(|path| path.trim_end_matches('/'))
        .filter(|path| path.contains(['o', 'l', 'k']) && !path.starts_with("dev"))
        .filter(|path| !["proc", "root"].contains(path))
        .collect();
    let wanted = [
        "becomes-file",
        "becomes-folder",
        "becomes-folder/y",
        "etc/keep",
        "link",
        "link/z",
        "old",
        "old/new",
        "real",
        "real/r",
    ];
    let wanted: Vec<&str> =
        wanted.into_iter().filter(|path| path.contains(['o', 'l', 'k'])).collect();
    assert_eq!(paths, wanted);
}

#[test]
fn images_that_lie_are_refused() {
    let rig = or_skip!(rig());
    type Change = Box<dyn Fn(&str, &mut Value)>;
    let at = |document: &'static str, change: fn(&mut Value)| -> Change {
        Box::new(move |name, value| {
            if name == document {
                change(value);
            }
        })
    };
    let cases: Vec<(&str, Change)> = vec![
        (
            "index.json",
            at("index", |v| {
                v["manifests"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into()
            }),
        ),
        (
            "index.json",
            at("index", |v| {
                v["manifests"][0]["digest"] = format!("sha256:../../{}", "0".repeat(58)).into()
            }),
        ),
        ("index.json", at("index", |v| *v = json!([]))),
        ("bytes", at("index", |v| v["manifests"][0]["size"] = 3.into())),
        ("more than", at("index", |v| v["manifests"][0]["size"] = (1_u64 << 40).into())),
        ("has no blobs", at("index", |v| v["manifests"][0]["digest"] = digest(b"").into())),
        ("is not for", at("index", |v| v["manifests"] = json!([]))),
        ("linux/mips", at("config", |v| v["architecture"] = "mips".into())),
        ("plan9", at("config", |v| v["os"] = "plan9".into())),
        ("when it is unpacked", at("config", |v| v["rootfs"]["diff_ids"][0] = digest(b"").into())),
        (
            "2 layers in its manifest and 1",
            at("config", |v| v["rootfs"]["diff_ids"] = json!([digest(b"")])),
        ),
        (
            "unknown type",
            at("manifest", |v| {
                v["layers"][0]["mediaType"] =
                    "application/vnd.oci.image.layer.v1.tar+encrypted".into()
            }),
        ),
        ("bytes", at("manifest", |v| v["layers"][0]["size"] = 7.into())),
        ("config", at("manifest", |v| v["config"]["size"] = (5 << 20).into())),
        (
            "one of 2",
            at("index", |v| {
                let mut other = v["manifests"][0].clone();
                other["digest"] = digest(b"another").into();
                let one = v["manifests"][0].clone();
                v["manifests"] = json!([one, other]);
            }),
        ),
    ];
    for (number, (word, change)) in cases.iter().enumerate() {
        let top = rig.area.work().join(format!("image{number}"));
        let layers = [plain(base().finish()), plain(Layer::new().files(&["etc/other"]).finish())];
        layout(&top, &layers, change);
        let refused = said(rig.program(&["import", &top.to_string_lossy()]));
        refused.assert_refused(ErrorKind::Buildroot, &[word]);
    }
    // A blob that was changed, and marks that lead elsewhere.
    let top = rig.area.work().join("changed");
    let good = base().finish();
    layout(&top, &[plain(good.clone())], &|_, _| {});
    let blob = top.join("blobs/sha256").join(&digest(&good)[7..]);
    let mut bytes = good;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let refused = said(rig.program(&["import", &top.to_string_lossy()]));
    refused.assert_refused(ErrorKind::Buildroot, &["whose digest is"]);
    for (number, name) in ["etc/.wh..", "etc/.wh...", "etc/.wh.", "../.wh.etc"].iter().enumerate() {
        let top = rig.area.work().join(format!("mark{number}"));
        layout(&top, &[plain(base().files(&[name]).finish())], &|_, _| {});
        let refused = said(rig.program(&["import", &top.to_string_lossy()]));
        assert_eq!(refused.code, Some(ErrorKind::Buildroot.exit_code().into()), "{}", refused.text);
        assert!(refused.text.contains("leave the root"), "{name}: {}", refused.text);
    }
    rig.assert_nothing_lost();
}

#[test]
fn layers_of_another_store_are_not_made_again() {
    let rig = or_skip!(rig());
    let work = rig.area.work();
    let file = |name: &str| work.join(name).to_string_lossy().into_owned();
    let (image, before, after) = (file("a.oci.tar"), file("before.tar"), file("after.tar"));
    said(rig.program(&["init"])).assert_success();
    said(rig.program(&["export", &before])).assert_success();
    let run = "mkdir /srv/x; rm -r /var/lib/tiny";
    said(rig.program(&["chroot", "--", "sh", "-c", run])).assert_success();
    said(rig.program(&["export", &image])).assert_success();
    let plain = said(rig.program(&["import", "--layers", &before]));
    plain.assert_refused(ErrorKind::Buildroot, &["no image"]);
    said(rig.program(&["scrub", "all"])).assert_success();
    assert_eq!(rig.layers(), 0);
    let taken = said(rig.program(&["import", "--layers", &image]));
    taken.assert_success();
    assert!(taken.text.contains("the store has the layer base-"), "{}", taken.text);
    let made = said(rig.program(&["init"]));
    made.assert_success();
    assert!(!made.text.contains("unpack"), "{}", made.text);
    said(rig.program(&["export", &after])).assert_success();
    assert!(fs::read(before).unwrap() == fs::read(after).unwrap());
    rig.assert_works();
}

#[test]
fn names_and_options_of_an_export_that_make_no_sense_are_refused() {
    let rig = or_skip!(rig());
    let area = Area::of(User::current());
    let target = area.work().join("x");
    let target = target.to_string_lossy();
    for (arguments, word) in [
        (&["export", &*target][..], "--format"),
        (&["export", "--flatten", "--format", "tar", &target], "flatten"),
        (&["export", "--format", "directory", "--compression", "gzip", &target], "directory"),
    ] {
        said(rig.program(arguments)).assert_refused(ErrorKind::Usage, &[word]);
    }
    for arguments in
        [["export", "--compression", "zstd:23", "x.tar"], ["export", "--format", "iso", "x.tar"]]
    {
        assert_eq!(said(rig.program(&arguments)).code, Some(ErrorKind::Usage.exit_code().into()));
    }
    assert!(!Path::new(&*target).exists());
}
