//! A broker of our own, and what is in it.

use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_benches::Failure;
use tidegate_benches::kafka::produce::Producer;
use tidegate_benches::kafka::records;
use tidegate_benches::kafka::wire::Wire;
use tidegate_core::kafka::records::Compression;
use tidegate_live::kafka::{Cluster, ClusterOptions};

use crate::contender::now_millis;

/// One broker that ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    _cluster: Cluster,
    pub(crate) port: u16,
    pub(crate) wire: Wire,
}

impl Server {
    pub(crate) fn start() -> Result<Self, Failure> {
        // The tests' brokers are taken for dead after seconds, as clients that use all cores make them seem.
        let settings = vec![("broker.session.timeout.ms".to_owned(), "60000".to_owned())];
        let cluster = Cluster::with(1, &ClusterOptions { settings, ..Default::default() });
        let port = cluster.port(1);
        Ok(Self { _cluster: cluster, port, wire: Wire::connect(port)? })
    }

    /// Makes a topic with this many records, batch by batch to one partition after the other.
    pub(crate) fn fill(
        &mut self,
        topic: &str,
        partitions: usize,
        count: u64,
        size: usize,
        compression: Compression,
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        self.wire.create_topic(topic, partitions)?;
        let mut producer = Producer::connect(self.port, topic)?;
        let step = records::records_of_a_batch(size);
        let mut values = vec![Vec::new(); usize::try_from(step)?];
        for (turn, first) in (0..count).step_by(usize::try_from(step)?).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            let indices = first..count.min(first + step);
            let mut filled = 0;
            for (value, index) in values.iter_mut().zip(indices) {
                records::value(index, size, value);
                filled += 1;
            }
            // The broker sets the first offset.
            let batch =
                records::batch(0, values.iter().take(filled).map(Vec::as_slice), compression, now_millis())?;
            producer.send(turn % partitions, &batch)?;
        }
        producer.flush()
    }
}
