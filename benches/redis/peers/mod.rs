//! The other clients, each as its documentation suggests for throughput: blocking reads on a connection of
//! their own where they block, thousands of entries a read, a second read and the acks under way meanwhile.

mod fred;
mod redis_rs;
mod sea_streamer;

use crate::contender::Contender;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let mut all = redis_rs::contenders();
    all.extend(fred::contenders());
    all.extend(sea_streamer::contenders());
    all
}

/// The version that the manifest pins, so that a table names what it measured.
fn version(package: &str) -> &'static str {
    let manifest = include_str!("../../Cargo.toml");
    let line =
        manifest.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix(" = { version = \"="));
    line.and_then(|line| line.split('"').next()).unwrap_or("?")
}
