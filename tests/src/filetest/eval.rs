//! `eval: x = [1, 2], batch = 3, seed = 7`: runs the graph and shows what it computes.
//!
//! An argument gives the elements of an input, the value of a symbolic size, or the seed from which the other inputs are
//! drawn. Sizes that are not given are 2. `@name` picks a graph other than `@main`; `fails` expects an error, which is
//! shown. `decimals = 4` rounds what is shown, for graphs in which the order of a sum, and with it the last digit,
//! depends on the processor.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};

use super::draw::Draw;
use super::{FileTest, Test};

/// See the [module](self).
pub(super) struct Eval;

/// The value of symbolic sizes that are not given.
const SIZE: u64 = 2;

/// Elements of a large result that are shown; the text form writes so many out.
const SHOWN: usize = 16;

impl FileTest for Eval {
    fn name(&self) -> &'static str {
        "eval"
    }

    fn run(&self, test: &mut Test<'_>, arguments: &[String]) -> Result<(), Failed> {
        let settings = Settings::read(test.module()?, arguments)?;
        let inputs = settings.inputs()?;
        let outcome = Interpreter::new(settings.graph).run(&inputs);
        let lines = match (outcome, settings.fails) {
            (Ok(outputs), false) => settings.show(&outputs)?,
            (Err(error), true) => vec![error.to_string()],
            (Err(error), false) => return Err(error.into()),
            (Ok(outputs), true) => return Err(format!("an error is expected, computed {outputs:?}").into()),
        };
        test.story.tell("eval", &arguments.join(", "), lines);
        Ok(())
    }
}

/// The arguments of one `eval`.
pub(super) struct Settings<'m> {
    graph: &'m Graph,
    seed: u64,
    fails: bool,
    decimals: Option<u8>,
    /// The text of elements, and of a type where one is given, by input.
    literals: BTreeMap<String, String>,
    /// Symbolic sizes by name.
    sizes: BTreeMap<String, u64>,
}

impl<'m> Settings<'m> {
    /// Reads `arguments` for a graph of `module`.
    pub(super) fn read(module: &'m Module, arguments: &[String]) -> Result<Self, Failed> {
        let graph = match arguments.iter().find_map(|argument| argument.strip_prefix('@')) {
            Some(name) => module.graph(name).ok_or_else(|| format!("there is no graph @{name}"))?,
            None => module
                .main()
                .ok_or("several graphs, and none is called @main: name one, as in `eval: @pack`")?,
        };
        let (literals, sizes) = (BTreeMap::new(), BTreeMap::new());
        let mut settings = Self { graph, seed: 0, fails: false, decimals: None, literals, sizes };
        arguments.iter().try_for_each(|argument| settings.take(argument))?;
        Ok(settings)
    }

    fn take(&mut self, argument: &str) -> Result<(), Failed> {
        if argument == "fails" {
            self.fails = true;
            return Ok(());
        }
        if argument.starts_with('@') {
            return Ok(());
        }
        let Some((name, value)) = argument.split_once('=') else {
            return Err(format!("`{argument}` is not of the form `name = value`").into());
        };
        let (name, value) = (name.trim().trim_start_matches('%'), value.trim());
        if name == "seed" {
            self.seed = value.parse()?;
        } else if name == "decimals" {
            self.decimals = Some(value.parse()?);
        } else if self.graph.inputs().any(|input| input_name(input) == name) {
            self.literals.insert(name.to_owned(), value.to_owned());
        } else if self.graph.symbols().find(name).is_some() {
            self.sizes.insert(name.to_owned(), value.parse()?);
        } else {
            return Err(format!("`{name}` is neither an input nor a symbolic size").into());
        }
        Ok(())
    }

    /// Whether an error is expected.
    pub(super) fn fails(&self) -> bool {
        self.fails
    }

    /// A tensor for each input.
    pub(super) fn inputs(&self) -> Result<NamedTensors, Failed> {
        let mut draw = Draw::new(self.seed);
        let mut inputs = NamedTensors::new();
        for input in self.graph.inputs() {
            let name = input_name(input);
            let tensor = match self.literals.get(name) {
                Some(literal) => self.literal(input, literal)?,
                None => draw.tensor(input.ty().dtype, &self.sizes_of(input)?)?,
            };
            inputs.insert(name.to_owned(), tensor);
        }
        Ok(inputs)
    }

    /// The tensor that `literal` writes, read as the text form reads weights. Without a type it is that of the input.
    fn literal(&self, input: ValueRef<'_>, literal: &str) -> Result<Tensor, Failed> {
        let typed = if literal.contains(':') {
            literal.to_owned()
        } else {
            format!("{literal} : {}{:?}", input.ty().dtype, self.sizes_of(input)?)
        };
        let text = format!("quad 1\ngraph @literal() {{\n%x = weight {typed}\nreturn \"x\" = %x\n}}");
        let module = text::parse(&text, &NoWeights).map_err(|error| error.show().to_string())?;
        let graph = module.main().ok_or("a literal is one graph")?;
        let mut outputs = Interpreter::new(graph).run(&NamedTensors::new())?;
        Ok(outputs.remove("x").ok_or("a literal is one output")?)
    }

    fn sizes_of(&self, input: ValueRef<'_>) -> Result<Vec<usize>, Failed> {
        let symbols = self.graph.symbols();
        let size_of = |symbol| {
            let given = symbols.name(symbol).and_then(|name| self.sizes.get(&**name));
            Some(given.copied().unwrap_or(SIZE))
        };
        let size = |dim: &quad_ir::types::Dim| {
            let size = dim.expr().evaluate(&size_of).and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| {
                format!("input `{}` has a size that cannot be computed", input_name(input)).into()
            })
        };
        input.ty().shape.iter().map(size).collect()
    }

    /// The outputs in the graph's order, as the text form writes constants.
    fn show(&self, outputs: &NamedTensors) -> Result<Vec<String>, Failed> {
        let mut lines = Vec::new();
        for output in self.graph.outputs() {
            let tensor = outputs.get(&*output.name).ok_or_else(|| format!("no output `{}`", output.name))?;
            lines.push(match self.decimals {
                Some(decimals) => show_tensor(&output.name, &rounded(tensor, decimals)?)?,
                None => show_tensor(&output.name, tensor)?,
            });
        }
        Ok(lines)
    }
}

fn input_name(input: ValueRef<'_>) -> &str {
    input.name().map_or("", |name| &**name)
}

/// `tensor`, which must be `f32`, with so many decimals.
fn rounded(tensor: &Tensor, decimals: u8) -> Result<Tensor, Failed> {
    let factor = 10f64.powi(i32::from(decimals));
    // Adding zero makes a negative zero positive.
    let round = |element: f64| ((element * factor).round() / factor + 0.0) as f32;
    let elements: Vec<f32> = tensor.to_f64()?.into_iter().map(round).collect();
    Ok(Tensor::from_vec(tensor.sizes(), elements)?)
}

/// `"y" = [1.0, 2.0] : f32[2]`; of a large tensor the first elements.
fn show_tensor(name: &str, tensor: &Tensor) -> Result<String, Failed> {
    let shown = head(tensor)?;
    let mut graph = Graph::new("shown");
    let value = graph.add_constant(&shown, Loc::Built)?;
    graph.set_name(value, "shown");
    let printed = text::print_graph(&graph)?;
    let elements = printed.lines().find_map(|line| line.trim_start().strip_prefix("%shown = weight "));
    let elements = elements.and_then(|line| line.rsplit_once(" : ")).map_or("", |(elements, _)| elements);
    let elements = match elements.strip_suffix(']') {
        Some(start) if shown.len() < tensor.len() => format!("{start}, ..]"),
        _ => elements.to_owned(),
    };
    let elements = without_nan_bits(&elements);
    Ok(format!("\"{name}\" = {elements} : {}", tensor.ty()))
}

/// `nan` for each `nan(0xffc00000)`: processors differ in the sign of a NaN that they make.
fn without_nan_bits(elements: &str) -> String {
    let mut parts = elements.split("nan(0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "nan" + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// The first elements of a large tensor, or all of a small one.
fn head(tensor: &Tensor) -> Result<Tensor, Failed> {
    if tensor.len() <= SHOWN {
        return Ok(tensor.clone());
    }
    let bits = tensor.dtype().bits() as usize;
    let bytes = tensor.bytes().slice(..SHOWN * bits / 8);
    Ok(Tensor::new(tensor.dtype(), &[SHOWN], bytes)?)
}
