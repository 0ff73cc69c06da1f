//! The compressions that Debian archives use, for writing.

use std::io::{self, Write};

/// How a member of a `.deb`, a tarball or an index is compressed (`deb(5)`, `dsc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// `gzip`, with no name and no time in its header, so that output is the same every time.
    Gzip,
    /// `xz`, one block, CRC64.
    Xz,
    /// `zstd`, one frame.
    Zstd,
}

impl Compression {
    /// All of them, in the order in which apt prefers indexes, the best first.
    pub const ALL: [Compression; 4] =
        [Compression::Zstd, Compression::Xz, Compression::Gzip, Compression::Plain];

    /// The end of a file name, with its dot; empty for plain.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::Plain => "",
            Compression::Gzip => ".gz",
            Compression::Xz => ".xz",
            Compression::Zstd => ".zst",
        }
    }

    /// Compresses what `fill` writes, as a stream: a bomb never exists in memory unpacked.
    pub fn stream(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
        let run = || -> io::Result<Vec<u8>> {
            let mut out = Vec::new();
            match self {
                Compression::Plain => fill(&mut out)?,
                Compression::Gzip => {
                    let mut w =
                        flate2::GzBuilder::new().write(&mut out, flate2::Compression::new(6));
                    fill(&mut w)?;
                    w.finish()?;
                }
                Compression::Xz => {
                    let mut w = liblzma::write::XzEncoder::new(&mut out, 1);
                    fill(&mut w)?;
                    w.finish()?;
                }
                Compression::Zstd => {
                    let mut w = zstd::Encoder::new(&mut out, 3)?;
                    w.include_checksum(true)?;
                    fill(&mut w)?;
                    w.finish()?;
                }
            }
            Ok(out)
        };
        run().unwrap_or_else(|e| panic!("compressing with {self:?} into memory failed: {e}"))
    }

    /// Compresses bytes.
    pub fn bytes(self, data: &[u8]) -> Vec<u8> {
        self.stream(|w| w.write_all(data))
    }
}
