//! A tree as a stream, and back.

use super::Work;
use crate::pack::{ExportOptions, Ownership, export as write_tree, import as read_tree};
use crate::protocol::{Doing, Failure, FailureKind};
use crate::unpack::Limits;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// What apt writes whenever it reads its lists, and writes again where it is missing: tens of
/// megabytes which no archive of a root needs.
const APT_CACHES: &[&str] = &["var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"];

pub fn export(
    work: &Work<'_>,
    path: &str,
    epoch: i64,
    root: bool,
    compression: Option<(i32, u32)>,
    output: OwnedFd,
) -> Result<(), Failure> {
    let tree = work.directory(path)?;
    let exclude = if root { APT_CACHES } else { &[] };
    let options = ExportOptions { source_date_epoch: epoch, root, exclude };
    let output = File::from(output);
    let doing = || "cannot write the archive".to_owned();
    match compression {
        None => write_tree(tree.as_fd(), output, options).map_err(failed)?,
        Some((level, threads)) => {
            let mut encoder = zstd::Encoder::new(output, level).doing(doing)?;
            // The same bytes for any number of threads, but not for none.
            encoder.multithread(threads.max(1)).doing(doing)?;
            encoder.include_checksum(true).doing(doing)?;
            let bytes = write_tree(tree.as_fd(), &mut encoder, options).map_err(failed)?;
            encoder.finish().and_then(|mut output| output.flush()).doing(doing)?;
            bytes
        }
    };
    Ok(())
}

pub fn import(
    work: &Work<'_>,
    path: &str,
    name: &str,
    ours: bool,
    input: OwnedFd,
) -> Result<(), Failure> {
    let input = File::from(input);
    let ownership = if ours { Ownership::Ours } else { Ownership::Archive };
    let tree = work.directory(path)?;
    read_tree(tree.as_fd(), input, name, ownership, Limits::for_root())
        .map_err(|error| failed(error).of_kind(FailureKind::Hostile))
}

/// The sentence of an error with its causes, and the system's error number if there is one.
pub fn failed(error: impl std::error::Error + 'static) -> Failure {
    let mut failure = Failure::hostile(error.to_string()).of_kind(FailureKind::System);
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = next {
        if let Some(number) =
            cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
        {
            failure.errno = number;
            // The number says it again.
            let said = format!(": {}", std::io::Error::from_raw_os_error(number));
            if let Some(shorter) = failure.doing.strip_suffix(&said) {
                failure.doing = shorter.to_owned();
            }
        }
        next = cause.source();
    }
    failure
}
