//! What a model file says of itself: its inputs' types, its operator sets, its producer.

use quad_ir::dtype::DType;
use quad_ir::types::{Dim, Shape, SymTable, TensorType};

use super::error::{ContentsError, ImportError};
use super::proto::{DimensionValue, GraphProto, ModelProto, OperatorSetIdProto, TypeValue, ValueInfoProto};
use super::schema;
use super::tensor::dtype_of_code;

/// The type of a graph input; its named sizes become symbols.
pub(super) fn type_of_input(
    symbols: &mut SymTable,
    input: &ValueInfoProto,
) -> Result<TensorType, ImportError> {
    let error = |why: String| ImportError::Input { name: input.name.clone(), why };
    let unsupported = |found| ImportError::UnsupportedInput { name: input.name.clone(), found };
    let value = input.r#type.as_ref().and_then(|ty| ty.value.as_ref());
    let Some(TypeValue::Tensor(tensor)) = value else {
        return Err(unsupported(format!("is {}", kind_of_type(value))));
    };
    let dtype = dtype_of_code(i64::from(tensor.elem_type)).map_err(|why| match why {
        ContentsError::NotNumeric(kind) => unsupported(format!("has elements of type {kind}")),
        why => error(why.to_string()),
    })?;
    let Some(shape) = &tensor.shape else {
        return Err(error("has no shape; export the model with the rank of every input".to_owned()));
    };
    let mut dims = Shape::default();
    for dim in &shape.dim {
        dims.0.push(match &dim.value {
            Some(DimensionValue::Known(size)) if *size >= 0 => Dim::Known(size.unsigned_abs()),
            Some(DimensionValue::Named(name)) if !name.is_empty() => Dim::Sym(symbols.named(name)),
            // Some writers spell "unknown" as -1.
            Some(DimensionValue::Named(_) | DimensionValue::Known(-1)) | None => Dim::Sym(symbols.fresh()),
            Some(DimensionValue::Known(size)) => return Err(error(format!("has a size of {size}"))),
        });
    }
    let ty = TensorType::new(dtype, dims);
    if ty.is_representable() { Ok(ty) } else { Err(error(format!("is {ty}, larger than a tensor may be"))) }
}

/// The element type that the file declares for a value, if it declares one that there is.
pub(super) fn declared_dtype(value: &ValueInfoProto) -> Option<DType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => dtype_of_code(i64::from(tensor.elem_type)).ok(),
        _ => None,
    }
}

/// What a file says of itself, for the graph's metadata.
pub(super) fn metadata(model: &ModelProto) -> Vec<(String, String)> {
    let mut entries = vec![
        (
            "producer".to_owned(),
            format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
        ),
        (
            "opset".to_owned(),
            opsets(&model.opset_import).iter().map(show_opset).collect::<Vec<_>>().join(", "),
        ),
    ];
    entries.extend(model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
    entries.retain(|(_, value)| !value.is_empty());
    entries
}

/// Checks that `model` states one operator set for each domain, and for the standard one a set that is known.
pub(super) fn check_opsets(model: &ModelProto, graph: &GraphProto) -> Result<(), ImportError> {
    let imports = opsets(&model.opset_import);
    let show = |domain: &str| {
        if same_domain(domain, "") { "the standard".to_owned() } else { format!("`{domain}`") }
    };
    let error = |domain: &str, why: String| Err(ImportError::Opset { domain: show(domain), why });
    for (index, (domain, version)) in imports.iter().enumerate() {
        let other =
            imports[..index].iter().find(|(known, found)| same_domain(known, domain) && found != version);
        if let Some((_, found)) = other {
            return error(domain, format!("{found} and {version} are stated, expected one"));
        }
        if same_domain(domain, "") && !(1..=schema::newest()).contains(version) {
            let newest = schema::newest();
            return error(
                domain,
                format!("found {version}, expected one from 1 to {newest}, the newest that is known"),
            );
        }
    }
    let is_stated = imports.iter().any(|(domain, _)| same_domain(domain, ""));
    let is_needed = graph.node.iter().any(|node| same_domain(&node.domain, ""));
    // Files before IR version 3 have no such list, and mean the first.
    if model.ir_version >= 3 && is_needed && !is_stated {
        return error("", "none is stated, but nodes of it are there; export the model again".to_owned());
    }
    Ok(())
}

/// Whether two domains are the same; the standard one has two spellings.
pub(crate) fn same_domain(a: &str, b: &str) -> bool {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    a == b || (standard(a) && standard(b))
}

/// Domains and versions of `imports`.
pub(super) fn opsets(imports: &[OperatorSetIdProto]) -> Vec<(&str, i64)> {
    imports.iter().map(|import| (import.domain.as_str(), import.version)).collect()
}

fn show_opset((domain, version): &(&str, i64)) -> String {
    if same_domain(domain, "") { version.to_string() } else { format!("{domain} {version}") }
}

fn kind_of_type(value: Option<&TypeValue>) -> &'static str {
    match value {
        Some(TypeValue::Tensor(_)) => "a tensor",
        Some(TypeValue::Sequence(_)) => "a sequence",
        Some(TypeValue::Map(_)) => "a map",
        Some(TypeValue::Optional(_)) => "an optional value",
        Some(TypeValue::SparseTensor(_)) => "a sparse tensor",
        Some(TypeValue::Opaque(_)) => "opaque",
        None => "without a type",
    }
}
