//! Copies of regular files that keep their holes, piece by piece, and end where the file ended
//! when it was opened: what writes to it meanwhile may be faster than what reads.
#![forbid(unsafe_code)]

use rustix::fs::{SeekFrom, fstat, ftruncate, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};

/// Bytes between two questions whether to go on.
const SLICE: u64 = 8 << 20;
/// What is read at most of a file that says it has no bytes, as those of `/proc` do.
const UNKNOWN: u64 = 64 << 20;

/// How many bytes of a regular file are to be copied: as many as it has now.
///
/// # Errors
/// Those of `fstat(2)`.
pub fn length(file: &File) -> io::Result<u64> {
    let stat = fstat(file)?;
    Ok(if stat.st_size == 0 { UNKNOWN } else { stat.st_size as u64 })
}

/// A stretch of a file, as `lseek(2)` tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// Data up to this offset.
    Data(u64),
    /// A hole up to this offset.
    Hole(u64),
    /// The file ends here: it has become shorter.
    End,
}

/// What lies at offset `at` of a file of `size` bytes. Where the file system cannot tell,
/// everything is data.
///
/// # Errors
/// Those of `lseek(2)`.
pub fn stretch(file: &File, at: u64, size: u64) -> io::Result<Stretch> {
    let found = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(size),
        // A hole up to the end, which may have come nearer.
        Err(Errno::NXIO) => {
            let end = (fstat(file)?.st_size as u64).min(size);
            return Ok(if end > at { Stretch::Hole(end) } else { Stretch::End });
        }
        Err(_) => return Ok(Stretch::Data(size)),
    };
    if found > at {
        return Ok(Stretch::Hole(found));
    }
    Ok(Stretch::Data(seek(file, SeekFrom::Hole(at)).map_or(size, |end| end.min(size))))
}

/// Copies the first `size` bytes of `from` to the start of the empty file `to`, or fewer if it has
/// become shorter. `go_on` is asked between pieces; false if it said no.
///
/// # Errors
/// Those of reading and writing.
pub fn copy(
    from: &File,
    to: &File,
    size: u64,
    mut go_on: impl FnMut() -> bool,
) -> io::Result<bool> {
    let mut at = 0;
    while at < size {
        if !go_on() {
            return Ok(false);
        }
        let end = match stretch(from, at, size)? {
            Stretch::End => break,
            Stretch::Hole(end) => {
                at = end;
                continue;
            }
            Stretch::Data(end) => end.min(at + SLICE),
        };
        // What cannot be positioned is read from where it is.
        match seek(from, SeekFrom::Start(at)) {
            Ok(_) | Err(Errno::SPIPE) => {}
            Err(error) => return Err(error.into()),
        }
        seek(to, SeekFrom::Start(at))?;
        let copied = io::copy(&mut from.take(end - at), &mut &*to)?;
        at += copied;
        if copied == 0 {
            break;
        }
    }
    ftruncate(to, at)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn new() -> File {
        tempfile::tempfile().unwrap()
    }

    fn content(file: &File) -> Vec<u8> {
        let mut content = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut content, 0).unwrap();
        content
    }

    #[test]
    fn holes_stay_holes_wherever_they_are() {
        for (size, data) in [(1 << 40, vec![0u64, 3 << 30, (1 << 40) - 5]), (1 << 40, vec![])] {
            let (from, to) = (new(), new());
            from.set_len(size).unwrap();
            for at in &data {
                from.write_all_at(b"data!", *at).unwrap();
            }
            assert!(copy(&from, &to, length(&from).unwrap(), || true).unwrap());
            assert_eq!(to.metadata().unwrap().len(), size);
            assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
            for at in &data {
                let mut found = [0; 5];
                to.read_exact_at(&mut found, *at).unwrap();
                assert_eq!(&found, b"data!");
            }
        }
    }

    #[test]
    fn what_grows_or_shrinks_meanwhile_ends_where_it_did() {
        let (from, to) = (new(), new());
        from.write_all_at(&vec![7; 9 << 20], 0).unwrap();
        let size = length(&from).unwrap();
        copy(&from, &to, size, || {
            from.write_all_at(&[8; 100], from.metadata().unwrap().len()).unwrap();
            true
        })
        .unwrap();
        assert_eq!(content(&to), vec![7; 9 << 20]);
        let (to, mut asked) = (new(), 0);
        let done = copy(&from, &to, size, || {
            asked += 1;
            from.set_len(if asked > 1 { 100 } else { size }).unwrap();
            true
        });
        assert!(done.unwrap());
        assert_eq!(to.metadata().unwrap().len(), 8 << 20);
    }

    #[test]
    fn a_long_copy_can_be_stopped() {
        let (from, to) = (new(), new());
        from.write_all_at(&vec![7; 20 << 20], 0).unwrap();
        let mut asked = 0;
        let mut go_on = || {
            asked += 1;
            asked < 2
        };
        assert!(!copy(&from, &to, 20 << 20, &mut go_on).unwrap());
        assert_eq!(to.metadata().unwrap().len(), SLICE);
    }

    #[test]
    fn a_file_of_proc_that_says_it_is_empty_is_copied() {
        let from = File::open("/proc/self/status").unwrap();
        let to = new();
        copy(&from, &to, length(&from).unwrap(), || true).unwrap();
        assert!(content(&to).starts_with(b"Name:"));
    }
}
