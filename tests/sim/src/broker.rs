//! The contract of a model broker: a machine's contract seen from the other end of the wire.
//!
//! A model broker is a value. Events go in, commands and facts come out; it opens no socket and
//! reads no clock. So the same model serves the simulated world and, behind a loopback socket,
//! anyone's client.
//!
//! **Invariant:** same events, same commands, facts and bytes.
//!
//! **Invariant:** no bytes from a peer make it panic; what breaks the protocol closes that peer.

use bytes::{Bytes, BytesMut};
use tidegate_core::timer::Wake;
use tidegate_core::{Endpoint, Instant, SeqNo};

/// A connection as a broker sees it; never used twice.
/// The highest number is the world's own hand, in facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What happened outside of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEvent {
    /// Time passed.
    Tick,
    /// Somebody connected to this node.
    Accepted {
        /// The connection's name from now on.
        peer: PeerId,
        /// Index into [`Broker::endpoints`].
        node: usize,
    },
    /// Bytes were appended to [`Broker::incoming`].
    Received {
        /// Whose bytes.
        peer: PeerId,
    },
    /// The first `n` bytes of [`Broker::outgoing`] were written.
    Wrote {
        /// Whose bytes.
        peer: PeerId,
        /// How many.
        n: usize,
    },
    /// The connection ended.
    Closed {
        /// Which one.
        peer: PeerId,
    },
}

/// What a broker wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerCommand {
    /// There is something to write in [`Broker::outgoing`]. Said once when it becomes
    /// non-empty; go on until it is empty.
    Write {
        /// Whose bytes.
        peer: PeerId,
    },
    /// Close it, once what is in [`Broker::outgoing`] is written. No event has to follow.
    Close {
        /// Which one.
        peer: PeerId,
    },
    /// Nothing more to do until an event or this moment. Always the last command.
    Wait(Option<Wake>),
}

/// How a message came to be handed to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// For the first time to anyone.
    New,
    /// Again to the member that has it: it asked for what is its own.
    Own,
    /// Taken over from another member (or from itself).
    Claimed {
        /// For how long nobody had touched it, in milliseconds.
        idle_ms: u64,
    },
}

/// Why a message is no longer there, or no longer anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Deleted or trimmed, alone or with its stream.
    Deleted,
    /// A fail-over lost it.
    Lost,
}

/// Why a member no longer owns a shard, as the coordinator of its group sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It left, or an administrator took it out of the group.
    Left,
    /// It did not come back in time: its session, or its time to join, sync or revoke, is over.
    Expired,
    /// Another took its place, or its id is no longer good.
    Fenced,
    /// The next assignment gives it to somebody else, or to nobody.
    Rebalanced,
}

/// What happened inside of a broker, for the oracle. A shard is the index that
/// [`Broker::watch`] gave it; what isn't watched tells no facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A message is in the log. Told in the order of the log.
    Appended {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
    },
    /// A message is no longer in the log.
    Gone {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
        /// Why.
        why: Gone,
    },
    /// A reply to this peer carries the message (or its id) to a member of the group.
    Handed {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
        /// Who has it now.
        member: Bytes,
        /// Who had it before, where somebody had.
        from: Option<Bytes>,
        /// How.
        how: Handed,
        /// Where the reply goes.
        peer: PeerId,
    },
    /// A message is no longer pending, as its member said that it is done with it.
    Committed {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
        /// Whose it was.
        member: Bytes,
        /// Who said it.
        peer: PeerId,
    },
    /// A message is no longer pending, and nobody was done with it: its group, its member or its
    /// stream was removed, or it had been deleted from the log.
    Dropped {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
        /// Whose it was.
        member: Bytes,
        /// Who did it; `None`: the world's own hand.
        peer: Option<PeerId>,
    },
    /// What the group knows was set back (destroyed, created anew, lost by a fail-over): what
    /// was handed out, or committed, may be handed out again.
    SetBack {
        /// Where.
        shard: u32,
    },
    /// A page of a walk through all that is pending, to take over what is left, was carried out.
    Walked {
        /// Where.
        shard: u32,
        /// Who walks.
        peer: PeerId,
        /// It began at the start.
        anew: bool,
        /// It was told to go on from where this page ends.
        goes_on: bool,
    },
    /// A command of a peer was carried out, or refused.
    Commanded {
        /// Whose.
        peer: PeerId,
        /// Its name: in upper case, or as Kafka calls the API.
        name: &'static str,
        /// The first word of the error that answered it; of Kafka, the name of the first error code
        /// in the answer.
        refused: Option<&'static str>,
    },
    /// A group has committed that it goes on from here: the position is kept.
    CommittedTo {
        /// Where.
        shard: u32,
        /// The first message that is not yet done. It need not be further than the last time.
        next: SeqNo,
        /// Whose position.
        group: Bytes,
        /// The member that said it; empty: somebody outside of the group's members.
        member: Bytes,
        /// The generation or member epoch that it said; -1: none.
        epoch: i32,
        /// The connection on which it was said.
        peer: PeerId,
    },
    /// A member asked its coordinator for what is assigned to it.
    Met {
        /// Its group.
        group: Bytes,
        /// Its id there.
        member: Bytes,
        /// Where it asks from.
        peer: PeerId,
    },
    /// The coordinator gave a shard to a member, or, with another epoch, left it there. Told when the
    /// coordinator decides so, before the member knows. A plan that gives a shard to several tells
    /// each of them.
    Owned {
        /// Where.
        shard: u32,
        /// The group.
        group: Bytes,
        /// Who owns it.
        member: Bytes,
        /// The generation, or the member's epoch (KIP-848), from which on.
        epoch: i32,
    },
    /// A message is part of a transaction that is open: nobody knows yet whether it counts. Told
    /// right after it was appended.
    Undecided {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
    },
    /// The transaction of a message ended.
    Decided {
        /// Where.
        shard: u32,
        /// Its position.
        seq: SeqNo,
        /// It never counts.
        aborted: bool,
    },
    /// Retention: nothing before this position is there any more. Told after what is gone.
    Trimmed {
        /// Where.
        shard: u32,
        /// The first position that may be there.
        start: SeqNo,
    },
    /// A leader took over that had not all of the log: its end is here, and what comes next has
    /// positions that others had. Told after what is gone.
    Cut {
        /// Where.
        shard: u32,
        /// One past the last position.
        end: SeqNo,
    },
    /// From now on readers may not see the last messages of a shard, for a while.
    HeldBack {
        /// Which.
        shard: u32,
    },
    /// A shard is there only since now.
    Grown {
        /// Which.
        shard: u32,
    },
    /// A member that owned a shard doesn't any more, as the coordinator sees it; in a classic group
    /// the members keep what they have until the next generation's assignment is there.
    Disowned {
        /// Where.
        shard: u32,
        /// The group.
        group: Bytes,
        /// Who owned it.
        member: Bytes,
        /// The generation, or the member's epoch, in which it did.
        epoch: i32,
        /// Why.
        why: Lost,
    },
}

/// A model broker: one server or a whole cluster.
pub trait Broker {
    /// Where its nodes listen, by index.
    fn endpoints(&self) -> &[Endpoint];

    /// Whether this node takes connections now; else they are refused.
    fn accepts(&self, node: usize) -> bool;

    /// Something happened. Total.
    fn handle(&mut self, now: Instant, event: BrokerEvent);

    /// Drain after every [`handle`](Self::handle) and every use of the broker by hand.
    fn poll_command(&mut self) -> BrokerCommand;

    /// Bytes to write to `peer`; empty for one that is no more.
    fn outgoing(&self, peer: PeerId) -> &[u8];

    /// Where bytes read from `peer` go.
    fn incoming(&mut self, peer: PeerId) -> &mut BytesMut;

    /// False: leave what arrives in the pipe.
    fn wants_read(&self, peer: PeerId) -> bool;

    /// From now on tells facts about these shards, numbered in this order.
    fn watch(&mut self, shards: &[Bytes]);

    /// The facts since the last time they were taken, in order. Whoever reads them clears them.
    fn facts(&mut self) -> &mut Vec<Fact>;

    /// Its own invariants.
    ///
    /// # Errors
    /// In one line what doesn't hold.
    fn check(&self) -> Result<(), String>;
}
