//! Runtimes whose kernels the interpreter can compute like.

use std::collections::BTreeMap;

use clap::ValueEnum;
use quad_backends::report::Report;
use quad_backends::target::Target;
use quad_build::model::unfolded;
use quad_build::targets::make_legal;
use quad_ir::graph::Graph;
use quad_ir::interpret::Kernels;
use quad_ir::module::Module;
use quad_litert::kernels::ReferenceKernels;
use quad_litert::target::LiteRt;
use quad_onnxruntime::CpuKernels;
use quad_passes::registry::Registry;

use crate::exit::Failure;

/// A runtime whose kernels are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Runtime {
    /// LiteRT's reference kernels, where they compute with stored integers; the passes of its target run first.
    Litert,
    /// ONNX Runtime's for x86-64 processors with AVX-512, without graph optimizations and with one thread; what is
    /// quantized is stored and read by operations first.
    Onnxruntime,
}

impl Runtime {
    /// Makes of `module` what the runtime would be given. `notes` says what that decided.
    pub(super) fn prepare(
        self,
        module: &mut Module,
        registry: &Registry,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        match self {
            Self::Litert => {
                make_legal(module, &LiteRt, &BTreeMap::new(), registry, notes)?;
                module.main().map_or(Ok(()), refuse_illegal)?;
            }
            Self::Onnxruntime => *module = unfolded(module).map_err(Failure::input)?.into_owned(),
        }
        Ok(())
    }

    pub(super) fn kernels(self) -> &'static dyn Kernels {
        match self {
            Self::Litert => &ReferenceKernels,
            Self::Onnxruntime => &CpuKernels,
        }
    }
}

/// Kernels of the runtime compute nothing that it does not take.
fn refuse_illegal(graph: &Graph) -> Result<(), Failure> {
    let report = Report::new(LiteRt.name(), graph, &LiteRt.verdicts(graph));
    let Some((reason, nodes)) = report.by_reason().into_iter().next() else { return Ok(()) };
    Err(Failure::message(format!(
        "`--kernels litert`: LiteRT does not take {} of {} nodes, most of them because of {reason}, such as `{}`; give `quad \
         profile make` the rules of the runtime, `--rules litert`, and quantize again; `quad check --target litert` names every \
         node",
        report.nodes - report.legal_nodes,
        report.nodes,
        nodes[0].node
    )))
}
