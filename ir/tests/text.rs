//! The text form: what is printed can be parsed back, and what cannot be parsed is explained.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Add, MatMul, Relu, ShapeOf};
use quad_ir::tensor::Tensor;
use quad_ir::text::{
    MemoryWeights, NoWeights, ParseError, WeightSource, parse, print, read_files, write_files,
};
use quad_ir::types::{Dim, Quant, Shape, TensorType};

/// Prints, parses and prints again: both texts must be the same.
fn same_after_parsing(module: &Module, weights: &dyn WeightSource) -> String {
    let text = print(module).expect("prints");
    let parsed = parse(&text, weights).unwrap_or_else(|error| panic!("{error}\n{}\n\n{text}", error.show()));
    assert_eq!(print(&parsed).expect("prints again"), text);
    text
}

fn round_trip(text: &str) {
    let module = parse(text, &NoWeights).unwrap_or_else(|error| panic!("{error}\n{}", error.show()));
    assert_eq!(print(&module).expect("prints"), text);
}

fn error(text: &str) -> ParseError {
    parse(text, &NoWeights).expect_err("must be refused")
}

#[test]
fn a_graph_with_everything() {
    round_trip(
        r#"quad 1

graph @main(%x: f32[batch, 2*h + 1], %a: f32[8, 320] adapter, %"odd name": u8[4] quant(scale = [0.02, 0.5], zero_point = [128, 0], axis = 0, of = f32)) {
  meta "producer" = "a \"b\"\n\\"
  %shape = weight [0, -1] : i64[2]
  %none = weight [] : f32[0, 3]
  %tiny = weight [0.1, -0.0, 65500.0, inf, nan, nan(0xfe01)] : f16[6]
  %flags = weight [true, false] : bool[2]
  %codes = weight [-8, 7, 1] : i4[3]
  %0 = relu(%x) : f32[batch, 2*h + 1]
  %y = reshape(%0, %shape) {allowzero = true} : f32[0, ?0]
  %1 = shape_of(%x) {start = 1} : i64[1]
  return "out" = %y, "rank" = %1, "again" = %y
}

graph @"the pack"(%z: f32[]) {
  return "z" = %z
}
"#,
    );
}

#[test]
fn the_examples_of_the_documentation_are_printed_like_that() {
    let page = include_str!("../../docs/text-format.md");
    let mut examples = 0;
    for block in page.split("```quad\n").skip(1) {
        let (example, _) = block.split_once("```").expect("the end of the block");
        let without_comments: String =
            example.split_inclusive('\n').filter(|line| !line.starts_with("//")).collect();
        let module = parse(example, &NoWeights).unwrap_or_else(|error| panic!("{error}\n{}", error.show()));
        assert_eq!(print(&module).expect("prints"), without_comments);
        module.graphs.iter().for_each(|graph| quad_ir::verify::verify(graph).expect("a graph"));
        examples += 1;
    }
    assert_eq!(examples, 2);
}

#[test]
fn an_empty_module_and_an_empty_graph() {
    round_trip("quad 1\n");
    round_trip("quad 1\n\ngraph @main() {\n  return\n}\n");
}

#[test]
fn what_is_built_is_printed() {
    let mut graph = Graph::new("main");
    let batch = Dim::Sym(graph.symbols_mut().named("batch size"));
    let ty = TensorType::new(DType::F32, Shape::from_iter([batch, Dim::Known(2)]));
    let x = graph.add_input("x.0", ty, Binding::Run, Loc::Built).expect("an input");
    let w = Tensor::from_vec(&[2, 10], (0..20u8).map(f32::from).collect()).expect("20 elements");
    let w = graph.add_constant(&w, Loc::Built).expect("a weight");
    let product = graph.add_value(MatMul, &[x, w], Loc::Built).expect("typed");
    let y = graph.add_value(Relu, &[product], Loc::Built).expect("typed");
    graph.set_name(w, "1");
    graph.set_name(y, "/net/Relu_output_0");
    graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("y is there");
    let weights = MemoryWeights::of(graph.weights()).expect("read");
    let text = same_after_parsing(&Module { graphs: vec![graph] }, &weights);
    let expected = r#"quad 1

graph @main(%x.0: f32["batch size", 2]) {
  %"1" = weight "D" : f32[2, 10]
  %0 = matmul(%x.0, %"1") : f32["batch size", 10]
  %"/net/Relu_output_0" = relu(%0) : f32["batch size", 10]
  return "y" = %"/net/Relu_output_0"
}
"#;
    let (before, digest) = text.split_once("weight \"").expect("a digest");
    let (digest, after) = digest.split_once('"').expect("its end");
    assert_eq!(digest.len(), 32);
    assert_eq!(format!("{before}weight \"D\"{after}"), expected);
}

#[test]
fn nameless_sizes_are_numbered_as_they_are_printed() {
    let mut graph = Graph::new("main");
    let (second, first) = (graph.symbols_mut().fresh(), graph.symbols_mut().fresh());
    let ty = |dims: [Dim; 2]| TensorType::new(DType::F32, Shape::from_iter(dims));
    let x = ty([Dim::Sym(first), Dim::Sym(second)]);
    let x = graph.add_input("x", x, Binding::Run, Loc::Built).expect("an input");
    let shape = graph.add_value(ShapeOf::default(), &[x], Loc::Built).expect("typed");
    graph.set_outputs(vec![Output { name: "shape".into(), value: shape }]).expect("it is there");
    let text = same_after_parsing(&Module { graphs: vec![graph] }, &NoWeights);
    assert!(text.contains("%x: f32[?0, ?1]"), "{text}");
}

#[test]
fn a_statement_refines_what_the_rule_does_not_know() {
    let text = "quad 1\ngraph @main(%x: f32[6], %shape: i64[2]) {
        %y = reshape(%x, %shape) : f32[rows, 3]
        %z = add(%y, %y) : f32[rows, 3]
        return \"z\" = %z
    }";
    let module = parse(text, &NoWeights).expect("reshape says nothing of the sizes");
    let graph = module.main().expect("one graph");
    let z = graph.find("z").expect("named");
    assert_eq!(z.ty().shape[1], Dim::Known(3));
    assert_eq!(z.ty().shape[0], Dim::Sym(graph.symbols().find("rows").expect("named")));
    assert_eq!(z.producer().loc(), &Loc::Text { line: 4, path: None });
}

#[test]
fn quantized_inputs_keep_their_encoding() {
    let text = "quad 1\ngraph @main(%x: i8[3, 2] quant(axis = 1, zero_point = [0, -3], scale = [1e-3, 1.0])) { return }";
    let module = parse(text, &NoWeights).expect("a graph");
    let quant = module.graphs[0].find("x").expect("x").ty().quant.clone().expect("quantized");
    let expected = Quant {
        axis: Some(1),
        block: None,
        scales: [0.001f32.into(), 1.0.into()].into(),
        zero_points: [0, -3].into(),
        expressed: DType::F32,
    };
    assert_eq!(*quant, expected);
}

#[test]
fn files_keep_every_type() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut graph = Graph::new("main");
    let mut outputs = Vec::new();
    for dtype in quad_ir::dtype::ALL_DTYPES.iter().copied() {
        let bytes: Vec<u8> = (0..dtype.byte_len(33).expect("small")).map(|byte| byte as u8 % 2).collect();
        let tensor = Tensor::new(dtype, &[3, 11], bytes.into()).expect("33 elements");
        let value = graph.add_constant(&tensor, Loc::Built).expect("a weight");
        graph.set_name(value, dtype.name());
        outputs.push(Output { name: dtype.name().into(), value });
    }
    graph.set_outputs(outputs).expect("all are there");
    let second = graph.clone();
    let module = Module { graphs: vec![graph, Graph::new("pack")] };
    let path = folder.path().join("m.quad");
    write_files(&path, &module).expect("written");
    let read = read_files(&path).expect("read");
    assert_eq!(print(&read).expect("prints"), print(&module).expect("prints"));
    for (before, after) in second.outputs().iter().zip(read.graphs[0].outputs()) {
        let weight = |graph: &Graph, output: &Output| {
            graph.weights().tensor(graph.value(output.value).weight().expect("a weight")).expect("read")
        };
        assert_eq!(weight(&second, before), weight(&read.graphs[0], after), "{}", before.name);
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").flatten().collect();
    assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
    std::fs::remove_file(folder.path().join("m.quad.safetensors")).expect("removed");
    let error = read_files(&path).expect_err("the weights are gone").to_string();
    assert!(error.contains("m.quad.safetensors`, which would have them, does not exist"), "{error}");
}

#[test]
fn damaged_weight_files_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("m.quad");
    std::fs::write(&path, "quad 1\ngraph @main() { return }").expect("written");
    let sidecar = folder.path().join("m.quad.safetensors");
    let huge = [&(1u64 << 62).to_le_bytes()[..], b"{}"].concat();
    for bytes in [&b""[..], b"1234567", &huge, b"\x08\0\0\0\0\0\0\0notjson!", b"\x02\0\0\0\0\0\0\0{}rest"] {
        std::fs::write(&sidecar, bytes).expect("written");
        let error = read_files(&path).expect_err("no safetensors file").to_string();
        assert!(error.contains("not a safetensors file"), "{error}");
    }
    std::fs::write(&path, [b'q', 0xff]).expect("written");
    assert!(
        read_files(&path).expect_err("no text").to_string().ends_with("not a text in UTF-8: byte 1 is 0xff")
    );
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let tensor = Tensor::zeros(DType::F32, &[20]).expect("small");
    let mut graph = Graph::new("main");
    graph.add_constant(&tensor, Loc::Built).expect("a weight");
    let weights = MemoryWeights::of(graph.weights()).expect("read");
    let text = print(&Module { graphs: vec![graph] }).expect("prints");
    let longer = text.replace("f32[20]", "f32[21]");
    let error = parse(&longer, &weights).expect_err("the bytes are fewer").to_string();
    assert!(error.ends_with("f32[21] needs 84 bytes, found 80"), "{error}");
    let error = parse(&text, &NoWeights).expect_err("no bytes").to_string();
    assert!(
        error.ends_with("(f32[20]) are not there; the text was read without a file of weights"),
        "{error}"
    );
}

#[test]
fn an_error_shows_the_line() {
    let text = "quad 1\n\ngraph @main(%x: f32[4]) {\n  %y = relu(%z) : f32[4]\n  return\n}\n";
    let error = error(text);
    assert_eq!(error.to_string(), "line 4, column 13: the value %z is not defined above");
    assert_eq!(
        error.show().to_string(),
        "  |   %y = relu(%z) : f32[4]\n4 |             ^ the value %z is not defined above"
    );
}

#[test]
fn errors_say_what_would_be_right() {
    let node = |node: &str| {
        let text = format!("quad 1\ngraph @g(%x: f32[batch, 4], %n: i64[4]) {{\n{node}\nreturn\n}}");
        let error = error(&text);
        assert!(error.line >= 3, "{error}");
        format!("{}: {}", error.column, error.kind)
    };
    let cases = [
        ("%y = rellu(%x) : f32[4]", "6: there is no operation `rellu`; did you mean `relu`?"),
        ("%y = relu(%x) {alpha = 1.0} : f32[4]", "24: `relu`: unknown attribute `alpha`; known are: "),
        (
            "%y = reshape(%x, %n) {allowzero = 3} : f32[4]",
            "35: `reshape`: attribute `allowzero` is 3, expected true or false",
        ),
        (
            "%y = add(%x, %n) : f32[4]",
            "14: `add`: operand `b`: i64[4] does not fit, expected elements of f32 like operand `a`",
        ),
        ("%y = add(%x) : f32[4]", "6: `add`: operand `b` is missing"),
        ("%y = relu(%x, %x) : f32[4]", "6: `relu`: 2 operands given, the operation has 1"),
        ("%y = relu(%x) : f32[3, 4]", "17: the result is f32[batch, 4], but f32[3, 4] is written"),
        ("%y = relu(%x) : f32[other, 4]", "17: the result is f32[batch, 4], but f32[other, 4] is written"),
        ("%y, %z = relu(%x) : f32[batch, 4]", "10: `relu` has 1 results, found 2 names and types"),
        ("%x = relu(%x) : f32[batch, 4]", "1: the value %x is there already"),
        ("%y = weight [1, 2] : f32[3]", "22: `f32[3]` is not a type with the 2 elements that are written"),
        ("%y = weight [1.5] : i64[1]", "14: `1.5` is not an element of i64"),
        ("%y = weight \"12\" : i64[1]", "13: `12` is not a digest of 32 hexadecimal digits"),
        ("%y = weight 300 : u8[]", "13: `300` is not an element of u8"),
        (
            "%y = input() : u8[]",
            "6: found `input`, expected another operation: inputs are listed after the graph's name",
        ),
        ("%y = relu(%x) : f32[99999999999999999999]", "21: `99999999999999999999` is not a size"),
        ("relu(%x)", "1: found `relu`, expected a node such as `%y = relu(%x) : f32[4]`, `meta` or `return`"),
        ("%y = relu(%x : f32[4]", "14: found `:`, expected `)`"),
    ];
    for (text, expected) in cases {
        assert_eq!(node(text), expected, "of {text}");
    }
}

#[test]
fn whole_texts_are_refused() {
    let cases = [
        ("", "found the end of the text, expected `quad 1`, with which every text starts"),
        ("graph @main() { return }", "found `graph`, expected `quad 1`, with which every text starts"),
        ("quad 2", "version `2` of the text form is not known; this program reads version 1"),
        ("quad 1 graph @a() { return } graph @a() { return }", "graph @a is there already"),
        (
            "quad 1 graph @a(%0: f32[]) { return }",
            "found the value %0, expected an input with a name, such as %x",
        ),
        ("quad 1 graph @a(%x: f32[] later) { return }", "found `later`, expected one of run, adapter"),
        (
            "quad 1 graph @a(%x: f32[1099511627776, 1099511627776]) { return }",
            "is not a size that a tensor may have",
        ),
        ("quad 1 graph @a(%x: f32[h - h - 1]) { return }", "it is negative, or larger than 2^63"),
        ("quad 1 graph @a(%x: f32[9223372036854775807*9*h]) { return }", "is not a size below 2^63"),
        (
            "quad 1 graph @a(%x: u8[] quant(scale = [0.0], zero_point = [1])) { return }",
            "scale 0.0 is not a positive number",
        ),
        ("quad 1 graph @a(%x: u8[] quant(scale = [1.0])) { return }", "1 scales and 0 zero points"),
        ("quad 1 graph @a() { return \"a\" = %x }", "the value %x is not defined above"),
        (
            "quad 1 graph @a() { meta \"k\" = \"1\" meta \"k\" = \"2\" return }",
            "metadata \"k\" is there already",
        ),
        ("quad 1 graph @a() {", "found the end of the text"),
    ];
    for (text, expected) in cases {
        let message = error(text).to_string();
        assert!(message.contains(expected), "{message:?} of {text:?} lacks {expected:?}");
    }
}

#[test]
fn too_much_is_refused() {
    let terms = (0..2000).map(|number| format!("a{number}")).collect::<Vec<_>>().join(" + ");
    let text = format!("quad 1 graph @a(%x: f32[{terms}]) {{ return }}");
    assert!(error(&text).to_string().contains("terms of a size: more than 1024 are refused"));
    let factors = "a*".repeat(100);
    let text = format!("quad 1 graph @a(%x: f32[{factors}a]) {{ return }}");
    assert!(error(&text).to_string().contains("factors of a size: more than 64 are refused"));
    let axes = "1, ".repeat(33);
    let text = format!("quad 1 graph @a(%x: f32[{axes}]) {{ return }}");
    assert!(error(&text).to_string().contains("axes: more than 32 are refused"));
    let operands = "%x, ".repeat(5000);
    let text = format!("quad 1 graph @a(%x: f32[1]) {{ %y = concat({operands}) : f32[1] return }}");
    assert!(error(&text).to_string().contains("operands of a node: more than 4096 are refused"));
    let elements = "1, ".repeat(17);
    let text = format!("quad 1 graph @a() {{ %x = weight [{elements}] : u8[17] return }}");
    assert!(error(&text).to_string().contains("elements written out: more than 16 are refused"));
    let text = " ".repeat((16 << 20) + 1);
    assert!(error(&text).to_string().contains("bytes of text: more than 16777216 are refused"));
}

#[test]
fn names_are_told_from_numbers() {
    let mut graph = Graph::new("main");
    let ty = TensorType::known(DType::F32, &[2]);
    let x = graph.add_input("0", ty, Binding::Adapter, Loc::Built).expect("an input");
    let y = graph.add_value(Add, &[x, x], Loc::Built).expect("typed");
    let z = graph.add_value(Add, &[y, x], Loc::Built).expect("typed");
    graph.set_name(z, "true");
    graph.set_outputs(vec![Output { name: "0".into(), value: z }]).expect("z is there");
    let text = same_after_parsing(&Module { graphs: vec![graph] }, &NoWeights);
    assert!(text.contains("(%\"0\": f32[2] adapter)"), "{text}");
    assert!(text.contains("%0 = add(%\"0\", %\"0\") : f32[2]\n  %true = add(%0, %\"0\")"), "{text}");
}

#[test]
fn paths_are_kept() {
    let text = "quad 1\n\ngraph @main(%x: f32[2, 2]) {
  %w = weight [1, 2, 3, 4] : f32[2, 2] from \"a.to_q.weight\"
  %y = matmul(%x, %w) : f32[2, 2] from \"a.to_q\"
  %z = relu(%y) : f32[2, 2]
  return \"z\" = %z
}\n";
    let module = parse(text, &NoWeights).expect("a graph");
    let graph = module.main().expect("one graph");
    let path = |name: &str| graph.find(name).expect("named").producer().loc().path().map(ToString::to_string);
    assert_eq!(
        [path("w"), path("y"), path("z")],
        [Some("a.to_q.weight".into()), Some("a.to_q".into()), None]
    );
    assert_eq!(print(&module).expect("small weights"), text.replace("[1, 2, 3, 4]", "[1.0, 2.0, 3.0, 4.0]"));
    let error = parse(&text.replace("from \"a.to_q\"", "from a"), &NoWeights).expect_err("no quotes");
    assert!(error.to_string().contains("a path in quotes"), "{error}");
}
