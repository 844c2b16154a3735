//! What the rig asks of either side of the comparison.

/// What one connection saw of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whole replies that came, in order.
    pub replies: Vec<Vec<u8>>,
    /// The beginning of one more, on a connection that was closed.
    pub rest: Vec<u8>,
    /// Whether it waits for a reply now.
    pub waits: bool,
    /// Whether the server closed it.
    pub closed: bool,
}

/// Commands sent at once on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// On which one.
    pub slot: usize,
    /// Their bytes.
    pub bytes: &'a [u8],
    /// How many.
    pub commands: usize,
    /// How many of the first ones are answered at once for sure.
    pub certain: usize,
    /// Whether a wait that has begun is to be waited for: it is a short one.
    pub short_wait: bool,
}

/// A server with some connections to it, by slot: a real one, or the model.
pub trait Side {
    /// Its name and version.
    fn name(&self) -> String;

    /// As new: nothing stored, and this many connections, fresh ones.
    fn reset(&mut self, slots: usize);

    /// What CLIENT ID answers, by slot.
    fn ids(&self) -> &[u64];

    /// Sends a batch and settles: when it returns, the server has done all that the batch made it
    /// do. What each connection saw, by slot.
    fn run(&mut self, batch: Batch<'_>) -> Vec<Seen>;

    /// The connection in this slot was closed by the server, or is closed now; here is a new one.
    fn reconnect(&mut self, slot: usize);
}
