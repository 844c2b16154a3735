//! Records as others wrote them: every codec, transactions, compacted topics, odd and missing parts.
//! What the Java consumer reads is the truth that each line is held against.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_live::kafka::{Admin, Outcome, Record, StoredRecord, kcat_produce, shared, unique};
use tidegate_live::{Consume, HeaderLine, Message, wait};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Everything that there is, as the command shows it.
#[track_caller]
fn shown(kafka: &Admin, topic: &str, isolation: &str) -> Vec<Message> {
    let args = ["--from", "beginning", "--exit-idle", "2s", "--isolation", isolation];
    let mut consumer = Consume::of(&kafka.url(topic)).args(args).start();
    consumer.finish();
    let mut messages = consumer.seen().messages.clone();
    messages.sort_by_key(|message| (message.shard, message.seq.parse::<i64>().unwrap()));
    messages
}

/// Text as it is, or base64.
fn parts(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.into()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// The line that this record should be.
fn line(topic: &str, record: &StoredRecord) -> Message {
    let (key, key_base64) = parts(record.key.as_deref());
    let (payload, payload_base64) = parts(record.value.as_deref());
    let headers = record.headers.iter().map(|header| {
        let (value, value_base64) = parts(header.1.as_deref());
        HeaderLine { key: Some(header.0.clone()), key_base64: None, value, value_base64 }
    });
    Message {
        stream: topic.into(),
        shard: record.partition as u64,
        seq: record.offset.to_string(),
        timestamp: rfc3339(record.timestamp),
        key,
        key_base64,
        payload,
        payload_base64,
        fields: Default::default(),
        headers: headers.collect(),
        deliveries: 1,
    }
}

/// 2023-11-14T22:13:20.000Z for 1,700,000,000,000.
fn rfc3339(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days since 1970 to a date: the civil calendar, counted from 1 March of the year 0.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, millis) = (rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// Every line is what the Java consumer reads, in the order of partitions and offsets; how many.
#[track_caller]
fn is_read_right(kafka: &Admin, topic: &str, isolation: &str) -> usize {
    let lines = shown(kafka, topic, isolation);
    let expected: Vec<Message> =
        kafka.read(topic, &isolation.replace('-', "_")).iter().map(|record| line(topic, record)).collect();
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected, "{isolation}");
    }
    assert_eq!(lines.len(), expected.len(), "{isolation}");
    lines.len()
}

#[test]
fn each_codec_of_the_java_client() {
    let kafka = shared();
    for codec in CODECS {
        let topic = kafka.topic(2);
        // Many in one batch, few in another, and one that is large.
        let many = (0..500).map(|n| format!("{codec} number {n}, and some more of the same, the same"));
        kafka.produce(&topic).codec(codec).config("linger.ms", "50").values(0, many).send();
        kafka.produce(&topic).codec(codec).values(1, ["a", "", "c"]).send();
        let large: Vec<u8> = (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        kafka.produce(&topic).codec(codec).record(Record::new(1, large).key("large")).send();
        assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 504, "{codec}");
    }
}

#[test]
fn each_codec_of_librdkafka() {
    let kafka = shared();
    for codec in CODECS {
        let topic = kafka.topic(1);
        let many: Vec<String> =
            (0..500).map(|n| format!("key-{n}:{codec} number {n}, the same, the same")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let args = ["-z", codec, "-K", ":", "-H", "a=1", "-H", "a=2", "-H", "b="];
        kcat_produce(kafka, &topic, 0, &many, &args);
        kcat_produce(kafka, &topic, 0, &["key:", ":value"], &["-z", codec, "-K", ":", "-Z"]);
        assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 502, "{codec}");
    }
}

#[test]
fn null_and_empty_and_binary_keys_values_and_headers() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let blank = || Record { partition: Some(0), ..Record::default() };
    let records = [
        blank(),
        blank().key(""),
        Record::new(0, ""),
        Record::new(0, b"\xff\x00\xfe").key(b"\x80"),
        Record::new(0, "line\nbreak \"quoted\" \u{1f30a} \0 \u{2028}").key("\\"),
        Record::new(0, "h")
            .header("twice", Some(b"1"))
            .header("twice", Some(b"2"))
            .header("twice", Some(b"1")),
        Record::new(0, "h").header("", Some(b"")).header("null", None).header("binary", Some(b"\xff")),
        Record::new(0, "old").at(0),
        Record::new(0, "dated").at(1_700_000_000_123),
        Record::new(0, "leap").at(951_782_400_000),
    ];
    let mut produce = kafka.produce(&topic);
    for record in records {
        produce = produce.record(record);
    }
    produce.send();
    assert_eq!(is_read_right(kafka, &topic, "read-committed"), 10);
    let lines = shown(kafka, &topic, "read-committed");
    assert_eq!((&lines[0].key, &lines[0].payload, lines[0].headers.len()), (&None, &None, 0));
    assert_eq!((lines[1].key.as_deref(), &lines[1].payload), (Some(""), &None));
    assert_eq!((&lines[2].key, lines[2].payload.as_deref()), (&None, Some("")));
    assert_eq!(lines[5].headers.iter().map(|h| h.value.as_deref().unwrap()).collect::<String>(), "121");
    assert_eq!(lines[7].timestamp, "1970-01-01T00:00:00.000Z");
    assert_eq!(lines[8].timestamp, "2023-11-14T22:13:20.123Z");
    assert_eq!(lines[9].timestamp, "2000-02-29T00:00:00.000Z");
}

#[test]
fn committed_and_aborted_transactions_in_both_isolations() {
    let kafka = shared();
    for codec in ["none", "lz4"] {
        let topic = kafka.topic(2);
        let (one, two) = (unique("transaction"), unique("transaction"));
        let send = |id: &str, what: &str, outcome, goes_on: bool| {
            let values = |partition: i32| (0..3).map(move |n| format!("{what} {partition}/{n}"));
            let produce = kafka.produce(&topic).codec(codec).values(0, values(0)).values(1, values(1));
            let produce = produce.transaction(id, outcome);
            if goes_on { produce.goes_on() } else { produce }.send();
        };
        // Two producers whose transactions overlap, one of which is aborted, whichever began first.
        send(&one, "committed", Outcome::Commit, false);
        send(&one, "aborted", Outcome::Abort, false);
        send(&one, "aborted in the end", Outcome::Open, false);
        send(&two, "inside, committed", Outcome::Commit, false);
        kafka.produce(&topic).codec(codec).values(0, ["outside"]).send();
        send(&one, "aborted in the end too", Outcome::Abort, true);
        send(&two, "committed in the end", Outcome::Open, false);
        send(&one, "inside, aborted", Outcome::Abort, false);
        send(&two, "committed in the end too", Outcome::Commit, true);
        assert_eq!(is_read_right(kafka, &topic, "read-committed"), 25);
        assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 49);
        let lines = shown(kafka, &topic, "read-committed");
        assert!(lines.iter().all(|line| !line.payload.as_deref().unwrap().contains("aborted")), "{lines:?}");
        // Nothing but aborted ones and markers at the end: the position passes them all the same.
        send(&one, "aborted last", Outcome::Abort, false);
        let group = unique("group");
        let args = ["--isolation", "read-committed", "--exit-idle", "2s", "--commit-interval", "100ms"];
        let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").args(args).start();
        consumer.finish();
        assert_eq!(consumer.count(), 25);
        let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").args(args).start();
        consumer.finish();
        assert_eq!(consumer.count(), 0, "all was acked: {:?}", consumer.seen().messages);
    }
}

#[test]
fn an_open_transaction_is_waited_for() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let id = unique("transaction");
    let follow = |isolation: &str| {
        Consume::of(&kafka.url(&topic)).args(["--from", "beginning", "--isolation", isolation]).start()
    };
    kafka.add(&topic, ["first"]);
    let (mut committed, mut all) = (follow("read-committed"), follow("read-uncommitted"));
    kafka.produce(&topic).values(0, ["open"]).transaction(&id, Outcome::Open).send();
    kafka.add(&topic, ["behind it"]);
    all.wait_for_payloads(["first", "open", "behind it"], wait::PATIENCE);
    committed.wait_for_payloads(["first"], wait::PATIENCE);
    wait::always("what is behind an open transaction waits", Duration::from_secs(1), || {
        committed.count() == 1
    });
    kafka.produce(&topic).values(0, ["closed"]).transaction(&id, Outcome::Commit).goes_on().send();
    committed.wait_for_payloads(["open", "behind it", "closed"], wait::PATIENCE);
    assert_eq!(committed.count(), 4);
    all.interrupt();
    committed.interrupt();
}

#[test]
fn a_compacted_topic_with_gaps_up_to_its_end() {
    let kafka = shared();
    let topic = unique("topic");
    let compact = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0")];
    kafka.create_topic(&topic, 1, 1, &compact);
    let mut produce = kafka.produce(&topic).config("linger.ms", "20").codec("zstd");
    for n in 0..300 {
        produce = produce.record(Record::new(0, format!("{n}")).key(format!("key-{}", n % 7)));
    }
    produce.send();
    wait::until_true("compaction", wait::PATIENCE, || {
        // Each record that follows closes a segment.
        kafka.produce(&topic).record(Record::new(0, "last").key("key-last")).send();
        kafka.read(&topic, "read_uncommitted").len() < 100
    });
    let left = is_read_right(kafka, &topic, "read-uncommitted");
    println!("{left} of {} records are left", kafka.ends(&topic)[0]);
    // A tail of which nothing is left: the position reaches the end, and the group has no lag.
    let group = unique("group");
    let args = ["--exit-idle", "2s"];
    let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").args(args).start();
    consumer.finish();
    let committed = kafka.committed_offsets(&group, &topic, 1)[0];
    let last: i64 = consumer.seen().messages.last().unwrap().seq.parse().unwrap();
    assert!(committed > last && committed <= kafka.ends(&topic)[0], "{committed} after {last}");
    kafka.produce(&topic).record(Record::new(0, "after").key("key-after")).send();
    let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").args(args).start();
    consumer.finish();
    assert_eq!(consumer.seen().payloads(), ["after"].into());
}

#[test]
fn the_brokers_time_where_the_topic_wants_it() {
    let kafka = shared();
    let topic = unique("topic");
    kafka.create_topic(&topic, 1, 1, &[("message.timestamp.type", "LogAppendTime")]);
    for codec in CODECS {
        kafka
            .produce(&topic)
            .codec(codec)
            .record(Record::new(0, codec).at(1))
            .record(Record::new(0, "b").at(2))
            .send();
    }
    let all = kafka.read(&topic, "read_committed");
    assert!(all.iter().all(|record| record.timestamp > 1_700_000_000_000), "{all:?}");
    assert_eq!(is_read_right(kafka, &topic, "read-committed"), 10);
}

#[test]
fn records_that_were_deleted_at_the_front_are_passed_over() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, (0..100).map(|n| n.to_string()));
    kafka.delete_records(&topic, 0, 60);
    assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 40);
    kafka.delete_records(&topic, 0, 100);
    assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 0);
    kafka.add(&topic, ["new"]);
    assert_eq!(is_read_right(kafka, &topic, "read-uncommitted"), 1);
}

#[test]
fn a_record_larger_than_a_fetch_is_read() {
    let kafka = shared();
    let topic = unique("topic");
    kafka.create_topic(&topic, 1, 1, &[("max.message.bytes", "20000000")]);
    let large = "0123456789abcdef".repeat(500_000);
    kafka
        .produce(&topic)
        .config("max.request.size", "20000000")
        .config("buffer.memory", "40000000")
        .record(Record::new(0, &large))
        .record(Record::new(0, "small"))
        .send();
    let lines = shown(kafka, &topic, "read-uncommitted");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].payload.as_deref() == Some(&large), "8 MB as they were sent");
}
