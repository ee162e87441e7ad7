//! What exporters note of where nodes and weights come from in the program that they exported.
//!
//! The `torch.export` based exporter gives a node the paths of the modules around it, and a constant that its optimizer
//! computed the names of what it was computed from. Both are lists as Python prints them. The older exporter writes the
//! path of the module into the names of its nodes: `/layers.0/to_q/MatMul`.

use quad_ir::attr::{Attr, AttrValue};
use quad_ir::loc::Name;
use quad_ir::ops::source::Binding;
use rustc_hash::FxHashMap;

use super::proto::{GraphProto, NodeProto, StringStringEntryProto, ValueInfoProto};

/// The paths of the modules around a node, outermost first, and last the name of the node in the traced program.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// The names of the values that a constant was computed from.
const FOLDED_FROM: &str = "pkg.onnxscript.optimizer.folded_from";

/// When an input is bound, in files that QUAD writes; the format has no such notion.
const BINDING: &str = "quad.binding";

/// The path of the module that `node` belongs to.
pub(super) fn module_path(node: &NodeProto) -> Option<Name> {
    let Some(scopes) = find(&node.metadata_props, SCOPES) else { return path_in_name(&node.name) };
    let scopes = python_list(scopes)?;
    let (_, modules) = scopes.split_last()?;
    modules.last().filter(|path| !path.is_empty()).map(|path| path.as_str().into())
}

/// What to note at a node called `name` so that reading it gives `path` again; nothing where the name tells.
pub(super) fn note(path: Option<&str>, name: &str) -> Vec<StringStringEntryProto> {
    match path {
        Some(path) if path_in_name(name).as_deref() != Some(path) => {
            let value = format!("['', {}, {}]", python_text(path), python_text(name));
            vec![StringStringEntryProto { key: SCOPES.to_owned(), value }]
        }
        _ => Vec::new(),
    }
}

/// `text` as a literal of Python.
fn python_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// The path that a name such as `/layers.0/to_q/MatMul` has before the operation.
///
/// Modules of a sequence are named by their whole path within it, `/seq/seq.2/seq.2.0/Conv`; the path is said once.
fn path_in_name(name: &str) -> Option<Name> {
    let (modules, _operation) = name.strip_prefix('/')?.rsplit_once('/')?;
    let segments: Vec<&str> = modules.split('/').collect();
    let is_repeated = |index: usize| {
        let rest = segments.get(index + 1).and_then(|next| next.strip_prefix(segments[index]));
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let kept: Vec<&str> =
        (0..segments.len()).filter(|index| !is_repeated(*index)).map(|index| segments[index]).collect();
    Some(kept.join(".").into())
}

/// The paths of the parameters that constants of `graph` were made of, by the constants' names. What several parameters
/// were joined in has none.
pub(super) fn parameter_paths(graph: &GraphProto) -> FxHashMap<&str, Name> {
    let path = |props: &[StringStringEntryProto]| {
        let names = python_list(find(props, FOLDED_FROM)?)?;
        // Values of the program itself have no dots.
        let mut parameters = names.into_iter().filter(|name| name.contains('.'));
        let parameter = parameters.next()?;
        parameters.next().is_none().then(|| Name::from(parameter))
    };
    let values = graph.value_info.iter();
    values.filter_map(|value| Some((value.name.as_str(), path(&value.metadata_props)?))).collect()
}

/// What a file that QUAD wrote says of when an input is bound; at each run where it says nothing.
pub(super) fn binding(input: &ValueInfoProto) -> Binding {
    let mut binding = Binding::default();
    if let Some(word) = find(&input.metadata_props, BINDING) {
        // What is none of its words was written by somebody else.
        let _ = binding.set_attr(&Attr::Str(word.to_owned()));
    }
    binding
}

/// Metadata from which [`binding`] reads `binding` again.
pub(super) fn note_binding(binding: Binding) -> Vec<StringStringEntryProto> {
    match binding.to_attr() {
        Attr::Str(value) if binding != Binding::default() => {
            vec![StringStringEntryProto { key: BINDING.to_owned(), value }]
        }
        _ => Vec::new(),
    }
}

fn find<'p>(props: &'p [StringStringEntryProto], key: &str) -> Option<&'p str> {
    props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

/// The texts of a list as Python prints it: `['', "it's", 'a.b']`. `None` when it is none.
fn python_list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim_start();
    let mut items = Vec::new();
    while let Some(quote) = rest.chars().next() {
        if quote != '\'' && quote != '"' {
            return None;
        }
        let (item, after) = quoted(&rest[1..], quote)?;
        items.push(item);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(items)
}

/// The text up to the closing `quote`, and what follows that.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            // Names have no other escapes that matter here.
            '\\' => item.push(characters.next()?.1),
            _ if character == quote => return Some((item, &text[at + 1..])),
            _ => item.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Vec<StringStringEntryProto> {
        vec![StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }]
    }

    #[test]
    fn bindings_are_noted_and_read_again() {
        for binding in [Binding::Run, Binding::Adapter] {
            let input = ValueInfoProto { metadata_props: note_binding(binding), ..ValueInfoProto::default() };
            assert_eq!(super::binding(&input), binding);
        }
        let strange =
            ValueInfoProto { metadata_props: entry(BINDING, "sometimes"), ..ValueInfoProto::default() };
        assert_eq!(super::binding(&strange), Binding::Run);
    }

    #[test]
    fn lists_are_read_as_python_prints_them() {
        let texts = |list: &str| python_list(list).map(|items| items.join("|"));
        assert_eq!(texts("['', 'a.b', \"it's\"]").as_deref(), Some("|a.b|it's"));
        assert_eq!(texts("[]").as_deref(), Some(""));
        assert_eq!(texts(r"['a\'b\\c']").as_deref(), Some(r"a'b\c"));
        for broken in ["", "[", "['a'", "['a]", "['a' 'b']", "[1]", "['a\\"] {
            assert_eq!(texts(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_module_is_the_last_scope_but_one() {
        let path = |scopes: &str| {
            let node = NodeProto { metadata_props: entry(SCOPES, scopes), ..NodeProto::default() };
            module_path(&node).map(|path| path.to_string())
        };
        assert_eq!(path("['', 'a', 'a.to_q', 'linear_3']").as_deref(), Some("a.to_q"));
        assert_eq!(path("['', 'add_1']"), None, "of the model itself");
        assert_eq!(path("broken"), None);
        assert_eq!(module_path(&NodeProto::default()), None);
    }

    #[test]
    fn names_of_nodes_begin_with_the_module() {
        for (name, path) in [
            ("/layers.0/to_q/MatMul", Some("layers.0.to_q")),
            ("/layers.0/to_q/MatMul_1", Some("layers.0.to_q")),
            ("/seq/seq.2/seq.2.0/Conv", Some("seq.2.0")),
            ("/to_out/to_out.0/MatMul", Some("to_out.0")),
            ("/Add", None),
            ("Conv_12", None),
            ("", None),
        ] {
            assert_eq!(path_in_name(name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn what_is_noted_is_read_again() {
        for (path, name) in
            [(Some("a.to_q"), "n1"), (Some("it's.a\\b"), ""), (Some("a.b"), "/a/b/MatMul"), (None, "x")]
        {
            let node =
                NodeProto { name: name.to_owned(), metadata_props: note(path, name), ..NodeProto::default() };
            assert_eq!(module_path(&node).as_deref(), path);
        }
        assert!(note(Some("a.b"), "/a/b/MatMul").is_empty(), "the name tells");
    }

    #[test]
    fn a_constant_made_of_one_parameter_has_its_path() {
        let value = |name: &str, from: &str| super::super::proto::ValueInfoProto {
            name: name.to_owned(),
            metadata_props: entry(FOLDED_FROM, from),
            ..Default::default()
        };
        let graph = GraphProto {
            value_info: vec![
                value("val_1", "['a.to_q.weight']"),
                value("val_2", "['a.weight_g', 'a.weight_v', 'val_7']"),
                value("val_3", "['val_2']"),
            ],
            ..GraphProto::default()
        };
        let paths = parameter_paths(&graph);
        assert_eq!(paths.len(), 1);
        assert_eq!(&*paths["val_1"], "a.to_q.weight");
    }
}
