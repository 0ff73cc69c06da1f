//! Development harness: `pack_dir ROOT OUT.tar SOURCE_DATE_EPOCH`, or `pack_dir ROOT IN.tar`
//! for the way back.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;

use debmock_helper::pack::{ExportOptions, export, import};
use debmock_helper::unpack::Limits;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let cancel = AtomicBool::new(false);
    if let [_, root, input] = arguments.as_slice() {
        let start = std::time::Instant::now();
        std::fs::create_dir_all(root).unwrap();
        let root = File::open(root).unwrap();
        let input_file = File::open(input).unwrap();
        let summary = import(root.as_fd(), input_file, input, Limits::for_root(), &cancel);
        eprintln!("{summary:?} in {:.2?}", start.elapsed());
        return;
    }
    let [_, root, output, epoch] = arguments.as_slice() else {
        panic!("see the head of the source for the arguments")
    };
    let options =
        ExportOptions { source_date_epoch: epoch.parse().unwrap(), exclude: &[], cancel: &cancel };
    let start = std::time::Instant::now();
    let root = File::open(root).unwrap();
    let bytes = export(root.as_fd(), File::create(output).unwrap(), options).unwrap();
    eprintln!("{bytes} bytes in {:.2?}", start.elapsed());
}
