//! Payloads that make a message known again, and show if a byte of it was lost or mixed up.

use crate::oracle::MessageId;

/// The field that has it, where the first one is the user's.
pub(crate) const TAG: &[u8] = b"tidegate-sim";

/// The payload of a message, `filler` bytes long and a little more.
pub(crate) fn payload(id: MessageId, filler: u64, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(format!("{}.{}.{filler}.", id.shard, id.at).as_bytes());
    into.extend((0..filler).map(|at| fill(id, at)));
}

/// Which message this is the whole payload of.
pub(crate) fn read(payload: &[u8]) -> Option<MessageId> {
    let mut parts = payload.splitn(4, |byte| *byte == b'.');
    let shard = number(parts.next()?)? as u32;
    let at = number(parts.next()?)? as u32;
    let filler = number(parts.next()?)?;
    let rest = parts.next()?;
    let id = MessageId { shard, at };
    let whole = rest.len() as u64 == filler && rest.iter().zip(0..).all(|(byte, at)| *byte == fill(id, at));
    whole.then_some(id)
}

fn fill(id: MessageId, at: u64) -> u8 {
    // Line ends and other bytes that a parser might stumble over are among them.
    (at + u64::from(id.at) * 31) as u8
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_and_a_changed_one_does_not() {
        let id = MessageId { shard: 3, at: 70 };
        let mut bytes = Vec::new();
        for filler in [0, 1, 300] {
            payload(id, filler, &mut bytes);
            assert_eq!(read(&bytes), Some(id));
            assert_eq!(read(&bytes[1..]), None);
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(read(&bytes), None);
    }
}
