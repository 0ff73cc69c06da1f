//! What this machine and user can do: which program is the helper, which ids the caller may use,
//! which isolation modes work and what to do about those that do not.

mod doctor;
mod failure;
mod helper;
mod ids;
mod runs;

pub(crate) use doctor::explain;
pub use doctor::{Diagnosis, Verdict, diagnose};
pub use helper::find_helper;
pub use ids::{ROOT_RANGE, RangeChoice, choose_range};
pub use runs::check_architecture;
