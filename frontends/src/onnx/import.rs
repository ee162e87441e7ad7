//! From the messages of a file to a typed graph.
//!
//! Nodes are taken in file order. Each goes through the row of the [table](super::table) for its operation, or, when
//! the model defines a function of its name, through the function's body. Opset differences end here: the rows leave
//! one meaning.

use std::path::Path;

use quad_ir::graph::{Graph, Output, ValueId};
use quad_ir::loc::{Loc, Name};
use quad_ir::module::Module;
use quad_ir::types::TensorType;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::context::{Attributes, NodeContext, Values};
use super::error::{ContentsError, ImportError, NodeError};
use super::external::{ExternalData, ExternalFiles};
use super::file::ModelFile;
use super::functions::{self, Functions};
use super::header::{check_opsets, declared_dtype, metadata, opsets, same_domain, type_of_input};
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::tensor::{contents, is_external, type_of_proto};
use super::{origin, schema, survey, table};

/// Nodes beyond which an import stops: functions and loops that unfold without end must not exhaust memory.
const MAX_NODES: usize = 50_000;

/// Calls of functions and subgraphs within each other beyond which an import stops.
const MAX_DEPTH: usize = 64;

/// Reads the model at `path`. Contents of tensors stay in their files.
pub fn import(path: &Path) -> Result<Module, ImportError> {
    let file = ModelFile::read(path)?;
    check_opsets(&file.model, &file.graph)?;
    if let Some(name) = functions::defined_twice(&file.model.functions) {
        return Err(ImportError::Model(format!("function `{name}` is defined twice")));
    }
    let unsupported = survey::unsupported_ops(&file.model, &file.graph);
    if !unsupported.is_empty() {
        return Err(ImportError::UnsupportedOps(unsupported));
    }
    let mut importer = Importer::new(path, &file)?;
    importer.import_main(&file.graph)?;
    Ok(Module { graphs: vec![importer.graph] })
}

/// The values that names mean at one place: of a graph, of a subgraph in it, or of a function's body.
#[derive(Default)]
pub(crate) struct Scope<'p> {
    values: FxHashMap<&'p str, ValueId>,
    /// Put before names of nodes and values, so that those of an inlined body stay apart.
    prefix: String,
    /// Attributes of the function call that is being inlined.
    attributes: Attributes<'p>,
}

/// The state of an import.
pub(crate) struct Importer<'p> {
    pub(crate) graph: Graph,
    file: &'p ModelFile,
    functions: Functions<'p>,
    external: ExternalFiles,
    scopes: Vec<Scope<'p>>,
    /// Scopes below this index are not visible: a function's body sees no caller's values.
    floor: usize,
    opsets: Vec<(&'p str, i64)>,
    nodes: usize,
    limit: usize,
    depth: usize,
}

impl<'p> Importer<'p> {
    fn new(path: &Path, file: &'p ModelFile) -> Result<Self, ImportError> {
        let name = if file.graph.name.is_empty() { "main" } else { &file.graph.name };
        let mut graph = Graph::new(name);
        for (key, value) in metadata(&file.model) {
            graph.metadata_mut().insert(key, value);
        }
        Ok(Self {
            graph,
            file,
            functions: Functions::new(&file.model.functions),
            external: ExternalFiles::beside(path)?,
            scopes: vec![Scope::default()],
            floor: 0,
            opsets: opsets(&file.model.opset_import),
            nodes: 0,
            // A file may hold more nodes than its functions and loops may add.
            limit: file.graph.node.len().saturating_add(MAX_NODES),
            depth: 0,
        })
    }

    fn import_main(&mut self, graph: &'p GraphProto) -> Result<(), ImportError> {
        self.import_initializers(graph)?;
        let mut seen = FxHashSet::default();
        for input in &graph.input {
            let wrong = |why: &str| ImportError::Input { name: input.name.clone(), why: why.to_owned() };
            if input.name.is_empty() {
                return Err(wrong("has no name"));
            }
            if !seen.insert(&input.name) {
                return Err(wrong("is listed twice"));
            }
            // Files before IR version 4 list initializers among the inputs.
            if self.find(&input.name).is_none() {
                self.import_input(input)?;
            }
        }
        self.import_nodes(&graph.node)?;
        let outputs: Result<Vec<Output>, ImportError> =
            graph.output.iter().map(|output| self.output(output)).collect();
        self.graph.set_outputs(outputs?).map_err(|error| ImportError::Model(error.to_string()))
    }

    /// The value of an output, whose element type must be the one that the file declares.
    fn output(&self, output: &'p ValueInfoProto) -> Result<Output, ImportError> {
        let name = &output.name;
        let value = self
            .find(name)
            .ok_or_else(|| ImportError::Output { name: name.clone(), hint: self.hint(name) })?;
        let found = self.graph.value(value).ty().dtype;
        match declared_dtype(output) {
            Some(declared) if declared != found => {
                Err(ImportError::OutputType { name: name.clone(), declared, found })
            }
            _ => Ok(Output { name: Name::from(name.as_str()), value }),
        }
    }

    /// Adds the weights of `graph` and names them.
    pub(super) fn import_initializers(&mut self, graph: &'p GraphProto) -> Result<(), ImportError> {
        let paths = origin::parameter_paths(graph);
        for tensor in &graph.initializer {
            let error =
                |error| ImportError::Initializer { name: tensor.name.clone(), error: Box::new(error) };
            let ty = type_of_proto(tensor).map_err(error)?;
            let weight = self.add_weight(tensor, ty).map_err(error)?;
            let path = paths.get(tensor.name.as_str()).cloned();
            let loc = Loc::Source { node: tensor.name.as_str().into(), op_type: "initializer".into(), path };
            let value =
                self.graph.add_weight(weight, loc).map_err(|why| ImportError::Model(why.to_string()))?;
            self.define(&tensor.name, value)
                .map_err(|why| ImportError::Model(format!("initializer `{}`: {why}", tensor.name)))?;
        }
        match graph.sparse_initializer.first() {
            Some(sparse) => {
                let name = sparse.values.as_ref().map_or("", |values| &values.name);
                Err(ImportError::Model(format!(
                    "initializer `{name}` is sparse, which is not supported; export it dense"
                )))
            }
            None => Ok(()),
        }
    }

    fn add_weight(
        &mut self,
        tensor: &TensorProto,
        ty: TensorType,
    ) -> Result<quad_ir::weights::WeightId, ContentsError> {
        let weights = self.graph.weights_mut();
        if is_external(tensor) {
            let ExternalData { file, range } =
                self.external.resolve(tensor, ty.byte_len().unwrap_or(u64::MAX))?;
            return Ok(weights.add_file(ty, file, range)?);
        }
        let bytes = contents(tensor, &ty)?;
        // A view of the mapped file is kept as a range of it, so that it can be copied without being mapped in.
        Ok(match self.file.mapped.range_of(&bytes) {
            Some(range) => weights.add_file(ty, self.file.mapped.clone(), range)?,
            None => weights.add_memory(ty, bytes)?,
        })
    }

    fn import_input(&mut self, input: &'p ValueInfoProto) -> Result<(), ImportError> {
        let error = |why: String| ImportError::Input { name: input.name.clone(), why };
        let ty = type_of_input(self.graph.symbols_mut(), input)?;
        let loc = Loc::Source { node: input.name.as_str().into(), op_type: "input".into(), path: None };
        let value = self.graph.add_input(&input.name, ty, origin::binding(input), loc);
        let value = value.map_err(|why| error(why.to_string()))?;
        self.define(&input.name, value).map_err(|why| error(why.to_string()))
    }

    /// Imports `nodes` in order.
    pub(super) fn import_nodes(&mut self, nodes: &'p [NodeProto]) -> Result<(), ImportError> {
        nodes.iter().enumerate().try_for_each(|(index, node)| self.import_node(index, node))
    }

    fn import_node(&mut self, index: usize, node: &'p NodeProto) -> Result<(), ImportError> {
        let name = self.node_name(index, node);
        let opset = self.opset(&node.domain);
        let import = |importer: &mut Self| -> Result<(), NodeError> {
            importer.count_node()?;
            let operands = importer.operands(node)?;
            let values = importer.dispatch(node, &name, opset, operands)?;
            importer.define_outputs(node, &values)
        };
        import(self).map_err(|error| ImportError::Node {
            node: name.clone(),
            op_type: node.op_type.clone(),
            opset,
            error: Box::new(error),
        })
    }

    fn dispatch(
        &mut self,
        node: &'p NodeProto,
        name: &str,
        opset: i64,
        operands: SmallVec<[Option<ValueId>; 4]>,
    ) -> Result<Values, NodeError> {
        let attributes = self.attributes(node)?;
        if let Some(function) = self.functions.called_by(node) {
            return self.inline_function(function, name, &operands, attributes);
        }
        let Some(row) = table::find(&node.domain, &node.op_type) else {
            return Err(NodeError::Unsupported(format!("operation `{}`", node.op_type)));
        };
        if row.domain.is_empty() {
            schema::check(node, opset)?;
        }
        let mut context = NodeContext {
            opset,
            operands,
            output_count: node.output.len(),
            attributes,
            read: std::cell::RefCell::default(),
            loc: Loc::Source {
                node: name.into(),
                op_type: node.op_type.as_str().into(),
                path: origin::module_path(node),
            },
            importer: self,
        };
        let values = (row.import)(&mut context)?;
        let unread = context.unread();
        if unread.is_empty() { Ok(values) } else { Err(NodeError::Unread(unread)) }
    }

    /// The node's attributes, references to the enclosing function's attributes followed.
    fn attributes(&self, node: &'p NodeProto) -> Result<Attributes<'p>, NodeError> {
        let mut attributes = Attributes::default();
        for attribute in &node.attribute {
            let referred = &attribute.ref_attr_name;
            let value = if referred.is_empty() {
                Some(attribute)
            } else if self.floor == 0 {
                let (name, referred) = (attribute.name.clone(), referred.clone());
                return Err(NodeError::LooseReference { name, referred });
            } else {
                // A function may leave an attribute to the operation's own default.
                self.scopes.last().and_then(|scope| scope.attributes.get(referred.as_str()).copied())
            };
            let Some(value) = value else { continue };
            if attributes.insert(&attribute.name, value).is_some() {
                return Err(NodeError::Unsupported(format!("attribute `{}` is given twice", attribute.name)));
            }
        }
        Ok(attributes)
    }

    fn inline_function(
        &mut self,
        function: &'p super::proto::FunctionProto,
        name: &str,
        operands: &[Option<ValueId>],
        mut attributes: Attributes<'p>,
    ) -> Result<Values, NodeError> {
        if operands.len() > function.input.len() {
            let expected = function.input.len().to_string();
            return Err(NodeError::Inputs { found: operands.len(), expected });
        }
        for default in &function.attribute_proto {
            attributes.entry(&default.name).or_insert(default);
        }
        let mut scope = Scope { prefix: format!("{name}/"), attributes, ..Scope::default() };
        for (parameter, operand) in function.input.iter().zip(operands) {
            if let Some(value) = operand {
                scope.values.insert(parameter, *value);
            }
        }
        let outer_opsets = self.opsets.clone();
        let mut inner = opsets(&function.opset_import);
        // A function may leave out the sets that the model imports.
        inner.retain(|(domain, _)| !domain.is_empty() || !function.opset_import.is_empty());
        self.opsets = inner.into_iter().chain(outer_opsets.iter().copied()).collect();
        let outer_floor = std::mem::replace(&mut self.floor, self.scopes.len());
        let result = self.within(scope, |importer| {
            importer.import_nodes(&function.node)?;
            Ok(function.output.iter().map(|output| importer.find(output)).collect::<Option<Values>>())
        });
        self.floor = outer_floor;
        self.opsets = outer_opsets;
        result?.ok_or_else(|| {
            NodeError::Unsupported(format!(
                "function `{}` names an output that it does not produce",
                function.name
            ))
        })
    }

    /// Runs `body` with the names of `scope` added to those that are visible.
    pub(super) fn within<T>(
        &mut self,
        scope: Scope<'p>,
        body: impl FnOnce(&mut Self) -> Result<T, ImportError>,
    ) -> Result<T, NodeError> {
        if self.depth == MAX_DEPTH {
            return Err(NodeError::Unsupported(format!(
                "functions and subgraphs more than {MAX_DEPTH} deep; does one call itself?"
            )));
        }
        self.depth += 1;
        self.scopes.push(scope);
        let result = body(self);
        let scope = self.scopes.pop();
        self.depth -= 1;
        let within = scope.map(|scope| scope.prefix.trim_end_matches('/').to_owned()).unwrap_or_default();
        result.map_err(|error| NodeError::Inner { within: format!("`{within}`"), error: Box::new(error) })
    }

    /// A scope for the body `name` of the node at hand that sees what is visible now, with `values` added.
    pub(super) fn subgraph_scope(
        &self,
        name: &str,
        values: impl IntoIterator<Item = (&'p str, ValueId)>,
    ) -> Scope<'p> {
        let attributes = self.scopes.last().map(|scope| scope.attributes.clone()).unwrap_or_default();
        Scope { values: values.into_iter().collect(), prefix: format!("{name}/"), attributes }
    }

    /// The value called `name` here.
    pub(super) fn find(&self, name: &str) -> Option<ValueId> {
        self.scopes[self.floor..].iter().rev().find_map(|scope| scope.values.get(name).copied())
    }

    fn operands(&self, node: &'p NodeProto) -> Result<SmallVec<[Option<ValueId>; 4]>, NodeError> {
        let operand = |name: &'p String| match name.as_str() {
            "" => Ok(None),
            name => match self.find(name) {
                Some(value) => Ok(Some(value)),
                None => Err(NodeError::Undefined { name: name.to_owned() }),
            },
        };
        let mut operands: SmallVec<[Option<ValueId>; 4]> =
            node.input.iter().map(operand).collect::<Result<_, _>>()?;
        while operands.last() == Some(&None) {
            operands.pop();
        }
        Ok(operands)
    }

    fn define_outputs(&mut self, node: &'p NodeProto, values: &[ValueId]) -> Result<(), NodeError> {
        let named = node.output.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        if named > values.len() {
            return Err(NodeError::Outputs { found: named, expected: values.len().to_string() });
        }
        for (name, value) in node.output.iter().zip(values) {
            if !name.is_empty() {
                self.define(name, *value)?;
            }
        }
        Ok(())
    }

    /// Gives `value` the name `name` here.
    fn define(&mut self, name: &'p str, value: ValueId) -> Result<(), NodeError> {
        let depth = self.scopes.len();
        let Some(scope) = self.scopes.last_mut() else { return Ok(()) };
        if scope.values.insert(name, value).is_some() && depth == 1 {
            return Err(NodeError::Redefined { name: name.to_owned() });
        }
        // Another name for a value that has one stays a matter of this scope.
        if self.graph.value(value).name().is_none() {
            let full = format!("{}{name}", scope.prefix);
            self.graph.set_name(value, &full);
        }
        Ok(())
    }

    pub(super) fn count_node(&mut self) -> Result<(), NodeError> {
        self.nodes += 1;
        if self.nodes > self.limit {
            return Err(NodeError::Unsupported(format!(
                "functions and loops that unfold to more than {MAX_NODES} nodes"
            )));
        }
        Ok(())
    }

    fn opset(&self, domain: &str) -> i64 {
        let of_domain = self.opsets.iter().find(|(known, _)| same_domain(known, domain));
        // A file without the entry is before opset imports existed.
        of_domain.map_or(1, |(_, version)| *version)
    }

    fn node_name(&self, index: usize, node: &NodeProto) -> String {
        let prefix = self.scopes.last().map_or("", |scope| scope.prefix.as_str());
        match (node.name.as_str(), node.output.first()) {
            ("", Some(output)) if !output.is_empty() => format!("{prefix}#{index} -> {output}"),
            ("", _) => format!("{prefix}#{index}"),
            (name, _) => format!("{prefix}{name}"),
        }
    }

    /// Names near `name`, for a message.
    fn hint(&self, name: &str) -> String {
        let similar = self.scopes.iter().flat_map(|scope| scope.values.keys()).filter(|known| {
            known.eq_ignore_ascii_case(name)
                || known.contains(name)
                || (known.len() > 3 && name.contains(*known))
        });
        let mut similar: Vec<String> = similar.map(|known| format!("`{known}`")).collect();
        similar.sort();
        similar.truncate(3);
        if similar.is_empty() {
            "no value has a similar name".into()
        } else {
            format!("there are {}", similar.join(", "))
        }
    }
}

/// The attributes of a node that hold subgraphs.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(graphs_of)
}

fn graphs_of(attribute: &AttributeProto) -> Vec<&GraphProto> {
    attribute.g.iter().map(AsRef::as_ref).chain(&attribute.graphs).collect()
}
