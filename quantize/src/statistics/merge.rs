//! Statistics of parts become those of the whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{AdapterStatistics, Statistics};

/// Statistics do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// They are of different models.
    #[error(
        "they are of different models, {0} and {1}: statistics of the same model with the same adapters can be merged"
    )]
    Models(String, String),
    /// An adapter was another one.
    #[error("adapter `{0}` is not the same in both: its slots differ")]
    Adapter(String),
    /// The data of an adapter were others.
    #[error(
        "adapter `{0}` saw different data: to calibrate on several files, put them into one folder and give that to \
         every shard"
    )]
    Data(String),
    /// A sample would count twice.
    #[error(
        "adapter `{adapter}` saw sample {sample} in both: a sample counts once, so shards must not overlap"
    )]
    Sample {
        /// The adapter.
        adapter: String,
        /// The sample.
        sample: u64,
    },
    /// The same model would have other weights, or the same adapter other values.
    #[error("they disagree about {0}, so one of them is damaged or of another version of this program")]
    Content(String),
}

impl Statistics {
    /// Adds what `other` saw. Without effect when it fails.
    pub fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        if self.model.digest != other.model.digest {
            return Err(MergeError::Models(self.model.digest.clone(), other.model.digest));
        }
        if self.model != other.model || self.weights != other.weights {
            return Err(MergeError::Content("the model".to_owned()));
        }
        for (name, adapter) in &other.adapters {
            self.adapters.get(name).map_or(Ok(()), |own| own.check(name, adapter))?;
        }
        for (name, adapter) in other.adapters {
            match self.adapters.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(adapter);
                }
                Entry::Occupied(mut entry) => entry.get_mut().add(adapter),
            }
        }
        Ok(())
    }
}

impl AdapterStatistics {
    /// Whether `other` is of other samples of the same adapter.
    fn check(&self, name: &str, other: &Self) -> Result<(), MergeError> {
        if self.digest != other.digest {
            return Err(MergeError::Adapter(name.to_owned()));
        }
        if (&self.data, self.available) != (&other.data, other.available) {
            return Err(MergeError::Data(name.to_owned()));
        }
        if self.slots != other.slots || !self.values.keys().eq(other.values.keys()) {
            return Err(MergeError::Content(format!("adapter `{name}`")));
        }
        match self.samples.intersection(&other.samples).next() {
            Some(sample) => Err(MergeError::Sample { adapter: name.to_owned(), sample: *sample }),
            None => Ok(()),
        }
    }

    /// Adds what `other`, which was checked, saw.
    fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        let mut values: BTreeMap<_, _> = other.values;
        for (name, value) in &mut self.values {
            let Some(other) = values.remove(name) else { continue };
            value.extremes.extend(other.extremes);
            value.histogram.merge(&other.histogram);
        }
    }
}
