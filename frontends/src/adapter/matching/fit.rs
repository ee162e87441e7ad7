//! Whether a site's factors fit a product, and how they lie to fit it.

use quad_ir::graph::{Graph, NodeRef};
use quad_ir::ops::{Conv, Gemm};
use quad_ir::tensor::{Tensor, TensorError};

use super::{SiteRef, Target, TargetNode, WeightLayout, layers};
use crate::adapter::branches::{Kind, Product};
use crate::adapter::normal_form::{AdapterSite, Form, SiteKind};

/// Why a site's factors do not fit `product`, if they do not.
pub(super) fn check(site: &AdapterSite, product: &Product<'_>) -> Result<(), String> {
    let kernel = kernel(product);
    let dilated = product.node.is::<Conv>().is_some_and(|conv| conv.dilations.iter().any(|step| *step != 1));
    if dilated && kernel.iter().any(|size| *size != 1) {
        return Err("the convolution is dilated, and tools differ in what its adapter computes".to_owned());
    }
    check_groups(site, groups(product.node))?;
    let (channels_in, channels_out) = (size(product.channels_in), size(product.channels_out));
    let (a, b) = (site.lora_a.sizes(), site.lora_b.sizes());
    let places: usize = kernel.iter().product();
    let is_same = a[1] == channels_in && pads_to(&a[2..], &kernel);
    // Products that LyCORIS stores have channels and places of the kernel on one axis.
    let may_be_joined = matches!(site.form, Form::LoHa | Form::LoKr) && a.len() == 2;
    let is_joined = may_be_joined && a[1] == channels_in.saturating_mul(places);
    if b[0] == channels_out && (is_same || is_joined) {
        return Ok(());
    }
    let layer = if kernel.is_empty() { String::new() } else { format!(", kernel {kernel:?}") };
    Err(format!(
        "its factors are {a:?} and {b:?}, the layer has {channels_in} channels in and {channels_out} out{layer}"
    ))
}

/// Why a site that is stored for the groups of a convolution does not fit a layer with other `groups`, if it does not.
fn check_groups(site: &AdapterSite, groups: usize) -> Result<(), String> {
    if site.groups <= 1 || site.groups == groups {
        return Ok(());
    }
    let (rank, stored) = (site.rank(), site.groups);
    Err(format!(
        "`lora_A` is for rank {rank}, `lora_B` for rank {}, as only a convolution in {stored} groups has them; \
         the layer has {groups}",
        rank / stored
    ))
}

/// Why a site that is stored for the groups of a convolution does not fit the module at `path` of `graph`, if it does
/// not.
pub(super) fn check_groups_at(site: &AdapterSite, graph: &Graph, path: &str) -> Result<(), String> {
    // Other sites fit every number of groups, and need no search.
    if site.groups <= 1 {
        return Ok(());
    }
    let of_module = |node: &NodeRef<'_>| layers::module_of(*node).is_some_and(|module| module == path);
    // The branch's own products may be of the module too; they have no groups.
    let most = graph.nodes().filter(of_module).map(groups).max();
    check_groups(site, most.unwrap_or(1))
}

/// The groups of a convolution; 1 for anything else.
fn groups(node: NodeRef<'_>) -> usize {
    node.is::<Conv>().map_or(1, |conv| size(conv.group))
}

/// Whether two kernels are the same, axes of one aside.
fn pads_to(found: &[usize], expected: &[usize]) -> bool {
    let one = |sizes: &[usize]| sizes.iter().all(|size| *size == 1);
    found == expected || (one(found) && one(expected))
}

/// The factors of `site` as `target` needs them: `[rank, in]` or, for a convolution, `[rank, in, kernel..]`; and
/// `[out, rank]`. Files have convolutions by one as matrices and the other way round. Nothing is copied.
///
/// An error when the site does not fit the target, which it does when [`match_sites`](super::match_sites) matched them.
pub fn fitted(target: &Target, site: &AdapterSite) -> Result<(Tensor, Tensor), TensorError> {
    let mut sizes = vec![site.rank(), target.channels_in];
    sizes.extend(&target.kernel);
    let lora_b = site.lora_b.reshaped(&[target.channels_out, site.rank()])?;
    Ok((site.lora_a.reshaped(&sizes)?, lora_b))
}

/// The layer that `products` are, which have one weight.
pub(super) fn target(path: &str, products: &[&Product<'_>], places: &[SiteRef]) -> Target {
    let first = products[0];
    Target {
        path: path.to_owned(),
        nodes: products.iter().map(|product| target_node(product.node)).collect(),
        kind: match first.kind {
            Kind::Linear => SiteKind::Linear,
            Kind::Convolution => SiteKind::Conv,
        },
        channels_in: size(first.channels_in),
        channels_out: size(first.channels_out),
        kernel: kernel(first),
        sites: places.to_vec(),
    }
}

fn target_node(node: NodeRef<'_>) -> TargetNode {
    let is_transposed = node.is::<Gemm>().is_some_and(|gemm| gemm.transB);
    let layout =
        if is_transposed || node.is::<Conv>().is_some() { WeightLayout::OutIn } else { WeightLayout::InOut };
    TargetNode { node: node.id(), weight_operand: 1, layout }
}

/// The kernel of a convolution; empty for a matrix product.
fn kernel(product: &Product<'_>) -> Vec<usize> {
    let weight = product.node.operand("w").filter(|_| product.kind == Kind::Convolution);
    let sizes = weight.and_then(|weight| weight.ty().shape.as_known());
    sizes.map(|sizes| sizes[2..].iter().map(|of_axis| size(*of_axis)).collect()).unwrap_or_default()
}

/// A size of a weight, which is in memory.
fn size(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
