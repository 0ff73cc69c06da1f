//! Development harness: `pack_dir ROOT OUT.tar SOURCE_DATE_EPOCH`.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::fd::AsFd;

use debmock_helper::pack::{Devices, ExportOptions, export};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, output, epoch] = arguments.as_slice() else {
        panic!("see the head of the source for the arguments")
    };
    let options = ExportOptions {
        source_date_epoch: epoch.parse().unwrap(),
        devices: Devices::Synthesised,
        ..ExportOptions::default()
    };
    let start = std::time::Instant::now();
    let root = File::open(root).unwrap();
    let written = export(root.as_fd(), File::create(output).unwrap(), options).unwrap();
    eprintln!("{} bytes in {:.2?}", written.bytes, start.elapsed());
}
