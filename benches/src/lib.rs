//! tidegate-benches
