//! Decimal numbers, read strictly and written fast.

use crate::stream::SeqNo;

/// The longest `$length CR LF millis-counter CR LF`.
pub(super) const ID_BULK_LEN: usize = 1 + 2 + 2 + 41 + 2;

/// A whole line as a number: no `+`, no leading zeros, no `-0`, nothing that overflows.
pub(super) fn parse_i64(line: &[u8]) -> Option<i64> {
    match line.strip_prefix(b"-") {
        None => i64::try_from(parse_u64(line)?).ok(),
        Some(digits) => match parse_u64(digits)? {
            0 => None,
            value => 0i64.checked_sub_unsigned(value),
        },
    }
}

fn parse_u64(digits: &[u8]) -> Option<u64> {
    let (value, used) = leading_u64(digits)?;
    (used == digits.len()).then_some(value)
}

/// `millis-counter`, nothing else.
#[inline]
pub(super) fn parse_id(text: &[u8]) -> Option<SeqNo> {
    let (millis, used) = leading_u64(text)?;
    let (dash, counter) = text.get(used..)?.split_first()?;
    if *dash != b'-' {
        return None;
    }
    Some(SeqNo::redis(millis, parse_u64(counter)?))
}

/// The number at the front, and how many digits it has; at least one, and no needless zero.
#[inline(always)]
fn leading_u64(text: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut used = 0;
    if let Some(eight) = text.first_chunk()
        && let Some(head) = eight_digits(u64::from_le_bytes(*eight))
    {
        (value, used) = (head, 8);
    }
    while let Some(byte) = text.get(used) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        used += 1;
    }
    match (used, text.first()) {
        (0, _) | (2.., Some(b'0')) => None,
        _ => Some((value, used)),
    }
}

/// Eight ASCII digits at once, the first in the lowest byte: pairs, then fours, then all of
/// them are put together by one multiplication each.
#[inline(always)]
fn eight_digits(text: u64) -> Option<u64> {
    let digits = text ^ 0x3030_3030_3030_3030;
    // A byte above 9 gets its high bit by the addition, or had one of the upper four already.
    if (digits | digits.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let pairs = (digits.wrapping_mul(2561) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(42_949_672_960_001) >> 32)
}

const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut at = 0;
    while at < 100 {
        pairs[2 * at] = b'0' + (at / 10) as u8;
        pairs[2 * at + 1] = b'0' + (at % 10) as u8;
        at += 1;
    }
    pairs
};

/// Digits of `value` in decimal.
#[inline]
pub(super) fn width(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Fills `to` with the lowest digits of `value`, from the right; `to` is as wide as the number.
#[inline(always)]
pub(super) fn write_digits(to: &mut [u8], mut value: u64) {
    let mut end = to.len();
    // Proved: `end` begins as the length and only shrinks, by what was asked of it before.
    while end >= 8 {
        let eight = &mut to[end - 8..end];
        let low = (value % 100_000_000) as u32;
        value /= 100_000_000;
        let (upper, lower) = (low / 10_000, low % 10_000);
        put_pair(&mut eight[0..2], upper / 100);
        put_pair(&mut eight[2..4], upper % 100);
        put_pair(&mut eight[4..6], lower / 100);
        put_pair(&mut eight[6..8], lower % 100);
        end -= 8;
    }
    // What is left is less than eight digits, so 32 bits do.
    let mut value = value as u32;
    while end >= 2 {
        put_pair(&mut to[end - 2..end], value % 100);
        value /= 100;
        end -= 2;
    }
    if end == 1 {
        to[0] = b'0' + (value % 10) as u8;
    }
}

#[inline(always)]
fn put_pair(to: &mut [u8], value: u32) {
    // Proved: each caller passes two bytes, and a remainder or quotient below 100.
    let at = 2 * (value % 100) as usize;
    to.copy_from_slice(&PAIRS[at..at + 2]);
}

/// `id` as a bulk string; the part of `to` that it takes.
#[inline]
pub(super) fn write_id_bulk(to: &mut [u8; ID_BULK_LEN], id: SeqNo) -> &[u8] {
    let (millis, counter) = (width(id.high()), width(id.low()));
    let len = millis + 1 + counter;
    // Proved: a width is 1 to 20, so `len` is 3 to 41 and everything fits `ID_BULK_LEN`.
    to[0] = b'$';
    let mut at = 1 + usize::from(len > 9) + 1;
    write_digits(&mut to[1..at], len as u64);
    to[at..at + 2].copy_from_slice(b"\r\n");
    at += 2;
    write_digits(&mut to[at..at + millis], id.high());
    at += millis;
    to[at] = b'-';
    at += 1;
    write_digits(&mut to[at..at + counter], id.low());
    at += counter;
    to[at..at + 2].copy_from_slice(b"\r\n");
    &to[..at + 2]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strict_numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("00", None),
            ("00000000", None),
            ("012345678", None),
            ("-01", None),
            ("1 ", None),
            (" 1", None),
            ("1a", None),
            ("1234567:", None),
            ("1234567/", None),
            ("--1", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn strict_ids() {
        assert_eq!(parse_id(b"0-0"), Some(SeqNo::ZERO));
        assert_eq!(parse_id(b"18446744073709551615-18446744073709551615"), Some(SeqNo::MAX));
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-1-1",
            "01-1",
            "1-01",
            "1-+1",
            "1- 1",
            "18446744073709551616-0",
            "a-1",
        ] {
            assert_eq!(parse_id(bad.as_bytes()), None, "{bad:?}");
        }
    }

    /// Numbers of every length, not only the longest.
    fn any_length() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn ids_are_written_as_the_library_does_and_read_back(high in any_length(), low in any_length()) {
            let id = SeqNo::redis(high, low);
            let text = format!("{high}-{low}");
            let mut room = [0; ID_BULK_LEN];
            let expected = format!("${}\r\n{text}\r\n", text.len());
            prop_assert_eq!(write_id_bulk(&mut room, id), expected.as_bytes());
            prop_assert_eq!(parse_id(text.as_bytes()), Some(id));
        }

        #[test]
        fn numbers_are_read_as_the_library_does(text in "-?[0-9]{1,22}") {
            let plain = text.trim_start_matches('-');
            let strict = (plain == "0" || !plain.starts_with('0')) && text != "-0";
            prop_assert_eq!(parse_i64(text.as_bytes()), text.parse().ok().filter(|_| strict));
        }
    }
}
