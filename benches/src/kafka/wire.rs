//! One blocking connection to a broker.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use bytes::{Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use tidegate_core::kafka::wire::{
    CreateTopicsRequest, CreateTopicsRequestTopic, ErrorCode, ListOffsetsRequest,
    ListOffsetsRequestPartition, ListOffsetsRequestTopic, MetadataRequest, MetadataRequestTopic,
    OffsetFetchRequest, OffsetFetchRequestGroup, Request, Uuid, read_response, write_request,
};

use crate::Failure;

/// What the benchmark calls itself.
pub const CLIENT_ID: &str = "bench";

/// A connection that asks one thing after the other.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Kept from answer to answer, so that nothing is allocated, or zeroed, for one.
    incoming: Vec<u8>,
    outgoing: BytesMut,
    correlation: i32,
}

/// The parts of a topic's metadata that a fetch names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// Partitions that have a leader.
    pub partitions: usize,
}

impl Wire {
    /// Connects to 127.0.0.1.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, incoming: Vec::new(), outgoing: BytesMut::new(), correlation: 0 })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The system's, and whatever is wrong with the bytes.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Failure> {
        self.ask(version, request)?;
        let frame = self.receive()?;
        let response = read_response::<R>(frame.slice(PREFIX..), version)?;
        self.give_back(frame);
        Ok(response)
    }

    /// Asks, without waiting.
    ///
    /// # Errors
    /// The system's.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Failure> {
        self.outgoing.clear();
        write_request(&mut self.outgoing, self.correlation, CLIENT_ID, version, request)?;
        self.correlation = self.correlation.wrapping_add(1);
        self.stream.write_all(&self.outgoing)?;
        Ok(())
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// The system's.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(frame)?)
    }

    /// The next answer: its length and the frame. To be [given back](Self::give_back).
    ///
    /// # Errors
    /// The system's.
    pub fn receive(&mut self) -> Result<Bytes, Failure> {
        let mut want = PREFIX;
        while self.incoming.len() < want {
            if self.incoming.capacity() < want {
                self.incoming.reserve(want - self.incoming.len());
            }
            // No more than one answer is under way, or they are small and asked for one by one below.
            let missing = want - self.incoming.len();
            let read = if want == PREFIX {
                let mut prefix = [0; PREFIX];
                let read = rustix::io::read(&self.stream, &mut prefix[..missing])?;
                self.incoming.extend_from_slice(&prefix[..read]);
                read
            } else {
                rustix::io::read(&self.stream, spare_capacity(&mut self.incoming))?
            };
            if read == 0 {
                return Err("the broker closed the connection".into());
            }
            if let Some(prefix) = self.incoming.first_chunk::<PREFIX>() {
                want = PREFIX + usize::try_from(i32::from_be_bytes(*prefix))?;
            }
        }
        Ok(Bytes::from(std::mem::take(&mut self.incoming)))
    }

    /// The buffer of an answer of which nothing is kept is used again.
    pub fn give_back(&mut self, frame: Bytes) {
        if let Ok(unique) = frame.try_into_mut() {
            self.incoming = unique.into();
            self.incoming.clear();
        }
    }

    /// Makes a topic, and waits until all of its partitions have a leader that knows it.
    ///
    /// # Errors
    /// The broker's refusal.
    pub fn create_topic(&mut self, name: &str, partitions: usize) -> Result<(), Failure> {
        let topic = CreateTopicsRequestTopic {
            name: name.to_owned(),
            num_partitions: i32::try_from(partitions)?,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.call(7, &request)?;
        for topic in response.topics {
            check(topic.error_code)?;
        }
        for _ in 0..1_000 {
            let known = self.topic(name).is_ok_and(|topic| topic.partitions == partitions);
            if known && self.leads(name, partitions)? {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(format!("{name} has no leaders").into())
    }

    /// Whether this broker answers for all of these partitions: it may be said to lead them before it does.
    fn leads(&mut self, name: &str, partitions: usize) -> Result<bool, Failure> {
        const EARLIEST: i64 = -2;
        let partitions = (0..i32::try_from(partitions)?).map(|partition_index| ListOffsetsRequestPartition {
            partition_index,
            timestamp: EARLIEST,
            ..Default::default()
        });
        let topic = ListOffsetsRequestTopic { name: name.to_owned(), partitions: partitions.collect() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.call(5, &request)?;
        let mut answers = response.topics.into_iter().flat_map(|topic| topic.partitions);
        Ok(answers.all(|partition| partition.error_code == 0))
    }

    /// What a fetch has to know of a topic.
    ///
    /// # Errors
    /// The broker's: there is no such topic.
    pub fn topic(&mut self, name: &str) -> Result<Topic, Failure> {
        let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.call(12, &request)?;
        let topic = response.topics.into_iter().next().ok_or("no topic in the answer")?;
        check(topic.error_code)?;
        let partitions = topic.partitions.iter().filter(|partition| partition.error_code == 0).count();
        Ok(Topic { id: topic.topic_id, partitions })
    }

    /// The sum of what a group has committed, over all partitions: records, as each begins with offset 0.
    /// The broker must be the group's coordinator.
    ///
    /// # Errors
    /// The broker's refusal.
    pub fn committed(&mut self, group: &str) -> Result<u64, Failure> {
        let group =
            OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let response = self.call(8, &request)?;
        let group = response.groups.into_iter().next().ok_or("no group in the answer")?;
        check(group.error_code)?;
        let partitions = group.topics.into_iter().flat_map(|topic| topic.partitions);
        Ok(partitions.map(|partition| u64::try_from(partition.committed_offset).unwrap_or(0)).sum())
    }
}

/// Bytes of a frame's length.
pub const PREFIX: usize = 4;

/// An error code as a failure.
///
/// # Errors
/// Any code but that for none.
pub fn check(code: i16) -> Result<(), Failure> {
    match ErrorCode(code) {
        ErrorCode::NONE => Ok(()),
        code => Err(code.to_string().into()),
    }
}
