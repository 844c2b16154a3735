//! What a peer may announce and send.

/// The most that one reply may be. What goes over is an error of that connection, told before
/// anything is allocated for it.
///
/// All are 32 bits because the spans of a message are: what has not been handed out of a buffer
/// stays below 4 GiB.
///
/// ```
/// # use tidegate_core::redis::resp::Bounds;
/// let control = Bounds { total: 16 << 20, ..Bounds::default() };
/// assert_eq!(control.bulk, 512 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many aggregates may be open inside each other, attributes included. Default 16;
    /// above [`Bounds::DEPTH_LIMIT`] counts as that.
    pub depth: u32,
    /// Bytes of one line, without its type byte and line ending. Default 64 KiB.
    pub line: u32,
    /// Bytes of one bulk string. Default 512 MiB, Redis's own `proto-max-bulk-len`.
    pub bulk: u32,
    /// Elements that one aggregate may announce; a pair of a map counts twice. Default 4,194,304.
    pub aggregate: u32,
    /// Bytes of one reply, framing included. Default 1 GiB. The typed path hands entries out as
    /// they complete, so there it is the bytes of one entry, one key, one id or one push: what
    /// has to be held at once.
    pub total: u32,
}

impl Bounds {
    /// The deepest nesting that can be asked for: deep enough for any server, and so shallow that
    /// a [`Value`](super::Value) can be dropped and compared without a thought for the stack.
    pub const DEPTH_LIMIT: u32 = 128;

    /// The depth that holds.
    pub(super) fn depth(&self) -> usize {
        self.depth.min(Self::DEPTH_LIMIT) as usize
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 16, line: 64 << 10, bulk: 512 << 20, aggregate: 4 << 20, total: 1 << 30 }
    }
}
