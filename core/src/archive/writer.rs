//! Making small archives: the index of a few `.deb` files and packages without content.
//!
//! Everything is deterministic: the same input gives the same bytes.

use super::checksum::Sha256;
use super::date;
use super::deb822::Control;
use crate::error::{Error, ErrorKind, IoContext, Result};
use debmock_helper::unpack::hex;
use md5::Digest;
use std::io::Write;

/// One package for [`packages`].
#[derive(Debug, Clone)]
pub struct Indexed<'a> {
    /// The text of its `control` file.
    pub control: &'a str,
    /// Where the file is, relative to the archive's root.
    pub filename: &'a str,
    /// Size of the file in bytes.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Sha256,
}

/// The text of a `Packages` index.
///
/// # Errors
/// [`ErrorKind::Package`] for a control file that is not usable.
pub fn packages(entries: &[Indexed<'_>]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        let wrong = |error: Error| error.with_kind(ErrorKind::Package);
        let mut control =
            Control::parse(entry.control.as_bytes(), entry.filename).map_err(wrong)?;
        for field in ["Package", "Version", "Architecture"] {
            control.require(field, entry.filename).map_err(wrong)?;
        }
        control.set("Filename", entry.filename);
        control.set("Size", entry.size.to_string());
        control.set("SHA256", entry.sha256.to_string());
        text += &format!("{control}\n");
    }
    Ok(text)
}

/// The text of a `Sources` index: for each package the text of its `.dsc` without signature,
/// the name of the `.dsc`, its content, and the directory of its files.
///
/// # Errors
/// [`ErrorKind::Source`] for a `.dsc` that is not usable.
pub fn sources(entries: &[(&str, &[u8], &str)]) -> Result<String> {
    let mut text = String::new();
    for (name, content, directory) in entries {
        let dsc = super::source::Dsc::parse(content, name)?;
        let mut index = Control::default();
        index.set("Package", dsc.name.clone());
        for (field, value) in dsc.control.fields().filter(|(field, _)| *field != "Source") {
            index.set(field, value);
        }
        let own = format!("\n {} {} {name}", Sha256::of(content), content.len());
        let table = index.get("Checksums-Sha256").unwrap_or_default().to_owned();
        index.set("Checksums-Sha256", format!("{own}{table}"));
        if let Some(files) = index.get("Files") {
            let own = format!("\n {} {} {name}", hex(&md5::Md5::digest(content)), content.len());
            let files = format!("{own}{files}");
            index.set("Files", files);
        }
        index.set("Directory", *directory);
        text += &format!("{index}\n");
    }
    Ok(text)
}

/// The text of a Release file over `files` (path below the suite's directory, content), with
/// further `fields` such as `Suite`, dated `seconds` since the epoch.
pub fn release(fields: &[(&str, &str)], files: &[(&str, &[u8])], seconds: i64) -> String {
    let mut control = Control::default();
    for (name, value) in fields {
        control.set(name, *value);
    }
    control.set("Date", date::format(seconds));
    let line = |(path, content): &(&str, &[u8])| {
        format!("\n {} {} {path}", Sha256::of(content), content.len())
    };
    control.set("SHA256", files.iter().map(line).collect::<String>());
    control.to_string()
}

/// A `.deb` without files (`deb(5)`): only the text of its `control` file, dated `seconds` since
/// the epoch.
///
/// # Errors
/// [`ErrorKind::Package`] for a control file without name, version or architecture.
pub fn empty_deb(control: &str, seconds: u64) -> Result<Vec<u8>> {
    let wrong = |error: Error| error.with_kind(ErrorKind::Package);
    let parsed = Control::parse(control.as_bytes(), "the control file").map_err(wrong)?;
    for field in ["Package", "Version", "Architecture", "Maintainer", "Description"] {
        parsed.require(field, "the control file").map_err(wrong)?;
    }
    let text = if control.ends_with('\n') { control.to_owned() } else { format!("{control}\n") };
    let control = tarball(&[("./", None), ("./control", Some(text.as_bytes()))], seconds)?;
    let data = tarball(&[("./", None)], seconds)?;
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)]
    {
        deb.extend(
            format!(
                "{name:<16}{seconds:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                "100644",
                content.len()
            )
            .bytes(),
        );
        deb.extend_from_slice(content);
        if content.len() % 2 == 1 {
            deb.push(b'\n');
        }
    }
    Ok(deb)
}

fn tarball(entries: &[(&str, Option<&[u8]>)], seconds: u64) -> Result<Vec<u8>> {
    let build = || -> std::io::Result<Vec<u8>> {
        // No name and no time in gzip's header.
        let packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
        let mut builder = tar::Builder::new(packed);
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            let (kind, mode) = match content {
                None => (tar::EntryType::Directory, 0o755),
                Some(_) => (tar::EntryType::Regular, 0o644),
            };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_username("root")?;
            header.set_groupname("root")?;
            header.set_mtime(seconds);
            header.set_size(content.map_or(0, |content| content.len() as u64));
            // As dpkg-deb writes them: the path with its `./`, which `set_path` would drop.
            header.as_gnu_mut().ok_or(std::io::ErrorKind::InvalidInput)?.name[..path.len()]
                .copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, content.unwrap_or_default())?;
        }
        let mut packed = builder.into_inner()?;
        packed.flush()?;
        packed.finish()
    };
    build().doing(|| "cannot make a tar archive in memory".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::index::Packages;
    use std::process::Command;

    const CONTROL: &str = "Package: dummy\nVersion: 1:0\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDepends: hello\nDescription: x\n y\n";

    /// Needs the host's dpkg.
    #[test]
    fn dpkg_reads_the_empty_package() {
        let deb = empty_deb(CONTROL, 1_700_000_000).unwrap();
        assert_eq!(deb, empty_deb(CONTROL, 1_700_000_000).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        std::fs::write(&path, &deb).unwrap();
        let ask = |option: &str| {
            let output = Command::new("dpkg-deb")
                .arg(option)
                .arg(&path)
                .output()
                .expect("this test needs dpkg-deb");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(ask("--field"), CONTROL);
        let list = ask("--contents");
        assert!(
            list.starts_with("drwxr-xr-x root/root")
                && list.trim_end().ends_with("./")
                && list.lines().count() == 1,
            "{list}"
        );
        assert!(empty_deb("Package: x\n", 0).is_err());
    }

    #[test]
    fn what_is_indexed_is_found() {
        let entry =
            Indexed { control: CONTROL, filename: "./x.deb", size: 3, sha256: Sha256::of(b"abc") };
        let text = packages(&[entry]).unwrap();
        let found = Packages::from_text(text.into_bytes(), "file:/x", "x").unwrap();
        let package = found.versions("dummy").next().unwrap();
        assert_eq!(
            package.file_in_archive().unwrap(),
            (3, Sha256::of(b"abc"), "file:/x/x.deb".into())
        );
        let text = release(&[("Suite", "x")], &[("Packages", b"abc")], 0);
        let read = crate::archive::release::Release::parse(text.as_bytes(), "Release").unwrap();
        assert_eq!(read.file("Packages").unwrap().sha256, Sha256::of(b"abc"));
        assert_eq!(read.date(), Some(0));
    }

    #[test]
    fn sources_name_their_dsc() {
        let dsc = format!(
            "Format: 1.0\nSource: a\nVersion: 1\nBinary: a\nFiles:\n x 3 a.tar\nChecksums-Sha256:\n {} 3 a.tar\n",
            Sha256::of(b"abc")
        );
        let text = sources(&[("a_1.dsc", dsc.as_bytes(), "pool")]).unwrap();
        let paragraph = crate::archive::deb822::Paragraph::new(text.as_bytes());
        let files =
            crate::archive::index::file_table(paragraph.text_of("Checksums-Sha256")).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0], ("a_1.dsc".into(), dsc.len() as u64, Sha256::of(dsc.as_bytes())));
        assert_eq!(paragraph.text_of("Package"), "a");
        assert_eq!(paragraph.text_of("Directory"), "pool");
    }
}
