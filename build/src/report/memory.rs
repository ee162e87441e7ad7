//! What is stored: one model with all adapters beside it, against a model for each adapter.

use quad_quantize::plots::{Curve, Curves, Section};

use super::{ReportError, Sizes, words};

/// Numbers of adapters that are compared.
const ADAPTERS: std::ops::RangeInclusive<u32> = 1..=16;
const MEBI: f64 = 1024.0 * 1024.0;

impl Sizes {
    /// The section of `target`.
    pub(super) fn section(&self, target: &str) -> Result<Section, ReportError> {
        let mut section = Section::new(&format!("Memory on {target}"));
        let adapters: u64 = self.adapters.iter().map(|(_, bytes)| bytes).sum();
        if let (Some(separate), false) = (self.separate, self.adapters.is_empty()) {
            let each = adapters as f64 / self.adapters.len() as f64;
            section.pictures.push(self.curves(separate as f64, each).svg()?);
            section.text.push(
                "One model for all adapters and the adapters beside it, against one model for each adapter with the adapter \
                 merged into its weights. Each further adapter weighs what these weigh on average."
                    .to_owned(),
            );
        }
        section.rows.push(words(&["what", "bytes", "MiB"]));
        let mut row = |what: &str, bytes: u64| {
            section.rows.push(vec![
                what.to_owned(),
                bytes.to_string(),
                format!("{:.3}", bytes as f64 / MEBI),
            ]);
        };
        row("the model that all adapters share", self.shared);
        self.adapters.iter().for_each(|(name, bytes)| row(&format!("adapter {name}"), *bytes));
        if let Some(separate) = self.separate {
            row("a model with one adapter merged into it", separate);
        }
        Ok(section)
    }

    /// What is stored for more and more adapters, of `each` bytes on average.
    fn curves(&self, separate: f64, each: f64) -> Curves {
        let curve = |name: &str, marked, bytes: &dyn Fn(f64) -> f64| Curve {
            name: name.to_owned(),
            points: ADAPTERS.map(|count| (f64::from(count), bytes(f64::from(count)) / MEBI)).collect(),
            marked,
        };
        let shared = self.shared as f64;
        Curves {
            title: "What is stored for N adapters".to_owned(),
            along: "adapters".to_owned(),
            axis: "MiB".to_owned(),
            curves: vec![
                curve("a model for each adapter", false, &|count| count * separate),
                curve("one model, adapters as inputs", true, &|count| shared + count * each),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_by_adapters_and_not_by_models() {
        let sizes =
            Sizes { shared: 10 << 20, adapters: vec![("a".to_owned(), 1 << 20)], separate: Some(9 << 20) };
        let curves = sizes.curves(9.0 * MEBI, MEBI).curves;
        assert_eq!((curves[0].points[15], curves[1].points[15]), ((16.0, 144.0), (16.0, 26.0)));
    }
}
