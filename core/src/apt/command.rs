//! Any command line of apt-get.

use super::{Apt, Plan, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Scope;

impl Apt<'_> {
    /// Runs `apt-get` with `arguments`. What it would download is fetched by the host process
    /// first; the command itself has no network.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without arguments and for commands that need the network
    /// themselves; else as [`Apt::install`].
    pub fn command(&self, arguments: &[String], scope: &Scope) -> Result<Plan> {
        if arguments.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "there are no arguments for apt-get")
                .with_hint("for example `debmock apt-cmd -- install hello`"));
        }
        self.carry_out(&Task::Command(arguments.to_vec()), scope)
    }
}
