//! A build toolchain for the tiny distribution ([`crate::tiny`]): shell scripts under the names
//! of the programs that a build calls. They build native sources of format 3.0 whose
//! `debian/rules` is a shell script, in a fraction of a second.
//!
//! What Debian's own tools do is for `real_*`; here it matters what debmock does around them.

use crate::archive::ArchiveBuilder;
use crate::compression::Compression;
use crate::deb::{BuiltDeb, Deb};
use crate::dsc::{BuiltSource, Format, Source};

/// The user who builds in these roots: nobody, whom every root has.
pub const SETTINGS: &str = "[build]\nuser = \"nobody\"\n";

/// Unpacks `NAME_VERSION.dsc`: `dpkg-source -x DSC DIRECTORY`.
const SOURCE: &str = r#"#!/bin/sh
set -e
[ "$1" = -x ]
tarball=${2%.dsc}.tar.gz
mkdir "$3"
tar -xzf "$tarball" -C "$3" --strip-components=1
"#;

/// Calls `debian/rules binary`, packs `debian/tmp`, and lists what there is.
const BUILD: &str = r#"#!/bin/sh
set -e
title=$(head -n 1 debian/changelog)
name=${title%% *}
version=${title#*(}
version=${version%%)*}
arch=$(dpkg --print-architecture)
stem=${name}_${version}_$arch
debian/rules binary
mkdir -p debian/tmp/DEBIAN
cat >debian/tmp/DEBIAN/control <<END
Package: $name
Version: $version
Architecture: $arch
Maintainer: Test Kit <kit@example.org>
Description: made by a test
END
dpkg-deb -Znone --root-owner-group --build debian/tmp ../$stem.deb
cd ..
echo "Source: $name" >$stem.buildinfo
{
  printf 'Source: %s\nVersion: %s\nChecksums-Sha256:\n' "$name" "$version"
  for file in $stem.deb $stem.buildinfo; do
    hash=$(sha256sum $file)
    echo " ${hash%% *} $(stat -c %s $file) $file"
  done
} >$stem.changes
"#;

fn script(deb: Deb, name: &str, text: &str) -> Deb {
    deb.file(&format!("/usr/bin/{name}"), 0o755, text)
}

/// The packages that builds need: `dpkg-dev`, and a `fakeroot` that is there to be installed.
pub fn debs() -> Vec<BuiltDeb> {
    let tools = script(Deb::new("dpkg-dev", "1.0-1", "all"), "dpkg-source", SOURCE);
    let tools = script(tools, "dpkg-buildpackage", BUILD);
    let fakeroot = Deb::new("fakeroot", "1.0-1", "all").field("Depends", "dpkg-dev");
    vec![tools.build(), fakeroot.build()]
}

/// A source whose `debian/rules binary` runs this shell script in the source tree; what it puts
/// into `debian/tmp` becomes the package.
pub fn source(name: &str, script: &str) -> BuiltSource {
    Source::new(name, "1.0", Format::Native)
        .compression(Compression::Gzip)
        .rules(&format!("#!/bin/sh\nset -e\nmkdir -p debian/tmp\n{script}\n"))
        .build()
}

/// The archive with the toolchain.
pub fn add(builder: ArchiveBuilder) -> ArchiveBuilder {
    debs().into_iter().fold(builder, ArchiveBuilder::deb)
}
