//! What is known of every class of equal values: its type, its elements where they are few and known, and whether it is
//! made of constants only.
//!
//! Types come from the type rules of the operations, by the same function that building a graph uses. Values of different
//! types are not equal, so putting them into one class is a fault of the rule that asked for it, and is reported.

use std::sync::Arc;

use egg::{DidMerge, Id};
use quad_ir::graph::{Graph, type_node};
use quad_ir::ops::Fact;
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, Known, TensorType};

use super::language::{Constant, ENode};

/// The e-graph of a region.
pub type EGraph<'g> = egg::EGraph<ENode, Typing<'g>>;

/// Types nodes as they are added.
#[derive(Debug)]
pub struct Typing<'g> {
    /// The graph that values from outside are of.
    graph: &'g Graph,
    /// The first node that no type rule accepts, or two types in one class.
    fault: Option<RuleFault>,
    /// Classes that are new or grew, since [`take_touched`](Self::take_touched).
    touched: Vec<Id>,
}

/// What is known of a class.
#[derive(Clone, Debug)]
pub struct Data {
    /// Type and known elements; `None` of an operand that is left out.
    pub fact: Option<Arc<Fact>>,
    /// Whether it is a constant, or computed from constants only.
    pub constant: bool,
}

/// A rule of an e-graph claims something impossible: a fault of the rule, not of the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// No type rule accepts the node.
    #[error("makes a `{op}` that its type rule refuses: {why}")]
    IllTyped {
        /// The operation.
        op: &'static str,
        /// What the type rule says.
        why: String,
    },
    /// Values of different types are said to be equal.
    #[error("says that values of the types {left} and {right} are equal")]
    Types {
        /// One type.
        left: String,
        /// The other.
        right: String,
    },
    /// Nothing is left that a value could be computed by.
    #[error("leaves a value without a node that computes it")]
    NoNode,
}

impl<'g> Typing<'g> {
    /// For a region of `graph`.
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph, fault: None, touched: Vec::new() }
    }

    /// Takes what went wrong since the last call.
    pub fn take_fault(&mut self) -> Option<RuleFault> {
        self.fault.take()
    }

    /// Takes the classes that are new or grew since the last call, some perhaps more than once.
    pub fn take_touched(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.touched)
    }

    fn of_constant(&mut self, constant: &Constant) -> Data {
        match constant.tensor() {
            Ok(tensor) => Data::of_tensor(&tensor),
            Err(error) => self.refuse("weight", &error),
        }
    }

    fn refuse(&mut self, op: &'static str, why: &dyn std::fmt::Display) -> Data {
        self.fault.get_or_insert(RuleFault::IllTyped { op, why: why.to_string() });
        Data { fact: None, constant: false }
    }
}

impl Data {
    fn of_tensor(tensor: &Tensor) -> Self {
        let known = Known::Constant(tensor.clone());
        Self { fact: Some(Arc::new(Fact { ty: tensor.ty(), known: Some(known) })), constant: true }
    }

    /// The type; `None` of an operand that is left out.
    pub fn ty(&self) -> Option<&TensorType> {
        self.fact.as_ref().map(|fact| &fact.ty)
    }

    /// The elements, where they are few and known.
    pub fn tensor(&self) -> Option<&Tensor> {
        self.fact.as_ref()?.known.as_ref()?.constant()
    }
}

impl<'g> egg::Analysis<ENode> for Typing<'g> {
    type Data = Data;

    fn make(egraph: &mut EGraph<'g>, node: &ENode, _id: Id) -> Data {
        let graph = egraph.analysis.graph;
        let (op, children) = match node {
            ENode::Absent => return Data { fact: None, constant: true },
            ENode::Constant(constant) => return egraph.analysis.of_constant(constant),
            ENode::Outside(value) => {
                let value = graph.value(*value);
                let fact = Fact { ty: value.ty().clone(), known: value.known().cloned() };
                return Data { fact: Some(Arc::new(fact)), constant: value.weight().is_some() };
            }
            ENode::Apply { op, children } => (op, children),
        };
        let data = children.iter().map(|child| &egraph[*child].data);
        let constant = data.clone().all(|data| data.constant);
        let facts: Vec<Option<Fact>> = data.map(|data| data.fact.as_deref().cloned()).collect();
        match type_node(op, &facts, &[], graph.weights(), graph.symbols().len()) {
            // A size that nothing is known of differs from every other, so nothing could be said to equal the node.
            Ok(typed) if typed.symbols > graph.symbols().len() => Data { fact: None, constant },
            Ok(mut typed) if typed.types.len() == 1 => {
                let fact = Fact { ty: typed.types.remove(0), known: typed.known.remove(0) };
                Data { fact: Some(Arc::new(fact)), constant }
            }
            Ok(typed) => egraph
                .analysis
                .refuse(op.def().name(), &format!("{} results, expected one", typed.types.len())),
            Err(error) => egraph.analysis.refuse(op.def().name(), &error),
        }
    }

    fn merge(&mut self, into: &mut Data, from: Data) -> DidMerge {
        if !may_agree(into.ty(), from.ty()) {
            let show = |data: &Data| data.ty().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            self.fault.get_or_insert(RuleFault::Types { left: show(into), right: show(&from) });
        }
        let constant = into.constant || from.constant;
        let (kept, other) = (into.constant == constant, from.constant == constant);
        into.constant = constant;
        // What is known of either is known of both.
        let gains = into.tensor().is_none() && from.tensor().is_some();
        let loses = into.tensor().is_some() && from.tensor().is_none();
        if gains {
            into.fact = from.fact;
        }
        DidMerge(!kept || gains, !other || loses)
    }

    fn modify(egraph: &mut EGraph<'g>, id: Id) {
        egraph.analysis.touched.push(id);
        let folded = |node: &ENode| matches!(node, ENode::Constant(_));
        let class = &egraph[id];
        if let Some(tensor) = class.data.tensor().filter(|_| !class.iter().any(folded)) {
            let constant = Constant::new(tensor);
            let constant = egraph.add(ENode::Constant(constant));
            egraph.union(id, constant);
        }
    }
}

/// Whether values of both types may be the same value: no size, element type or encoding tells them apart.
pub fn may_agree(left: Option<&TensorType>, right: Option<&TensorType>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return left.is_none() && right.is_none() };
    let sizes = left.shape.iter().zip(right.shape.iter());
    let differ = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
    left.dtype == right.dtype
        && left.quant == right.quant
        && left.rank() == right.rank()
        && !sizes.into_iter().any(differ)
}
