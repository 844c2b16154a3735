//! The other clients, tuned for throughput where their defaults are not.

mod rdkafka;
mod rskafka;

use crate::contender::Contender;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let mut all = rdkafka::contenders();
    all.extend(rskafka::contenders());
    all
}

/// The version that the manifest pins, so that a table names what it measured.
fn version(package: &str) -> &'static str {
    let manifest = include_str!("../../Cargo.toml");
    let line =
        manifest.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix(" = { version = \"="));
    line.and_then(|line| line.split('"').next()).unwrap_or("?")
}
