//! tidegate-live
