//! The scale type float8e8m0: a code `c` below 255 is `2^(c - 127)`, and 255 is NaN.
//!
//! It has no sign, no zero and no infinity. The OCP Microscaling specification defines it; the ONNX
//! `Cast` operator defines the conversions, but leaves some results open: of negative zero, of negative
//! operands, and of the combinations of `saturate` and `round_mode` that its table omits. Here one rule
//! covers them all, the one ONNX Runtime follows as well: an operand outside [2^-127, 2^127] is clamped
//! if saturating and NaN if not, and whether it is outside is judged before rounding.

/// Code of NaN.
pub const NAN: u8 = 0xFF;

/// Code of the smallest value, `2^-127`.
pub const MIN: u8 = 0x00;

/// Code of the largest value, `2^127`.
pub const MAX: u8 = 0xFE;

/// How an operand between two powers of two is rounded (attribute `round_mode` of `Cast`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoundMode {
    /// Away from zero, so that no element divided by its scale grows beyond the range.
    #[default]
    Up,
    /// Toward zero.
    Down,
    /// To nearest; a tie, `1.5 * 2^n`, goes up.
    Nearest,
}

const F64_FRACTION_BITS: u32 = 52;

/// Distance between the exponent biases of `f64` (1023) and of this type (127).
const BIAS_DIFFERENCE: u64 = 1023 - 127;

/// Exact value of `code`; the smallest is a subnormal `f32`.
#[must_use]
pub const fn decode(code: u8) -> f32 {
    match code {
        NAN => f32::NAN,
        MIN => f32::from_bits(1 << 22),
        _ => f32::from_bits((code as u32) << 23),
    }
}

/// Code of `value`; see [`encode_f64`].
#[must_use]
pub fn encode_f32(value: f32, saturate: bool, mode: RoundMode) -> u8 {
    encode_f64(f64::from(value), saturate, mode)
}

/// Code of `value`, rounded once.
///
/// Above `2^127` the result is [`MAX`] if saturating, else [`NAN`]; below `2^-127`, zero and negative
/// numbers included, it is [`MIN`] if saturating, else [`NAN`].
#[must_use]
pub fn encode_f64(value: f64, saturate: bool, mode: RoundMode) -> u8 {
    let (min, max) = (f64::from(decode(MIN)), f64::from(decode(MAX)));
    if value.is_nan() || (!saturate && !(min..=max).contains(&value)) {
        return NAN;
    }
    let bits = value.clamp(min, max).to_bits();
    let fraction = bits & ((1 << F64_FRACTION_BITS) - 1);
    let up = match mode {
        RoundMode::Up => fraction != 0,
        RoundMode::Down => false,
        RoundMode::Nearest => fraction >= 1 << (F64_FRACTION_BITS - 1),
    };
    // The clamp leaves exponents 0 to 254, and 254 only with a zero fraction, which rounds to itself.
    let exponent = ((bits >> F64_FRACTION_BITS) - BIAS_DIFFERENCE) as u8;
    exponent + u8::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [RoundMode; 3] = [RoundMode::Up, RoundMode::Down, RoundMode::Nearest];

    #[test]
    fn every_code_is_its_power_of_two_and_comes_back() {
        for code in MIN..=MAX {
            let value = decode(code);
            assert_eq!(f64::from(value), 2f64.powi(i32::from(code) - 127));
            for (mode, saturate) in MODES.iter().flat_map(|&mode| [(mode, true), (mode, false)]) {
                assert_eq!(encode_f32(value, saturate, mode), code, "{mode:?}");
            }
        }
        assert!(decode(NAN).is_nan());
    }

    #[test]
    fn values_between_powers_follow_the_mode() {
        for code in MIN..MAX {
            let low = f64::from(decode(code));
            let tie = 1.5 * low;
            let cases = [
                (low.next_up(), [1, 0, 0]),
                (tie.next_down(), [1, 0, 0]),
                (tie, [1, 0, 1]),
                (tie.next_up(), [1, 0, 1]),
                ((2.0 * low).next_down(), [1, 0, 1]),
            ];
            for (value, steps) in cases {
                let found = MODES.map(|mode| encode_f64(value, false, mode) - code);
                assert_eq!(found, steps, "{value:e}");
            }
        }
    }

    #[test]
    fn values_out_of_range_are_clamped_or_nan() {
        let (min, max) = (f64::from(decode(MIN)), f64::from(decode(MAX)));
        for mode in MODES {
            for low in [0.0, -0.0, -1.0, f64::NEG_INFINITY, min.next_down()] {
                assert_eq!(encode_f64(low, true, mode), MIN, "{low:e}");
                assert_eq!(encode_f64(low, false, mode), NAN, "{low:e}");
            }
            for high in [max.next_up(), f64::MAX, f64::INFINITY] {
                assert_eq!(encode_f64(high, true, mode), MAX, "{high:e}");
                assert_eq!(encode_f64(high, false, mode), NAN, "{high:e}");
            }
            assert_eq!(encode_f64(f64::NAN, true, mode), NAN);
            assert_eq!(encode_f32(f32::NAN, false, mode), NAN);
        }
    }
}
