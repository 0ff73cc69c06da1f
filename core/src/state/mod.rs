//! What happened: log files, stages and their times, `result.json`.

mod log;

pub use log::LogFile;
