//! Transactions, compaction, stamps.

use tidegate_core::kafka::records::{Compression, Marker, Records, TimestampType};

use super::*;

/// What a reader has of `orders-0`, from the start: the records' offsets.
fn offsets(client: &mut Client, committed: bool) -> (Vec<i64>, Vec<(i64, i64)>) {
    let isolation_level = i8::from(committed);
    let request = FetchRequest { isolation_level, max_wait_ms: 0, ..fetch(&client.kafka, 0) };
    let answer = client.ask(18, &request);
    let data = &answer.responses[0].partitions[0];
    let mut found = Vec::new();
    for batch in Batches::new(data.records.clone().unwrap()) {
        let batch = batch.unwrap();
        batch.verify().unwrap();
        if !batch.control {
            let data = batch.decompressed(1 << 20).unwrap();
            found.extend(Records::new(&batch, &data).map(|record| record.unwrap().offset));
        }
    }
    let aborted = data.aborted_transactions.iter().flatten();
    (found, aborted.map(|one| (one.producer_id, one.first_offset)).collect())
}

fn orders() -> Client {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    client.kafka.watch(&["orders:0".into()]);
    client
}

#[test]
fn transactions_may_be_open_at_the_same_time() {
    let mut client = orders();
    let kafka = &mut client.kafka;
    kafka.produce(NOW, "orders", 0, &[b"a"]);
    kafka.produce_transactional(NOW, "orders", 0, 1, &[b"b"]);
    kafka.produce_transactional(NOW, "orders", 0, 2, &[b"c"]);
    kafka.produce_transactional(NOW, "orders", 0, 1, &[b"d"]);
    assert_eq!(kafka.end_transaction(NOW, "orders", 0, 2, Marker::Abort), Some(4));
    kafka.produce(NOW, "orders", 0, &[b"e"]);
    assert_eq!(offsets(&mut client, true), (vec![0], vec![]), "the first one is open");
    assert_eq!(offsets(&mut client, false), (vec![0, 1, 2, 3, 5], vec![]));
    client.kafka.end_transaction(NOW, "orders", 0, 1, Marker::Commit);
    assert_eq!(offsets(&mut client, true), (vec![0, 1, 2, 3, 5], vec![(2, 2)]));
    assert_eq!(client.kafka.check(), Ok(()));
}

#[test]
fn compaction_leaves_gaps_and_what_tells_a_producer_s_sequence() {
    let mut client = orders();
    client.kafka.produce(NOW, "orders", 0, &[b"a", b"b", b"c"]);
    client.kafka.produce(NOW, "orders", 0, &[b"d"]);
    let mut batch = BatchBuilder::new(0);
    batch.producer(9, 3, 0).compression(Compression::Lz4);
    batch.record(NewRecord { value: Some(b"e"), ..NewRecord::default() });
    let batch: Bytes = batch.build().unwrap().into();
    assert_eq!(client.kafka.produce_batches(NOW, "orders", 0, batch), Some(4));
    client.kafka.produce_transactional(NOW, "orders", 0, 1, &[b"f"]);
    client.kafka.facts().clear();
    client.kafka.compact("orders", 0, |offset| [0, 2, 3, 4, 5].contains(&offset));
    let gone: Vec<_> = client.kafka.facts().drain(..).collect();
    let gone_at = |offset| Fact::Gone { shard: 0, seq: SeqNo::offset(offset), why: Gone::Deleted };
    assert_eq!(gone, [0, 2, 3, 4].map(gone_at));
    assert_eq!(offsets(&mut client, false).0, [1, 5], "what is open isn't looked at");
    assert_eq!(client.kafka.end("orders", 0), Some(6));
    // The batches' ends are where they were; one is gone, one is empty.
    let answer = client.ask(18, &FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) });
    assert_eq!(read(&answer), (0, vec![2, 4, 5]));
    assert_eq!(client.kafka.check(), Ok(()));
    client.kafka.compact("nowhere", 0, |_| true);
}

#[test]
fn a_topic_s_batches_are_stamped_where_it_says_so() {
    let mut client = orders();
    assert!(client.kafka.stamp_on_append("orders", true) && !client.kafka.stamp_on_append("bills", true));
    let now = Instant::from_nanos(7_000_000);
    let mut batch = BatchBuilder::new(0);
    batch.compression(Compression::Zstd);
    batch.record(NewRecord { timestamp: 5, value: Some(b"a"), ..NewRecord::default() });
    batch.record(NewRecord { offset: 1, timestamp: 6, value: Some(b"b"), ..NewRecord::default() });
    let batch = batch.build().unwrap();
    assert_eq!(client.kafka.produce_batches(now, "orders", 0, batch.clone().into()), Some(0));
    assert_eq!(client.kafka.produce_batches(now, "orders", 0, batch[..70].to_vec().into()), None);
    client.kafka.produce_transactional(now, "orders", 0, 1, &[b"c"]);
    client.kafka.end_transaction(now, "orders", 0, 1, Marker::Commit);
    let answer = client.ask(18, &FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) });
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    let batches: Vec<_> = Batches::new(records).map(Result::unwrap).collect();
    let stamp = 1_700_000_000_007;
    assert!(batches.iter().all(|batch| batch.verify().is_ok() && batch.max_timestamp == stamp));
    let kinds: Vec<_> = batches.iter().map(|batch| (batch.timestamp_type, batch.compression)).collect();
    let log_append = TimestampType::LogAppend;
    let codecs = [Compression::Zstd, Compression::None].map(|codec| (log_append, codec));
    assert_eq!(kinds[..2], codecs);
    assert_eq!(batches.iter().map(|batch| batch.last_offset).collect::<Vec<_>>(), [1, 2, 3]);
    client.kafka.produce(now, "orders", 0, &[b"d"]);
    assert_eq!(client.kafka.check(), Ok(()));
}
