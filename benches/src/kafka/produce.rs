//! Produce requests, version 7: the one thing that a consumer's wire module has no use for.

use bytes::BufMut;

use super::wire::{CLIENT_ID, PREFIX, Wire, check};
use crate::Failure;

/// Produce, its version, and the version of its header that has no tags.
const KEY: i16 = 0;
const VERSION: i16 = 7;
/// Requests under way at once.
const WINDOW: usize = 8;

/// Writes batches to a topic, several under way at once.
#[derive(Debug)]
pub struct Producer {
    wire: Wire,
    topic: String,
    frame: Vec<u8>,
    under_way: usize,
}

impl Producer {
    /// A connection of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(port: u16, topic: &str) -> Result<Self, Failure> {
        let wire = Wire::connect(port)?;
        Ok(Self { wire, topic: topic.to_owned(), frame: Vec::new(), under_way: 0 })
    }

    /// Sends a batch; the answer is waited for when there are many.
    ///
    /// # Errors
    /// The system's; the refusal of an earlier batch.
    pub fn send(&mut self, partition: usize, batch: &[u8]) -> Result<(), Failure> {
        if self.under_way == WINDOW {
            self.answer()?;
        }
        let frame = &mut self.frame;
        frame.clear();
        frame.put_i32(0); // the length, below
        frame.put_i16(KEY);
        frame.put_i16(VERSION);
        frame.put_i32(0); // correlation id: answers come in order
        put_text(frame, CLIENT_ID)?;
        frame.put_i16(-1); // no transaction
        frame.put_i16(1); // acks: the leader
        frame.put_i32(30_000);
        frame.put_i32(1);
        put_text(frame, &self.topic)?;
        frame.put_i32(1);
        frame.put_i32(i32::try_from(partition)?);
        frame.put_i32(i32::try_from(batch.len())?);
        frame.put_slice(batch);
        let length = i32::try_from(frame.len() - PREFIX)?;
        frame[..PREFIX].copy_from_slice(&length.to_be_bytes());
        self.wire.send(frame)?;
        self.under_way += 1;
        Ok(())
    }

    /// Waits for all answers.
    ///
    /// # Errors
    /// The system's; a batch that was refused.
    pub fn flush(&mut self) -> Result<(), Failure> {
        while self.under_way > 0 {
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<(), Failure> {
        let frame = self.wire.receive()?;
        self.under_way -= 1;
        // Correlation id, one topic with its name, one partition with its index, the code.
        let at = PREFIX + 4 + 4 + 2 + self.topic.len() + 4 + 4;
        let code = frame.get(at..).and_then(|rest| rest.first_chunk()).ok_or("half an answer")?;
        check(i16::from_be_bytes(*code))?;
        self.wire.give_back(frame);
        Ok(())
    }
}

fn put_text(frame: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    frame.put_i16(i16::try_from(text.len())?);
    frame.put_slice(text.as_bytes());
    Ok(())
}
