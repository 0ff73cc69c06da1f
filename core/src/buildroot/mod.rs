//! Buildroots: lifecycle, sessions, commands, files in and out.

mod session;

pub use session::{Attached, Exit, Process, Run, Session, SessionOptions, Stdio};
