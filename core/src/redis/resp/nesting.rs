//! How much of one value is still missing, whatever it is made of.
//!
//! **Invariant:** at most `Bounds::depth` levels are remembered, a few bytes each: an announced
//! count costs nothing until its elements arrive.

use smallvec::SmallVec;

use super::{Bounds, RespError, Token};

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Values to come; at least 1.
    left: u32,
    /// It stands in front of a value and is none itself.
    attribute: bool,
}

/// Follows the tokens of one value to its end.
#[derive(Clone, Debug)]
pub(super) struct Nesting {
    levels: SmallVec<[Level; 16]>,
    bounds: Bounds,
}

impl Nesting {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { levels: SmallVec::new(), bounds }
    }

    /// True while a value is half read.
    pub(super) fn is_open(&self) -> bool {
        !self.levels.is_empty()
    }

    /// True when `token` was the last one of the value.
    pub(super) fn handle_token(&mut self, token: &Token) -> Result<bool, RespError> {
        let (left, attribute) = match *token {
            Token::Array(count) | Token::Set(count) | Token::Push(count) => (count, false),
            // Proved: the tokenizer lets only pairs through whose double is within 32 bits.
            Token::Map(pairs) => (2 * pairs, false),
            Token::Attribute(pairs) => (2 * pairs, true),
            _ => return Ok(self.end_value()),
        };
        if self.levels.len() >= self.bounds.depth() {
            return Err(RespError::TooDeep { bound: self.bounds.depth() as u32 });
        }
        match (left, attribute) {
            (0, false) => Ok(self.end_value()),
            (0, true) => Ok(false),
            _ => {
                self.levels.push(Level { left, attribute });
                Ok(false)
            }
        }
    }

    fn end_value(&mut self) -> bool {
        while let Some(level) = self.levels.last_mut() {
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let attribute = level.attribute;
            self.levels.pop();
            if attribute {
                return false;
            }
        }
        true
    }
}
