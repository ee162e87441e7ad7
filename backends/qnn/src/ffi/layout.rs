//! The structures of the C API, x86-64.
//!
//! Each comment names a type of the public API reference (AI Engine Direct SDK, docs.qualcomm.com, "API"), which says its
//! fields, their types and their order; sizes and places follow from that, are asserted below, and were confirmed by
//! running the libraries of API 2.36 and 2.40. Fields that are never used here are named for what they are, so that the
//! sizes come out.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};

/// What enumerations have for "not defined".
pub(super) const UNDEFINED: u32 = 0x7fff_ffff;

/// Handles are pointers to what only the library knows.
pub(super) type Handle = *mut c_void;

/// `Qnn_ScaleOffset_t`: `real = (stored + offset) * scale`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct CScaleOffset {
    pub(super) scale: f32,
    pub(super) offset: i32,
}

/// `Qnn_AxisScaleOffset_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CAxis {
    pub(super) axis: i32,
    pub(super) count: u32,
    pub(super) each: *const CScaleOffset,
}

/// `Qnn_BwScaleOffset_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CNarrow {
    pub(super) bits: u32,
    pub(super) scale: f32,
    pub(super) offset: i32,
}

/// `Qnn_BwAxisScaleOffset_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CNarrowAxis {
    pub(super) bits: u32,
    pub(super) axis: i32,
    pub(super) count: u32,
    pub(super) scales: *const f32,
    pub(super) offsets: *const i32,
}

/// The union of `Qnn_QuantizeParams_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union CEncoding {
    pub(super) all: CScaleOffset,
    pub(super) axis: CAxis,
    pub(super) narrow: CNarrow,
    pub(super) narrow_axis: CNarrowAxis,
    size: [u64; 4],
}

/// `Qnn_QuantizeParams_t`. `definition` is 1 where `encoding` counts: 0 scale and offset, 1 along an axis, 2 and 3 the
/// same with a width in bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CQuantize {
    pub(super) definition: u32,
    pub(super) kind: u32,
    pub(super) encoding: CEncoding,
}

/// `Qnn_ClientBuffer_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CBuffer {
    pub(super) data: *mut c_void,
    pub(super) size: u32,
}

/// `Qnn_TensorV1_t`, and the beginning of `Qnn_TensorV2_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CTensorBody {
    pub(super) id: u32,
    pub(super) name: *const c_char,
    /// 0 written by the application, 1 read by it, 3 native, 4 static.
    pub(super) role: u32,
    pub(super) data_format: u32,
    pub(super) data_type: u32,
    pub(super) quantize: CQuantize,
    pub(super) rank: u32,
    pub(super) dims: *const u32,
    /// 0: elements are in `buffer`.
    pub(super) memory: u32,
    pub(super) buffer: CBuffer,
}

/// `Qnn_Tensor_t`. Version 2 has more behind the body, which is zero here.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CTensor {
    pub(super) version: u32,
    pub(super) body: CTensorBody,
    /// `isDynamicDimensions`, `sparseParams`, `isProduced`.
    pub(super) rest: [u64; 3],
}

/// The union of `Qnn_Scalar_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union CValue {
    pub(super) boolean: u8,
    pub(super) unsigned: u32,
    pub(super) signed: i32,
    pub(super) real: f32,
    pub(super) size: u64,
}

/// `Qnn_Scalar_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CScalar {
    pub(super) data_type: u32,
    pub(super) value: CValue,
}

/// The union of `Qnn_Param_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union CParamValue {
    pub(super) scalar: CScalar,
    pub(super) tensor: CTensor,
}

/// `Qnn_Param_t`: `kind` 0 is a scalar, 1 a tensor.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CParam {
    pub(super) kind: u32,
    pub(super) name: *const c_char,
    pub(super) value: CParamValue,
}

/// `Qnn_OpConfig_t`, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct COp {
    pub(super) version: u32,
    pub(super) name: *const c_char,
    pub(super) package: *const c_char,
    pub(super) kind: *const c_char,
    pub(super) n_params: u32,
    pub(super) params: *const CParam,
    pub(super) n_inputs: u32,
    pub(super) inputs: *const CTensor,
    pub(super) n_outputs: u32,
    pub(super) outputs: *const CTensor,
}

/// `QnnDevice_Config_t`, `QnnGraph_Config_t`: an option, 0 for one of the backend's own, and what it points to. They are
/// passed as arrays of pointers that end in a null one.
#[repr(C)]
pub(super) struct CConfig {
    pub(super) option: u32,
    pub(super) custom: *const c_void,
}

/// `QnnHtpDevice_CustomConfig_t` that names a chip. Up to API 2.43 of the SDK's public pages the union began at offset 4,
/// the libraries tested have it at 8: with the number at both, either finds it.
#[repr(C)]
pub(super) struct CSocConfig(pub(super) [u32; 6]);

impl CSocConfig {
    pub(super) fn new(model: u32) -> Self {
        Self([0, model, model, 0, 0, 0])
    }
}

/// `QnnIrGraph_CustomConfig_t`: option 1 is serialization, of kind 1, to a file.
#[repr(C)]
pub(super) struct CSerialize {
    pub(super) option: u32,
    pub(super) to: CSerializeTo,
}

/// What [`CSerialize`] says.
#[repr(C)]
pub(super) struct CSerializeTo {
    pub(super) kind: u32,
    pub(super) path: *const c_char,
}

/// `Qnn_Version_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct CVersion {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) patch: u32,
}

/// The beginning of `QnnInterface_t`. What follows is a table of as many functions as the version has.
#[repr(C)]
pub(super) struct CInterface {
    pub(super) backend: u32,
    pub(super) name: *const c_char,
    pub(super) core: CVersion,
    pub(super) version: CVersion,
    pub(super) functions: [*const c_void; 0],
}

/// `QnnSystemInterface_t`.
#[repr(C)]
pub(super) struct CSystemInterface {
    pub(super) backend: u32,
    pub(super) name: *const c_char,
    pub(super) version: CVersion,
    pub(super) functions: [*const c_void; 13],
}

/// `QnnSystemContext_GraphInfo_t`: all versions begin like this.
#[repr(C)]
pub(super) struct CGraphInfo {
    pub(super) version: u32,
    pub(super) name: *const c_char,
    pub(super) n_inputs: u32,
    pub(super) inputs: *const CTensor,
    pub(super) n_outputs: u32,
    pub(super) outputs: *const CTensor,
}

/// `QnnSystemContext_BinaryInfo_t`.
#[repr(C)]
pub(super) struct CBinaryInfo {
    pub(super) version: u32,
    pub(super) body: CBinaryInfoBody,
}

/// `QnnSystemContext_BinaryInfoV3_t`, as observed in binaries of core API 2.40.
#[repr(C)]
pub(super) struct CBinaryInfoBody {
    pub(super) backend: u32,
    pub(super) build: *const c_char,
    pub(super) core: CVersion,
    pub(super) backend_version: CVersion,
    pub(super) soc_version: *const c_char,
    pub(super) blob_version: CVersion,
    pub(super) blob_size: u64,
    pub(super) n_tensors: u32,
    pub(super) tensors: *const CTensor,
    pub(super) n_graphs: u32,
    pub(super) graphs: *const CGraphInfo,
    /// What the hardware says of itself: not read here.
    pub(super) hardware: *const c_void,
    pub(super) hardware_size: u32,
    pub(super) hardware_info: *const c_void,
    pub(super) soc_model: u32,
}

const _: () = {
    assert!(size_of::<CScaleOffset>() == 8);
    assert!(offset_of!(CScaleOffset, offset) == 4);
    assert!(size_of::<CAxis>() == 16 && offset_of!(CAxis, each) == 8);
    assert!(size_of::<CEncoding>() == 32);
    assert!(size_of::<CQuantize>() == 40 && offset_of!(CQuantize, encoding) == 8);
    assert!(size_of::<CBuffer>() == 16 && offset_of!(CBuffer, size) == 8);
    assert!(size_of::<CTensorBody>() == 112);
    assert!(offset_of!(CTensorBody, name) == 8 && offset_of!(CTensorBody, role) == 16);
    assert!(offset_of!(CTensorBody, data_format) == 20 && offset_of!(CTensorBody, data_type) == 24);
    assert!(offset_of!(CTensorBody, quantize) == 32 && offset_of!(CTensorBody, rank) == 72);
    assert!(offset_of!(CTensorBody, dims) == 80 && offset_of!(CTensorBody, memory) == 88);
    assert!(offset_of!(CTensorBody, buffer) == 96);
    assert!(size_of::<CTensor>() == 144 && offset_of!(CTensor, body) == 8);
    assert!(size_of::<CScalar>() == 16 && offset_of!(CScalar, value) == 8);
    assert!(size_of::<CParam>() == 160 && offset_of!(CParam, name) == 8 && offset_of!(CParam, value) == 16);
    assert!(size_of::<COp>() == 80 && offset_of!(COp, name) == 8 && offset_of!(COp, kind) == 24);
    assert!(offset_of!(COp, params) == 40 && offset_of!(COp, inputs) == 56 && offset_of!(COp, outputs) == 72);
    assert!(size_of::<CConfig>() == 16 && offset_of!(CConfig, custom) == 8);
    assert!(size_of::<CSocConfig>() == 24);
    assert!(size_of::<CSerialize>() == 24 && offset_of!(CSerialize, to) == 8);
    assert!(offset_of!(CSerializeTo, path) == 8);
    assert!(offset_of!(CBinaryInfo, body) == 8 && offset_of!(CBinaryInfoBody, n_graphs) == 88);
    assert!(offset_of!(CBinaryInfoBody, graphs) == 96 && offset_of!(CBinaryInfoBody, soc_model) == 128);
    assert!(size_of::<CInterface>() == 40 && offset_of!(CInterface, core) == 16);
    assert!(offset_of!(CSystemInterface, functions) == 32);
};
