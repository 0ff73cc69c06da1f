//! Buildroots: lifecycle, sessions, commands, files in and out.

mod session;

pub use session::{Exit, Run, Session, SessionOptions, Stdio};
