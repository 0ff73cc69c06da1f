//! Compressed streams of indexes.

use crate::error::{Error, ErrorKind, Result};
use debmock_helper::unpack;
use std::io::{self, BufRead, BufReader, Read};

/// Debian's largest indexes have three blocks.
const THREADS: usize = 4;

/// How an index is compressed. In order of preference: what decodes fastest for its size first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.zst`
    Zstd,
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
    /// Not at all.
    Plain,
}

impl Compression {
    /// All of them, in order of preference.
    pub const ALL: [Compression; 4] =
        [Compression::Zstd, Compression::Xz, Compression::Gzip, Compression::Plain];

    /// What is appended to a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Zstd => ".zst",
            Compression::Xz => ".xz",
            Compression::Gzip => ".gz",
            Compression::Plain => "",
        }
    }

    /// A stream of the decoded bytes of `input`, to its very end: several compressed streams one
    /// after the other are one.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if the decoder cannot be set up.
    pub fn decode<'a>(self, input: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
        let input = BufReader::with_capacity(128 * 1024, input);
        let how = match self {
            Compression::Plain => unpack::Compression::None,
            Compression::Gzip => unpack::Compression::Gzip,
            Compression::Zstd => unpack::Compression::Zstd,
            Compression::Xz => unpack::Compression::Xz,
        };
        let threads =
            std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS) as u32);
        let decoder = unpack::Decoder::parallel(how, input, threads).map_err(|problem| {
            Error::new(ErrorKind::Archive, "cannot set up a decoder").with_source(problem)
        })?;
        Ok(Box::new(decoder))
    }
}

/// Copies at most `limit` bytes; `Ok(None)` if there are more.
pub fn copy_bounded(
    input: &mut dyn BufRead,
    output: &mut dyn io::Write,
    limit: u64,
) -> io::Result<Option<u64>> {
    let mut total = 0;
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(Some(total));
        }
        let count = bytes.len();
        total += count as u64;
        if total > limit {
            return Ok(None);
        }
        output.write_all(bytes)?;
        input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    pub(crate) fn encode(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Plain => bytes.to_vec(),
            Compression::Zstd => zstd::encode_all(bytes, 3).unwrap(),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn every_format_decodes_also_in_several_streams() {
        let bytes = b"hello hello hello".repeat(5000);
        for compression in Compression::ALL {
            let mut encoded = encode(compression, &bytes);
            encoded.extend(encode(compression, b"more"));
            let mut decoded = Vec::new();
            compression.decode(&encoded[..]).unwrap().read_to_end(&mut decoded).unwrap();
            assert_eq!(decoded, [&bytes[..], b"more"].concat(), "{compression:?}");
            if compression != Compression::Plain {
                let cut = &encoded[..encoded.len() - 3];
                assert!(compression.decode(cut).unwrap().read_to_end(&mut decoded).is_err());
                assert!(
                    compression.decode(&b"garbage"[..]).unwrap().read_to_end(&mut decoded).is_err()
                );
            }
        }
    }

    #[test]
    fn blocks_that_are_decoded_at_once_come_in_their_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let blocks = liblzma::stream::MtStreamBuilder::new()
            .threads(2)
            .block_size(1 << 20)
            .preset(0)
            .encoder()
            .unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), blocks);
        encoder.write_all(&bytes).unwrap();
        let mut encoded = encoder.finish().unwrap();
        encoded.extend(encode(Compression::Xz, b"and more"));
        let decode = |encoded: &[u8], threads| {
            let kind = unpack::Compression::Xz;
            let mut decoded = Vec::new();
            let mut decoder = unpack::Decoder::parallel(kind, encoded, threads).unwrap();
            decoder.read_to_end(&mut decoded).map(|_| decoded)
        };
        for threads in [1, 4] {
            let decoded = decode(&encoded, threads).unwrap();
            assert!(decoded == [&bytes[..], b"and more"].concat(), "{threads} threads");
            for end in [encoded.len() / 3, encoded.len() - 5] {
                assert!(decode(&encoded[..end], threads).is_err(), "cut at {end}");
            }
        }
        // Damage in the middle of a block is found there.
        let half = encoded.len() / 2;
        encoded[half] ^= 1;
        assert!(decode(&encoded, 4).is_err());
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let encoded = encode(Compression::Zstd, &vec![0; 10_000_000]);
        let decoded = Compression::Zstd.decode(&encoded[..]).unwrap();
        let mut output = Vec::new();
        let copied = copy_bounded(&mut BufReader::new(decoded), &mut output, 1000).unwrap();
        assert!(copied.is_none() && output.len() <= 1000);
    }
}
