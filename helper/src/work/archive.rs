//! A tree as a stream, and back.

use super::Work;
use crate::pack::{
    Devices, ExportOptions, ImportOptions, compress, export as write_tree, import as read_tree,
};
use crate::protocol::{Failure, FailureKind, Pack, Reply};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What apt writes whenever it reads its lists, and writes again where it is missing: tens of
/// megabytes which no archive of a root needs.
const APT_CACHES: &[&str] = &["var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"];

/// Writes a tree as `pack` says; the newest modification time in it.
pub fn export(tree: BorrowedFd<'_>, pack: Pack, output: OwnedFd) -> Result<Reply, Failure> {
    let root = pack.devices != Devices::AsFound;
    let options = ExportOptions {
        source_date_epoch: pack.epoch,
        devices: pack.devices,
        layer: pack.layer,
        mine: None,
        exclude: if root { APT_CACHES } else { &[] },
    };
    let output = File::from(output);
    let written = match pack.compression {
        None => write_tree(tree, output, options),
        Some((codec, threads)) => {
            compress(codec, threads, output, |frames| write_tree(tree, frames, options))
        }
    };
    Ok(Reply::Number(written.map_err(failed)?.newest))
}

pub fn import(
    work: &Work<'_>,
    path: &str,
    name: &str,
    options: ImportOptions,
    input: OwnedFd,
) -> Result<(), Failure> {
    let tree = work.directory(path)?;
    read_tree(tree.as_fd(), File::from(input), name, options)
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
