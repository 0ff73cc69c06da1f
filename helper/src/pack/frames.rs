//! Compresses a stream with several threads into frames that stand for themselves.
//!
//! The stream is cut where its length says, never where a thread happens to be: the bytes do not
//! depend on the number of threads. One frame after the other is one stream to every decoder
//! (RFC 8878 §3, RFC 1952 §2.2), and each can be decoded without those before it.

use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// Zstandard of this level, 1 to 22.
    Zstd(i32),
    /// gzip of this level, 1 to 9.
    Gzip(u32),
}

impl Codec {
    /// Bytes of the plain stream in each frame: several times the window of the level, or too
    /// little of what is alike would be found.
    fn frame(self) -> usize {
        match self {
            Codec::Gzip(_) => 1 << 20,
            Codec::Zstd(..=15) => 4 << 20,
            Codec::Zstd(16..=19) => 32 << 20,
            Codec::Zstd(_) => 128 << 20,
        }
    }
}

/// More threads than this use memory and find nothing to do.
const MOST_THREADS: usize = 16;

/// A part of the stream, and where to its frame goes.
type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);
/// Frames in the order of the stream.
type Order = SyncSender<Receiver<io::Result<Vec<u8>>>>;

/// Takes the plain stream.
#[derive(Debug)]
pub struct Frames {
    part: Vec<u8>,
    size: usize,
    any: bool,
    jobs: SyncSender<Job>,
    order: Order,
    spare: Receiver<Vec<u8>>,
}

/// Compresses what `fill` writes, with `threads` threads, to `output`.
///
/// # Errors
/// Those of `fill` and `output`.
pub fn compress<T, E: From<io::Error> + Send>(
    codec: Codec,
    threads: u32,
    mut output: impl Write + Send,
    fill: impl FnOnce(&mut Frames) -> Result<T, E>,
) -> Result<T, E> {
    let threads = (threads.max(1) as usize).min(MOST_THREADS);
    let (jobs, waiting) = sync_channel::<Job>(1);
    let (order, ordered) = sync_channel::<Receiver<io::Result<Vec<u8>>>>(threads + 1);
    let (used, spare) = channel();
    let waiting = Mutex::new(waiting);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (waiting, used) = (&waiting, used.clone());
            scope.spawn(move || work(codec, waiting, &used));
        }
        let writer = scope.spawn(move || -> io::Result<()> {
            for frame in ordered {
                output.write_all(&frame.recv().map_err(|_| ended())??)?;
            }
            output.flush()
        });
        let size = codec.frame();
        let part = Vec::with_capacity(size);
        let mut frames = Frames { part, size, any: false, jobs, order, spare };
        let filled =
            fill(&mut frames).and_then(|value| frames.finish().map(|()| value).map_err(E::from));
        drop(frames);
        match writer.join() {
            Ok(Ok(())) => filled,
            // What the writer met is the cause of what its source met.
            Ok(Err(error)) => Err(E::from(error)),
            Err(_) => Err(E::from(ended())),
        }
    })
}

/// What only follows from another failure.
fn ended() -> io::Error {
    io::Error::other("a thread that compresses has ended")
}

fn work(codec: Codec, waiting: &Mutex<Receiver<Job>>, used: &Sender<Vec<u8>>) {
    let mut zstd = None;
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut part, done)) = next else { return };
        let frame = match codec {
            Codec::Gzip(level) => gzip(&part, level),
            Codec::Zstd(level) => match &mut zstd {
                Some(compressor) => zstd::bulk::Compressor::compress(compressor, &part),
                None => zstd::bulk::Compressor::new(level).and_then(|mut compressor| {
                    compressor.include_checksum(true)?;
                    compressor.include_contentsize(true)?;
                    zstd.insert(compressor).compress(&part)
                }),
            },
        };
        let _ = done.send(frame);
        part.clear();
        let _ = used.send(part);
    }
}

fn gzip(part: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(part)?;
    encoder.finish()
}

impl Frames {
    fn send(&mut self) -> io::Result<()> {
        let next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(self.size));
        let part = std::mem::replace(&mut self.part, next);
        let (done, frame) = sync_channel(1);
        self.any = true;
        self.order.send(frame).map_err(|_| ended())?;
        self.jobs.send((part, done)).map_err(|_| ended())
    }

    fn finish(&mut self) -> io::Result<()> {
        // Nothing at all is a frame, too.
        if self.part.is_empty() && self.any { Ok(()) } else { self.send() }
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.size - self.part.len());
        self.part.extend_from_slice(&bytes[..count]);
        if self.part.len() == self.size {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn packed(codec: Codec, threads: u32, plain: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        compress(codec, threads, &mut output, |frames| frames.write_all(plain)).unwrap();
        output
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let mut plain = vec![0; 9 << 20];
        for (index, byte) in plain.iter_mut().enumerate() {
            *byte = (index * index / 1000) as u8;
        }
        for codec in [Codec::Zstd(3), Codec::Gzip(1)] {
            let one = packed(codec, 1, &plain);
            assert!(one == packed(codec, 7, &plain));
            let mut back = Vec::new();
            match codec {
                Codec::Zstd(_) => back = zstd::decode_all(&one[..]).unwrap(),
                Codec::Gzip(_) => {
                    flate2::read::MultiGzDecoder::new(&one[..]).read_to_end(&mut back).unwrap();
                }
            }
            assert!(back == plain);
        }
        assert_eq!(zstd::decode_all(&packed(Codec::Zstd(3), 2, b"")[..]).unwrap(), b"");
    }

    #[test]
    fn the_error_of_the_output_is_told_and_nobody_waits() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let plain = vec![1; 40 << 20];
        let error =
            compress(Codec::Zstd(1), 2, Full, |frames| frames.write_all(&plain)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
