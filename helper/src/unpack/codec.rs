//! The compressors that `deb(5)` allows for the members of a `.deb`, and that tar files have.

use std::io::{self, BufRead, Read};

use liblzma::stream::{CONCATENATED, IGNORE_CHECK, MtStreamBuilder, Stream};

use super::error::Problem;

/// The most memory that an xz stream may ask for, in bytes. `xz -9` needs 65 MiB; dpkg-deb
/// writes with 8 MiB dictionaries (`-6`).
const XZ_MEMORY: u64 = 130 << 20;
/// Memory for which several blocks are decoded at once, bytes; else it is one after the other.
const XZ_PARALLEL: u64 = 256 << 20;

/// The largest zstd window, as its binary logarithm: 128 MiB, what `zstd -d` takes without
/// `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// By the end of a member's name: what follows `data.tar` or `control.tar`.
    pub(crate) fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::None),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the first bytes of a stream (six are enough). Anything unknown is taken as plain.
    pub fn of_magic(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Self::Xz
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// Whether the check sums inside a compressed stream are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// They are: nobody has seen the stream before.
    Compare,
    /// They are not: the SHA-256 of the whole file was compared before it came here. xz's CRC64 is
    /// a 25th of the time that a package takes to decode.
    Trust,
}

/// Decodes a stream, to its very end: several compressed streams one after the other are one.
/// Memory is bounded; the size of the output is for the reader to bound.
pub struct Decoder<R: BufRead>(Kind<R>);

enum Kind<R: BufRead> {
    Plain(R),
    Gzip(flate2::bufread::MultiGzDecoder<R>),
    Xz(liblzma::bufread::XzDecoder<R>),
    /// The first of streams that may follow each other, which the parallel decoder cannot tell;
    /// nothing after the last one.
    XzFirst(Option<liblzma::bufread::XzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of `stream`.
    ///
    /// # Errors
    /// [`Problem::Io`] if there is no memory for it.
    pub fn new(compression: Compression, stream: R, sums: Sums) -> Result<Self, Problem> {
        Ok(Self(match compression {
            Compression::None => Kind::Plain(stream),
            Compression::Gzip => Kind::Gzip(flate2::bufread::MultiGzDecoder::new(stream)),
            Compression::Xz => {
                let flags = match sums {
                    Sums::Compare => CONCATENATED,
                    Sums::Trust => CONCATENATED | IGNORE_CHECK,
                };
                let decoder = Stream::new_stream_decoder(XZ_MEMORY, flags)
                    .map_err(|error| Problem::io("start the xz decoder", error))?;
                Kind::Xz(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)
                    .map_err(|error| Problem::io("start the zstd decoder", error))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(|error| Problem::io("bound the zstd decoder", error))?;
                Kind::Zstd(decoder)
            }
        }))
    }

    /// As [`Decoder::new`], but what was compressed with xz in several blocks (`xz -T`, as Debian's
    /// indexes are) is decoded by so many threads, as far as memory goes.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn parallel(compression: Compression, stream: R, threads: u32) -> Result<Self, Problem> {
        if compression != Compression::Xz || threads < 2 {
            return Self::new(compression, stream, Sums::Trust);
        }
        let decoder = MtStreamBuilder::new()
            .threads(threads)
            .memlimit_threading(XZ_PARALLEL)
            .memlimit_stop(XZ_MEMORY)
            .decoder()
            .map_err(|error| Problem::io("start the xz decoder", error))?;
        let first = liblzma::bufread::XzDecoder::new_stream(stream, decoder);
        Ok(Self(Kind::XzFirst(Some(first))))
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.read(buffer),
            Kind::Gzip(stream) => stream.read(buffer),
            Kind::Xz(stream) => stream.read(buffer),
            Kind::XzFirst(first) => {
                let Some(stream) = first else { return Ok(0) };
                let count = stream.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                let Some(mut rest) = first.take().map(liblzma::bufread::XzDecoder::into_inner)
                else {
                    return Ok(0);
                };
                if rest.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                let decoder = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
                self.0 = Kind::Xz(liblzma::bufread::XzDecoder::new_stream(rest, decoder));
                self.read(buffer)
            }
            Kind::Zstd(stream) => stream.read(buffer),
        }
    }
}
