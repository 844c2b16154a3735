//! The timeline: a history as one picture.
