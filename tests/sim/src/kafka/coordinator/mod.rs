//! The group coordinator.

pub(super) mod consumer;
