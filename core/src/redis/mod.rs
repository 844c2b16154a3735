//! The Redis dialect and machine.

pub mod resp;
