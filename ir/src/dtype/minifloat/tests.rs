//! Checks against the tables that `tests/python/make_minifloat_tables.py` writes, and the rounding
//! of every tie between neighboring codes.

use super::e8m0::{self, RoundMode};
use super::*;

const DECODE: &str = include_str!("../../../tests/data/minifloat/decode.txt");
const ENCODE: &str = include_str!("../../../tests/data/minifloat/encode.txt");

const F8: [Format; 4] = [Format::F8E4M3FN, Format::F8E4M3FNUZ, Format::F8E5M2, Format::F8E5M2FNUZ];

const SMALL: [(&str, Format); 5] = [
    ("f8e4m3fn", Format::F8E4M3FN),
    ("f8e4m3fnuz", Format::F8E4M3FNUZ),
    ("f8e5m2", Format::F8E5M2),
    ("f8e5m2fnuz", Format::F8E5M2FNUZ),
    ("f4e2m1", Format::F4E2M1),
];

const ALL: [Format; 7] = [
    Format::F8E4M3FN,
    Format::F8E4M3FNUZ,
    Format::F8E5M2,
    Format::F8E5M2FNUZ,
    Format::F4E2M1,
    Format::F16,
    Format::BF16,
];

/// One operand of the encode table in the width the table gives it.
#[derive(Clone, Copy)]
enum Operand {
    F32(f32),
    F64(f64),
}

impl Operand {
    fn parse(hex: &str) -> Self {
        let bits = u64::from_str_radix(hex, 16).expect("hexadecimal operand");
        match hex.len() {
            8 => Self::F32(f32::from_bits(bits as u32)),
            16 => Self::F64(f64::from_bits(bits)),
            digits => panic!("an operand of {digits} digits"),
        }
    }

    fn encode(self, format: Format, saturate: bool) -> u16 {
        match self {
            Self::F32(value) => format.encode_f32(value, saturate),
            Self::F64(value) => format.encode_f64(value, saturate),
        }
    }

    fn encode_e8m0(self, saturate: bool, mode: RoundMode) -> u8 {
        match self {
            Self::F32(value) => e8m0::encode_f32(value, saturate, mode),
            Self::F64(value) => e8m0::encode_f64(value, saturate, mode),
        }
    }

    /// The columns after the operand, in the table's own notation.
    fn row(self) -> String {
        let f8 = |saturate| F8.map(|format| format!("{:02x}", self.encode(format, saturate)));
        let scales = |saturate| {
            [RoundMode::Up, RoundMode::Down, RoundMode::Nearest]
                .map(|mode| format!("{:02x}", self.encode_e8m0(saturate, mode)))
        };
        format!(
            "{} {} {:x} {} {} {:04x} {:04x}",
            f8(true).concat(),
            f8(false).concat(),
            self.encode(Format::F4E2M1, true),
            scales(true).concat(),
            scales(false).concat(),
            self.encode(Format::F16, false),
            self.encode(Format::BF16, false),
        )
    }
}

/// Lines of a table without its comments.
fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

/// The decode table's values of one type.
fn decoded(name: &str) -> Vec<f32> {
    let is_row = |line: &&str| line.contains(' ');
    lines(DECODE)
        .skip_while(|&line| line != name)
        .skip(1)
        .take_while(is_row)
        .flat_map(str::split_whitespace)
        .map(|hex| f32::from_bits(u32::from_str_radix(hex, 16).expect("hexadecimal value")))
        .collect()
}

#[test]
fn every_small_code_decodes_to_the_table() {
    let is_same = |found: f32, expected: f32| {
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
    };
    for (name, format) in SMALL {
        let expected = decoded(name);
        assert_eq!(expected.len(), 1 << format.bits(), "{name}");
        for (code, expected) in expected.into_iter().enumerate() {
            let found = format.decode(code as u16);
            assert!(is_same(found, expected), "{name} {code:#x}: {found:e}");
        }
    }
    let expected = decoded("f8e8m0");
    assert_eq!(expected.len(), 256);
    for (code, expected) in expected.into_iter().enumerate() {
        let found = e8m0::decode(code as u8);
        assert!(is_same(found, expected), "f8e8m0 {code:#x}: {found:e}");
    }
}

#[test]
fn sixteen_bit_codes_decode_as_the_half_crate_decodes_them() {
    for code in 0..=u16::MAX {
        let (half, brain) = (f16::from_bits(code), bf16::from_bits(code));
        let (found_half, found_brain) = (Format::F16.decode(code), Format::BF16.decode(code));
        assert_eq!(half.is_nan(), found_half.is_nan(), "{code:#x}");
        assert_eq!(brain.is_nan(), found_brain.is_nan(), "{code:#x}");
        if !half.is_nan() {
            assert_eq!(half.to_f32().to_bits(), found_half.to_bits(), "{code:#x}");
        }
        if !brain.is_nan() {
            assert_eq!(brain.to_f32().to_bits(), found_brain.to_bits(), "{code:#x}");
        }
    }
}

#[test]
fn operands_encode_to_the_table() {
    let mut rows = 0;
    for line in lines(ENCODE) {
        let (operand, expected) = line.split_once(' ').expect("two columns");
        assert_eq!(Operand::parse(operand).row(), expected, "operand {operand}");
        rows += 1;
    }
    assert!(rows > 1000, "the table has {rows} rows");
}

#[test]
fn every_code_comes_back_from_its_value() {
    for format in ALL {
        for code in 0..=(u16::MAX >> (16 - format.bits())) {
            let value = format.decode(code);
            if value.is_nan() {
                assert!(format.decode(format.encode_f32(value, true)).is_nan());
                continue;
            }
            assert_eq!(format.encode_f32(value, false), code, "{format:?}");
            assert_eq!(format.encode_f64(f64::from(value), false), code, "{format:?}");
        }
    }
}

#[test]
fn every_tie_rounds_to_even_and_its_neighbors_do_not() {
    for format in ALL {
        for code in 0..format.max_code() {
            let low = f64::from(format.decode(code));
            let tie = f64::midpoint(low, f64::from(format.decode(code + 1)));
            let encode = |value| format.encode_f64(value, false);
            assert_eq!(encode(tie.next_down()), code, "{format:?}");
            assert_eq!(encode(tie), code + (code & 1), "{format:?}");
            assert_eq!(encode(tie.next_up()), code + 1, "{format:?}");
            // The sign mirrors the result, but a format may lack negative zero.
            assert_eq!(format.decode(encode(-tie)), -format.decode(encode(tie)), "{format:?} {tie:e}");
        }
    }
}

#[test]
fn the_range_ends_half_a_step_above_the_largest_value() {
    for format in ALL {
        let max = f64::from(format.max());
        let step = max - f64::from(format.decode(format.max_code() - 1));
        let end = max + step / 2.0;
        // The end itself is a tie, and the step above the largest value has the other parity.
        let last = if format.max_code() & 1 == 0 { end } else { end.next_down() };
        let beyond = [last.next_up(), 1e300, f64::INFINITY];
        for saturate in [false, true] {
            assert_eq!(format.encode_f64(last, saturate), format.max_code(), "{format:?}");
        }
        for value in beyond {
            assert_eq!(format.encode_f64(value, true), format.max_code(), "{format:?}");
            let expected = match format.specials {
                Specials::Ieee => f32::INFINITY,
                Specials::None => format.max(),
                Specials::NanAllOnes | Specials::NanNegativeZero => f32::NAN,
            };
            let found = format.decode(format.encode_f64(value, false));
            let is_expected = found == expected || (found.is_nan() && expected.is_nan());
            assert!(is_expected, "{format:?} {value:e}: {found:e}");
        }
    }
}

#[test]
fn largest_values_are_those_of_the_specifications() {
    let found = ALL.map(Format::max);
    let brain = 3.389_531_4e38;
    assert_eq!(found, [448.0, 240.0, 57344.0, 57344.0, 6.0, 65504.0, brain]);
}

#[test]
fn single_precision_operands_round_as_in_the_half_crate() {
    // A step through all bit patterns that hits every exponent many times and no period of them.
    for bits in (0..=u32::MAX).step_by(65_521) {
        let value = f32::from_bits(bits);
        if value.is_nan() {
            continue;
        }
        assert_eq!(Format::F16.encode_f32(value, false), f16::from_f32(value).to_bits());
        assert_eq!(Format::BF16.encode_f32(value, false), bf16::from_f32(value).to_bits());
    }
}

#[test]
fn double_precision_operands_round_once() {
    // One and half a step, and a trace more than that: through `f32` the trace is lost.
    let trace = 2f64.powi(-50);
    let half = |value| f16_from_f64(value).to_bits();
    let brain = |value| bf16_from_f64(value).to_bits();
    assert_eq!(half(1.0 + 2f64.powi(-11)), 0x3C00);
    assert_eq!(half(1.0 + 2f64.powi(-11) + trace), 0x3C01);
    assert_eq!(brain(1.0 + 2f64.powi(-8)), 0x3F80);
    assert_eq!(brain(1.0 + 2f64.powi(-8) + trace), 0x3F81);
    assert_eq!(Format::F8E4M3FN.encode_f64(1.0625 + trace, true), 0x39);
    assert!(f16_from_f64(f64::NAN).is_nan() && bf16_from_f64(f64::NAN).is_nan());
    assert_eq!(f16_from_f64(f64::NEG_INFINITY), f16::NEG_INFINITY);
}

/// The results that the ONNX conformance cases `test_cast_*` and `test_cast_no_saturate_*` state.
#[test]
fn conformance_operands_give_the_stated_codes() {
    let operands = [
        0.478_925_47,
        0.480_336_67,
        0.499_684_87,
        0.819_105_45,
        0.470_312_48,
        0.722_903_8,
        1e6,
        1e-7,
        f32::NAN,
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -1e-7,
        1e-7,
        -1e6,
    ];
    let cases = [
        (Format::F8E4M3FN, true, "2f2f30352f347e007f7e7efe8000fe"),
        (Format::F8E4M3FN, false, "2f2f30352f347f007f7f7fff8000ff"),
        (Format::F8E4M3FNUZ, true, "3737383d373c7f00807f7fff0000ff"),
        (Format::F8E4M3FNUZ, false, "3737383d373c800080808080000080"),
        (Format::F8E5M2, true, "3838383b383a7b007e7b7bfb8000fb"),
        (Format::F8E5M2, false, "3838383b383a7c007e7c7cfc8000fc"),
        (Format::F8E5M2FNUZ, true, "3c3c3c3f3c3e7f00807f7fff0000ff"),
        (Format::F8E5M2FNUZ, false, "3c3c3c3f3c3e800080808080000080"),
    ];
    for (format, saturate, expected) in cases {
        let codes = operands.map(|value| format!("{:02x}", format.encode_f32(value, saturate)));
        assert_eq!(codes.concat(), expected, "{format:?} saturate {saturate}");
        // The cases with a half-precision operand state the same codes.
        let codes = operands.map(|value| {
            let value = f16::from_f32(value).to_f32();
            format!("{:02x}", format.encode_f32(value, saturate))
        });
        assert_eq!(codes.concat(), expected, "{format:?} saturate {saturate}, from f16");
    }

    let operands = [
        0.48,
        0.25,
        1.05,
        -3.5,
        -8.0,
        9.0,
        1e6,
        1e-7,
        f32::NAN,
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -4.0,
        0.01,
        -0.0,
    ];
    let codes = operands.map(|value| format!("{:x}", Format::F4E2M1.encode_f32(value, true)));
    assert_eq!(codes.concat(), "102ef770877fe08");

    let operands = [0.0, 0.124, 0.25, 0.5, 1.1, 2.0, 4.0, 8.0];
    let codes = operands.map(|value| e8m0::encode_f32(value, true, RoundMode::Up));
    assert_eq!(codes, [0x00, 0x7C, 0x7D, 0x7E, 0x80, 0x80, 0x81, 0x82]);
}
