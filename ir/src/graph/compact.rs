//! Renumbering: dropping the slots of erased nodes, so that ids are dense again.

use super::topology::Topology;
use super::{Graph, NodeData, NodeId, Output, Revision, ValueData, ValueId};
use crate::entity::{Entity, EntityMap};

/// Old ids and what they became.
#[derive(Clone, Debug)]
pub struct Renumbering {
    nodes: EntityMap<NodeId, Option<NodeId>>,
    values: EntityMap<ValueId, Option<ValueId>>,
}

impl Renumbering {
    /// What the node `old` is now called; `None` when it was erased.
    pub fn node(&self, old: NodeId) -> Option<NodeId> {
        self.nodes.get(old).copied().flatten()
    }

    /// What the value `old` is now called; `None` when its producer was erased.
    pub fn value(&self, old: ValueId) -> Option<ValueId> {
        self.values.get(old).copied().flatten()
    }
}

impl Graph {
    /// Numbers nodes and values without gaps, in the order they had. Nothing else changes; weights and symbols keep
    /// their ids. Ids from before are those of other nodes now: translate them with what is returned.
    pub fn compact(&mut self) -> Renumbering {
        let renumbering = self.number();
        let nodes = std::mem::take(&mut self.nodes);
        let values = std::mem::take(&mut self.values);
        self.values = renumbered_values(values, &renumbering);
        self.topology = Topology::default();
        for data in nodes.into_iter().filter_map(|(_, data)| data) {
            self.topology.add(self.nodes.next_id());
            self.nodes.push(Some(renumbered(data, &renumbering)));
        }
        // A producer may have a larger number than its reader, so nodes are connected when all are there.
        for (node, data) in self.nodes.iter() {
            let operands = data.iter().flat_map(|data| data.operands.iter().enumerate());
            for (operand, value) in operands.filter_map(|(operand, value)| Some((operand, (*value)?))) {
                self.topology.connect(self.values[value].producer, node, value, operand);
            }
        }
        let new_value = |old: ValueId| renumbering.value(old);
        self.inputs = self.inputs.iter().filter_map(|node| renumbering.node(*node)).collect();
        let outputs = std::mem::take(&mut self.outputs).into_iter();
        self.outputs = outputs
            .filter_map(|Output { name, value }| Some(Output { name, value: new_value(value)? }))
            .collect();
        let named = self.values.iter().filter_map(|(value, data)| Some((data.name.clone()?, value)));
        self.names = named.collect();
        self.known_elements = self
            .values
            .iter()
            .filter_map(|(_, data)| data.known.as_ref())
            .map(crate::types::Known::len)
            .sum();
        self.revision = Revision::next();
        renumbering
    }

    fn number(&self) -> Renumbering {
        let mut numbering = Renumbering { nodes: EntityMap::new(), values: EntityMap::new() };
        let mut next = 0;
        for (_, data) in self.nodes.iter() {
            numbering.nodes.push(data.as_ref().map(|_| NodeId::from_index(next)));
            next += usize::from(data.is_some());
        }
        let mut next = 0;
        for (_, data) in self.values.iter() {
            let lives = self.contains(data.producer);
            numbering.values.push(lives.then(|| ValueId::from_index(next)));
            next += usize::from(lives);
        }
        numbering
    }
}

fn renumbered(mut data: NodeData, renumbering: &Renumbering) -> NodeData {
    for operand in &mut data.operands {
        *operand = operand.and_then(|old| renumbering.value(old));
    }
    data.results = data.results.iter().filter_map(|old| renumbering.value(*old)).collect();
    data
}

fn renumbered_values(
    values: EntityMap<ValueId, ValueData>,
    renumbering: &Renumbering,
) -> EntityMap<ValueId, ValueData> {
    let mut kept = EntityMap::new();
    for (_, mut data) in values {
        if let Some(producer) = renumbering.node(data.producer) {
            data.producer = producer;
            kept.push(data);
        }
    }
    kept
}
