//! Protocol buffers' variable-length numbers, zigzag: what lengths and deltas are written in.

use super::Fault;

/// The number at `at`, and where it ends: values, not a cursor, so that they stay in registers.
/// 32 bits: five bytes at most.
#[inline(always)]
pub(super) fn read_i32(bytes: &[u8], at: usize) -> Result<(i32, usize), Fault> {
    let first = u32::from(*bytes.get(at).ok_or(Fault::Short)?);
    if first < 0x80 {
        return Ok((zigzag_32(first), at + 1));
    }
    let second = u32::from(*bytes.get(at + 1).ok_or(Fault::Short)?);
    if second < 0x80 {
        return Ok((zigzag_32(first & 0x7f | second << 7), at + 2));
    }
    match read_long(bytes, at)? {
        (raw @ 0..=0xffff_ffff, end) if end - at <= 5 => Ok((zigzag_32(raw as u32), end)),
        _ => Err(Fault::Number),
    }
}

/// The number at `at`, and where it ends. 64 bits: ten bytes at most.
#[inline(always)]
pub(super) fn read_i64(bytes: &[u8], at: usize) -> Result<(i64, usize), Fault> {
    let first = u64::from(*bytes.get(at).ok_or(Fault::Short)?);
    if first < 0x80 {
        return Ok((zigzag_64(first), at + 1));
    }
    let second = u64::from(*bytes.get(at + 1).ok_or(Fault::Short)?);
    if second < 0x80 {
        return Ok((zigzag_64(first & 0x7f | second << 7), at + 2));
    }
    read_long(bytes, at).map(|(raw, at)| (zigzag_64(raw), at))
}

/// One of any length.
#[inline(never)]
fn read_long(bytes: &[u8], mut at: usize) -> Result<(u64, usize), Fault> {
    let mut raw = 0;
    for shift in (0..64).step_by(7) {
        let byte = u64::from(*bytes.get(at).ok_or(Fault::Short)?);
        at += 1;
        if shift == 63 && byte > 1 {
            break;
        }
        raw |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((raw, at));
        }
    }
    Err(Fault::Number)
}

/// The eight bytes at `at`, the first one lowest.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number of up to three bytes that a word begins with, not yet unzigzagged, and how many.
#[inline(always)]
pub(super) const fn short(word: u64) -> Option<(u32, usize)> {
    let raw = word as u32;
    if raw & 0x80 == 0 {
        Some((raw & 0x7f, 1))
    } else if raw & 0x8000 == 0 {
        Some((raw & 0x7f | raw >> 1 & 0x3f80, 2))
    } else if raw & 0x80_0000 == 0 {
        Some((raw & 0x7f | raw >> 1 & 0x3f80 | raw >> 2 & 0x1f_c000, 3))
    } else {
        None
    }
}

/// A number of [`short`] as a length: not below zero.
#[inline(always)]
pub(super) const fn as_length(raw: u32) -> Option<usize> {
    if raw & 1 == 0 { Some(raw as usize >> 1) } else { None }
}

/// The same where -1 stands for null, which is as long as nothing.
#[inline(always)]
pub(super) const fn as_nullable(raw: u32) -> Option<usize> {
    if raw == 1 { Some(0) } else { as_length(raw) }
}

pub(super) const fn zigzag_32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

const fn zigzag_64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// Appends `value`; a number of 32 bits is written the same way.
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value << 1) as u64 ^ (value >> 63) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut numbers = vec![0, i64::MIN, i64::MAX];
        for shift in 0..63 {
            let power = 1_i64 << shift;
            numbers.extend([power - 1, power, power + 1, -power, -power - 1]);
        }
        for number in numbers {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            assert_eq!(read_i64(&bytes, 0), Ok((number, bytes.len())));
            let narrow = i32::try_from(number).map(|number| (number, bytes.len()));
            assert_eq!(read_i32(&bytes, 0).ok(), narrow.ok());
            for cut in 0..bytes.len() {
                assert_eq!(read_i64(&bytes[..cut], 0), Err(Fault::Short));
                assert_eq!(read_i32(&bytes[..cut], 0), Err(Fault::Short));
            }
        }
    }

    #[test]
    fn numbers_of_more_bits_are_refused() {
        assert_eq!(read_i64(&[0xff; 20], 0), Err(Fault::Number));
        assert_eq!(read_i32(&[0xff; 20], 0), Err(Fault::Number));
        assert_eq!(
            read_i64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 0),
            Err(Fault::Number)
        );
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x10], 0), Err(Fault::Number));
        assert_eq!(read_i32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], 0), Err(Fault::Number));
        assert_eq!(read_i64(&[0x82, 0x80, 0x80, 0x80, 0x80, 0], 0), Ok((1, 6)));
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x0f], 0), Ok((i32::MIN, 5)));
    }
}
