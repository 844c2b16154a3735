//! Protocol buffers' variable-length numbers, zigzag: what lengths and deltas are written in.

use super::Fault;

/// The number at `at`, which moves behind it. 32 bits: five bytes at most.
#[inline(always)]
pub(super) fn read_i32(bytes: &[u8], at: &mut usize) -> Result<i32, Fault> {
    let first = u32::from(*bytes.get(*at).ok_or(Fault::Short)?);
    *at += 1;
    if first < 0x80 {
        return Ok(zigzag_32(first));
    }
    let second = u32::from(*bytes.get(*at).ok_or(Fault::Short)?);
    if second < 0x80 {
        *at += 1;
        return Ok(zigzag_32(first & 0x7f | second << 7));
    }
    let raw = read_long(bytes, at, first.into())?;
    u32::try_from(raw).map(zigzag_32).map_err(|_| Fault::Number)
}

/// The number at `at`, which moves behind it. 64 bits: ten bytes at most.
#[inline(always)]
pub(super) fn read_i64(bytes: &[u8], at: &mut usize) -> Result<i64, Fault> {
    let first = u64::from(*bytes.get(*at).ok_or(Fault::Short)?);
    *at += 1;
    if first < 0x80 {
        return Ok(zigzag_64(first));
    }
    let second = u64::from(*bytes.get(*at).ok_or(Fault::Short)?);
    if second < 0x80 {
        *at += 1;
        return Ok(zigzag_64(first & 0x7f | second << 7));
    }
    read_long(bytes, at, first).map(zigzag_64)
}

/// The rest of a number that began with `first`.
#[inline(never)]
fn read_long(bytes: &[u8], at: &mut usize, first: u64) -> Result<u64, Fault> {
    let mut raw = first & 0x7f;
    for shift in (7..).step_by(7).take(9) {
        let byte = u64::from(*bytes.get(*at).ok_or(Fault::Short)?);
        *at += 1;
        if shift == 63 && byte > 1 {
            break;
        }
        raw |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(raw);
        }
    }
    Err(Fault::Number)
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
            let mut at = 0;
            assert_eq!((read_i64(&bytes, &mut at), at), (Ok(number), bytes.len()));
            let mut at = 0;
            let narrow = read_i32(&bytes, &mut at);
            assert_eq!(narrow.ok().map(i64::from), i32::try_from(number).ok().map(i64::from));
            for cut in 0..bytes.len() {
                assert_eq!(read_i64(&bytes[..cut], &mut 0), Err(Fault::Short));
                assert_eq!(read_i32(&bytes[..cut], &mut 0), Err(Fault::Short));
            }
        }
    }

    #[test]
    fn numbers_of_more_bits_are_refused() {
        assert_eq!(read_i64(&[0xff; 20], &mut 0), Err(Fault::Number));
        assert_eq!(read_i32(&[0xff; 20], &mut 0), Err(Fault::Number));
        assert_eq!(
            read_i64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], &mut 0),
            Err(Fault::Number)
        );
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x10], &mut 0), Err(Fault::Number));
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x0f], &mut 0), Ok(i32::MIN));
    }
}
