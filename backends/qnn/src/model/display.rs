//! How a graph reads: one line for each input, constant and operation, with types as snapshots want them.

use std::fmt::{self, Display, Formatter};

use super::{Encoding, Node, Param, QnnGraph, Role, ScaleOffset, Tensor};

/// Scales that are written out; what is beyond is counted.
const SHOWN: usize = 4;

impl Display for QnnGraph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {} {{", self.name)?;
        for tensor in &self.tensors {
            match &tensor.role {
                Role::Input => writeln!(f, "  input {tensor}")?,
                Role::Static(bytes) => writeln!(f, "  static {tensor} {} bytes", bytes.len())?,
                Role::Output | Role::Native => {}
            }
        }
        for node in &self.nodes {
            self.write_node(node, f)?;
        }
        let outputs: Vec<&str> = self.outputs().map(|tensor| tensor.name.as_str()).collect();
        writeln!(f, "  output {}\n}}", outputs.join(", "))
    }
}

impl QnnGraph {
    fn write_node(&self, node: &Node, f: &mut Formatter<'_>) -> fmt::Result {
        let outputs: Vec<String> = node.outputs.iter().map(|id| self.tensor(*id).to_string()).collect();
        let inputs: Vec<&str> = node.inputs.iter().map(|id| self.tensor(*id).name.as_str()).collect();
        write!(f, "  {} = {}({})", outputs.join(", "), node.kind, inputs.join(", "))?;
        let params: Vec<String> =
            node.params.iter().map(|(name, param)| format!("{name} = {param}")).collect();
        if !params.is_empty() {
            write!(f, " {{{}}}", params.join(", "))?;
        }
        writeln!(f)
    }
}

/// Writes `name: u16[1, 8, 8, 32] scale 0.5 offset -3`.
impl Display for Tensor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{:?}", self.name, self.data_type, self.dims)?;
        self.encoding.as_ref().map_or(Ok(()), |encoding| write!(f, " {encoding}"))
    }
}

impl Display for Encoding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(all) => write!(f, "{all}"),
            Self::Narrow { bits, all } => write!(f, "{bits} bits {all}"),
            Self::Axis { axis, each } => write_each(*axis, each, f),
            Self::NarrowAxis { bits, axis, each } => {
                write!(f, "{bits} bits ")?;
                write_each(*axis, each, f)
            }
        }
    }
}

fn write_each(axis: u32, each: &[ScaleOffset], f: &mut Formatter<'_>) -> fmt::Result {
    let mut shown: Vec<String> = each.iter().take(SHOWN).map(ToString::to_string).collect();
    if each.len() > SHOWN {
        shown.push(format!("and {} more", each.len() - SHOWN));
    }
    write!(f, "axis {axis} [{}]", shown.join(", "))
}

impl Display for ScaleOffset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "scale {:?} offset {}", self.scale, self.offset)
    }
}

impl Display for Param {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::U32(value) => write!(f, "{value}"),
            Self::I32(value) => write!(f, "{value}i"),
            Self::F32(value) => write!(f, "{value:?}"),
            Self::U32s(dims, values) => write!(f, "u32{dims:?} {values:?}"),
            Self::I32s(dims, values) => write!(f, "i32{dims:?} {values:?}"),
        }
    }
}
