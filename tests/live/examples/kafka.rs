//! Brokers to try things on: starts them, prints their address, and ends them at Ctrl-C or when its
//! standard input ends.
//!
//! ```text
//! cargo run -p tidegate-live --example kafka -- [--brokers 3] [--old] [--topic NAME:PARTITIONS]…
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "as in tests, a panic is the report")]

use std::io::Read;

use tidegate_live::kafka::{Cluster, ClusterOptions, Version};

fn main() {
    let mut brokers = 1;
    let mut options = ClusterOptions::default();
    let mut topics = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| usage());
        match arg.as_str() {
            "--brokers" => brokers = value().parse().unwrap_or_else(|_| usage()),
            "--old" => options.version = Version::Old,
            "--topic" => {
                let topic = value();
                let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
                topics.push((name.to_owned(), partitions.parse::<usize>().unwrap_or_else(|_| usage())));
            }
            _ => usage(),
        }
    }
    let cluster = Cluster::with(brokers, &options);
    for (name, partitions) in topics {
        cluster.admin().create_topic(&name, partitions, brokers, &[]);
    }
    for broker in 1..=brokers {
        eprintln!("broker {broker}: port {}, process {}", cluster.port(broker), cluster.pid(broker));
    }
    eprintln!("ready in {:.1} s; Ctrl-C ends it", cluster.took().as_secs_f32());
    println!("{}", cluster.bootstrap());
    // What it started ends by itself when this process does, however that comes about. A terminal
    // that was closed, and a script that has no more to say, end it too.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}

fn usage() -> ! {
    eprintln!("usage: kafka [--brokers N] [--old] [--topic NAME:PARTITIONS]…");
    std::process::exit(2)
}
