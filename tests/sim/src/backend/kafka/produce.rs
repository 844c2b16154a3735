//! Batches as others write them.

use bytes::Bytes;
use tidegate_core::kafka::records::{BatchBuilder, Compression, Marker, NewRecord};
use tidegate_core::{Instant, SeqNo};

use super::{KafkaBackend, Produced, UNIX_MS_AT_ORIGIN};
use crate::broker::{Broker, Fact};
use crate::oracle::MessageId;
use crate::tape::Tape;
use crate::world::payload;

/// How producers write in one world; shares are in 10,000.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// Records of one batch, at most.
    batch: u64,
    codecs: Vec<Compression>,
    /// Batches of a transaction.
    pub(super) transactions: u64,
    /// Transactions that are aborted.
    aborts: u64,
    /// Batches after which an open transaction goes on.
    stays_open: u64,
    /// Records before which compaction left offsets empty.
    gaps: u64,
    /// Brokers stamp the batches.
    log_append_time: bool,
}

/// What was written to one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    /// Records, all in all.
    count: u32,
    /// Transactions that are open: the producer, and the offsets of its records.
    open: Vec<(i64, Vec<i64>)>,
    /// What lies before this offset must not get lost: what became of a transaction is there.
    pub(super) floor: i64,
}

impl Writer {
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }
}

impl Habits {
    pub(super) fn draw(tape: &mut Tape) -> Self {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};
        Self {
            batch: [1, 1, 4, 20][tape.below(4) as usize],
            codecs: match tape.below(4) {
                0 | 1 => vec![None],
                2 => vec![None, Lz4, Snappy],
                _ => vec![None, Gzip, Snappy, Lz4, Zstd],
            },
            transactions: [0, 0, 2_000, 8_000][tape.below(4) as usize],
            aborts: [2_000, 5_000][tape.below(2) as usize],
            stays_open: [0, 5_000, 9_000][tape.below(3) as usize],
            gaps: [0, 0, 1_000, 5_000][tape.below(4) as usize],
            log_append_time: tape.chance(2_000),
        }
    }
}

/// Producers of transactions, of each partition.
const PRODUCERS: u64 = 3;

impl KafkaBackend {
    fn chance(&mut self, share: u64) -> bool {
        share > 0 && self.random.below(10_000) < share
    }

    /// Appends a message, and perhaps more of our own with it; false if nobody leads the partition.
    pub(super) fn write(&mut self, now: Instant, message: &Produced<'_>) -> bool {
        let shard = message.shard;
        let transaction = self.chance(self.habits.transactions);
        let producer = 1 + self.random.below(PRODUCERS) as i64;
        let count = 1 + self.random.below(self.habits.batch);
        let Some(written) = self.batch(now, message, count, transaction.then_some(producer)) else {
            return false;
        };
        if transaction {
            self.note_undecided(shard, producer, written);
        }
        if !self.chance(self.habits.stays_open) {
            self.end_transactions(now, shard, false);
        }
        true
    }

    /// The offsets of what was appended.
    fn batch(
        &mut self,
        now: Instant,
        message: &Produced<'_>,
        count: u64,
        producer: Option<i64>,
    ) -> Option<Vec<i64>> {
        let shard = message.shard;
        let millis = (UNIX_MS_AT_ORIGIN + now.as_nanos() / 1_000_000) as i64;
        let first = self.writers.get(shard)?.count;
        let codec = self.habits.codecs.get(self.random.below(self.habits.codecs.len() as u64) as usize)?;
        let mut builder = BatchBuilder::new(0);
        builder.compression(*codec);
        if let Some(producer) = producer {
            builder.producer(producer, 0, 0).transactional(true);
        }
        let (mut offset, mut offsets, mut value) = (0, Vec::new(), Vec::new());
        for (number, at) in (first..).take(count as usize).enumerate() {
            if self.chance(self.habits.gaps) {
                offset += 1 + self.random.below(5) as i64;
            }
            if number > 0 {
                let filler = self.random.below(1 + message.payload.len() as u64);
                payload::payload(MessageId { shard: shard as u32, at }, filler, &mut value);
            } else {
                value.clear();
                value.extend_from_slice(message.payload);
            }
            let record = NewRecord { offset, timestamp: millis, ..NewRecord::default() };
            let headers: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"1")), (b"trace", None)];
            builder.record(match (message.foreign, at % 3) {
                (true, 0) => NewRecord { key: Some(&value), ..record },
                (true, 1) => NewRecord { key: Some(b""), value: Some(&value), headers: &headers, ..record },
                (true, _) => NewRecord { key: Some(b"key"), value: Some(&value), ..record },
                (false, _) => NewRecord { value: Some(&value), ..record },
            });
            offsets.push(offset);
            offset += 1;
        }
        if self.chance(self.habits.gaps) {
            builder.last_offset(offset + self.random.below(5) as i64);
        }
        if self.habits.log_append_time {
            builder.log_append_time(millis);
        }
        let base = self.append(now, shard, builder.build().ok()?.into())?;
        self.writers.get_mut(shard)?.count += count as u32;
        Some(offsets.into_iter().map(|offset| base + offset).collect())
    }

    fn append(&mut self, now: Instant, shard: usize, batch: Bytes) -> Option<i64> {
        let (topic, index) = self.places.get(shard)?;
        self.kafka.produce_batches(now, topic, *index, batch)
    }

    fn note_undecided(&mut self, shard: usize, producer: i64, offsets: Vec<i64>) {
        let told = offsets.iter().map(|offset| Fact::Undecided { shard: shard as u32, seq: seq_of(*offset) });
        self.kafka.facts().extend(told);
        let Some(writer) = self.writers.get_mut(shard) else { return };
        match writer.open.iter_mut().find(|(known, _)| *known == producer) {
            Some((_, open)) => open.extend(offsets),
            None => writer.open.push((producer, offsets)),
        }
    }

    /// Ends one of the open transactions, in no order, or all of them; as long as nobody leads the
    /// partition, none ends.
    pub(super) fn end_transactions(&mut self, now: Instant, shard: usize, all: bool) {
        loop {
            let Some(writer) = self.writers.get(shard).filter(|writer| !writer.open.is_empty()) else {
                return;
            };
            let which = self.random.below(writer.open.len() as u64) as usize;
            let Some((producer, offsets)) = writer.open.get(which).cloned() else { return };
            let aborted = self.chance(self.habits.aborts);
            let marker = if aborted { Marker::Abort } else { Marker::Commit };
            let millis = (UNIX_MS_AT_ORIGIN + now.as_nanos() / 1_000_000) as i64;
            let batch = BatchBuilder::marker(0, producer, 0, millis, marker).build();
            let Some(base) = batch.ok().and_then(|batch| self.append(now, shard, batch.into())) else {
                return;
            };
            let told = offsets.into_iter().map(|offset| Fact::Decided {
                shard: shard as u32,
                seq: seq_of(offset),
                aborted,
            });
            self.kafka.facts().extend(told);
            if let Some(writer) = self.writers.get_mut(shard) {
                writer.open.remove(which);
                writer.floor = base + 1;
            }
            if !all {
                return;
            }
        }
    }
}

fn seq_of(offset: i64) -> SeqNo {
    SeqNo::offset(u64::try_from(offset).unwrap_or(0))
}
