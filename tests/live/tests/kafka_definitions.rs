//! Our tables of the Kafka protocol, held against Apache Kafka's own: the message definitions in
//! its jar, its error codes, and its generated classes on random messages.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

#[macro_use]
#[path = "../../../core/tests/kafka_wire/list.rs"]
mod list;
#[path = "kafka_definitions/definition.rs"]
mod definition;
#[path = "../../../core/tests/kafka_wire/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::{Bytes, BytesMut};
use random::Random;
use tidegate_core::kafka::wire::{self, ErrorCode, Message, Reader, Request, Structure, WireError, api_key};
use tidegate_live::kafka::{Version, jars};

/// The kafka-clients jar among them.
fn clients_jar() -> PathBuf {
    let entries = std::fs::read_dir(jars(Version::Newest)).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("kafka-clients-") && name.ends_with(".jar")
    };
    let found: Vec<_> = entries.filter(is_it).collect();
    assert_eq!(found.len(), 1, "one kafka-clients jar: {found:?}");
    found[0].clone()
}

/// One of our messages, without its type.
struct Row {
    name: &'static str,
    structure: &'static Structure,
    versions: std::ops::RangeInclusive<i16>,
    flexible: i16,
    again: fn(i16, &[u8]) -> Result<Vec<u8>, WireError>,
}

fn row<M: Message>() -> Row {
    Row {
        name: M::NAME,
        structure: M::STRUCTURE,
        versions: M::VERSIONS,
        flexible: M::FLEXIBLE,
        again: |version, bytes| {
            let message = M::decode(version, &mut Reader::new(Bytes::copy_from_slice(bytes)))?;
            let mut out = BytesMut::new();
            message.encode(version, &mut out)?;
            Ok(out.to_vec())
        },
    }
}

macro_rules! rows {
    ($($name:ident)*) => {
        fn rows() -> Vec<Row> {
            vec![$( row::<wire::$name>() ),*]
        }
    };
}
all_messages!(rows);

/// No machine of ours sends it, and the model broker doesn't name its latest version.
const PLAYED: &str = "InitProducerIdRequest";

/// The API keys of our requests, as the types have them.
fn keys() -> BTreeMap<&'static str, i16> {
    fn key<R: Request>() -> [(&'static str, i16); 2] {
        assert_eq!(R::NAME.replace("Request", "Response"), R::Response::NAME);
        assert_eq!(R::VERSIONS, R::Response::VERSIONS);
        [(R::NAME, R::KEY), (R::Response::NAME, R::KEY)]
    }
    macro_rules! keys {
        ($($name:ident)*) => { [$( key::<wire::$name>() ),*].into_iter().flatten().collect() };
    }
    keys! {
        ApiVersionsRequest ConsumerGroupHeartbeatRequest CreateTopicsRequest FetchRequest
        FindCoordinatorRequest HeartbeatRequest InitProducerIdRequest JoinGroupRequest LeaveGroupRequest
        ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        OffsetForLeaderEpochRequest ProduceRequest SaslAuthenticateRequest SaslHandshakeRequest
        ShareAcknowledgeRequest ShareFetchRequest ShareGroupHeartbeatRequest SyncGroupRequest
    }
}

#[test]
fn our_tables_are_the_definitions_field_by_field() {
    let definitions = definition::read(&clients_jar());
    let (rows, keys) = (rows(), keys());
    let mut found = Vec::new();
    let mut fields = 0;
    for row in &rows {
        let theirs = &definitions[row.name];
        fields += theirs.differences(row.structure, &mut found);
        let versions = match (*row.versions.start(), *row.versions.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let flexible = match row.flexible {
            i16::MAX => "none".to_owned(),
            first => format!("{first}+"),
        };
        let ours = (versions, flexible, keys.get(row.name).copied());
        let valid = (theirs.valid_versions.clone(), theirs.flexible_versions.clone(), theirs.api_key);
        if ours != valid {
            found.push(format!("{}: ours {ours:?}, theirs {valid:?}", row.name));
        }
        if theirs.latest_version_unstable && row.name != PLAYED {
            found.push(format!("{}: their latest version isn't stable", row.name));
        }
    }
    println!("{} messages, {fields} fields", rows.len());
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    assert!(fields > 250, "only {fields} fields were compared");
}

#[test]
fn our_api_keys_are_the_definitions() {
    let definitions = definition::read(&clients_jar());
    let requests = definitions.values().filter(|definition| definition.kind == "request");
    let theirs: BTreeMap<i16, &str> = requests
        .map(|request| (request.api_key.unwrap(), request.name.strip_suffix("Request").unwrap()))
        .collect();
    let ours: BTreeMap<i16, &str> =
        (-1..1000).filter_map(|key| Some((key, api_key::name_of(key)?))).collect();
    println!("{} API keys", theirs.len());
    assert_eq!(ours, theirs);
}

#[test]
fn our_error_codes_are_kafkas() {
    let said = oracle(&["errors"]);
    let theirs: BTreeMap<i16, (&str, bool)> = said
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            (words[0].parse().unwrap(), (words[1], words[2] == "true"))
        })
        .collect();
    let known = (-1..1000).map(ErrorCode).filter(|error| error.name() != "UNKNOWN");
    let ours: BTreeMap<i16, (&str, bool)> =
        known.map(|error| (error.0, (error.name(), error.is_retriable()))).collect();
    println!("{} error codes", theirs.len());
    assert_eq!(ours, theirs);
}

#[test]
fn kafkas_own_classes_read_and_write_what_we_do() {
    let mut cases = Vec::new();
    let mut lines = String::new();
    for seed in 0..60 {
        for row in rows() {
            for version in row.versions.clone() {
                let tape = tape(seed * 1000 + cases.len() as u64);
                let mut random = Random::new(&tape, version, version >= row.flexible, seed % 4 == 3);
                let bytes = random.message(row.structure);
                let ours = (row.again)(version, &bytes).unwrap();
                writeln!(lines, "{} {version} {}", row.name, hex(&ours)).unwrap();
                cases.push((row.name, version, ours));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages");
    std::fs::write(&file, lines).unwrap();
    let said = oracle(&["messages", file.to_str().unwrap()]);
    let theirs: Vec<_> = said.lines().collect();
    assert_eq!(theirs.len(), cases.len());
    let mut wrong = Vec::new();
    for ((name, version, ours), theirs) in cases.iter().zip(theirs) {
        if hex(ours) != theirs {
            wrong.push(format!("{name} {version}\n  ours   {}\n  theirs {theirs}", hex(ours)));
        }
    }
    println!("{} messages of all versions", cases.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}

/// Bytes that look random, the same in each run.
fn tape(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let len = seed % 200;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// What Kafka's own code says; `java` has to be there, as for a broker.
fn oracle(arguments: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka_definitions/Oracle.java");
    let run = Command::new("java")
        .arg("-cp")
        .arg(jars(Version::Newest).join("*"))
        .arg(source)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("java has to be in PATH (a JDK of 17 or later): {error}"));
    let complaints = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {complaints}", run.status);
    String::from_utf8(run.stdout).unwrap()
}
