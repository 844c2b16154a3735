//! What a broker remembers of its readers (KIP-227).
//!
//! A reader says once what it wants; later requests and answers tell only what changed. A broker has
//! room for so many sessions. Where there is none left, a new one takes the place of one that nobody
//! used for long, or of an old one with fewer partitions; else the reader gets all it asked for, and
//! no session.
//!
//! **Invariant:** a session's number is given once, whatever becomes of the broker.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{
    ErrorCode, FetchRequest, FetchRequestPartition, FetchResponse, FetchResponsePartitionData, Uuid,
};

use super::topics::Place;
use super::{Config, Kafka};

/// A topic's partition; the topic as it was named.
pub(super) type Key = (Uuid, Place);

/// What is asked for, in the order in which it is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Partitions(Vec<(Key, FetchRequestPartition)>);

impl Partitions {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Key, FetchRequestPartition)> {
        self.0.iter()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Something new comes last.
    fn put(&mut self, key: Key, wanted: FetchRequestPartition) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = wanted,
            None => self.0.push((key, wanted)),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<FetchRequestPartition> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    /// Who had records goes last, so that the others have their turn.
    fn put_last(&mut self, key: &Key) {
        if let Some(wanted) = self.remove(key) {
            self.0.push((key.clone(), wanted));
        }
    }
}

/// What was told of a partition last: it is told again once it is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start: i64,
}

/// What a broker remembers of a reader.
#[derive(Clone, Debug)]
pub(super) struct Session {
    epoch: i32,
    pub(super) partitions: Partitions,
    told: BTreeMap<Key, Told>,
    /// Topics are named by their ids, from version 13 on.
    ids: bool,
    created: Instant,
    used: Instant,
}

impl Session {
    /// Whether an answer has to name this partition.
    pub(super) fn is_news(&self, key: &Key, data: &FetchResponsePartitionData) -> bool {
        self.told.get(key) != Some(&Told::of(data))
    }
}

impl Told {
    fn of(data: &FetchResponsePartitionData) -> Self {
        // An error is told until it is over, and then the partition is told again.
        let high_watermark = if data.error_code == 0 { data.high_watermark } else { -1 };
        Self { high_watermark, log_start: data.log_start_offset }
    }
}

/// What a fetch is for.
#[derive(Clone, Debug)]
enum Reader {
    /// Nobody who is remembered.
    Alone(Partitions),
    /// Who wants a session. It gets one with its answer, if there is room.
    New(Partitions),
    /// A session.
    Known(i32),
}

/// A fetch that was taken: its answer may have to wait for records.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    reader: Reader,
    pub(super) most: usize,
    pub(super) least: usize,
    pub(super) committed: bool,
    pub(super) version: i16,
    pub(super) rack: String,
}

impl Pending {
    /// All of it is answered for, not only what changed.
    pub(super) fn is_full(&self) -> bool {
        !matches!(self.reader, Reader::Known(_))
    }
}

/// The sessions of one broker.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<i32, Session>,
    made: i32,
}

impl Sessions {
    /// Changes the session as the request says; else the error for all of it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        request: FetchRequest,
        version: i16,
    ) -> Result<Pending, ErrorCode> {
        let mut asked = Partitions::default();
        for topic in request.topics {
            let id = topic.topic_id;
            for partition in topic.partitions {
                asked.put((id, (topic.topic.clone(), partition.partition)), partition);
            }
        }
        if request.session_epoch <= 0 {
            self.by_id.remove(&request.session_id);
        }
        let reader = match request.session_epoch {
            ..0 => Reader::Alone(asked),
            0 => Reader::New(asked),
            epoch => {
                let id = request.session_id;
                let session = self.by_id.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                if session.ids != (version >= IDS_SINCE) {
                    return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
                }
                for (key, wanted) in asked.iter() {
                    session.partitions.put(key.clone(), wanted.clone());
                }
                for topic in request.forgotten_topics_data {
                    for index in topic.partitions {
                        let key = (topic.topic_id, (topic.topic.clone(), index));
                        session.partitions.remove(&key);
                        session.told.remove(&key);
                    }
                }
                session.epoch = epoch.checked_add(1).unwrap_or(1);
                session.used = now;
                if session.partitions.len() == 0 {
                    // Nothing is left to keep it for; what was asked for is answered.
                    self.by_id.remove(&id);
                    Reader::Alone(asked)
                } else {
                    Reader::Known(id)
                }
            }
        };
        Ok(Pending {
            reader,
            most: usize::try_from(request.max_bytes).unwrap_or(0),
            // No more than may be sent at all.
            least: usize::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0),
            committed: request.isolation_level == 1,
            version,
            rack: request.rack_id,
        })
    }

    /// The session of a fetch; `None` without one, or if it was forgotten meanwhile.
    pub(super) fn of(&self, pending: &Pending) -> Option<&Session> {
        match &pending.reader {
            Reader::Known(id) => self.by_id.get(id),
            Reader::Alone(_) | Reader::New(_) => None,
        }
    }

    /// The partitions that a fetch is for.
    pub(super) fn asked<'a>(&'a self, pending: &'a Pending) -> Option<&'a Partitions> {
        match &pending.reader {
            Reader::Alone(asked) | Reader::New(asked) => Some(asked),
            Reader::Known(id) => self.by_id.get(id).map(|session| &session.partitions),
        }
    }

    /// This is sent: the session's number is put in, and what it tells is remembered.
    pub(super) fn handle_answered(
        &mut self,
        now: Instant,
        pending: &Pending,
        config: &Config,
        response: &mut FetchResponse,
    ) {
        response.session_id = match &pending.reader {
            Reader::Alone(_) => return,
            Reader::New(asked) => self.create(now, asked, pending.version >= IDS_SINCE, config),
            Reader::Known(id) => *id,
        };
        let Some(session) = self.by_id.get_mut(&response.session_id) else { return };
        for topic in &response.responses {
            for data in &topic.partitions {
                let key = (topic.topic_id, (topic.topic.clone(), data.partition_index));
                // Not yet by the answer that opens the session.
                if !pending.is_full() && data.records.as_ref().is_some_and(|records| !records.is_empty()) {
                    session.partitions.put_last(&key);
                }
                session.told.insert(key, Told::of(data));
            }
        }
    }

    /// The number to answer a fetch with that tells nothing, as it is held up.
    pub(super) fn number(pending: &Pending) -> i32 {
        match pending.reader {
            Reader::Alone(_) | Reader::New(_) => 0,
            Reader::Known(id) => id,
        }
    }

    /// A new session's number; 0 if there is no room.
    fn create(&mut self, now: Instant, asked: &Partitions, ids: bool, config: &Config) -> i32 {
        let room =
            self.by_id.len() < config.sessions || self.evict(now, asked.len(), config.session_eviction);
        if !room {
            return 0;
        }
        self.made = self.made.wrapping_add(1).max(1);
        let partitions = asked.clone();
        let session = Session { epoch: 1, partitions, told: BTreeMap::new(), ids, created: now, used: now };
        self.by_id.insert(self.made, session);
        self.made
    }

    /// Makes room for a session of so many partitions, if it is worth more than another one.
    fn evict(&mut self, now: Instant, size: usize, after: Duration) -> bool {
        let passed = |since: Instant| now.since(since) > after;
        let idle = self.by_id.iter().min_by_key(|(id, session)| (session.used, **id));
        let idle = idle.filter(|(_, session)| passed(session.used)).map(|(id, _)| *id);
        let small = || {
            // What was old when it was used last: only then a broker sees to it.
            let old = self.by_id.iter().filter(|(_, session)| session.used.since(session.created) > after);
            let least = old.min_by_key(|(id, session)| (session.partitions.len(), **id))?;
            (least.1.partitions.len() < size).then_some(*least.0)
        };
        let gone = idle.or_else(small);
        gone.is_some_and(|id| self.by_id.remove(&id).is_some())
    }

    /// All are gone.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}

impl Kafka {
    /// This broker forgets all fetch sessions, as it does one by one when it has too many: the next
    /// fetch in each is answered with `FETCH_SESSION_ID_NOT_FOUND`.
    pub fn forget_sessions(&mut self, id: i32) {
        if let Some(sessions) = self.sessions.get_mut(&id) {
            sessions.clear();
        }
    }
}

/// The first version of Fetch that names topics by their ids (KIP-516).
const IDS_SINCE: i16 = 13;
