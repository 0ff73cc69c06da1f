//! Decodes a zstd stream with several threads, as far as its frames stand for themselves.
//!
//! Frames that say how long they are when they are decoded, such as those of [`super::frames`] and
//! of `pzstd`, are found by the headers of their blocks (RFC 8878 §3.1.1) and decoded side by side.
//! At the first that does not, or that is damaged or cut off, the plain decoder goes on: what is
//! wrong it says in its own words.

use crate::unpack::{Compression, Decoder, Problem, Sums};
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Frames that are longer when they are decoded go to the plain decoder, which needs no more memory
/// than its window.
const LONGEST: u64 = 32 << 20;
/// What the plain decoder decodes at once, in bytes.
const BUFFER: usize = 128 << 10;
/// More threads decode faster than anybody reads.
const MOST_THREADS: usize = 4;

type Decoded = io::Result<Vec<u8>>;
/// A frame, how long it will be, and where to it goes.
type Job = (Vec<u8>, usize, SyncSender<Decoded>);
/// What was read of the stream, and the rest of it.
type Rest<R> = Chain<Cursor<Vec<u8>>, BufReader<R>>;

enum Next<R> {
    Frame(Receiver<Decoded>),
    Rest(Box<Rest<R>>),
    Failed(io::Error),
}

/// Decodes `stream`, whatever it is compressed with, while `take` reads.
///
/// # Errors
/// Those of `take`, and [`Problem::Io`] if there is no memory for a decoder.
pub(super) fn decode<T, R: Read + Send>(
    mut stream: R,
    take: impl FnOnce(&mut dyn BufRead) -> T,
) -> Result<T, Problem> {
    let mut start = Vec::new();
    (&mut stream).take(6).read_to_end(&mut start).map_err(Problem::reading)?;
    let compression = Compression::of_magic(&start);
    let stream = BufReader::with_capacity(256 << 10, Cursor::new(start).chain(stream));
    if compression != Compression::Zstd {
        let decoder = Decoder::new(compression, stream, Sums::Compare)?;
        return Ok(take(&mut BufReader::with_capacity(BUFFER, decoder)));
    }
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads = threads.min(MOST_THREADS);
    let (jobs, waiting) = sync_channel::<Job>(1);
    let (order, ordered) = sync_channel(threads);
    let (used, spare) = channel();
    let (waiting, spare) = (Mutex::new(waiting), Mutex::new(spare));
    Ok(std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&waiting, &spare));
        }
        scope.spawn(move || split(stream, &jobs, &order));
        let (now, rest) = (Cursor::new(Vec::new()), None);
        let mut reader = Reader { ordered, used, now, rest, failed: false };
        // Its end, and with it that of the channels, ends the threads.
        take(&mut reader)
    }))
}

/// Cuts a stream into frames.
fn split<R: Read>(mut stream: BufReader<R>, jobs: &SyncSender<Job>, order: &SyncSender<Next<R>>) {
    loop {
        let mut frame = Vec::new();
        let size = match read_frame(&mut stream, &mut frame) {
            Ok(Some(size)) => size,
            Ok(None) if frame.is_empty() => return,
            Ok(None) => {
                let rest = Cursor::new(frame).chain(stream);
                let _ = order.send(Next::Rest(Box::new(rest)));
                return;
            }
            Err(error) => {
                let _ = order.send(Next::Failed(error));
                return;
            }
        };
        let (done, decoded) = sync_channel(1);
        if order.send(Next::Frame(decoded)).is_err() || jobs.send((frame, size, done)).is_err() {
            return;
        }
    }
}

/// Reads `count` bytes more, or fewer at the end of the stream; whether all were there.
fn read_more(stream: &mut impl BufRead, frame: &mut Vec<u8>, count: usize) -> io::Result<bool> {
    Ok(stream.take(count as u64).read_to_end(frame)? == count)
}

/// Reads a frame; how long it will be. Nothing if it is none that can be decoded by itself; what
/// was read is in `frame`.
fn read_frame(stream: &mut impl BufRead, frame: &mut Vec<u8>) -> io::Result<Option<usize>> {
    if !read_more(stream, frame, 5)? || !frame.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(None);
    }
    let flags = frame[4];
    let single = flags & 0x20 != 0;
    let length = match (flags >> 6, single) {
        (0, true) => 1,
        // It does not say how long it is.
        (0, false) => return Ok(None),
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    // With a dictionary, or of a later format.
    if flags & 0x0b != 0 {
        return Ok(None);
    }
    let before = 5 + usize::from(!single);
    if !read_more(stream, frame, before + length - 5)? {
        return Ok(None);
    }
    let mut number = [0; 8];
    number[..length].copy_from_slice(&frame[before..]);
    let size = u64::from_le_bytes(number) + if length == 2 { 256 } else { 0 };
    if size > LONGEST {
        return Ok(None);
    }
    // Blocks of nothing could make a small frame a long one.
    let most = size as usize + size as usize / 32 + (64 << 10);
    loop {
        let at = frame.len();
        if !read_more(stream, frame, 3)? {
            return Ok(None);
        }
        let header = u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], 0]);
        let (last, kind) = (header & 1 != 0, header >> 1 & 3);
        let length = match kind {
            0 | 2 => (header >> 3) as usize,
            1 => 1,
            _ => return Ok(None),
        };
        if frame.len() + length > most || !read_more(stream, frame, length)? {
            return Ok(None);
        }
        if last {
            break;
        }
    }
    let sum = if flags & 4 != 0 { 4 } else { 0 };
    Ok(read_more(stream, frame, sum)?.then_some(size as usize))
}

fn work(waiting: &Mutex<Receiver<Job>>, spare: &Mutex<Receiver<Vec<u8>>>) {
    let mut decoder = None;
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((frame, size, done)) = next else { return };
        let used = spare.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
        let mut plain = used.unwrap_or_default();
        plain.clear();
        plain.reserve_exact(size);
        let decoded = match &mut decoder {
            Some(decoder) => Ok(decoder),
            none => zstd::bulk::Decompressor::new().map(|new| none.insert(new)),
        };
        let decoded = decoded.and_then(|decoder: &mut zstd::bulk::Decompressor<'_>| {
            decoder.decompress_to_buffer(&frame, &mut plain)
        });
        let _ = done.send(decoded.map(|_| plain));
    }
}

struct Reader<R: Read> {
    ordered: Receiver<Next<R>>,
    used: Sender<Vec<u8>>,
    now: Cursor<Vec<u8>>,
    rest: Option<BufReader<Decoder<Rest<R>>>>,
    failed: bool,
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_none() && self.now.fill_buf()?.is_empty() && !self.failed {
            match self.next() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        match &mut self.rest {
            Some(rest) => rest.fill_buf(),
            None => self.now.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match &mut self.rest {
            Some(rest) => rest.consume(count),
            None => self.now.consume(count),
        }
    }
}

impl<R: Read> Reader<R> {
    /// Goes on with what comes next; whether there is something.
    fn next(&mut self) -> io::Result<bool> {
        let plain = match self.ordered.recv() {
            Ok(Next::Frame(frame)) => {
                frame.recv().map_err(|_| io::Error::other("a thread that decodes has ended"))??
            }
            Ok(Next::Failed(error)) => return Err(error),
            Ok(Next::Rest(rest)) => {
                let rest = Decoder::new(Compression::Zstd, *rest, Sums::Compare);
                let rest = rest.map_err(io::Error::other)?;
                self.rest = Some(BufReader::with_capacity(BUFFER, rest));
                return Ok(true);
            }
            // The splitter has come to the end.
            Err(_) => return Ok(false),
        };
        let old = std::mem::replace(&mut self.now, Cursor::new(plain));
        let _ = self.used.send(old.into_inner());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{Codec, compress};
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn decoded(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decode(stream, |reader| reader.read_to_end(&mut plain)).unwrap().map(|_| plain)
    }

    fn plain() -> Vec<u8> {
        (0..9 << 20).map(|index: u32| (index.wrapping_mul(index) / 977) as u8).collect()
    }

    fn framed(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        compress(Codec::Zstd(1), 2, &mut packed, |frames| frames.write_all(plain)).unwrap();
        packed
    }

    #[test]
    fn streams_of_every_writer_are_decoded() {
        let plain = plain();
        let framed = framed(&plain);
        assert!(decoded(&framed).unwrap() == plain);
        // Without a length, as from a pipe; frames of both kinds; what others put between them.
        let piped = zstd::encode_all(&plain[..], 1).unwrap();
        assert!(decoded(&piped).unwrap() == plain);
        let aside = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], &b"abc"[..]].concat();
        let mixed = decoded(&[&framed[..], &aside, &piped, &framed].concat()).unwrap();
        assert!(mixed == plain.repeat(3));
        assert_eq!(decoded(b"not compressed").unwrap(), b"not compressed");
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_an_error() {
        let whole = framed(&plain());
        for end in [5, 100, whole.len() / 2, whole.len() - 1] {
            assert!(decoded(&whole[..end]).is_err(), "cut off at {end}");
        }
        for at in [7, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            assert!(decoded(&damaged).is_err(), "damaged at {at}");
        }
        let garbage = [&whole[..], b"garbage"].concat();
        assert!(decoded(&garbage).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decoded(&[&[0x28, 0xb5, 0x2f, 0xfd], &bytes[..]].concat());
        }
    }
}
