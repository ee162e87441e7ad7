//! Encodings of biases: they follow from those of what is multiplied.

use std::collections::BTreeMap;

use quad_ir::types::Quant;

use super::super::{Entry, Role};
use super::Maker;
use crate::encoding::{Encoding, Range};
use crate::rules::plan::Bias;
use crate::statistics::TensorStatistics;

impl Maker<'_> {
    /// Biases: the product of both scales. One that the stored type cannot hold, or that is added to floats, stays a float.
    pub(super) fn add_biases(&mut self, biases: &BTreeMap<String, Bias>) {
        for (name, bias) in biases {
            let (Some(x), Some(w)) = (self.entries.get(&bias.x), self.entries.get(&bias.w)) else { continue };
            let Some(statistics) = self.statistics.weights.get(name) else { continue };
            if let Some(entry) = bias_entry(bias, &x.encoding, &w.encoding, statistics) {
                self.entries.insert(name.clone(), entry);
            } else {
                let reason = format!("a bias that {} codes of the products' scale do not reach", bias.stored);
                self.floats.insert(name.clone(), reason);
            }
        }
    }
}

/// The entry of a bias beside `x` and `w`; `None` where it does not fit.
fn bias_entry(bias: &Bias, x: &Encoding, w: &Encoding, statistics: &TensorStatistics) -> Option<Entry> {
    let range = statistics.range?;
    let (x_scale, _) = x.parameters().next()?;
    let scales: Vec<f32> = w.parameters().map(|(scale, _)| x_scale * scale).collect();
    let largest = bias.stored.integer_range()?.1 as f64;
    let channels = statistics.axes.first()?;
    let fits = |(channel, range): (usize, &Range)| {
        let scale = scales[if scales.len() == 1 { 0 } else { channel }];
        scale.is_normal() && f64::from(range.magnitude()) / f64::from(scale) < largest
    };
    let matches = scales.len() == 1 || scales.len() == channels.len();
    if !matches || !channels.iter().enumerate().all(fits) {
        return None;
    }
    let quant = Quant {
        axis: (scales.len() > 1).then_some(0),
        block: None,
        zero_points: vec![0; scales.len()].into(),
        scales: scales.into_iter().map(Into::into).collect(),
        expressed: bias.expressed,
    };
    quant.check().ok()?;
    let encoding = Encoding { stored: bias.stored, quant };
    Some(Entry { role: Role::Bias, encoding, range, limit: None })
}
