//! Random graphs over every operation, for tests of what must hold of any graph.
//!
//! Nothing here knows an operation: one is picked, its attributes are drawn through its own description of them, its
//! operands from the values so far, and the node stays if the type rule accepts it.

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use quad_ir::dtype::{ALL_DTYPES, DType};
use quad_ir::graph::{Graph, Output, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Arity, Op, all_ops};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, DimExpr, SymId, TensorType};

/// Numbers that decide everything. Proptest makes them smaller and fewer to find a simple failure; when they run out,
/// every choice is the first.
pub(crate) struct Choices {
    numbers: Vec<u32>,
    at: usize,
}

impl Choices {
    pub(crate) fn new(numbers: Vec<u32>) -> Self {
        Self { numbers, at: 0 }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.at >= self.numbers.len()
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        number as usize % end
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// Bytes of a value beyond which no node reads it: values must not grow without end.
const MAX_BYTES: u64 = 1 << 14;

/// A graph of the nodes that their type rules accepted.
pub(crate) fn random_graph(choices: &mut Choices) -> Graph {
    let mut graph = Graph::new("main");
    let mut values = sources(&mut graph, choices);
    let ops: Vec<Op> =
        all_ops().into_iter().filter(|op| !matches!(op, Op::Input(_) | Op::Weight(_))).collect();
    while !choices.is_exhausted() {
        let mut op = choices.pick(&ops).clone();
        if choices.once_in(2) {
            let mut draw = Draw { choices };
            op.def_mut().attrs(&mut draw).expect("a drawn attribute is of the right kind");
        }
        // Operations with many operands need some luck.
        let added = (0..4).find_map(|_| {
            let operands = draw_operands(&graph, &op, &values, choices);
            graph.add(op.clone(), &operands, Loc::Built).ok()
        });
        if let Some(node) = added {
            let small = |ty: &TensorType| ty.byte_len().is_none_or(|bytes| bytes <= MAX_BYTES);
            values.extend(graph.node(node).results().filter(|value| small(value.ty())).map(ValueRef::id));
        }
    }
    name_and_output(&mut graph, &values, choices);
    graph
}

/// Tensors for the inputs of `graph`, with `batch` 2 and `h` 3. The elements are small.
pub(crate) fn random_inputs(graph: &Graph, choices: &mut Choices) -> NamedTensors {
    let size_of =
        |symbol: SymId| graph.symbols().name(symbol).map(|name| if &**name == "batch" { 2 } else { 3 });
    let mut inputs = NamedTensors::new();
    for input in graph.inputs() {
        let sizes = input.ty().shape.iter().map(|dim| dim.expr().evaluate(&size_of).expect("named") as usize);
        let name = input.name().expect("inputs have names").to_string();
        inputs.insert(name, random_tensor(input.ty().dtype, &sizes.collect::<Vec<_>>(), choices));
    }
    inputs
}

/// The outputs' bytes, or that the run did not finish.
pub(crate) fn run(graph: &Graph, inputs: &NamedTensors) -> Option<Vec<(String, Tensor)>> {
    let outputs = Interpreter::new(graph).with_memory_limit(1 << 24).run(inputs);
    outputs.ok().map(|outputs| outputs.into_iter().collect())
}

fn sources(graph: &mut Graph, choices: &mut Choices) -> Vec<ValueId> {
    let mut values = Vec::new();
    if choices.once_in(2) {
        kit(graph, &mut values);
    }
    for index in 0..=choices.below(4) {
        let dtype = draw_dtype(choices);
        let ty = TensorType::new(dtype, (0..choices.below(5)).map(|_| draw_dim(graph, choices)).collect());
        let binding = *choices.pick(&[Binding::Run, Binding::Adapter]);
        values.push(graph.add_input(&format!("x{index}"), ty, binding, Loc::Built).expect("an input"));
    }
    for _ in 0..3 + choices.below(6) {
        let any = draw_dtype(choices);
        let dtype = *choices.pick(&[DType::I64, DType::I64, DType::F32, DType::I32, DType::Bool, any]);
        let sizes: Vec<usize> = match choices.below(4) {
            0 => vec![],
            3 => (0..choices.below(4)).map(|_| 1 + choices.below(4)).collect(),
            _ => vec![1 + choices.below(4)],
        };
        let tensor = random_tensor(dtype, &sizes, choices);
        values.push(graph.add_constant(&tensor, Loc::Built).expect("a weight"));
    }
    values
}

/// Constants without which convolutions, pooling and quantization would hardly ever fit together.
fn kit(graph: &mut Graph, values: &mut Vec<ValueId>) {
    let mut add = |dtype: DType, sizes: &[usize]| {
        let tensor = random_tensor(dtype, sizes, &mut Choices::new(Vec::new()));
        values.push(graph.add_constant(&tensor, Loc::Built).expect("a weight"));
    };
    for sizes in [&[][..], &[1], &[1, 1, 1], &[1, 1, 1, 1], &[2, 2, 4, 4]] {
        add(DType::F32, sizes);
        add(DType::U8, sizes);
    }
    add(DType::I64, &[2]);
    add(DType::I64, &[2, 2, 4, 4]);
}

fn draw_dtype(choices: &mut Choices) -> DType {
    if choices.once_in(3) { *choices.pick(ALL_DTYPES) } else { DType::F32 }
}

fn draw_dim(graph: &mut Graph, choices: &mut Choices) -> Dim {
    let mut symbol = |name: &str| DimExpr::symbol(graph.symbols_mut().named(name));
    let expr = match choices.below(8) {
        size @ 0..4 => DimExpr::constant(1 + size as i64),
        4 | 5 => symbol("batch"),
        6 => symbol("h"),
        _ => symbol("h").mul(&DimExpr::constant(2)).expect("small"),
    };
    Dim::from_expr(expr).expect("not negative")
}

fn random_tensor(dtype: DType, sizes: &[usize], choices: &mut Choices) -> Tensor {
    let count: usize = sizes.iter().product();
    let start = choices.below(7) as i64 - 2;
    if dtype.is_float() {
        let values: Vec<f32> =
            (0..count).map(|index| ((start + index as i64 * 3) % 7) as f32 * 0.5).collect();
        return Tensor::from_f32(dtype, sizes, &values).expect("as many as asked for");
    }
    let values = (0..count).map(|index| (start + index as i64) % 5).collect();
    Tensor::from_i64(dtype, sizes, values).expect("as many as asked for")
}

fn draw_operands(graph: &Graph, op: &Op, values: &[ValueId], choices: &mut Choices) -> Vec<Option<ValueId>> {
    let mut operands: Vec<Option<ValueId>> = Vec::new();
    for declared in op.def().operands() {
        let count = match declared.arity {
            Arity::Variadic => choices.below(4),
            _ => 1,
        };
        for _ in 0..count {
            let absent = declared.arity == Arity::Optional && !choices.once_in(3);
            operands.push((!absent).then(|| draw_operand(graph, values, &operands, choices)));
        }
    }
    operands
}

/// Any value, or one like the first operand, which more operations accept.
fn draw_operand(
    graph: &Graph,
    values: &[ValueId],
    before: &[Option<ValueId>],
    choices: &mut Choices,
) -> ValueId {
    let Some(Some(first)) = before.first() else { return *choices.pick(values) };
    let like = graph.value(*first).ty();
    let that = |holds: &dyn Fn(&TensorType) -> bool| -> Vec<ValueId> {
        values.iter().copied().filter(|value| holds(graph.value(*value).ty())).collect()
    };
    let alike = match choices.below(4) {
        0 => that(&|ty| ty.dtype == like.dtype),
        1 => that(&|ty| ty == like),
        2 => that(&|ty| ty.dtype == DType::I64),
        _ => Vec::new(),
    };
    if alike.is_empty() { *choices.pick(values) } else { *choices.pick(&alike) }
}

fn name_and_output(graph: &mut Graph, values: &[ValueId], choices: &mut Choices) {
    const NAMES: [&str; 6] = ["y", "/net/Conv_output_0", "12", "a \"b\"\n", "true", "\u{e9}t\u{e9}"];
    for value in values {
        if graph.value(*value).name().is_none() && choices.once_in(3) {
            graph.set_name(*value, NAMES[choices.below(NAMES.len())]);
        }
    }
    let outputs = values.iter().rev().take(12).enumerate();
    let output =
        |(index, value): (usize, &ValueId)| Output { name: format!("out {index}").into(), value: *value };
    graph.set_outputs(outputs.map(output).collect()).expect("all are there");
    graph.metadata_mut().insert("producer".to_owned(), "a \\ \"test\"\u{7}".to_owned());
}

/// Writes small values into attributes of whatever kind they are.
struct Draw<'c> {
    choices: &'c mut Choices,
}

impl AttrVisitor for Draw<'_> {
    fn visit(&mut self, _name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if self.choices.once_in(2) {
            return Ok(());
        }
        let small = |choices: &mut Choices| choices.below(6) as i64 - 2;
        let length = self.choices.below(5);
        let integers: Vec<i64> = (0..length).map(|_| self.choices.below(3) as i64).collect();
        let float = (self.choices.below(5) as f32 - 1.0) * 0.75;
        // One of these is what the field takes, and the first that it takes is kept.
        let attrs = [
            Attr::Int(small(self.choices)),
            Attr::Ints(integers),
            Attr::Float(float.into()),
            Attr::Floats(vec![float.into(); length]),
            Attr::DType(*self.choices.pick(ALL_DTYPES)),
            Attr::Bool(self.choices.once_in(2)),
        ];
        if attrs.iter().any(|attr| value.set_attr(attr).is_ok()) {
            return Ok(());
        }
        // A mode says in its refusal which words it takes.
        let refusal = value.set_attr(&Attr::Str("?".to_owned())).err().unwrap_or_default();
        if let Some(words) = refusal.strip_prefix("one of ") {
            let words: Vec<&str> = words.split(", ").collect();
            let word = Attr::Str((*self.choices.pick(&words)).to_owned());
            value.set_attr(&word).expect("it names its words");
        }
        Ok(())
    }
}
