//! Elementwise operations, casts, reductions.

use quad_ir::ops::{Add, Div, Mul, Relu, Sigmoid, Sub};

use super::{Row, alias, import, op};

pub(super) const ROWS: &[Row] = &[
    import("Identity", alias),
    op::<Add>("Add"),
    op::<Sub>("Sub"),
    op::<Mul>("Mul"),
    op::<Div>("Div"),
    op::<Relu>("Relu"),
    op::<Sigmoid>("Sigmoid"),
];
