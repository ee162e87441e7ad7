//! The logistic function and the hyperbolic tangent of 16 bits, which share a table.
//!
//! The operand is brought to steps of 1/12288, `3 * 4096` to a unit. The table has the logistic function at multiples of 1/24
//! in steps of 1/65536; between them lie straight lines, and below 0 it is mirrored. `tanh(x)` is `2 * logistic(2 * x) - 1`.

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::tensor::Tensor;

use super::{Computed, Stored, curve, elementwise, result};
use crate::lower::gate;

/// Steps of the table's argument to a unit.
const STEPS: f64 = 3.0 * 4096.0;

/// What the runtime has in its table: measured, by asking version 2.3.0 for the tangent of what hits each entry. It is near the
/// logistic function at multiples of 1/24, and up to one step above.
const TABLE: [i64; 256] = [
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064,
    42688, 43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464,
    50942, 51409, 51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503,
    56823, 57133, 57433, 57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370,
    60565, 60753, 60935, 61110, 61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666,
    62778, 62886, 62990, 63090, 63186, 63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968,
    64030, 64090, 64148, 64204, 64257, 64308, 64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687,
    64721, 64754, 64786, 64816, 64845, 64873, 64900, 64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079,
    65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208, 65221, 65234, 65246, 65258, 65269, 65280, 65291,
    65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367, 65374, 65381, 65387, 65393, 65399, 65404,
    65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449, 65453, 65456, 65459, 65462, 65465,
    65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491, 65493, 65495, 65497, 65498,
    65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513, 65514, 65515, 65516,
    65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524, 65525, 65525,
    65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530, 65530,
    65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534,
    65535,
];

/// `1 / (1 + exp(-x))`
pub(super) fn logistic(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let input = Stored::of(node.operand("x")?)?;
    if input.dtype == DType::I8 {
        return curve::of_elements(node, operands, curve::logistic);
    }
    result(node, gates(input, operands)?)
}

/// `tanh(x)`
pub(super) fn tanh(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let input = Stored::of(node.operand("x")?)?;
    if input.dtype == DType::I8 {
        return curve::of_elements(node, operands, curve::tanh);
    }
    let argument = Argument::of(input);
    let elements = operands.first()?.as_ref()?.to_i64().ok()?;
    result(node, elements.iter().map(|x| tangent(argument.at(*x))).collect())
}

/// `x / (1 + exp(-x))`: a gate, in the encoding that its kernel makes, and a product.
pub(super) fn swish(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (input, output) = (Stored::of(node.operand("x")?)?, Stored::of(node.result())?);
    let of_gate = Stored::new(input.dtype, &gate(input.dtype)?)?;
    let elements = operands.first()?.as_ref()?.to_i64().ok()?;
    let gates = if input.dtype == DType::I8 {
        let table = curve::every_byte(input, of_gate, curve::logistic);
        elements.iter().map(|x| table[(x + 128) as usize]).collect()
    } else {
        gates(input, operands)?
    };
    let multiplier = elementwise::factor_of_product(input, of_gate, output);
    let product = |(x, gate): (&i64, i64)| {
        let product = (x - i64::from(input.zero_point)) * (gate - i64::from(of_gate.zero_point));
        output.saturated(multiplier.times(product as i32))
    };
    result(node, elements.iter().zip(gates).map(product).collect())
}

/// The logistic function of an operand of 16 bits, in steps of 1/32768.
fn gates(input: Stored, operands: &[Option<Tensor>]) -> Option<Vec<i64>> {
    let argument = Argument::of(input);
    let elements = operands.first()?.as_ref()?.to_i64().ok()?;
    Some(elements.iter().map(|x| gate_at(argument.at(*x))).collect())
}

/// Brings stored integers to steps of the table's argument: 15 bits of the ratio and a shift.
struct Argument {
    multiplier: i64,
    shift: u32,
}

impl Argument {
    fn of(input: Stored) -> Self {
        let (mut ratio, mut shift) = (f64::from(input.scale) * STEPS, 0);
        while ratio <= 32767.0 / 2.0 && shift <= 30 {
            ratio *= 2.0;
            shift += 1;
        }
        Self { multiplier: ratio as i64, shift }
    }

    fn at(&self, stored: i64) -> i64 {
        let half = if self.shift > 0 { 1 << (self.shift - 1) } else { 0 };
        (stored * self.multiplier + half) >> self.shift
    }
}

/// The table at `place` with `bits` of fraction, in as many more bits; `None` beyond its end.
fn looked_up(place: i64, bits: u32) -> Option<i64> {
    let (index, rest) = ((place >> bits) as usize, place & ((1 << bits) - 1));
    let (start, end) = (*TABLE.get(index)?, *TABLE.get(index + 1)?);
    Some((start << bits) + rest * (end - start))
}

/// The logistic function in steps of 1/32768.
fn gate_at(argument: i64) -> i64 {
    let above = looked_up(argument.abs(), 9).unwrap_or(0x7fff << 10);
    let half = 1 << 9;
    (if argument >= 0 { above + half } else { (1 << 25) - above + half - 1 }) >> 10
}

/// The hyperbolic tangent in steps of 1/32768.
fn tangent(argument: i64) -> i64 {
    let above = looked_up(argument.abs(), 8).unwrap_or(0xffff << 8) - (1 << 23);
    let half = 1 << 7;
    (if argument >= 0 { above + half } else { half - above - 1 }) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_near_its_function() {
        for (index, entry) in TABLE.iter().enumerate() {
            let exact = 65536.0 / (1.0 + (-(index as f64) / 24.0).exp());
            assert!((*entry as f64 - exact).abs() < 1.2, "{index}: {entry}");
        }
    }

    #[test]
    fn both_functions_are_mirrored() {
        assert_eq!((gate_at(0), tangent(0)), (16384, 0));
        assert_eq!((gate_at(1 << 20), gate_at(-(1 << 20))), (32767, 1));
        assert_eq!((tangent(1 << 20), tangent(-(1 << 20))), (32767, -32767));
        for argument in (0..100_000).step_by(1013) {
            assert_eq!(gate_at(argument) + gate_at(-argument), 32768, "{argument}");
        }
    }

    #[test]
    fn arguments_keep_15_bits() {
        let input = Stored { dtype: DType::I16, scale: 1.0 / 4096.0, zero_point: 0 };
        assert_eq!(Argument::of(input).at(4096), 12288);
        assert_eq!(Argument::of(input).at(-1), -3);
    }
}
