//! Decimals in their shortest form, in which equal numbers are the same.

use arrow::datatypes::i256;

use crate::points;

/// A decimal without trailing zeros. Nearly all mantissas fit 64 bits, and division is the cost.
#[inline]
pub fn shortest(mantissa: i256, mut scale: i8) -> (i256, i8) {
    if points::is_planted("decimal_scale_differs") {
        return (mantissa, scale);
    }
    if mantissa == i256::ZERO {
        return (mantissa, 0);
    }
    let Some(mut small) = mantissa.to_i128().and_then(|wide| i64::try_from(wide).ok()) else {
        return shortest_of_wide(mantissa, scale);
    };
    while scale > i8::MIN && small % 10 == 0 {
        small /= 10;
        scale -= 1;
    }
    (i256::from_i128(i128::from(small)), scale)
}

/// Nineteen zeros at a time: every number of a column without a scale of its own, such as PostgreSQL's `sum`, has dozens.
fn shortest_of_wide(mantissa: i256, mut scale: i8) -> (i256, i8) {
    let mut magnitude = mantissa.wrapping_abs().to_le_bytes();
    loop {
        let room = usize::from(scale.abs_diff(i8::MIN));
        let most = room.min(POWERS.len() - 1);
        let (quotient, remainder) = divided(magnitude, POWERS[most]);
        // What is left over has as many zeros at its end as the whole, where it is not zero itself.
        let zeros = if remainder == 0 { most } else { trailing_zeros(remainder) };
        magnitude = match zeros == most {
            true => quotient,
            false => divided(magnitude, POWERS[zeros]).0,
        };
        scale -= i8::try_from(zeros).expect("a few");
        if remainder != 0 || zeros == 0 {
            break;
        }
    }
    let shortest = i256::from_le_bytes(magnitude);
    (if mantissa.is_negative() { shortest.wrapping_neg() } else { shortest }, scale)
}

/// The powers of ten that 64 bits have room for.
const POWERS: [u64; 20] = {
    let (mut powers, mut at) = ([1; 20], 1);
    while at < powers.len() {
        powers[at] = 10 * powers[at - 1];
        at += 1;
    }
    powers
};

/// How many zeros the number, which is not zero, has at its end.
fn trailing_zeros(mut number: u64) -> usize {
    let mut zeros = 0;
    for step in [8, 4, 2, 1] {
        while number.is_multiple_of(POWERS[step]) {
            number /= POWERS[step];
            zeros += step;
        }
    }
    zeros
}

/// A whole number of 256 bits, the lowest byte first, through another; and what is left over.
fn divided(mut number: [u8; 32], divisor: u64) -> ([u8; 32], u64) {
    let mut remainder = 0;
    let (words, _) = number.as_chunks_mut::<8>();
    for word in words.iter_mut().rev() {
        let wide = u128::from(remainder) << 64 | u128::from(u64::from_le_bytes(*word));
        if wide == 0 {
            continue;
        }
        let divisor = u128::from(divisor);
        let quotient = u64::try_from(wide / divisor).expect("the remainder is below the divisor");
        remainder = u64::try_from(wide % divisor).expect("it is below the divisor");
        *word = quotient.to_le_bytes();
    }
    (number, remainder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_digits(mut mantissa: i256, mut scale: i8) -> (i256, i8) {
        let ten = i256::from_i128(10);
        while scale > i8::MIN && mantissa % ten == i256::ZERO {
            mantissa /= ten;
            scale -= 1;
        }
        (mantissa, scale)
    }

    proptest! {
        #[test]
        fn every_zero_at_the_end_is_taken_and_nothing_else(
            number in any::<i128>(), shift in 0_u32..127, zeros in 0_u32..60, scale in any::<i8>(),
        ) {
            let number = number >> shift;
            let factor = i256::from_i128(10).checked_pow(zeros).expect("it has room");
            let Some(mantissa) = i256::from_i128(number).checked_mul(factor) else { return Ok(()) };
            prop_assume!(mantissa != i256::ZERO);
            prop_assert_eq!(shortest_of_wide(mantissa, scale), by_digits(mantissa, scale));
            prop_assert_eq!(shortest(mantissa, scale), by_digits(mantissa, scale));
        }
    }

    #[test]
    fn the_widest_numbers_have_a_shortest_form() {
        let power = |exponent| i256::from_i128(10).checked_pow(exponent).expect("it has room");
        assert_eq!(shortest(power(76), 38), (i256::ONE, -38));
        assert_eq!(shortest(power(76).wrapping_neg(), -76), (power(24).wrapping_neg(), i8::MIN));
        for number in [i256::MIN, i256::MAX] {
            assert_eq!(shortest(number, 0), by_digits(number, 0));
        }
        assert_eq!(shortest(i256::ZERO, 7), (i256::ZERO, 0));
    }
}
