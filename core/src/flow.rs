//! The data lane's credit: how much may still be asked for, and whether to read on.
//!
//! Messages are counted twice on their way: as *asked for* until the answer came, then as
//! *waiting* until the application takes them. What was asked for may come late, in part or not
//! at all: the machine says for each question once that it is over.
//!
//! Byte limits can't be kept by asking for less, as nobody knows how large a message is, so the
//! reading itself stops at the limit and goes on at half, not at each message.
//!
//! **Invariant:** credit = limit − waiting − asked for, whatever the order of the calls; no
//! order loses credit for good.
//!
//! **Invariant:** with nothing waiting, any credit at all is worth asking for.

/// Why nothing more is asked for or read, where the application is the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// So many messages wait to be taken.
    Records,
    /// So many bytes wait to be taken.
    Bytes,
    /// So many messages were taken and not acked, or wait to be committed.
    Unacked,
}

/// The state of one data lane. Sizes count what waits for the application.
#[derive(Clone, Debug)]
pub struct Flow {
    records_max: usize,
    bytes_max: usize,
    unacked_max: usize,
    records: usize,
    bytes: usize,
    asked: usize,
    stopped: bool,
}

impl Flow {
    /// A lane of so many messages and bytes; 0 is taken as 1. No limit on un-acked messages.
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            records_max: records_max.max(1),
            bytes_max: bytes_max.max(1),
            unacked_max: usize::MAX,
            records: 0,
            bytes: 0,
            asked: 0,
            stopped: false,
        }
    }

    /// Sets the most messages that may be un-acked or uncommitted; 0 is taken as 1.
    #[must_use]
    pub fn with_unacked_max(mut self, unacked_max: usize) -> Self {
        self.unacked_max = unacked_max.max(1);
        self
    }

    /// The broker was asked for up to `records` messages.
    pub fn handle_asked(&mut self, records: usize) {
        self.asked = self.asked.saturating_add(records);
    }

    /// A question for up to `records` is over: answered, refused, or lost with its connection.
    pub fn handle_answered(&mut self, records: usize) {
        self.asked = self.asked.saturating_sub(records);
    }

    /// Messages were put into the lane.
    pub fn handle_received(&mut self, records: usize, bytes: usize) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        self.settle();
    }

    /// Messages left the lane: taken by the application, or withdrawn.
    pub fn handle_taken(&mut self, records: usize, bytes: usize) {
        self.records = self.records.saturating_sub(records);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.settle();
    }

    fn settle(&mut self) {
        let twice = self.records_max.saturating_mul(2);
        if self.bytes >= self.bytes_max || self.records >= twice {
            self.stopped = true;
        } else if self.bytes <= self.bytes_max / 2 && self.records <= self.records_max {
            self.stopped = false;
        }
    }

    /// How many messages may be asked for now, where `unacked` are uncommitted (those that wait
    /// in the lane included).
    pub fn credit(&self, unacked: u64) -> usize {
        if self.stopped {
            return 0;
        }
        let unacked = usize::try_from(unacked).unwrap_or(usize::MAX);
        let lane = self.records_max.saturating_sub(self.records);
        let held = self.unacked_max.saturating_sub(unacked);
        lane.min(held).saturating_sub(self.asked)
    }

    /// Whether to ask now: there is credit, and enough of it to be worth a command while the
    /// lane still has messages (a quarter of the smaller limit).
    pub fn wants_ask(&self, unacked: u64) -> bool {
        let enough = match self.records {
            0 => 1,
            _ => (self.records_max.min(self.unacked_max) / 4).max(1),
        };
        self.credit(unacked) >= enough
    }

    /// Whether to read from the network: false from `bytes_max` bytes or twice `records_max`
    /// messages (more than was asked for) on, until half of the bytes and `records_max` are left.
    pub fn wants_read(&self) -> bool {
        !self.stopped
    }

    /// Why there is no credit, if the application is the reason; `None` also while all of it is
    /// asked for.
    pub fn blocked(&self, unacked: u64) -> Option<Blocked> {
        if self.stopped && self.bytes > self.bytes_max / 2 {
            Some(Blocked::Bytes)
        } else if self.records >= self.records_max {
            Some(Blocked::Records)
        } else if usize::try_from(unacked).unwrap_or(usize::MAX) >= self.unacked_max {
            Some(Blocked::Unacked)
        } else {
            None
        }
    }

    /// Messages that wait to be taken.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Bytes that wait to be taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that were asked for and not answered.
    pub fn asked(&self) -> usize {
        self.asked
    }
}
