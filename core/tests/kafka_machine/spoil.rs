//! Answers made wrong, as a tape of bytes says. Zeros, and what is behind its end, spoil nothing.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use tidegate_core::kafka::wire::*;

use super::world::{Fate, World, millis};

/// Decisions.
#[derive(Clone)]
pub struct Tape(Rc<RefCell<(Vec<u8>, usize)>>);

impl Tape {
    pub fn new(bytes: &[u8]) -> Self {
        Self(Rc::new(RefCell::new((bytes.to_vec(), 0))))
    }

    pub fn next(&self) -> u8 {
        let mut tape = self.0.borrow_mut();
        tape.1 += 1;
        tape.0.get(tape.1 - 1).copied().unwrap_or(0)
    }

    pub fn is_over(&self) -> bool {
        let tape = self.0.borrow();
        tape.1 >= tape.0.len()
    }

    pub fn below(&self, n: usize) -> usize {
        usize::from(self.next()) % n.max(1)
    }

    fn code(&self) -> i16 {
        match self.next() {
            byte @ 0..=140 => i16::from(byte) - 1,
            byte @ 141..=240 => {
                [1, 3, 6, 14, 15, 16, 22, 25, 27, 74, 75, 79, 100, 110, 113][usize::from(byte) % 15]
            }
            241..=247 => i16::MIN,
            _ => i16::MAX,
        }
    }

    fn i32(&self) -> i32 {
        match self.next() {
            byte @ 0..=199 => i32::from(byte) - 3,
            byte => [i32::MIN, i32::MAX, -1, 1 << 20, -(1 << 20)][usize::from(byte) % 5],
        }
    }

    fn i64(&self) -> i64 {
        match self.next() {
            byte @ 0..=199 => i64::from(byte) - 3,
            byte => [i64::MIN, i64::MAX, -1, i64::MAX - 1, 1 << 40][usize::from(byte) % 5],
        }
    }

    fn id(&self) -> Uuid {
        Uuid([self.next(); 16])
    }

    /// Of a list: something twice, something missing.
    fn list<T: Clone>(&self, list: &mut Vec<T>) {
        let at = self.below(list.len());
        match self.below(3) {
            0 if at < list.len() => list.push(list[at].clone()),
            1 if at < list.len() => {
                list.remove(at);
            }
            _ => list.clear(),
        }
    }

    fn pick<'a, T>(&self, list: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(list.len());
        list.get_mut(at)
    }

    /// A tenth of all answers is wrong in themselves, a tenth on its way.
    fn spoil<A: Spoil>(&self, answer: &mut A) -> Fate {
        let byte = self.next();
        if byte >= 230 {
            answer.spoil(self);
        }
        match byte {
            200..=204 => Fate::Cut,
            205..=206 => Fate::Silent,
            207..=209 => Fate::Twice,
            210..=219 => Fate::After(millis(u64::from(self.next()) * 40)),
            220 => Fate::Bytes(Bytes::copy_from_slice(&[0, 0, 0, 5, self.next(), self.next(), 1, 2, 3])),
            221 => Fate::Bytes((0..64).map(|_| self.next()).collect()),
            _ => Fate::Reply,
        }
    }
}

trait Spoil {
    fn spoil(&mut self, tape: &Tape);
}

impl Spoil for ApiVersionsResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(3) {
            0 => self.error_code = tape.code(),
            1 => tape.list(&mut self.api_keys),
            _ => {
                if let Some(one) = tape.pick(&mut self.api_keys) {
                    (one.min_version, one.max_version) = (tape.code(), tape.code());
                }
            }
        }
    }
}

impl Spoil for MetadataResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(6) {
            0 => self.error_code = tape.code(),
            1 => tape.list(&mut self.brokers),
            2 => tape.list(&mut self.topics),
            3 => {
                if let Some(broker) = tape.pick(&mut self.brokers) {
                    match tape.below(3) {
                        0 => broker.port = tape.i32(),
                        1 => broker.node_id = tape.i32(),
                        _ => broker.host = "nowhere".into(),
                    }
                }
            }
            _ => {
                let Some(topic) = tape.pick(&mut self.topics) else { return };
                match tape.below(5) {
                    // Topics that aren't there, or forbidden, are the end of some consumers.
                    0 => topic.error_code = [5, -1, 100, 3][tape.below(4)],
                    1 => topic.topic_id = tape.id(),
                    2 => tape.list(&mut topic.partitions),
                    3 => topic.name = None,
                    _ => {
                        if let Some(part) = tape.pick(&mut topic.partitions) {
                            match tape.below(4) {
                                0 => part.error_code = tape.code(),
                                1 => part.partition_index = tape.i32(),
                                2 => part.leader_id = tape.i32(),
                                _ => part.leader_epoch = tape.i32(),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Spoil for FindCoordinatorResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(3) {
            0 => tape.list(&mut self.coordinators),
            1 => self
                .coordinators
                .iter_mut()
                .for_each(|one| one.error_code = [14, 15, 16, 3, -1][tape.below(5)]),
            _ => self.coordinators.iter_mut().for_each(|one| one.port = tape.i32()),
        }
    }
}

impl Spoil for ListOffsetsResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(3) {
            0 => tape.list(&mut self.topics),
            _ => {
                let Some(topic) = tape.pick(&mut self.topics) else { return };
                match tape.below(2) {
                    0 => tape.list(&mut topic.partitions),
                    _ => {
                        if let Some(part) = tape.pick(&mut topic.partitions) {
                            match tape.below(4) {
                                0 => part.error_code = tape.code(),
                                1 => part.partition_index = tape.i32(),
                                2 => part.offset = tape.i64(),
                                _ => part.leader_epoch = tape.i32(),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Spoil for OffsetForLeaderEpochResponse {
    fn spoil(&mut self, tape: &Tape) {
        let Some(topic) = tape.pick(&mut self.topics) else { return };
        match tape.below(2) {
            0 => tape.list(&mut topic.partitions),
            _ => {
                if let Some(part) = tape.pick(&mut topic.partitions) {
                    match tape.below(4) {
                        0 => part.error_code = tape.code(),
                        1 => part.partition = tape.i32(),
                        2 => part.end_offset = tape.i64(),
                        _ => part.leader_epoch = tape.i32(),
                    }
                }
            }
        }
    }
}

impl Spoil for FetchResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(6) {
            0 => self.error_code = tape.code(),
            1 => self.session_id = tape.i32(),
            2 => self.throttle_time_ms = tape.i32().min(2_000),
            3 => tape.list(&mut self.responses),
            _ => {
                let Some(topic) = tape.pick(&mut self.responses) else { return };
                match tape.below(6) {
                    0 => topic.topic_id = tape.id(),
                    1 => tape.list(&mut topic.partitions),
                    _ => {
                        if let Some(data) = tape.pick(&mut topic.partitions) {
                            spoil_data(data, tape);
                        }
                    }
                }
            }
        }
    }
}

fn spoil_data(data: &mut FetchResponsePartitionData, tape: &Tape) {
    match tape.below(11) {
        0 => data.error_code = tape.code(),
        1 => data.partition_index = tape.i32(),
        2 => data.high_watermark = tape.i64(),
        3 => data.last_stable_offset = tape.i64(),
        4 => data.log_start_offset = tape.i64(),
        5 => data.diverging_epoch = FetchResponseEpochEndOffset { epoch: tape.i32(), end_offset: tape.i64() },
        6 => {
            data.current_leader =
                FetchResponseLeaderIdAndEpoch { leader_id: tape.i32(), leader_epoch: tape.i32() };
            data.error_code = 6;
        }
        7 => data.preferred_read_replica = tape.i32(),
        8 => {
            let one =
                |_| FetchResponseAbortedTransaction { producer_id: tape.i64(), first_offset: tape.i64() };
            data.aborted_transactions = Some((0..tape.below(4)).map(one).collect());
        }
        _ => {
            let mut records = data.records.take().unwrap_or_default().to_vec();
            let at = tape.below(records.len()).min(records.len().saturating_sub(1));
            match tape.below(4) {
                0 => records.truncate(at),
                1 if !records.is_empty() => records[at] ^= tape.next() | 1,
                2 => records.extend_from_within(..),
                _ => {
                    // A batch's header says what it likes, and the checksum is right.
                    if records.len() > 61 {
                        records[21 + at % 40] = tape.next();
                        let sum = crc_fast::crc32_iscsi(&records[21..]);
                        records[17..21].copy_from_slice(&sum.to_be_bytes());
                    }
                }
            }
            data.records = Some(records.into());
        }
    }
}

impl Spoil for OffsetCommitResponse {
    fn spoil(&mut self, tape: &Tape) {
        let Some(topic) = tape.pick(&mut self.topics) else { return };
        match tape.below(4) {
            0 => topic.topic_id = tape.id(),
            1 => tape.list(&mut topic.partitions),
            _ => {
                if let Some(part) = tape.pick(&mut topic.partitions) {
                    match tape.below(3) {
                        0 => part.partition_index = tape.i32(),
                        _ => part.error_code = tape.code(),
                    }
                }
            }
        }
    }
}

impl Spoil for OffsetFetchResponse {
    fn spoil(&mut self, tape: &Tape) {
        let Some(group) = tape.pick(&mut self.groups) else { return };
        match tape.below(4) {
            0 => group.error_code = tape.code(),
            1 => tape.list(&mut group.topics),
            _ => {
                let Some(topic) = tape.pick(&mut group.topics) else { return };
                match tape.below(3) {
                    0 => tape.list(&mut topic.partitions),
                    _ => {
                        if let Some(part) = tape.pick(&mut topic.partitions) {
                            match tape.below(4) {
                                0 => part.error_code = tape.code(),
                                1 => part.partition_index = tape.i32(),
                                2 => part.committed_offset = tape.i64(),
                                _ => part.committed_leader_epoch = tape.i32(),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Spoil for JoinGroupResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(5) {
            0 | 1 => self.error_code = tape.code(),
            2 => tape.list(&mut self.members),
            3 => {
                for member in &mut self.members {
                    let byte = tape.next();
                    let mut blob = member.metadata.to_vec();
                    let at = tape.below(blob.len());
                    match blob.get_mut(at) {
                        // What others tell of themselves is what they like.
                        Some(place) if byte % 4 > 0 => *place = byte,
                        _ => blob = vec![byte; 9],
                    }
                    member.metadata = blob.into();
                }
            }
            _ => self.generation_id = tape.i32(),
        }
    }
}

impl Spoil for SyncGroupResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(3) {
            0 => self.error_code = tape.code(),
            1 => self.assignment = Bytes::new(),
            _ => {
                let topic = "orders".to_owned();
                let partitions = (0..tape.below(5)).map(|_| tape.i32()).collect();
                let one = ConsumerProtocolAssignmentTopicPartition { topic, partitions };
                let assignment =
                    ConsumerProtocolAssignment { assigned_partitions: vec![one], user_data: None };
                self.assignment = write_embedded(1, &assignment).unwrap();
            }
        }
    }
}

impl Spoil for HeartbeatResponse {
    fn spoil(&mut self, tape: &Tape) {
        self.error_code = tape.code();
    }
}

impl Spoil for LeaveGroupResponse {
    fn spoil(&mut self, tape: &Tape) {
        self.error_code = tape.code();
    }
}

impl Spoil for ConsumerGroupHeartbeatResponse {
    fn spoil(&mut self, tape: &Tape) {
        match tape.below(6) {
            0 | 1 => self.error_code = tape.code(),
            // How long a member may be silent is the broker's to say, so nothing long here.
            2 => self.heartbeat_interval_ms = tape.i32().min(5_000),
            3 => self.member_epoch = tape.i32(),
            4 => self.member_id = None,
            _ => {
                let one = |_| ConsumerGroupHeartbeatResponseTopicPartitions {
                    topic_id: Uuid([tape.next() % 4; 16]),
                    partitions: (0..tape.below(4)).map(|_| tape.i32()).collect(),
                };
                let topic_partitions = (0..tape.below(3)).map(one).collect();
                self.assignment = Some(ConsumerGroupHeartbeatResponseAssignment { topic_partitions });
            }
        }
    }
}

/// From now on every answer goes by the tape.
pub fn spoil_all(world: &mut World, tape: &Tape) {
    fn one<R: Request + 'static>(world: &mut World, tape: &Tape)
    where
        R::Response: Spoil + 'static,
    {
        let tape = tape.clone();
        world.on::<R>(usize::MAX, move |_, answer| tape.spoil(answer));
    }
    one::<ApiVersionsRequest>(world, tape);
    one::<MetadataRequest>(world, tape);
    one::<FindCoordinatorRequest>(world, tape);
    one::<ListOffsetsRequest>(world, tape);
    one::<OffsetForLeaderEpochRequest>(world, tape);
    one::<FetchRequest>(world, tape);
    one::<OffsetCommitRequest>(world, tape);
    one::<OffsetFetchRequest>(world, tape);
    one::<JoinGroupRequest>(world, tape);
    one::<SyncGroupRequest>(world, tape);
    one::<HeartbeatRequest>(world, tape);
    one::<LeaveGroupRequest>(world, tape);
    one::<ConsumerGroupHeartbeatRequest>(world, tape);
}
