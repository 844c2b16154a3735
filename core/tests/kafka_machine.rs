//! The Kafka machine from outside, against a small cluster that each test bends as it likes, in
//! virtual time. What holds always (order, epochs, commits, no spinning) the driver itself checks.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic with its line is the report
#![allow(unreachable_pub)] // the modules of one test

#[path = "kafka_machine/answers.rs"]
mod answers;
#[path = "kafka_machine/basics.rs"]
mod basics;
#[path = "kafka_machine/chaos.rs"]
mod chaos;
#[path = "kafka_machine/classic.rs"]
mod classic;
#[path = "kafka_machine/commits.rs"]
mod commits;
#[path = "kafka_machine/consumer.rs"]
mod consumer;
#[path = "kafka_machine/dead.rs"]
mod dead;
#[path = "kafka_machine/doubt.rs"]
mod doubt;
#[path = "kafka_machine/fetching.rs"]
mod fetching;
#[path = "kafka_machine/fetching_model.rs"]
mod fetching_model;
#[path = "kafka_machine/model.rs"]
mod model;
#[path = "kafka_machine/modes.rs"]
mod modes;
#[path = "kafka_machine/moves.rs"]
mod moves;
#[path = "kafka_machine/own.rs"]
mod own;
#[path = "kafka_machine/patterns.rs"]
mod patterns;
#[path = "kafka_machine/records.rs"]
mod records;
#[path = "kafka_machine/spoil.rs"]
mod spoil;
#[path = "kafka_machine/total.rs"]
mod total;
#[path = "kafka_machine/world.rs"]
mod world;
