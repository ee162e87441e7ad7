//! Rust types that elements are stored as, and the arithmetic that kernels are generic over.

use half::{bf16, f16};

use crate::dtype::DType;

/// A Rust type with the layout of one element of [`Element::DTYPE`].
pub trait Element: bytemuck::Pod + Send + Sync + PartialEq + std::fmt::Debug {
    /// The element type stored this way.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {$(
        impl Element for $rust { const DTYPE: DType = DType::$dtype; }
    )*};
}
elements! {
    f64 => F64, f32 => F32, f16 => F16, bf16 => BF16,
    i64 => I64, i32 => I32, i16 => I16, i8 => I8,
    u64 => U64, u32 => U32, u16 => U16, u8 => U8,
}

/// The arithmetic that reference kernels need, in the type in which elements are computed.
///
/// Integers wrap, as the runtimes do; a division or remainder by zero gives 0, as NumPy does. Floats follow IEEE 754.
pub trait Number: Element + PartialOrd + Default {
    /// The number 1.
    const ONE: Self;
    /// Smallest value: minus infinity for floats.
    const LOWEST: Self;
    /// Largest value: infinity for floats.
    const HIGHEST: Self;
    /// Whether this is a floating-point type.
    const IS_FLOAT: bool;
    /// Sum.
    #[must_use]
    fn add(self, other: Self) -> Self;
    /// Difference.
    #[must_use]
    fn sub(self, other: Self) -> Self;
    /// Product.
    #[must_use]
    fn mul(self, other: Self) -> Self;
    /// Quotient; integers round toward zero.
    #[must_use]
    fn div(self, other: Self) -> Self;
    /// Remainder with the sign of the dividend (C's `%` and `fmod`).
    #[must_use]
    fn rem(self, other: Self) -> Self;
    /// The number with the other sign.
    #[must_use]
    fn neg(self) -> Self;
    /// The number without its sign; the smallest signed integer stays as it is.
    #[must_use]
    fn magnitude(self) -> Self;
    /// Nearest double.
    fn to_f64(self) -> f64;
    /// A double that rounds to a narrower float as the number itself does: inexact conversions are rounded to odd.
    fn to_f64_odd(self) -> f64;
    /// From a double: floats round to nearest even, integers truncate and saturate.
    fn from_f64(value: f64) -> Self;
    /// As a 64-bit integer; floats truncate and saturate, large `u64` wrap.
    fn to_i64(self) -> i64;
    /// From a 64-bit integer: integers wrap, floats round.
    fn from_i64(value: i64) -> Self;
    /// Whether this is not a number; never for integers.
    fn is_nan(self) -> bool;
    /// The larger one; NaN when either is.
    #[must_use]
    fn larger(self, other: Self) -> Self {
        if self >= other || self.is_nan() { self } else { other }
    }
    /// The smaller one; NaN when either is.
    #[must_use]
    fn smaller(self, other: Self) -> Self {
        if self <= other || self.is_nan() { self } else { other }
    }
}

macro_rules! float_numbers {
    ($($t:ident),*) => {$(
        impl Number for $t {
            const ONE: Self = 1.0;
            const LOWEST: Self = $t::NEG_INFINITY;
            const HIGHEST: Self = $t::INFINITY;
            const IS_FLOAT: bool = true;
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Self { self / other }
            fn rem(self, other: Self) -> Self { self % other }
            fn neg(self) -> Self { -self }
            fn magnitude(self) -> Self { $t::abs(self) }
            #[expect(clippy::allow_attributes, reason = "the lint fires for one of the two types only")]
            #[allow(clippy::cast_lossless, clippy::unnecessary_cast, reason = "generated for f32 and f64")]
            fn to_f64(self) -> f64 { self as f64 }
            fn to_f64_odd(self) -> f64 { self.to_f64() }
            fn from_f64(value: f64) -> Self { value as $t }
            fn to_i64(self) -> i64 { self as i64 }
            fn from_i64(value: i64) -> Self { value as $t }
            fn is_nan(self) -> bool { $t::is_nan(self) }
        }
    )*};
}
float_numbers!(f32, f64);

macro_rules! integer_numbers {
    ($($t:ident),*) => {$(
        impl Number for $t {
            const ONE: Self = 1;
            const LOWEST: Self = $t::MIN;
            const HIGHEST: Self = $t::MAX;
            const IS_FLOAT: bool = false;
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn div(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
            fn rem(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_rem(other) } }
            fn neg(self) -> Self { self.wrapping_neg() }
            fn magnitude(self) -> Self { if self < Self::default() { self.wrapping_neg() } else { self } }
            #[expect(clippy::allow_attributes, reason = "the lint fires for some of the types only")]
            #[allow(clippy::cast_lossless, reason = "generated for all widths")]
            fn to_f64(self) -> f64 { self as f64 }
            fn to_f64_odd(self) -> f64 {
                // Only 64-bit integers have more bits than a double's 53. Of those that use them, the low 11 bits are
                // replaced by a single one that says whether any was set.
                const SPARE: u32 = if $t::BITS == 64 { 11 } else { 0 };
                let nearest = self.to_f64();
                if nearest.abs() <= 9_007_199_254_740_992.0 {
                    return nearest;
                }
                let kept = self >> SPARE;
                (kept | <$t>::from(kept << SPARE != self)).to_f64() * f64::from(1u32 << SPARE)
            }
            fn from_f64(value: f64) -> Self { value as $t }
            #[expect(clippy::allow_attributes, reason = "the lint fires for some of the types only")]
            #[allow(clippy::cast_lossless, clippy::unnecessary_cast, reason = "generated for all widths")]
            fn to_i64(self) -> i64 { self as i64 }
            #[expect(clippy::allow_attributes, reason = "the lint fires for some of the types only")]
            #[allow(clippy::unnecessary_cast, reason = "generated for all widths")]
            fn from_i64(value: i64) -> Self { value as $t }
            fn is_nan(self) -> bool { false }
        }
    )*};
}
integer_numbers!(i64, i32, i16, i8, u64, u32, u16, u8);

/// The type in which elements of `dtype` are computed: narrow floats in `f32`, sub-byte integers in bytes.
///
/// Arithmetic in `f32` rounded once to 16 bits or fewer is correctly rounded for sums, products and quotients.
pub fn compute_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ if dtype.is_minifloat() => DType::F32,
        DType::I4 | DType::I2 => DType::I8,
        DType::U4 | DType::U2 | DType::Bool => DType::U8,
        other => other,
    }
}

/// Evaluates `$body` with `$T` naming the [`Number`] in which elements of `$dtype` are computed.
///
/// Every element type has one, so there is no fallback arm.
#[macro_export]
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $crate::tensor::compute_dtype($dtype) {
            $crate::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::dtype::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::dtype::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::dtype::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::dtype::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::dtype::DType::U64 => {
                type $T = u64;
                $body
            }
            $crate::dtype::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::dtype::DType::U16 => {
                type $T = u16;
                $body
            }
            $crate::dtype::DType::U8 => {
                type $T = u8;
                $body
            }
            // What is left is computed in f32: `compute_dtype` returns nothing else.
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}

/// Evaluates `$body` with `$T` naming `f32` or `f64`, the type in which a floating-point `$dtype` is computed.
#[macro_export]
macro_rules! with_float {
    ($dtype:expr, $T:ident => $body:expr) => {
        if $dtype == $crate::dtype::DType::F64 {
            type $T = f64;
            $body
        } else {
            type $T = f32;
            $body
        }
    };
}
