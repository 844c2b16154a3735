//! Producers that live through faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_live::kafka::Admin;

/// Records that are written in one go.
const EACH: usize = 10;

/// An idempotent producer with acks=all for each partition, until it is told to end or dropped.
#[derive(Debug)]
pub(crate) struct Feeds {
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<Acknowledged>>,
}

/// What one partition's producer was told.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Where the numbers 0, 1, 2, … are written: their offsets.
    pub(crate) offsets: Vec<i64>,
    /// How often it was told that some may not be written.
    pub(crate) failures: usize,
}

impl Feeds {
    /// From now on, up to twenty times a second.
    pub(crate) fn start(kafka: &Admin, topic: &str, partitions: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let producers = (0..partitions).map(|partition| {
            let (kafka, topic, stop) = (kafka.clone(), topic.to_owned(), Arc::clone(&stop));
            thread::spawn(move || feed(&kafka, &topic, partition, &stop))
        });
        Self { producers: producers.collect(), stop }
    }

    /// No more; what they were told, by partition.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.producers.drain(..).map(JoinHandle::join);
        ended.map(|ended| ended.unwrap()).collect()
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn feed(kafka: &Admin, topic: &str, partition: usize, stop: &AtomicBool) -> Acknowledged {
    let mut told = Acknowledged::default();
    while !stop.load(Ordering::Relaxed) {
        let from = told.offsets.len();
        // One that gave up may have lost its way in its own sequence numbers: after that comes another.
        let name = format!("feed-{partition}-{}", told.failures);
        let sent = kafka
            .produce(topic)
            .config("client.id", &name)
            .config("enable.idempotence", "true")
            .config("delivery.timeout.ms", "40000")
            .values(partition as i32, (from..from + EACH).map(|number| number.to_string()))
            .try_send();
        match sent {
            Ok(offsets) => told.offsets.extend(offsets),
            Err(error) => {
                println!("{name} gave up: {error}");
                told.failures += 1;
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    told
}
