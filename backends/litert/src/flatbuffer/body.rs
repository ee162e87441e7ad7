//! The tables of a file, with the places of all constants behind them filled in.

use std::collections::BTreeMap;

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, TableFinishedWIPOffset, Vector, WIPOffset};

use super::{ALIGNMENT, WriteError, byte_length, patch};
use crate::model::{Content, LiteRtModel, Operator, Signature, Subgraph, Tensor, TensorId};
use crate::schema::{Builtin, FILE_IDENTIFIER, SCHEMA_VERSION, Value, element_code};

type Builder<'b> = FlatBufferBuilder<'b>;
type Table = WIPOffset<TableFinishedWIPOffset>;
type Tables<'b> = WIPOffset<Vector<'b, ForwardsUOffset<TableFinishedWIPOffset>>>;

/// The number of field `index` of a table, as the builder counts.
const fn slot(index: u16) -> u16 {
    4 + 2 * index
}

/// Constant bytes that tensors share.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    /// A tensor that has them.
    pub(super) name: String,
    pub(super) content: Content,
    length: u64,
}

/// Where the bytes of a buffer lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// From the start of the file.
    pub(super) start: u64,
    pub(super) length: u64,
    /// Bytes in front that hold the length: 4 inside the flatbuffer, none outside.
    pub(super) prefix: u64,
}

/// The tables, and what follows them.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) places: Vec<Place>,
}

impl Body {
    pub(super) fn new(model: &LiteRtModel, inline_limit: u64) -> Result<Self, WriteError> {
        let layout = Layout::of(model)?;
        let total: u64 = layout.buffers.iter().map(|buffer| buffer.length + ALIGNMENT).sum();
        let inline = total <= inline_limit;
        let mut bytes = tables(model, &layout, inline)?;
        let prefix = if inline { 4 } else { 0 };
        let mut end = bytes.len() as u64;
        let mut places = Vec::new();
        for buffer in &layout.buffers {
            let start = (end + prefix).next_multiple_of(ALIGNMENT);
            places.push(Place { start, length: buffer.length, prefix });
            end = start + buffer.length;
        }
        patch::fill_in(&mut bytes, &places, inline);
        Ok(Self { bytes, buffers: layout.buffers, places })
    }
}

/// Which buffer each tensor has, and which code each operator.
#[derive(Debug)]
struct Layout {
    /// Without the empty one at the start.
    buffers: Vec<Buffer>,
    /// By subgraph and tensor.
    of_tensor: Vec<Vec<u32>>,
    /// By text of the metadata, in order.
    of_metadata: Vec<u32>,
    codes: BTreeMap<(Builtin, i32), u32>,
}

impl Layout {
    fn of(model: &LiteRtModel) -> Result<Self, WriteError> {
        let mut layout = Self {
            buffers: Vec::new(),
            of_tensor: Vec::new(),
            of_metadata: Vec::new(),
            codes: BTreeMap::new(),
        };
        // Equal bytes are held once, whatever tensors have them.
        let mut known: BTreeMap<Result<quad_ir::weights::WeightId, bytes::Bytes>, u32> = BTreeMap::new();
        for subgraph in &model.subgraphs {
            let mut numbers = Vec::new();
            for tensor in &subgraph.tensors {
                let key = match &tensor.content {
                    Content::Computed => {
                        numbers.push(0);
                        continue;
                    }
                    Content::Weight(weight) => Ok(*weight),
                    Content::Bytes(bytes) => Err(bytes.clone()),
                };
                let length =
                    byte_length(tensor).ok_or_else(|| WriteError::Size { name: tensor.name.clone() })?;
                let content = tensor.content.clone();
                let number = *known.entry(key).or_insert_with(|| {
                    layout.buffers.push(Buffer { name: tensor.name.clone(), content, length });
                    layout.buffers.len() as u32
                });
                numbers.push(number);
            }
            layout.of_tensor.push(numbers);
        }
        for (name, text) in &model.metadata {
            let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
            let length = bytes.len() as u64;
            layout.buffers.push(Buffer { name: name.clone(), content: Content::Bytes(bytes), length });
            layout.of_metadata.push(layout.buffers.len() as u32);
        }
        for operator in model.subgraphs.iter().flat_map(|subgraph| &subgraph.operators) {
            layout.codes.entry((operator.op, operator.version)).or_insert(0);
        }
        for (number, code) in layout.codes.values_mut().enumerate() {
            *code = number as u32;
        }
        Ok(layout)
    }
}

/// All tables, with zeros for the places of constants.
fn tables(model: &LiteRtModel, layout: &Layout, inline: bool) -> Result<Vec<u8>, WriteError> {
    let mut fbb = Builder::new();
    let codes: Vec<Table> =
        layout.codes.keys().map(|(op, version)| operator_code(&mut fbb, *op, *version)).collect();
    let codes = vector(&mut fbb, &codes);
    let subgraphs: Vec<Table> = model
        .subgraphs
        .iter()
        .zip(&layout.of_tensor)
        .map(|(graph, buffers)| subgraph(&mut fbb, graph, buffers, &layout.codes))
        .collect::<Result<_, _>>()?;
    let subgraphs = vector(&mut fbb, &subgraphs);
    let signatures: Vec<Table> =
        model.signatures.iter().map(|signature| signature_def(&mut fbb, signature)).collect();
    let signatures = vector(&mut fbb, &signatures);
    let metadata: Vec<Table> = model
        .metadata
        .keys()
        .zip(&layout.of_metadata)
        .map(|(name, buffer)| {
            let name = fbb.create_string(name);
            let start = fbb.start_table();
            fbb.push_slot_always(slot(0), name);
            fbb.push_slot_always(slot(1), *buffer);
            fbb.end_table(start)
        })
        .collect();
    let metadata = vector(&mut fbb, &metadata);
    let buffers: Vec<Table> =
        (0..=layout.buffers.len()).map(|index| buffer(&mut fbb, index > 0, inline)).collect();
    let buffers = vector(&mut fbb, &buffers);
    let description = fbb.create_string(&model.description);
    let start = fbb.start_table();
    fbb.push_slot_always(slot(0), SCHEMA_VERSION);
    fbb.push_slot_always(slot(1), codes);
    fbb.push_slot_always(slot(2), subgraphs);
    fbb.push_slot_always(slot(3), description);
    fbb.push_slot_always(slot(patch::BUFFERS), buffers);
    fbb.push_slot_always(slot(6), metadata);
    fbb.push_slot_always(slot(7), signatures);
    let root = fbb.end_table(start);
    fbb.finish(root, Some(FILE_IDENTIFIER));
    Ok(fbb.finished_data().to_vec())
}

fn vector<'b>(fbb: &mut Builder<'b>, tables: &[Table]) -> Tables<'b> {
    fbb.create_vector(tables)
}

/// A buffer; the first one is empty and means that there are no constant elements.
fn buffer(fbb: &mut Builder<'_>, filled: bool, inline: bool) -> Table {
    let start = fbb.start_table();
    match (filled, inline) {
        (false, _) => {}
        (true, true) => fbb.push_slot_always(slot(patch::DATA), 0u32),
        (true, false) => {
            fbb.push_slot_always(slot(patch::OFFSET), 0u64);
            fbb.push_slot_always(slot(patch::SIZE), 0u64);
        }
    }
    fbb.end_table(start)
}

fn operator_code(fbb: &mut Builder<'_>, op: Builtin, version: i32) -> Table {
    let start = fbb.start_table();
    // Codes once had one byte; readers that know of no other see 127 for those beyond it.
    fbb.push_slot_always(slot(0), op.code().min(127) as i8);
    fbb.push_slot_always(slot(2), version);
    fbb.push_slot_always(slot(3), op.code());
    fbb.end_table(start)
}

fn subgraph(
    fbb: &mut Builder<'_>,
    graph: &Subgraph,
    buffers: &[u32],
    codes: &BTreeMap<(Builtin, i32), u32>,
) -> Result<Table, WriteError> {
    let tensors: Vec<Table> = graph
        .tensors
        .iter()
        .zip(buffers)
        .map(|(tensor, buffer)| tensor_table(fbb, tensor, *buffer))
        .collect::<Result<_, _>>()?;
    let tensors = vector(fbb, &tensors);
    let operators: Vec<Table> =
        graph.operators.iter().map(|operator| operator_table(fbb, operator, codes)).collect();
    let operators = vector(fbb, &operators);
    let inputs = numbers(fbb, graph.inputs.iter().copied().map(Some));
    let outputs = numbers(fbb, graph.outputs.iter().copied().map(Some));
    let name = fbb.create_string(&graph.name);
    let start = fbb.start_table();
    fbb.push_slot_always(slot(0), tensors);
    fbb.push_slot_always(slot(1), inputs);
    fbb.push_slot_always(slot(2), outputs);
    fbb.push_slot_always(slot(3), operators);
    fbb.push_slot_always(slot(4), name);
    Ok(fbb.end_table(start))
}

/// Numbers of tensors; -1 where an operand is left out.
fn numbers<'b>(
    fbb: &mut Builder<'b>,
    ids: impl Iterator<Item = Option<TensorId>>,
) -> WIPOffset<Vector<'b, i32>> {
    let ids: Vec<i32> = ids.map(|id| id.map_or(-1, |id| id.0 as i32)).collect();
    fbb.create_vector(&ids)
}

fn tensor_table(fbb: &mut Builder<'_>, tensor: &Tensor, buffer: u32) -> Result<Table, WriteError> {
    let size = |size: &u64| i32::try_from(*size).map_err(|_| WriteError::Size { name: tensor.name.clone() });
    let sizes: Vec<i32> = tensor.sizes.iter().map(size).collect::<Result<_, _>>()?;
    let code = element_code(tensor.dtype)
        .ok_or_else(|| WriteError::Type { name: tensor.name.clone(), dtype: tensor.dtype.to_string() })?;
    let shape = fbb.create_vector(&sizes);
    let name = fbb.create_string(&tensor.name);
    let quantization = tensor.quant.as_ref().map(|quant| {
        let scales: Vec<f32> = quant.scales.iter().map(|scale| scale.get()).collect();
        let zero_points: Vec<i64> = quant.zero_points.iter().map(|zero| i64::from(*zero)).collect();
        let (scales, zero_points) = (fbb.create_vector(&scales), fbb.create_vector(&zero_points));
        let start = fbb.start_table();
        fbb.push_slot_always(slot(2), scales);
        fbb.push_slot_always(slot(3), zero_points);
        fbb.push_slot_always(slot(6), i32::from(quant.axis.unwrap_or(0)));
        fbb.end_table(start)
    });
    let start = fbb.start_table();
    fbb.push_slot_always(slot(0), shape);
    fbb.push_slot_always(slot(1), code);
    fbb.push_slot_always(slot(2), buffer);
    fbb.push_slot_always(slot(3), name);
    if let Some(quantization) = quantization {
        fbb.push_slot_always(slot(4), quantization);
    }
    fbb.push_slot_always(slot(8), true);
    Ok(fbb.end_table(start))
}

fn operator_table(
    fbb: &mut Builder<'_>,
    operator: &Operator,
    codes: &BTreeMap<(Builtin, i32), u32>,
) -> Table {
    let inputs = numbers(fbb, operator.inputs.iter().copied());
    let outputs = numbers(fbb, operator.outputs.iter().copied().map(Some));
    let options = operator.op.options().map(|table| {
        let start = fbb.start_table();
        for (name, number, _) in table.fields {
            match operator.option(name) {
                Value::Bool(value) => fbb.push_slot_always(slot(*number), value),
                Value::Byte(value) => fbb.push_slot_always(slot(*number), value),
                Value::Int(value) => fbb.push_slot_always(slot(*number), value),
                Value::Float(value) => fbb.push_slot_always(slot(*number), value),
            }
        }
        (table.union, fbb.end_table(start))
    });
    let start = fbb.start_table();
    fbb.push_slot_always(slot(0), codes.get(&(operator.op, operator.version)).copied().unwrap_or_default());
    fbb.push_slot_always(slot(1), inputs);
    fbb.push_slot_always(slot(2), outputs);
    if let Some((union, options)) = options {
        fbb.push_slot_always(slot(3), union);
        fbb.push_slot_always(slot(4), options);
    }
    fbb.end_table(start)
}

fn signature_def(fbb: &mut Builder<'_>, signature: &Signature) -> Table {
    let named = |fbb: &mut Builder<'_>, name: &str, tensor: TensorId| {
        let name = fbb.create_string(name);
        let start = fbb.start_table();
        fbb.push_slot_always(slot(0), name);
        fbb.push_slot_always(slot(1), tensor.0);
        fbb.end_table(start)
    };
    let inputs: Vec<Table> =
        signature.inputs.iter().map(|(name, tensor)| named(fbb, name, *tensor)).collect();
    let inputs = vector(fbb, &inputs);
    let outputs: Vec<Table> =
        signature.outputs.iter().map(|(name, tensor)| named(fbb, name, *tensor)).collect();
    let outputs = vector(fbb, &outputs);
    let key = fbb.create_string(&signature.key);
    let start = fbb.start_table();
    fbb.push_slot_always(slot(0), inputs);
    fbb.push_slot_always(slot(1), outputs);
    fbb.push_slot_always(slot(2), key);
    fbb.push_slot_always(slot(4), signature.subgraph);
    fbb.end_table(start)
}
