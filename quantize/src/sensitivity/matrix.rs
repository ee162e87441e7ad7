//! The matrix of candidates and adapters: what the encodings of each candidate for the anchor do to each adapter.
//!
//! Its diagonal is what each adapter has with encodings of its own, and gives the scores that the paper's rule goes by; the
//! rest is what the choice costs the others, which `auto` goes by.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bench::{Bench, BenchError, Fidelity};
use crate::insert::Encodings;
use crate::profile::scores::Scores;

/// What was measured of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// An adapter, whose own encodings it has, or [`UNIFIED`](crate::profile::scores::UNIFIED).
    pub candidate: String,
    /// What they do to the outputs of each subject of the bench, in their order.
    pub fidelity: Vec<Fidelity>,
}

impl Row {
    /// The peak signal-to-noise ratio of the adapter that is worst off, in decibels.
    pub fn worst(&self) -> f64 {
        self.fidelity.iter().map(|fidelity| fidelity.psnr).fold(f64::INFINITY, f64::min)
    }
}

/// What was measured of all candidates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matrix {
    /// The adapters, as columns.
    pub adapters: Vec<String>,
    /// The candidates.
    pub rows: Vec<Row>,
}

impl Matrix {
    /// Measures all subjects of `bench` with the encodings of each candidate. `done` is told of each run that has ended.
    pub fn measure(
        bench: &Bench<'_>,
        candidates: &[(String, Encodings)],
        done: &(dyn Fn() + Sync),
    ) -> Result<Self, BenchError> {
        let adapters: Vec<String> = bench.subjects().iter().map(|subject| subject.name.clone()).collect();
        let all: Vec<usize> = (0..adapters.len()).collect();
        let row = |(candidate, encodings): &(String, Encodings)| {
            Ok(Row { candidate: candidate.clone(), fidelity: bench.measure(encodings, &all, done)? })
        };
        let rows: Result<Vec<Row>, BenchError> = candidates.iter().map(row).collect();
        Ok(Self { adapters, rows: rows? })
    }

    /// What the encodings of `candidate` do to `adapter`.
    pub fn get(&self, candidate: &str, adapter: &str) -> Option<Fidelity> {
        let row = self.rows.iter().find(|row| row.candidate == candidate)?;
        let column = self.adapters.iter().position(|name| name == adapter)?;
        row.fidelity.get(column).copied()
    }

    /// What an anchor is chosen by. The score of an adapter is that of its own encodings.
    pub fn scores(&self, graph: &str, divergence: &str, precision: &str) -> Scores {
        let own = |adapter: &String| Some((adapter.clone(), self.get(adapter, adapter)?.qss));
        let named = |row: &Row| {
            let figures =
                self.adapters.iter().cloned().zip(row.fidelity.iter().map(|fidelity| fidelity.psnr));
            (row.candidate.clone(), figures.collect::<BTreeMap<String, f64>>())
        };
        Scores {
            graph: graph.to_owned(),
            divergence: divergence.to_owned(),
            precision: precision.to_owned(),
            margin: None,
            qss: self.adapters.iter().filter_map(own).collect(),
            psnr: self.rows.iter().map(named).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_on_the_diagonal() {
        let fidelity = |psnr: f64| Fidelity { psnr, ssim: None, qss: 1.0 / psnr };
        let row = |candidate: &str, psnr: [f64; 2]| Row {
            candidate: candidate.to_owned(),
            fidelity: psnr.map(fidelity).to_vec(),
        };
        let matrix = Matrix {
            adapters: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![row("a", [50.0, 20.0]), row("b", [10.0, 40.0]), row("unified", [45.0, 35.0])],
        };
        let scores = matrix.scores("digest", "js", "w8a16");
        assert_eq!(scores.qss, BTreeMap::from([("a".to_owned(), 0.02), ("b".to_owned(), 0.025)]));
        assert_eq!(scores.psnr["b"]["a"], 10.0);
        assert_eq!(scores.best_candidate(), Some(("unified", 35.0)));
        assert_eq!(matrix.rows[0].worst(), 20.0);
        assert_eq!(matrix.get("c", "a"), None);
    }
}
