//! Redis with members that run a handler, and with users' payloads.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use tidegate_core::{Error, Instant, SeqNo, Setup, ShardId, StreamKey};

use super::driven::{Driven, Handler};
use crate::backend::{Backend, Heal, Observed, Outage, Produced, RedisBackend};
use crate::oracle::MessageId;
use crate::redis::Redis;
use crate::tape::Tape;
use crate::world::payload;

/// A message that was produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number, counted from 0 over all streams: what the payload was made from.
    pub number: u64,
    /// Its stream.
    pub stream: StreamKey,
    /// Which part of it.
    pub shard: ShardId,
    /// Its position there.
    pub seq: SeqNo,
    /// Its payload.
    pub payload: Bytes,
    /// The server lost it, or somebody deleted it (see [`Faults::losses`](super::Faults::losses)):
    /// a handler may have got it, and needn't.
    pub lost: bool,
}

/// The payload of each message.
pub(super) type Payload<'a> = Rc<dyn Fn(u64) -> Vec<u8> + 'a>;

pub(super) struct HandledBackend<'a> {
    pub(super) redis: RedisBackend,
    pub(super) shards: Vec<(StreamKey, ShardId)>,
    pub(super) handler: Handler<'a>,
    pub(super) payload: Payload<'a>,
    /// In the order of their numbers.
    pub(super) sent: Rc<RefCell<Vec<(MessageId, Sent)>>>,
}

impl<'a> Backend for HandledBackend<'a> {
    type Machine = Driven<'a>;
    type Broker = Redis;

    const FAULTS: &'static [&'static str] = RedisBackend::FAULTS;

    fn shard_name(stream: &StreamKey, shard: ShardId, sharded: bool) -> Bytes {
        RedisBackend::shard_name(stream, shard, sharded)
    }

    fn machine(&mut self, setup: Setup) -> Result<Driven<'a>, Error> {
        let (options, seed) = (setup.options.clone(), setup.seed);
        let member = options.consumer.as_ref().unwrap_or(&setup.generated_consumer).to_string();
        let machine = self.redis.machine(setup)?;
        Ok(Driven::new(machine, &options, &member, seed, self.handler.clone()))
    }

    fn observe(machine: &mut Driven<'a>) -> Vec<Observed> {
        machine.observed()
    }

    fn broker(&mut self) -> &mut Redis {
        self.redis.broker()
    }

    fn produce(&mut self, now: Instant, message: &Produced<'_>) -> bool {
        let mut sent = self.sent.borrow_mut();
        let Some((stream, shard)) = self.shards.get(message.shard).cloned() else { return false };
        let Some(id) = payload::read(message.payload) else { return false };
        let number = sent.len() as u64;
        let bytes = (self.payload)(number);
        let fields: [&[u8]; 4] = [b"msg", &bytes, payload::TAG, message.payload];
        let Some(seq) = self.redis.append(now, message.shard, &fields) else { return false };
        let payload = bytes.into();
        sent.push((id, Sent { number, stream, shard, seq, payload, lost: false }));
        true
    }

    fn disturb(&mut self, now: Instant, which: usize, tape: &mut Tape) -> Option<Outage> {
        self.redis.disturb(now, which, tape)
    }

    fn heal(&mut self, now: Instant, heal: Heal) {
        self.redis.heal(now, heal);
    }

    fn calm(&mut self, now: Instant) {
        self.redis.calm(now);
    }

    fn unfinished(&mut self, now: Instant, group: &Bytes) -> Option<String> {
        self.redis.unfinished(now, group)
    }
}
