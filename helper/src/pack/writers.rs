//! Threads that write the content of files which the reader of an archive has made.
//!
//! Names are made and replaced in the order of the archive, by its reader alone; what follows needs
//! nothing but a descriptor and may happen in any order.

use crate::unpack::Problem;
use crate::unpack::place::NewFile;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes and pieces that go to a thread at once. Each piece may hold a descriptor open.
const BYTES: usize = 512 << 10;
const PIECES: usize = 24;
/// More threads wait for the file system.
const MOST_THREADS: usize = 4;

struct Target {
    file: NewFile,
    path: Vec<u8>,
}

/// Bytes for a place in a file.
struct Piece {
    target: Arc<Target>,
    offset: u64,
    data: Range<usize>,
}

#[derive(Default)]
struct Batch {
    data: Vec<u8>,
    pieces: Vec<Piece>,
}

/// What a thread could not do, and at which path.
type Failure = Mutex<Option<(Vec<u8>, Problem)>>;

/// Takes files and what is in them.
pub(super) struct Writers<'f> {
    batch: Batch,
    jobs: SyncSender<Batch>,
    spare: Receiver<Batch>,
    failure: &'f Failure,
}

/// A file that is being written.
pub(super) struct Content {
    target: Arc<Target>,
    offset: u64,
}

/// Lets `fill` hand files to threads; returns when all are written.
///
/// # Errors
/// Those of `fill`, else the first of a thread, with the path.
pub(super) fn write_with<E>(
    fill: impl FnOnce(&mut Writers<'_>) -> Result<(), E>,
    fail: impl FnOnce(Problem, &[u8]) -> E,
) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads = threads.min(MOST_THREADS);
    let (jobs, waiting) = sync_channel::<Batch>(threads);
    let (used, spare) = channel();
    let waiting = Mutex::new(waiting);
    let failure = Failure::default();
    let filled = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (waiting, used, failure) = (&waiting, used.clone(), &failure);
            scope.spawn(move || work(waiting, &used, failure));
        }
        let mut writers = Writers { batch: Batch::default(), jobs, spare, failure: &failure };
        let filled = fill(&mut writers);
        writers.send();
        filled
    });
    filled?;
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((path, problem)) => Err(fail(problem, &path)),
        None => Ok(()),
    }
}

fn work(waiting: &Mutex<Receiver<Batch>>, used: &Sender<Batch>, failure: &Failure) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut batch) = next else { return };
        for piece in batch.pieces.drain(..) {
            let Piece { target, offset, data } = piece;
            let mut written = target.file.write_at(&batch.data[data], offset);
            let path = target.path.clone();
            // Whoever has the last piece of a file ends it.
            if let Some(target) = Arc::into_inner(target) {
                written = written.and_then(|()| target.file.finish());
            }
            if let Err(problem) = written {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert((path, problem));
            }
        }
        batch.data.clear();
        let _ = used.send(batch);
    }
}

impl Writers<'_> {
    /// Whether nothing failed so far: else it is no use to go on.
    pub(super) fn are_well(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Begins a file. It is complete when the value is dropped and all threads have ended.
    pub(super) fn begin(&mut self, file: NewFile, path: &[u8]) -> Content {
        let target = Arc::new(Target { file, path: path.to_vec() });
        Content { target, offset: 0 }
    }

    /// The next bytes of a file; how many of them were taken.
    pub(super) fn add(&mut self, content: &mut Content, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(BYTES)];
        let start = self.batch.data.len();
        self.batch.data.extend_from_slice(bytes);
        let data = start..self.batch.data.len();
        let (target, offset) = (Arc::clone(&content.target), content.offset);
        self.batch.pieces.push(Piece { target, offset, data });
        content.offset += bytes.len() as u64;
        if self.batch.data.len() >= BYTES {
            self.send();
        }
        bytes.len()
    }

    /// Ends a file.
    pub(super) fn end(&mut self, content: Content) {
        let Content { target, offset } = content;
        self.batch.pieces.push(Piece { target, offset, data: 0..0 });
        if self.batch.pieces.len() >= PIECES {
            self.send();
        }
    }

    fn send(&mut self) {
        let next = self.spare.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        // The threads end after this.
        let _ = self.jobs.send(batch);
    }
}
