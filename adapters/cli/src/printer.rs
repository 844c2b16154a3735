//! From batches to lines, and back to acks.
//!
//! **Invariant:** a message is acked only after the write that has its line returned.

use std::io::{ErrorKind, StdoutLock, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate::Handle;
use tidegate_core::{AckRange, Message, MessageRef, Messages};

use crate::fatal::Fatal;
use crate::output::Writer;
use crate::progress::Counters;
use crate::stop::Stop;

/// What is gathered before it is written.
const CHUNK: usize = 64 << 10;
/// What is kept of a buffer that a huge message made grow.
const KEPT: usize = 1 << 20;

/// Why nothing more is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enough {
    /// A signal.
    Stopped,
    /// As many as were asked for.
    Count,
    /// Nothing came for so long.
    Idle,
    /// There is nothing more.
    End,
    /// Nobody reads.
    BrokenPipe,
}

/// Prints messages and acks them.
pub(crate) struct Printer<'a> {
    handle: &'a Handle,
    stop: &'a Stop,
    counters: &'a Counters,
    stdout: StdoutLock<'static>,
    writer: Writer,
    work: Duration,
    /// The machine acks a set time after messages were taken; so they are not acked here.
    delayed: bool,
    left: Option<u64>,
    /// Lines in the buffer.
    lines: u64,
    acks: Vec<AckRange>,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(
        handle: &'a Handle,
        stop: &'a Stop,
        counters: &'a Arc<Counters>,
        writer: Writer,
        (work, delayed, left): (Duration, bool, Option<u64>),
    ) -> Self {
        let stdout = std::io::stdout().lock();
        Self { handle, stop, counters, stdout, writer, work, delayed, left, lines: 0, acks: Vec::new() }
    }

    /// Whether lines wait to be flushed.
    pub(crate) fn has_lines(&self) -> bool {
        self.lines > 0
    }

    /// Prints a batch. What of it was not printed, for whatever reason, is not acked.
    pub(crate) async fn batch(&mut self, messages: &Messages) -> Result<Option<Enough>, Fatal> {
        for message in messages.iter() {
            if let Some(enough) = self.message(message).await? {
                return Ok(Some(enough));
            }
        }
        Ok(None)
    }

    /// Prints one message.
    pub(crate) async fn one(&mut self, message: &Message) -> Result<Option<Enough>, Fatal> {
        self.message(message.view()).await
    }

    async fn message(&mut self, message: MessageRef<'_>) -> Result<Option<Enough>, Fatal> {
        if !self.work.is_zero() {
            tokio::select! {
                biased;
                () = self.stop.wait() => {}
                () = tokio::time::sleep(self.work) => {}
            }
        }
        // What was taken counts as acked with delayed, so it has to be written.
        let stopped = self.stop.is_asked();
        if stopped && !self.delayed {
            return Ok(Some(self.flush()?.unwrap_or(Enough::Stopped)));
        }
        self.writer.write(message);
        self.lines += 1;
        if let Some(range) = message.ack_range().filter(|_| !self.delayed) {
            match self.acks.last_mut() {
                Some(last)
                    if last.end == range.start
                        && last.segment == range.segment
                        && last.epoch == range.epoch =>
                {
                    last.end = range.end;
                }
                _ => self.acks.push(range),
            }
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Ok(Some(self.flush()?.unwrap_or(Enough::Count)));
            }
        }
        if stopped {
            return Ok(Some(self.flush()?.unwrap_or(Enough::Stopped)));
        }
        if self.writer.buffer.len() >= CHUNK || !self.work.is_zero() {
            return self.flush();
        }
        Ok(None)
    }

    /// Writes what is gathered, and acks it.
    pub(crate) fn flush(&mut self) -> Result<Option<Enough>, Fatal> {
        if self.lines == 0 {
            return Ok(None);
        }
        let written = self.stdout.write_all(&self.writer.buffer).and_then(|()| self.stdout.flush());
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.lines = 0;
                self.acks.clear();
                return Ok(Some(Enough::BrokenPipe));
            }
            Err(error) => return Err(Fatal::new(format_args!("can't write to stdout: {error}"))),
        }
        for range in self.acks.drain(..) {
            self.handle.ack_range(range);
        }
        self.counters.messages.fetch_add(self.lines, Ordering::Relaxed);
        self.counters.bytes.fetch_add(self.writer.buffer.len() as u64, Ordering::Relaxed);
        self.lines = 0;
        self.writer.buffer.clear();
        self.writer.buffer.shrink_to(KEPT);
        Ok(None)
    }
}
