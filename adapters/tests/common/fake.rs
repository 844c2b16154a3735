//! The machine: does what its script says, and writes down what it was told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;
use tidegate::{AckRange, Notice, RequestError, Stats};
use tidegate_core::{Command, ConnId, Delivery, Event, Instant, Machine, Outcome, Request, Ticket, Wake};

use super::batch;

/// Numbers 0 to `total`, `size` a batch, as long as at most `credit` are un-acked.
pub struct Supply {
    pub total: u64,
    pub size: u64,
    pub credit: u64,
    pub next: u64,
}

pub struct Script {
    pub supply: Option<Supply>,
    pub deliveries: VecDeque<Delivery>,
    pub commands: VecDeque<Command>,
    pub wake: Option<Wake>,
    pub appetite: u64,
    pub acks: Vec<AckRange>,
    pub taken: Vec<AckRange>,
    pub requests: Vec<Request>,
    pub events: Vec<Event>,
    /// Tickets stay open until the test answers them.
    pub hold: bool,
    pub uncommitted: u64,
    pub panics: bool,
    /// Closed, or failed: requests are refused.
    pub over: bool,
    pub tickets: u64,
    pub epoch: u64,
    pub wants_read: bool,
    /// Goes to the connection at the next `poll_command`.
    pub to_write: Vec<u8>,
    pub received: Vec<u8>,
    /// Room that the driver made for each read.
    pub rooms: Vec<usize>,
    pub polled: u64,
    /// Called as the next outcome is told: what the application does at that moment.
    pub meanwhile: Option<Box<dyn FnOnce() + Send>>,
    pub dropped: bool,
}

#[derive(Clone)]
pub struct Fake(pub Arc<Mutex<Script>>);

/// What is driven; tells when it is dropped.
pub struct Driven {
    fake: Fake,
    incoming: BytesMut,
    outgoing: Vec<u8>,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.fake.script().dropped = true;
    }
}

impl Default for Fake {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Script {
            supply: None,
            deliveries: VecDeque::new(),
            commands: VecDeque::new(),
            wake: None,
            appetite: u64::MAX,
            acks: Vec::new(),
            taken: Vec::new(),
            requests: Vec::new(),
            events: Vec::new(),
            hold: false,
            uncommitted: 0,
            panics: false,
            over: false,
            tickets: 0,
            epoch: 1,
            wants_read: true,
            to_write: Vec::new(),
            received: Vec::new(),
            rooms: Vec::new(),
            polled: 0,
            meanwhile: None,
            dropped: false,
        })))
    }
}

impl Fake {
    pub fn supply(total: u64, size: u64, credit: u64) -> Self {
        let fake = Self::default();
        fake.script().supply = Some(Supply { total, size, credit, next: 0 });
        fake
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn machine(&self) -> Driven {
        Driven { fake: self.clone(), incoming: BytesMut::new(), outgoing: Vec::new() }
    }

    pub fn deliver(&self, epoch: u64, from: u64, to: u64) {
        self.script().deliveries.push_back(Delivery::Batch(batch(epoch, from, to)));
    }

    pub fn notice(&self, notice: Notice) {
        self.script().commands.push_back(Command::Notice(notice));
    }

    pub fn answer(&self, ticket: u64, outcome: Outcome) {
        self.script().commands.push_back(Command::Done { ticket: Ticket(ticket), outcome });
    }
}

impl Script {
    pub fn acked(&self) -> u64 {
        self.acks.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    fn outstanding(&self) -> u64 {
        self.supply.as_ref().map_or(0, |supply| supply.next) - self.acked()
    }

    fn supply_blocked(&self) -> bool {
        let Some(supply) = &self.supply else { return false };
        supply.next == supply.total || self.outstanding() >= supply.credit
    }
}

impl Machine for Driven {
    fn handle(&mut self, _: Instant, event: Event) {
        let mut script = self.fake.script();
        if script.panics {
            drop(script);
            panic!("as the test wants it");
        }
        match &event {
            Event::Wrote { n, .. } => drop(self.outgoing.drain(..*n)),
            Event::Received { .. } => {
                script.rooms.push(self.incoming.capacity());
                script.received.extend_from_slice(&self.incoming.split());
            }
            _ => {}
        }
        if event == Event::Tick && script.wake.is_some_and(|wake| wake.why == "once") {
            script.wake = None;
        }
        script.events.push(event);
    }

    fn request(&mut self, _: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        let mut script = self.fake.script();
        if script.over {
            return Err(RequestError::Closed);
        }
        script.requests.push(request.clone());
        let outcome = match request {
            Request::Ack(ranges) => {
                script.acks.extend(ranges);
                return Ok(None);
            }
            Request::Taken(ranges) => {
                script.taken.extend(ranges);
                return Ok(None);
            }
            Request::Unassign { stream, shard } => {
                return Err(RequestError::ConsumerNotAssigned { stream, shard });
            }
            Request::Assign { .. } | Request::Pause | Request::Resume => return Ok(None),
            Request::Commit => Outcome::Committed { messages: script.acked() },
            Request::Seek(_) | Request::Rewind(_) => {
                script.epoch += 1;
                script.deliveries.retain(|delivery| !matches!(delivery, Delivery::Batch(_)));
                Outcome::Positioned
            }
            Request::Close { .. } => {
                if !script.hold {
                    script.over = true;
                    script.deliveries.clear();
                    script.deliveries.push_back(Delivery::End);
                }
                Outcome::Closed { uncommitted: script.uncommitted }
            }
        };
        script.tickets += 1;
        let ticket = Ticket(script.tickets);
        if !script.hold {
            script.commands.push_back(Command::Done { ticket, outcome });
        }
        Ok(Some(ticket))
    }

    fn poll_command(&mut self) -> Command {
        let mut script = self.fake.script();
        self.outgoing.append(&mut script.to_write);
        let command = script.commands.pop_front().unwrap_or(Command::Wait(script.wake));
        if matches!(command, Command::Done { .. })
            && let Some(meanwhile) = script.meanwhile.take()
        {
            meanwhile();
        }
        command
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        let mut script = self.fake.script();
        script.polled += 1;
        if let Some(delivery) = script.deliveries.pop_front() {
            if let Delivery::Failed(error) = &delivery {
                script.deliveries.push_front(Delivery::Failed(error.clone()));
                script.over = true;
            }
            return Some(delivery);
        }
        if script.supply_blocked() {
            let all = script.supply.as_ref().is_some_and(|supply| supply.next == supply.total);
            return (all && script.outstanding() == 0).then_some(Delivery::End);
        }
        let epoch = script.epoch;
        let supply = script.supply.as_mut()?;
        let from = supply.next;
        supply.next = (from + supply.size).min(supply.total);
        Some(Delivery::Batch(batch(epoch, from, supply.next)))
    }

    fn outgoing(&self, _: ConnId) -> &[u8] {
        &self.outgoing
    }

    fn incoming(&mut self, _: ConnId) -> &mut BytesMut {
        &mut self.incoming
    }

    fn wants_read(&self, _: ConnId) -> bool {
        self.fake.script().wants_read
    }

    fn ack_appetite(&self) -> u64 {
        let script = self.fake.script();
        // What holds the supply up is an ack, any.
        if script.supply.is_some() && script.supply_blocked() { 1 } else { script.appetite }
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let script = self.fake.script();
        stats.acked = script.acked();
        stats.in_flight = script.supply.as_ref().map_or(0, |_| script.outstanding());
        stats
    }
}
