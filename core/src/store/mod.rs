//! What is already there: files that were verified once and are never fetched or made again.

pub mod debs;
