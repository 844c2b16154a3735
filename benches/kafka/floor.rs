//! The wire floor: one blocking socket that sends the same Fetch requests, one after the other, and looks at
//! nothing but the batches' headers, which say where to go on. Nothing that delivers messages can be
//! expected to pass it by much; how far from it a client stays is what the client costs.

use tidegate_benches::Failure;
use tidegate_benches::kafka::wire::{PREFIX, Topic, Wire, check};
use tidegate_benches::tally::Tally;
use tidegate_core::kafka::records::{Batches, Records};
use tidegate_core::kafka::wire::{
    FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponse, read_response,
};

use crate::contender::{Contender, Job};

/// Bytes of one answer.
const FETCH_BYTES: i32 = 1 << 20;
/// The version of the requests: topics by id, no leader hints.
pub(crate) const VERSION: i16 = 13;
/// Most bytes of a batch, decompressed.
const BATCH_MAX: usize = 1 << 30;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Floor)]
}

struct Floor;

impl Contender for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn title(&self) -> String {
        "wire floor".to_owned()
    }

    fn is_floor(&self) -> bool {
        true
    }

    fn commits(&self) -> bool {
        false
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        let mut wire = Wire::connect(job.port)?;
        let topic = wire.topic(&job.topic)?;
        let mut positions = vec![0_i64; topic.partitions];
        let mut turn = 0;
        while !tally.is_full() {
            wire.ask(VERSION, &request(&topic, &positions, turn))?;
            turn += 1;
            let frame = wire.receive()?;
            let response = read_response::<FetchRequest>(frame.slice(PREFIX..), VERSION)?;
            take(response, job.live, &mut positions, tally)?;
            wire.give_back(frame);
        }
        tally.finish();
        Ok(())
    }
}

/// All partitions, another one first each time: the broker fills the answer in that order.
pub(crate) fn request(topic: &Topic, positions: &[i64], turn: usize) -> FetchRequest {
    let mut partitions: Vec<_> = (0..)
        .zip(positions)
        .map(|(partition, position)| FetchRequestPartition {
            partition,
            fetch_offset: *position,
            partition_max_bytes: FETCH_BYTES,
            ..Default::default()
        })
        .collect();
    let first = turn % partitions.len().max(1);
    partitions.rotate_left(first);
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        topics: vec![FetchRequestTopic { topic_id: topic.id, partitions, ..Default::default() }],
        ..Default::default()
    }
}

fn take(
    response: FetchResponse,
    live: bool,
    positions: &mut [i64],
    tally: &mut Tally,
) -> Result<(), Failure> {
    check(response.error_code)?;
    for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
        check(data.error_code)?;
        let position = usize::try_from(data.partition_index).ok().and_then(|index| positions.get_mut(index));
        let (Some(position), Some(records)) = (position, data.records) else { continue };
        for batch in Batches::new(records) {
            let batch = batch?;
            if live {
                let data = batch.decompressed(BATCH_MAX)?;
                for record in Records::new(&batch, &data) {
                    tally.take(record?.value.unwrap_or_default());
                }
            } else {
                tally.pass(batch.count.into());
            }
            *position = batch.next_offset();
        }
    }
    Ok(())
}
