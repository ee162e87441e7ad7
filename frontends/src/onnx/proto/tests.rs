//! The messages against an independent decoder, which was generated from the specification's own files.

use bytes::Bytes;
use onnx_protobuf as independent;
use onnx_protobuf::Message as _;
use onnx_protobuf::type_proto::Value as IndependentType;
use prost::Message as _;

use super::tensor::Segment;
use super::types::{MapType, OptionalType, SequenceType, SparseTensorType};
use super::*;
use crate::onnx::fixtures;

/// Every model, by both decoders.
fn decoded() -> impl Iterator<Item = (ModelProto, independent::ModelProto)> {
    fixtures::models().into_iter().map(|path| {
        let content = std::fs::read(path).expect("the model");
        let ours = ModelProto::decode(&content[..]).expect("we decode it");
        let theirs = independent::ModelProto::parse_from_bytes(&content).expect("they decode it");
        (ours, theirs)
    })
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }
}

fn float_tensor(name: &str) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![2],
        data_type: DataType::Float.into(),
        float_data: vec![0.5, -1.0],
        ..TensorProto::default()
    }
}

/// A value in every field of a tensor, which no sound tensor has.
fn full_tensor() -> TensorProto {
    TensorProto {
        dims: vec![2, 300],
        data_type: DataType::Float6e3m2.into(),
        segment: Some(Segment { begin: 3, end: 5 }),
        float_data: vec![1.5, -2.5],
        int32_data: vec![-7, 70_000],
        string_data: vec![Bytes::from_static(b"\xff\x00"), Bytes::new()],
        int64_data: vec![-1, 1 << 40],
        name: "tensor".to_owned(),
        raw_data: Some(Bytes::from_static(&[1, 2, 3])),
        double_data: vec![0.1],
        uint64_data: vec![u64::MAX],
        doc_string: "documentation".to_owned(),
        external_data: vec![entry("location", "data.bin")],
        data_location: DataLocation::External.into(),
        metadata_props: vec![entry("m", "1")],
    }
}

fn tensor_type(size: DimensionValue) -> TypeProto {
    let dim =
        vec![Dimension { value: Some(size), denotation: "DATA_BATCH".to_owned() }, Dimension::default()];
    let tensor = TensorType { elem_type: DataType::Float.into(), shape: Some(TensorShapeProto { dim }) };
    TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: "IMAGE".to_owned() }
}

fn type_of(value: TypeValue) -> TypeProto {
    TypeProto { value: Some(value), ..TypeProto::default() }
}

/// One of every kind of type but the opaque one, which the independent decoder does not know.
fn every_type() -> Vec<TypeProto> {
    let element = || Some(Box::new(tensor_type(DimensionValue::Known(4))));
    vec![
        tensor_type(DimensionValue::Named("batch".to_owned())),
        type_of(TypeValue::Sequence(SequenceType { elem_type: element() })),
        type_of(TypeValue::Map(MapType { key_type: DataType::Int64.into(), value_type: element() })),
        type_of(TypeValue::Optional(OptionalType { elem_type: element() })),
        type_of(TypeValue::SparseTensor(SparseTensorType {
            elem_type: DataType::Double.into(),
            shape: Some(TensorShapeProto { dim: vec![Dimension::default()] }),
        })),
    ]
}

/// A value in every field of an attribute, which no sound attribute has.
fn full_attribute() -> AttributeProto {
    let graph = || GraphProto { name: "nested".to_owned(), ..GraphProto::default() };
    let sparse = || SparseTensorProto {
        values: Some(float_tensor("values")),
        indices: Some(float_tensor("indices")),
        dims: vec![9, 9],
    };
    AttributeProto {
        name: "attribute".to_owned(),
        f: Some(0.25),
        i: Some(-3),
        s: Some(Bytes::from_static(b"text")),
        t: Some(Box::new(full_tensor())),
        g: Some(Box::new(graph())),
        floats: vec![1.0, 2.0],
        ints: vec![-1, 1],
        strings: vec![Bytes::from_static(b"a")],
        tensors: vec![float_tensor("one"), float_tensor("two")],
        graphs: vec![graph()],
        doc_string: "documentation".to_owned(),
        tp: Some(Box::new(tensor_type(DimensionValue::Known(1)))),
        type_protos: every_type(),
        r#type: AttributeType::TypeProtos.into(),
        ref_attr_name: "outer".to_owned(),
        sparse_tensor: Some(Box::new(sparse())),
        sparse_tensors: vec![sparse()],
    }
}

fn full_node() -> NodeProto {
    NodeProto {
        input: vec!["x".to_owned(), String::new(), "w".to_owned()],
        output: vec!["y".to_owned()],
        name: "node".to_owned(),
        op_type: "Conv".to_owned(),
        attribute: vec![full_attribute()],
        doc_string: "documentation".to_owned(),
        domain: "domain".to_owned(),
        overload: "overload".to_owned(),
        metadata_props: vec![entry("n", "2")],
    }
}

fn full_graph() -> GraphProto {
    let values = |prefix: &str| -> Vec<ValueInfoProto> {
        let value = |(number, ty): (usize, TypeProto)| ValueInfoProto {
            name: format!("{prefix}{number}"),
            r#type: Some(ty),
            doc_string: "documentation".to_owned(),
            metadata_props: vec![entry("v", "3")],
        };
        every_type().into_iter().enumerate().map(value).collect()
    };
    GraphProto {
        node: vec![full_node()],
        name: "graph".to_owned(),
        initializer: vec![full_tensor()],
        doc_string: "documentation".to_owned(),
        input: values("input"),
        output: values("output"),
        value_info: values("inner"),
        quantization_annotation: vec![TensorAnnotation {
            tensor_name: "x".to_owned(),
            quant_parameter_tensor_names: vec![entry("SCALE_TENSOR", "x_scale")],
        }],
        sparse_initializer: vec![SparseTensorProto { dims: vec![4], ..SparseTensorProto::default() }],
        metadata_props: vec![entry("g", "4")],
    }
}

fn full_model() -> ModelProto {
    let opset_import = vec![OperatorSetIdProto { domain: "domain".to_owned(), version: 18 }];
    ModelProto {
        ir_version: 10,
        producer_name: "producer".to_owned(),
        producer_version: "2".to_owned(),
        domain: "domain".to_owned(),
        model_version: 3,
        doc_string: "documentation".to_owned(),
        graph: Some(Box::new(full_graph())),
        opset_import: opset_import.clone(),
        metadata_props: vec![entry("model", "5")],
        training_info: vec![TrainingInfoProto {
            initialization: Some(GraphProto { name: "first".to_owned(), ..GraphProto::default() }),
            algorithm: Some(GraphProto { name: "then".to_owned(), ..GraphProto::default() }),
            initialization_binding: vec![entry("a", "b")],
            update_binding: vec![entry("c", "d")],
        }],
        functions: vec![FunctionProto {
            name: "function".to_owned(),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            attribute: vec!["required".to_owned()],
            node: vec![full_node()],
            doc_string: "documentation".to_owned(),
            opset_import,
            domain: "domain".to_owned(),
            attribute_proto: vec![full_attribute()],
            value_info: vec![ValueInfoProto::default()],
            overload: "overload".to_owned(),
            metadata_props: vec![entry("f", "6")],
        }],
    }
}

/// Their tensor as one of our messages.
fn converted(theirs: &independent::TensorProto) -> TensorProto {
    let pair = |theirs: &independent::StringStringEntryProto| entry(&theirs.key, &theirs.value);
    TensorProto {
        dims: theirs.dims.clone(),
        data_type: theirs.data_type,
        segment: theirs.segment.as_ref().map(|theirs| Segment { begin: theirs.begin, end: theirs.end }),
        float_data: theirs.float_data.clone(),
        int32_data: theirs.int32_data.clone(),
        string_data: theirs.string_data.iter().cloned().map(Bytes::from).collect(),
        int64_data: theirs.int64_data.clone(),
        name: theirs.name.clone(),
        raw_data: (!theirs.raw_data.is_empty()).then(|| Bytes::from(theirs.raw_data.clone())),
        double_data: theirs.double_data.clone(),
        uint64_data: theirs.uint64_data.clone(),
        doc_string: theirs.doc_string.clone(),
        external_data: theirs.external_data.iter().map(pair).collect(),
        data_location: theirs.data_location.value(),
        metadata_props: theirs.metadata_props.iter().map(pair).collect(),
    }
}

#[test]
fn both_decoders_see_the_same_nodes() {
    for (ours, theirs) in decoded() {
        let (ours, theirs) = (ours.graph.expect("a graph"), theirs.graph.unwrap());
        assert!(!ours.node.is_empty());
        assert_eq!(ours.node.len(), theirs.node.len());
        for (our, their) in ours.node.iter().zip(&theirs.node) {
            assert_eq!(
                (&our.name, &our.op_type, &our.domain, &our.input, &our.output),
                (&their.name, &their.op_type, &their.domain, &their.input, &their.output)
            );
            assert_eq!(our.attribute.len(), their.attribute.len());
            for (our, their) in our.attribute.iter().zip(&their.attribute) {
                assert_eq!((&our.name, our.r#type), (&their.name, their.type_.value()));
                assert_eq!((&our.ints, &our.floats), (&their.ints, &their.floats));
                assert_eq!((our.i.unwrap_or_default(), our.f.unwrap_or_default()), (their.i, their.f));
                assert_eq!(our.s.clone().unwrap_or_default(), their.s);
            }
        }
    }
}

#[test]
fn both_decoders_see_the_same_tensors() {
    for (ours, theirs) in decoded() {
        let (ours, theirs) = (ours.graph.expect("a graph"), theirs.graph.unwrap());
        assert!(!ours.initializer.is_empty());
        assert_eq!(ours.initializer.len(), theirs.initializer.len());
        for (mut our, their) in ours.initializer.into_iter().zip(&theirs.initializer) {
            // The independent decoder cannot tell empty from absent.
            our.raw_data = our.raw_data.filter(|raw| !raw.is_empty());
            assert_eq!(our, converted(their));
        }
    }
}

#[test]
fn nothing_in_a_model_is_lost_by_decoding_and_encoding_it() {
    for (ours, theirs) in decoded() {
        let again = independent::ModelProto::parse_from_bytes(&ours.encode_to_vec()).expect("sound");
        // Bytes are compared, because a NaN in a message is not equal to itself.
        let bytes = |model: &independent::ModelProto| model.write_to_bytes().expect("they encode it");
        assert!(bytes(&again) == bytes(&theirs), "a field of the model is lost or changed");
    }
}

#[test]
fn every_field_survives_the_independent_decoder_and_encoder() {
    let ours = full_model();
    let theirs = independent::ModelProto::parse_from_bytes(&ours.encode_to_vec()).expect("they decode it");
    let again = theirs.write_to_bytes().expect("they encode it");
    assert_eq!(ModelProto::decode(&again[..]).expect("we decode it"), ours);
}

#[test]
fn the_independent_decoder_finds_every_field_where_we_put_it() {
    let theirs = independent::ModelProto::parse_from_bytes(&full_model().encode_to_vec()).expect("sound");
    assert_eq!((theirs.ir_version, theirs.model_version), (10, 3));
    assert_eq!((&*theirs.producer_name, &*theirs.producer_version), ("producer", "2"));
    assert_eq!((&*theirs.domain, &*theirs.doc_string), ("domain", "documentation"));
    assert_eq!((&*theirs.opset_import[0].domain, theirs.opset_import[0].version), ("domain", 18));
    assert_eq!(theirs.metadata_props[0].key, "model");
    let training = &theirs.training_info[0];
    assert_eq!((&*training.initialization.name, &*training.algorithm.name), ("first", "then"));
    assert_eq!((&*training.initialization_binding[0].key, &*training.update_binding[0].key), ("a", "c"));
    let function = &theirs.functions[0];
    assert_eq!((&*function.name, &*function.domain), ("function", "domain"));
    assert_eq!((&*function.input[0], &*function.output[0], &*function.attribute[0]), ("x", "y", "required"));
    assert_eq!((function.node.len(), function.attribute_proto.len(), function.opset_import.len()), (1, 1, 1));
    let graph = &theirs.graph;
    assert_eq!(
        (&*graph.name, &*graph.doc_string, &*graph.metadata_props[0].key),
        ("graph", "documentation", "g")
    );
    assert_eq!(converted(&graph.initializer[0]), full_tensor());
    assert_eq!(graph.sparse_initializer[0].dims, [4]);
    assert_eq!((&*graph.input[0].name, &*graph.output[0].name), ("input0", "output0"));
    assert_eq!((&*graph.value_info[0].name, &*graph.value_info[0].doc_string), ("inner0", "documentation"));
    let annotation = &graph.quantization_annotation[0];
    assert_eq!(
        (&*annotation.tensor_name, &*annotation.quant_parameter_tensor_names[0].value),
        ("x", "x_scale")
    );
    let node = &graph.node[0];
    assert_eq!(
        (&*node.name, &*node.op_type, &*node.domain, &*node.overload),
        ("node", "Conv", "domain", "overload")
    );
    assert_eq!((&node.input[..], &node.output[..]), (&full_node().input[..], &full_node().output[..]));
    assert_eq!((&*node.doc_string, &*node.metadata_props[0].key), ("documentation", "n"));
}

#[test]
fn the_independent_decoder_finds_every_field_of_an_attribute() {
    let content = full_attribute().encode_to_vec();
    let theirs = independent::AttributeProto::parse_from_bytes(&content).expect("sound");
    assert_eq!(
        (&*theirs.name, &*theirs.ref_attr_name, &*theirs.doc_string),
        ("attribute", "outer", "documentation")
    );
    assert_eq!((theirs.type_.value(), theirs.f, theirs.i, &theirs.s[..]), (14, 0.25, -3, &b"text"[..]));
    assert_eq!(
        (&theirs.floats[..], &theirs.ints[..], &theirs.strings[0][..]),
        (&[1.0, 2.0][..], &[-1, 1][..], &b"a"[..])
    );
    assert_eq!(converted(&theirs.t), full_tensor());
    assert_eq!(
        (&*theirs.g.name, &*theirs.graphs[0].name, &*theirs.tensors[1].name),
        ("nested", "nested", "two")
    );
    assert_eq!(
        (&*theirs.sparse_tensor.values.name, &*theirs.sparse_tensors[0].indices.name),
        ("values", "indices")
    );
    assert_eq!(theirs.sparse_tensor.dims, [9, 9]);
    assert_eq!((&*theirs.tp.denotation, theirs.type_protos.len()), ("IMAGE", 5));
}

#[test]
fn the_independent_decoder_finds_every_kind_of_type() {
    let theirs = every_type().into_iter().map(|ty| {
        independent::TypeProto::parse_from_bytes(&ty.encode_to_vec()).expect("sound").value.expect("a kind")
    });
    let kinds: Vec<IndependentType> = theirs.collect();
    let [
        IndependentType::TensorType(tensor),
        IndependentType::SequenceType(sequence),
        IndependentType::MapType(map),
        IndependentType::OptionalType(optional),
        IndependentType::SparseTensorType(sparse),
    ] = &kinds[..]
    else {
        panic!("other kinds than were encoded: {kinds:?}");
    };
    let batch = &tensor.shape.dim[0];
    assert_eq!((tensor.elem_type, batch.dim_param(), &*batch.denotation), (1, "batch", "DATA_BATCH"));
    assert_eq!(tensor.shape.dim[1].value, None);
    for element in [&sequence.elem_type, &map.value_type, &optional.elem_type] {
        assert_eq!(element.tensor_type().shape.dim[0].dim_value(), 4);
    }
    assert_eq!((map.key_type, sparse.elem_type, sparse.shape.dim.len()), (7, 11, 1));
}

#[test]
fn contents_are_views_of_what_they_are_decoded_from() {
    let whole = Bytes::from(full_tensor().encode_to_vec());
    let tensor = TensorProto::decode(whole.clone()).expect("sound");
    let within = |part: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    assert!(within(&tensor.raw_data.expect("contents")));
    assert!(within(&tensor.string_data[0]));
}

#[test]
fn empty_contents_are_not_absent_ones() {
    let empty = TensorProto { raw_data: Some(Bytes::new()), ..TensorProto::default() };
    let decoded = TensorProto::decode(&empty.encode_to_vec()[..]).expect("sound");
    assert_eq!(decoded.raw_data, Some(Bytes::new()));
    assert_eq!(TensorProto::decode(&[][..]).expect("sound").raw_data, None);
}

#[test]
fn numbers_are_read_packed_or_not() {
    let packed = [0x0a, 3, 1, 0xac, 2];
    let loose = [0x08, 1, 0x08, 0xac, 2];
    for content in [packed, loose] {
        assert_eq!(TensorProto::decode(&content[..]).expect("sound").dims, [1, 300]);
    }
}
