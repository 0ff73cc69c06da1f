//! What happened: log files, stages and their times.

mod log;
mod stages;

pub use log::LogFile;
pub use stages::{StageTime, Stages};
