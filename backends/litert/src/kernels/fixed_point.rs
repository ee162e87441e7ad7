//! Real factors as integers: a multiplier and a shift.

/// A positive factor, `mantissa * 2^(shift - 31)` with 31 bits in the mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplier {
    mantissa: i32,
    shift: i32,
}

impl Multiplier {
    /// The multiplier nearest to `real`; factors below 2^-31 are 0.
    pub(super) fn of(real: f64) -> Self {
        if real == 0.0 {
            return Self { mantissa: 0, shift: 0 };
        }
        let (fraction, mut shift) = libm::frexp(real);
        let mut mantissa = (fraction * (1u64 << 31) as f64).round() as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Self { mantissa: 0, shift: 0 };
        }
        Self { mantissa: mantissa as i32, shift }
    }

    /// The same factor below 0.
    pub(super) fn negated(self) -> Self {
        Self { mantissa: -self.mantissa, ..self }
    }

    /// The factor divided by `count`, at least 1: the mantissa is divided, after it was shifted as far as `count` allows.
    pub(super) fn over(self, count: u64) -> Self {
        let shift = (count.max(1).ilog2() as i32).min(32).min(31 + self.shift).max(0);
        let mantissa = (i64::from(self.mantissa) << shift) / count.max(1) as i64;
        Self { mantissa: mantissa as i32, shift: self.shift - shift }
    }

    /// `x` times the factor: the high half of the doubled product, rounded, then shifted and rounded once more.
    pub(super) fn times(self, x: i32) -> i32 {
        let left = self.shift.max(0) as u32;
        let high = doubled_high(x.wrapping_shl(left), self.mantissa);
        shifted_right(high, (-self.shift).max(0) as u32)
    }

    /// The least number whose product with the factor, at least 1, is not below `low`, of 31 bits and a shift to the left.
    pub(super) fn least_within(self, low: i64) -> i64 {
        -((-low) >> self.shift.max(0))
    }

    /// A sum of 64 bits times the factor, of which 15 bits are kept, rounded once.
    pub(super) fn times_wide(self, x: i64) -> i32 {
        let reduced = if self.mantissa < 0x7fff_0000 { (self.mantissa + (1 << 15)) >> 16 } else { 0x7fff };
        // Factors of 2^14 and more, which no kernel takes, would shift to the left.
        let total = (15 - self.shift).max(1);
        let rounded = x.wrapping_mul(i64::from(reduced)).wrapping_add(1 << (total - 1));
        (rounded >> total) as i32
    }
}

/// The upper 32 bits of `2 * a * b`, halves rounded up. The one product that does not fit is cut off.
pub(super) fn doubled_high(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    // Division rounds toward zero, which a shift would not.
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^exponent`, halves rounded away from zero; the exponent is at most 31.
pub(super) fn shifted_right(x: i32, exponent: u32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> exponent.min(31)) + i32::from(remainder > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_kept_to_31_bits() {
        assert_eq!(Multiplier::of(0.5), Multiplier { mantissa: 1 << 30, shift: 0 });
        assert_eq!(Multiplier::of(3.0), Multiplier { mantissa: 3 << 29, shift: 2 });
        assert_eq!(Multiplier::of(1.0 - 1e-12), Multiplier { mantissa: 1 << 30, shift: 1 });
        assert_eq!(Multiplier::of(1e-12), Multiplier { mantissa: 0, shift: 0 });
    }

    #[test]
    fn products_are_rounded_twice() {
        // Halves of the product go up, those of the shift away from zero.
        let half = Multiplier::of(0.5);
        assert_eq!([3, -3, 2, -2, 1, -1].map(|x| half.times(x)), [2, -1, 1, -1, 1, 0]);
        // 11/8 is nearest to 1, but 11/2 becomes 6 first.
        let eighth = Multiplier::of(0.125);
        assert_eq!([4, -4, 11, -12].map(|x| eighth.times(x)), [1, -1, 2, -2]);
        assert_eq!(Multiplier::of(4.0).times(-7), -28);
        assert_eq!(half.negated().times(10), -5);
    }

    #[test]
    fn factors_are_divided() {
        let third = Multiplier::of(1.0).over(3);
        assert_eq!([3, 300, -301].map(|x| third.times(x)), [1, 100, -100]);
        assert_eq!(Multiplier::of(0.25).over(1), Multiplier::of(0.25));
    }

    #[test]
    fn wide_sums_keep_15_bits_of_the_factor() {
        let third = Multiplier::of(1.0 / 3.0);
        assert_eq!(third.times_wide(30_000), 10_000);
        assert_eq!(Multiplier::of(0.5).times_wide(-3), -1);
        assert_eq!(Multiplier::of(0.5).times_wide(1 << 33), 0);
    }
}
