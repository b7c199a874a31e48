//! `numeric` as it comes: groups of four decimal digits, made a whole number of units of the column's scale, or nothing
//! where that would change it.

use datafusion::arrow::datatypes::i256;

/// A column of `numeric` without a scale of its own, such as every `sum()`: so many digits, half of them behind the point.
pub const WIDEST: (u8, i8) = (76, 38);

/// Digits that every whole number of 128 bits has room for.
const DIGITS_OF_128: usize = 38;

/// Why a number has no place in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    NotANumber,
    Infinite,
    /// It has more digits than the column's type.
    TooLong,
    /// It is not said as the server says numbers.
    Malformed,
}

/// The number in units of ten to the power of minus `scale`, exactly.
pub fn units(bytes: &[u8], scale: i8) -> Result<i256, Unfit> {
    let (head, digits) = bytes.split_first_chunk::<8>().ok_or(Unfit::Malformed)?;
    let word = |at: usize| [head[at], head[at + 1]];
    let count = usize::from(u16::from_be_bytes(word(0)));
    let weight = i32::from(i16::from_be_bytes(word(2)));
    let is_negative = match u16::from_be_bytes(word(4)) {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Err(Unfit::NotANumber),
        0xD000 | 0xF000 => return Err(Unfit::Infinite),
        _ => return Err(Unfit::Malformed),
    };
    if digits.len() != 2 * count {
        return Err(Unfit::Malformed);
    }
    let groups = digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    if groups.clone().any(|group| group > 9_999) {
        return Err(Unfit::Malformed);
    }
    if count == 0 {
        return Ok(i256::ZERO);
    }
    // The power of ten that the last group is counted in.
    let last = 4 * (weight - i32::try_from(count).map_err(|_| Unfit::Malformed)? + 1);
    let power = last + i32::from(scale);
    let absolute = match narrow(groups.clone(), count, power) {
        Some(narrow) => i256::from_i128(narrow),
        None => match fewer(groups.clone(), count, power) {
            Some(fewer) => fewer,
            None => wide(groups, power).ok_or(Unfit::TooLong)?,
        },
    };
    Ok(if is_negative { absolute.wrapping_neg() } else { absolute })
}

/// Of most numbers, without the cost of 256 bits.
fn narrow(groups: impl Iterator<Item = u16>, count: usize, power: i32) -> Option<i128> {
    let room = usize::try_from(power.max(0)).ok()?;
    if 4 * count + room > DIGITS_OF_128 {
        return None;
    }
    let whole = groups.fold(0_i128, |whole, group| whole * 10_000 + i128::from(group));
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    match power >= 0 {
        true => whole.checked_mul(factor),
        false => (whole % factor == 0).then(|| whole / factor),
    }
}

/// Of most numbers in columns of the widest type: one multiplication that has room for its product.
fn fewer(groups: impl Iterator<Item = u16>, count: usize, power: i32) -> Option<i256> {
    let room = usize::try_from(power).ok()?;
    if 4 * count > DIGITS_OF_128 || room > DIGITS_OF_128 {
        return None;
    }
    let whole = groups.fold(0_i128, |whole, group| whole * 10_000 + i128::from(group));
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    i256::from_i128(whole).checked_mul(i256::from_i128(factor))
}

fn wide(groups: impl Iterator<Item = u16>, power: i32) -> Option<i256> {
    let (base, mut whole) = (i256::from_i128(10_000), i256::ZERO);
    for group in groups {
        whole = whole.checked_mul(base)?.checked_add(i256::from_i128(i128::from(group)))?;
    }
    let factor = i256::from_i128(10).checked_pow(power.unsigned_abs())?;
    match power >= 0 {
        true => whole.checked_mul(factor),
        false => {
            let is_whole = whole.checked_rem(factor)? == i256::ZERO;
            is_whole.then(|| whole.checked_div(factor)).flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the server sends it: without groups of zeros at either end.
    fn sent(mantissa: i128, scale: u32) -> Vec<u8> {
        let text = mantissa.unsigned_abs().to_string();
        let text = format!("{text:0>width$}", width = scale as usize + 1);
        let (whole, fraction) = text.split_at(text.len() - scale as usize);
        let whole = format!("{whole:0>width$}", width = whole.len().next_multiple_of(4));
        let fraction = format!("{fraction:0<width$}", width = fraction.len().next_multiple_of(4));
        let mut weight = i16::try_from(whole.len() / 4).unwrap() - 1;
        let all = whole + &fraction;
        let mut groups: Vec<u16> =
            (0..all.len()).step_by(4).map(|at| all[at..at + 4].parse().unwrap()).collect();
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let sign: u16 = if mantissa < 0 { 0x4000 } else { 0 };
        let mut out = u16::try_from(groups.len()).unwrap().to_be_bytes().to_vec();
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(u16::try_from(scale).unwrap().to_be_bytes());
        groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
        out
    }

    proptest! {
        #[test]
        fn every_number_is_what_the_server_sent(
            mantissa in any::<i128>(), shift in 0_u32..127, scale in 0_u32..30,
        ) {
            let mantissa = mantissa >> shift;
            let bytes = sent(mantissa, scale);
            let scale = i8::try_from(scale).unwrap();
            prop_assert_eq!(units(&bytes, scale), Ok(i256::from_i128(mantissa)));
            let expected = i256::from_i128(mantissa).checked_mul(
                i256::from_i128(10).checked_pow(38 - scale.unsigned_abs() as u32).unwrap());
            prop_assert_eq!(units(&bytes, 38).ok(), expected);
        }

        #[test]
        fn no_bytes_are_taken_for_a_number_by_accident(
            bytes in prop::collection::vec(any::<u8>(), 0..24), scale in -40_i8..40,
        ) {
            let _ = units(&bytes, scale);
        }
    }

    #[test]
    fn what_has_no_place_is_told_apart() {
        let signed = |sign: u16| {
            let mut bytes = sent(0, 0);
            bytes[4..6].copy_from_slice(&sign.to_be_bytes());
            units(&bytes, 2)
        };
        assert_eq!(signed(0xC000), Err(Unfit::NotANumber));
        assert_eq!(signed(0xD000), Err(Unfit::Infinite));
        assert_eq!(signed(0xF000), Err(Unfit::Infinite));
        assert_eq!(signed(0x1234), Err(Unfit::Malformed));
        assert_eq!(units(&sent(123, 2), 1), Err(Unfit::TooLong));
        assert_eq!(units(&sent(1200, 0), -2), Ok(i256::from_i128(12)));
        assert_eq!(units(&sent(1, 0)[..9], 0), Err(Unfit::Malformed));
    }
}
