//! A producer that goes on while brokers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::admin::Admin;

/// Writes some records for each partition at a time, until it is told to end or dropped.
#[derive(Debug)]
pub struct Feed {
    stop: Arc<AtomicBool>,
    producer: Option<JoinHandle<usize>>,
}

impl Feed {
    /// From now on, this many records at a time for each partition, twenty times a second.
    pub fn start(kafka: &Admin, topic: &str, partitions: usize, each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let producer = thread::spawn({
            let (kafka, topic, stop) = (kafka.clone(), topic.to_owned(), Arc::clone(&stop));
            move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    // A producer that numbers its records repeats itself for ever after some losses of
                    // an answer.
                    let mut records = kafka.produce(&topic).config("enable.idempotence", "false");
                    for partition in 0..partitions {
                        records =
                            records.values(partition as i32, (0..each).map(|n| format!("{}", sent + n)));
                    }
                    sent += records.send().len();
                    thread::sleep(Duration::from_millis(50));
                }
                sent
            }
        });
        Self { stop, producer: Some(producer) }
    }

    /// No more; how many records were written, at least.
    #[track_caller]
    pub fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let producer = self.producer.take().expect("a feed ends once");
        producer.join().expect("the producer has written all that it began")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Also where the test fails; its last records may be on their way still.
        self.stop.store(true, Ordering::Relaxed);
    }
}
