//! A machine that tells what passes through it, and is otherwise the one inside.

use bytes::BytesMut;
use tidegate_core::{
    Command, ConnId, Delivery, Event, Instant, Machine, Outcome, Request, RequestError, Stats, Ticket,
};

use super::net::SimRuntime;
use crate::backend::Observed;

pub(super) struct Tap<M> {
    machine: M,
    runtime: SimRuntime,
    /// Seeks and rewinds without an answer.
    moves: Vec<Ticket>,
}

impl<M> Tap<M> {
    pub(super) fn new(machine: M, runtime: SimRuntime) -> Self {
        Self { machine, runtime, moves: Vec::new() }
    }

    fn saw(&self, what: Observed) {
        self.runtime.net().seen.push(what);
    }
}

impl<M: Machine> Machine for Tap<M> {
    fn handle(&mut self, now: Instant, event: Event) {
        self.machine.handle(now, event);
    }

    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        let closes = matches!(request, Request::Close { .. });
        let moves = matches!(request, Request::Seek(_) | Request::Rewind(_));
        let ticket = self.machine.request(now, request)?;
        if closes {
            self.saw(Observed::Closing);
        } else if moves {
            self.moves.extend(ticket);
            self.saw(Observed::Moves);
        }
        Ok(ticket)
    }

    fn poll_command(&mut self) -> Command {
        let command = self.machine.poll_command();
        match &command {
            Command::Notice(notice) => {
                self.runtime.net().commands.push_back(Command::Notice(notice.clone()));
            }
            Command::Done { ticket, outcome } => {
                let known = self.moves.iter().position(|known| known == ticket);
                if let Some(at) = known {
                    self.moves.remove(at);
                }
                match outcome {
                    Outcome::Positioned if known.is_some() => self.saw(Observed::Moved),
                    Outcome::Closed { .. } => self.runtime.net().is_closed = true,
                    _ => {}
                }
            }
            Command::Wait(_) => self.runtime.net().stats = self.machine.stats(),
            Command::Open { .. } | Command::Write { .. } | Command::Close { .. } => {}
        }
        command
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        let delivery = self.machine.poll_delivery()?;
        match &delivery {
            Delivery::Assigned(shard) => {
                let mut net = self.runtime.net();
                let key = (shard.stream.clone(), shard.shard);
                // A later one is told with its first message: until then those of the one before
                // may still be taken.
                if let std::collections::btree_map::Entry::Vacant(place) = net.epochs.entry(key) {
                    place.insert(shard.epoch);
                    net.seen.push(Observed::Assigned(shard.clone()));
                }
            }
            Delivery::Failed(error) => self.saw(Observed::Failed(error.clone())),
            Delivery::Batch(_) | Delivery::Revoked(_) | Delivery::End => {}
        }
        Some(delivery)
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.machine.outgoing(conn)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        self.machine.incoming(conn)
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.machine.wants_read(conn)
    }

    fn ack_appetite(&self) -> u64 {
        self.machine.ack_appetite()
    }

    fn stats(&self) -> Stats {
        self.machine.stats()
    }
}
