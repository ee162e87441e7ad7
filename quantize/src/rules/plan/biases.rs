//! Biases: constants that layers add to their products, and that nothing else reads.

use std::collections::BTreeMap;

use quad_ir::graph::{NodeRef, ValueRef};

use super::super::layers;
use super::{Bias, Planner, is_constant, name};

impl<'g> Planner<'g> {
    /// Biases of layers whose operands have encodings. One that would need several encodings has none.
    pub(super) fn plan_biases(&mut self) {
        let mut floats: BTreeMap<String, String> = BTreeMap::new();
        for node in self.nodes.clone() {
            let Some(bias) = layers::bias(node, &self.flow).filter(|bias| is_constant(*bias)) else {
                continue;
            };
            let Some(planned) = self.bias(node) else { continue };
            let name = name(bias);
            let other = self.plan.biases.get(name).is_some_and(|other| *other != planned);
            let reason = if other {
                Some("a bias of several layers, which would need several scales".to_owned())
            } else {
                self.other_use(bias)
            };
            match reason {
                Some(reason) => drop(floats.insert(name.to_owned(), reason)),
                None => drop(self.plan.biases.insert(name.to_owned(), planned)),
            }
        }
        for (name, reason) in floats {
            self.plan.biases.remove(&name);
            // A layer takes no bias that is stored as an activation.
            self.plan.weights.remove(&name);
            self.plan.floats.insert(name, reason);
        }
    }

    /// The encoding of what the layer `node` adds to its products, where these have one.
    fn bias(&self, node: NodeRef<'g>) -> Option<Bias> {
        let factor = layers::factor(node, &self.flow)?;
        let (x, w) = (name(factor.x).to_owned(), name(factor.w).to_owned());
        let codes = self.activation_codes(&x)?;
        let stored = self.rules.bias(codes.stored.bits())?;
        Some(Bias { stored, x, w, expressed: layers::bias(node, &self.flow)?.ty().dtype })
    }

    /// Why `bias` cannot be stored as one: something reads it in another way.
    fn other_use(&self, bias: ValueRef<'g>) -> Option<String> {
        let adds_it = |(node, operand): &(NodeRef<'g>, usize)| {
            let added = layers::bias(*node, &self.flow);
            *operand == layers::BIAS && added.is_some_and(|added| added.id() == bias.id())
        };
        let (other, _) = bias.readers().find(|read| !adds_it(read))?;
        let other = other.results().next().map_or("another operation", name);
        Some(format!("a bias that is no bias to `{other}`, which would need another encoding"))
    }
}
