//! Messages as lines.
//!
//! **Invariant:** one line a message, and bytes that are not UTF-8 are in it as base64: nothing is
//! replaced or left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tidegate::Backend;
use tidegate_core::{MessageRef, Timestamp};

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A JSON object a line.
    Ndjson,
    /// The payload alone and a line break; an empty line where there is none.
    Payload,
}

/// Writes messages into a buffer of its own, which its user empties.
#[derive(Debug)]
pub(crate) struct Writer {
    format: Format,
    backend: Backend,
    pub(crate) buffer: Vec<u8>,
    clock: Clock,
}

impl Writer {
    pub(crate) fn new(format: Format, backend: Backend) -> Self {
        Self { format, backend, buffer: Vec::new(), clock: Clock::default() }
    }

    /// Adds one line.
    pub(crate) fn write(&mut self, message: MessageRef<'_>) {
        match self.format {
            Format::Ndjson => self.ndjson(message),
            Format::Payload => self.buffer.extend_from_slice(message.payload().unwrap_or_default()),
        }
        self.buffer.push(b'\n');
    }

    fn ndjson(&mut self, message: MessageRef<'_>) {
        let buffer = &mut self.buffer;
        buffer.extend_from_slice(b"{\"stream\":");
        match std::str::from_utf8(message.stream().as_bytes()) {
            Ok(name) => text(buffer, name),
            Err(_) => text(buffer, &message.stream().to_string()),
        }
        buffer.extend_from_slice(b",\"shard\":");
        number(buffer, message.shard().number());
        buffer.extend_from_slice(b",\"seq\":\"");
        if self.backend == Backend::Redis {
            number(buffer, message.seq().high());
            buffer.push(b'-');
        }
        number(buffer, message.seq().low());
        buffer.extend_from_slice(b"\",\"timestamp\":");
        match (self.backend, message.timestamp()) {
            (Backend::Kafka, NO_TIMESTAMP) => buffer.extend_from_slice(b"null"),
            (_, timestamp) => self.clock.write(buffer, timestamp),
        }
        buffer.push(b',');
        match self.backend {
            Backend::Kafka => record(buffer, message.key(), message.payload(), message.headers()),
            _ => {
                member(buffer, "key", None);
                buffer.push(b',');
                member(buffer, "payload", message.payload());
                buffer.extend_from_slice(b",\"fields\":");
                fields(buffer, message);
                buffer.extend_from_slice(b",\"headers\":[]");
            }
        }
        buffer.extend_from_slice(b",\"deliveries\":");
        number(buffer, u64::from(message.deliveries()));
        buffer.push(b'}');
    }
}

/// What a record of Kafka has in place of a moment, if its producer gave none.
const NO_TIMESTAMP: Timestamp = Timestamp::from_millis(-1);

/// What only a record of Kafka has; its headers in their order, those of the same name too.
fn record<'a>(
    buffer: &mut Vec<u8>,
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) {
    member(buffer, "key", key);
    buffer.push(b',');
    member(buffer, "payload", payload);
    buffer.extend_from_slice(b",\"headers\":[");
    for (at, (name, value)) in headers.enumerate() {
        buffer.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        member(buffer, "key", Some(name));
        buffer.push(b',');
        member(buffer, "value", value);
        buffer.push(b'}');
    }
    buffer.push(b']');
}

/// A member of an object: `"name":"…"`, `"name_base64":"…"` where it isn't UTF-8, `"name":null`.
fn member(buffer: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    buffer.push(b'"');
    buffer.extend_from_slice(name.as_bytes());
    match value.map(|value| (value, std::str::from_utf8(value))) {
        None => buffer.extend_from_slice(b"\":null"),
        Some((_, Ok(value))) => {
            buffer.extend_from_slice(b"\":");
            text(buffer, value);
        }
        Some((value, Err(_))) => {
            buffer.extend_from_slice(b"_base64\":");
            base64(buffer, b"", value);
        }
    }
}

/// An object: name, value. A name that comes again: all its values in an array, at its first
/// place.
fn fields(buffer: &mut Vec<u8>, message: MessageRef<'_>) {
    buffer.push(b'{');
    if is_repetitive(message) {
        let mut places = BTreeMap::new();
        let mut all: Vec<(&[u8], Vec<&[u8]>)> = Vec::new();
        for (name, value) in message.fields() {
            let place = *places.entry(name).or_insert(all.len());
            match all.get_mut(place) {
                Some((_, values)) => values.push(value),
                None => all.push((name, vec![value])),
            }
        }
        for (at, (name, values)) in all.iter().enumerate() {
            field_name(buffer, at, name);
            if let [value] = values.as_slice() {
                field_value(buffer, value);
                continue;
            }
            for (at, value) in values.iter().enumerate() {
                buffer.push(if at == 0 { b'[' } else { b',' });
                field_value(buffer, value);
            }
            buffer.push(b']');
        }
    } else {
        for (at, (name, value)) in message.fields().enumerate() {
            field_name(buffer, at, name);
            field_value(buffer, value);
        }
    }
    buffer.push(b'}');
}

/// Whether a name comes twice; of many fields it is said without looking.
fn is_repetitive(message: MessageRef<'_>) -> bool {
    const FEW: usize = 8;
    let mut seen: [&[u8]; FEW] = [&[]; FEW];
    for (at, (name, _)) in message.fields().enumerate() {
        let Some(before) = seen.get(..at) else { return true };
        if before.contains(&name) {
            return true;
        }
        match seen.get_mut(at) {
            Some(place) => *place = name,
            None => return true,
        }
    }
    false
}

/// Marks a name that had to be encoded. A name that begins so by itself is encoded, too.
const ENCODED: &str = "base64:";

fn field_name(buffer: &mut Vec<u8>, at: usize, name: &[u8]) {
    if at > 0 {
        buffer.push(b',');
    }
    match std::str::from_utf8(name) {
        Ok(name) if !name.starts_with(ENCODED) => text(buffer, name),
        _ => base64(buffer, ENCODED.as_bytes(), name),
    }
    buffer.push(b':');
}

fn field_value(buffer: &mut Vec<u8>, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(value) => text(buffer, value),
        Err(_) => {
            buffer.extend_from_slice(b"{\"base64\":");
            base64(buffer, b"", value);
            buffer.push(b'}');
        }
    }
}

fn text(buffer: &mut Vec<u8>, text: &str) {
    // Writing text into memory can't fail.
    let _ = serde_json::to_writer(buffer, text);
}

fn base64(buffer: &mut Vec<u8>, before: &[u8], bytes: &[u8]) {
    buffer.push(b'"');
    buffer.extend_from_slice(before);
    let start = buffer.len();
    let room = base64::encoded_len(bytes.len(), true).unwrap_or_default();
    buffer.resize(start + room, b'=');
    let into = buffer.get_mut(start..).unwrap_or_default();
    // Proved: there is room for all of it.
    let _ = BASE64_STANDARD.encode_slice(bytes, into);
    buffer.push(b'"');
}

fn number(buffer: &mut Vec<u8>, number: u64) {
    let _ = serde_json::to_writer(buffer, &number);
}

/// RFC 3339 in milliseconds. Messages of one second share its date.
#[derive(Debug, Default)]
struct Clock {
    second: Option<i64>,
    date: String,
}

impl Clock {
    /// Null for a moment outside the years of RFC 3339: a Redis id can be any number.
    fn write(&mut self, buffer: &mut Vec<u8>, timestamp: Timestamp) {
        let (second, milli) =
            (timestamp.as_millis().div_euclid(1_000), timestamp.as_millis().rem_euclid(1_000));
        if self.second != Some(second) {
            self.date.clear();
            self.second = Some(second);
            let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
            let date = epoch.checked_add(jiff::SignedDuration::from_secs(second)).ok();
            if let Some(date) = date.filter(|date| (0..=9_999).contains(&date.year())) {
                let _ = write!(
                    self.date,
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                    date.year(),
                    date.month(),
                    date.day(),
                    date.hour(),
                    date.minute(),
                    date.second()
                );
            }
        }
        if self.date.is_empty() {
            buffer.extend_from_slice(b"null");
            return;
        }
        let digit = |n: i64| b'0' + (n % 10) as u8;
        buffer.push(b'"');
        buffer.extend_from_slice(self.date.as_bytes());
        buffer.extend_from_slice(&[b'.', digit(milli / 100), digit(milli / 10), digit(milli), b'Z', b'"']);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_core::message::{Entries, Entry, Source, Span};
    use tidegate_core::{Batch, Epoch, SeqNo, ShardId};

    use super::*;

    fn batch(stream: &[u8], fields: &[(&[u8], &[u8])]) -> Batch {
        let mut data = Vec::new();
        let mut spans = Vec::new();
        for bytes in fields.iter().flat_map(|(name, value)| [name, value]) {
            spans.push(Span { start: data.len() as u32, len: bytes.len() as u32 });
            data.extend_from_slice(bytes);
        }
        let entry = Entry {
            seq: SeqNo::redis(1_700_000_000_000, 7),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            deliveries: 2,
            place: spans.len() as u32,
        };
        let stream = bytes::Bytes::copy_from_slice(stream).into();
        let source = Source { stream, shard: ShardId::new(3), epoch: Epoch(1), segment: None };
        Batch::new(source, Entries { data: data.into(), index: vec![entry], spans, ..Entries::default() })
    }

    fn line(format: Format, fields: &[(&[u8], &[u8])]) -> String {
        let mut writer = Writer::new(format, Backend::Redis);
        let batch = batch(b"orders", fields);
        writer.write(batch.message(0).unwrap().view());
        assert_eq!(writer.buffer.pop(), Some(b'\n'));
        String::from_utf8(writer.buffer).unwrap()
    }

    fn fields_of(fields: &[(&[u8], &[u8])]) -> Value {
        serde_json::from_str::<Value>(&line(Format::Ndjson, fields)).unwrap()["fields"].take()
    }

    #[test]
    fn a_line_has_the_keys_of_the_interface_in_their_order() {
        assert_eq!(
            line(Format::Ndjson, &[(b"msg", b"hello \"you\"\n"), (b"a", b"1")]),
            r#"{"stream":"orders","shard":3,"seq":"1700000000000-7","timestamp":"2023-11-14T22:13:20.000Z","key":null,"payload":"hello \"you\"\n","fields":{"msg":"hello \"you\"\n","a":"1"},"headers":[],"deliveries":2}"#
        );
    }

    #[test]
    fn a_payload_that_is_no_text_is_base64_and_none_is_null() {
        let value: Value = serde_json::from_str(&line(Format::Ndjson, &[(b"x", b"\xff\x00")])).unwrap();
        assert_eq!(value["payload_base64"], "/wA=");
        assert!(value.get("payload").is_none());
        let value: Value =
            serde_json::from_str(&line(Format::Ndjson, &[(b"a", b"1"), (b"b", b"2")])).unwrap();
        assert_eq!(value["payload"], Value::Null);
        assert!(line(Format::Ndjson, &[]).contains("\"payload\":null,\"fields\":{}"));
    }

    #[test]
    fn fields_lose_nothing() {
        assert_eq!(fields_of(&[(b"a", b"\xff"), (b"b", b"")]), json!({"a": {"base64": "/w=="}, "b": ""}));
        assert_eq!(fields_of(&[(b"\xff", b"1")]), json!({"base64:/w==": "1"}));
        assert_eq!(fields_of(&[(b"base64:x", b"1")]), json!({"base64:YmFzZTY0Ong=": "1"}));
        assert_eq!(
            fields_of(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
            json!({"a": ["1", "3"], "b": "2"})
        );
        let names: Vec<String> = (0..1_000).map(|n| format!("f{}", n % 900)).collect();
        let many: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), &b"v"[..])).collect();
        let value = fields_of(&many);
        assert_eq!(value.as_object().unwrap().len(), 900);
        assert_eq!((&value["f99"], &value["f100"]), (&json!(["v", "v"]), &json!("v")));
        let distinct = fields_of(&many[..900]);
        assert_eq!(distinct["f899"], "v");
    }

    type Header = (&'static [u8], Option<&'static [u8]>);

    fn record_of(key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[Header]) -> String {
        let mut buffer = vec![b'{'];
        record(&mut buffer, key, payload, headers.iter().copied());
        buffer.push(b'}');
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_record_has_a_key_and_headers_in_place_of_fields() {
        assert_eq!(
            record_of(Some(b"k\n"), Some(b"v"), &[(b"a", Some(b"1")), (b"b", None), (b"a", Some(b"2"))]),
            r#"{"key":"k\n","payload":"v","headers":[{"key":"a","value":"1"},{"key":"b","value":null},{"key":"a","value":"2"}]}"#
        );
        assert_eq!(record_of(None, None, &[]), r#"{"key":null,"payload":null,"headers":[]}"#);
        assert_eq!(record_of(Some(b""), Some(b""), &[]), r#"{"key":"","payload":"","headers":[]}"#);
        let odd =
            record_of(Some(b"\xff"), Some(b"\x00\xfe"), &[(b"\xfd", Some(b"\xfc")), (b"a", Some(b"\0"))]);
        assert_eq!(
            serde_json::from_str::<Value>(&odd).unwrap(),
            json!({
                "key_base64": "/w==",
                "payload_base64": "AP4=",
                "headers": [{"key_base64": "/Q==", "value_base64": "/A=="}, {"key": "a", "value": "\0"}],
            })
        );
    }

    #[test]
    fn a_line_of_kafka_has_an_offset_and_no_fields() {
        let line = |timestamp| {
            let source =
                Source { stream: "orders".into(), shard: ShardId::new(2), epoch: Epoch(1), segment: None };
            let entry = Entry {
                seq: SeqNo::offset(41),
                timestamp: Timestamp::from_millis(timestamp),
                deliveries: 1,
                place: 0,
            };
            let entries = Entries { data: bytes::Bytes::new(), index: vec![entry], ..Default::default() };
            let mut writer = Writer::new(Format::Ndjson, Backend::Kafka);
            writer.write(Batch::new(source, entries).message(0).unwrap().view());
            String::from_utf8(writer.buffer).unwrap()
        };
        assert_eq!(
            line(5),
            "{\"stream\":\"orders\",\"shard\":2,\"seq\":\"41\",\"timestamp\":\"1970-01-01T00:00:00.005Z\",\
             \"key\":null,\"payload\":null,\"headers\":[],\"deliveries\":1}\n"
        );
        assert!(line(-1).contains("\"timestamp\":null,"), "the producer gave none");
        assert!(line(-2).contains("\"timestamp\":\"1969-12-31T23:59:59.998Z\","));
    }

    #[test]
    fn payload_format_is_the_bytes_alone() {
        assert_eq!(line(Format::Payload, &[(b"msg", b"{\"a\":1}"), (b"b", b"x")]), "{\"a\":1}");
        assert_eq!(line(Format::Payload, &[(b"a", b"1"), (b"b", b"x")]), "");
    }

    #[test]
    fn times_print_in_milliseconds_or_not_at_all() {
        let mut clock = Clock::default();
        let mut print = |millis| {
            let mut buffer = Vec::new();
            clock.write(&mut buffer, Timestamp::from_millis(millis));
            String::from_utf8(buffer).unwrap()
        };
        assert_eq!(print(0), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(print(5), "\"1970-01-01T00:00:00.005Z\"");
        assert_eq!(print(-1), "\"1969-12-31T23:59:59.999Z\"");
        assert_eq!(print(1_767_225_600_123), "\"2026-01-01T00:00:00.123Z\"");
        assert_eq!(print(253_402_300_799_999), "\"9999-12-31T23:59:59.999Z\"");
        assert_eq!(print(253_402_300_800_000), "null");
        assert_eq!(print(i64::MAX), "null");
        assert_eq!(print(i64::MIN), "null");
    }

    #[test]
    fn a_stream_of_any_bytes_stays_on_its_line() {
        let mut writer = Writer::new(Format::Ndjson, Backend::Redis);
        writer.write(batch(b"a\n\xff", &[]).message(0).unwrap().view());
        let line = String::from_utf8(writer.buffer).unwrap();
        assert!(line.starts_with(r#"{"stream":"a\\n\\xff","shard":3"#), "{line}");
    }
}
