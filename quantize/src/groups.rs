//! Several profiles instead of one: which adapters share a profile so that every one of them is good enough.
//!
//! One profile for all (k = 1) is the method of the paper, one profile for each (k = N) is what it replaces. In between,
//! targets that can switch a few sets of encodings get a choice: the fewest profiles for a bound on quality, and a table
//! of the quality that each number of profiles can have. What a group's profile is and how good an adapter is with it,
//! the caller measures; here is only the search. It is exhaustive up to [`EXHAUSTIVE`] adapters, where all groups are
//! measured; beyond that, groups are merged as long as that costs least, starting from one for each adapter.

use std::collections::BTreeMap;

/// The most adapters for which all partitions are looked at. Six adapters have 63 groups to measure and 203 partitions.
pub const EXHAUSTIVE: usize = 6;

/// What was measured of a group of adapters with the profile made for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The quality of each member, in the order asked: more is better, such as PSNR in dB.
    pub quality: Vec<f64>,
    /// What the profile is, for people: `unified`, or the anchor's name.
    pub profile: String,
}

/// Adapters that share a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The adapters, by number, ascending.
    pub members: Vec<usize>,
    /// What was measured of them.
    pub measured: Measured,
}

/// All adapters, each in one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// The groups, by their first members.
    pub groups: Vec<Group>,
}

/// The best groupings that were found for each number of profiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Groupings {
    /// The best with k profiles is at k - 1.
    pub by_count: Vec<Grouping>,
    /// Whether all partitions were looked at, so that they are the best that there are.
    pub exhaustive: bool,
}

impl Group {
    /// The quality of the member that is worst off.
    pub fn worst(&self) -> f64 {
        self.measured.quality.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

impl Grouping {
    /// The quality of the adapter that is worst off.
    pub fn worst(&self) -> f64 {
        self.groups.iter().map(Group::worst).fold(f64::INFINITY, f64::min)
    }

    /// The mean quality of all adapters.
    pub fn mean(&self) -> f64 {
        let all = || self.groups.iter().flat_map(|group| &group.measured.quality);
        all().sum::<f64>() / all().count().max(1) as f64
    }

    /// Whether this one is better: by the worst adapter, and by the mean where those are equal.
    fn beats(&self, other: &Self) -> bool {
        self.worst().total_cmp(&other.worst()).then(self.mean().total_cmp(&other.mean())).is_gt()
    }
}

impl Groupings {
    /// The grouping with the fewest profiles with which every adapter has at least the quality `bound`.
    pub fn fewest(&self, bound: f64) -> Option<&Grouping> {
        self.by_count.iter().find(|grouping| grouping.worst() >= bound)
    }
}

/// The best groupings of `adapters` adapters that were found for each number of profiles.
///
/// `measure` makes a profile for a group of adapters, given by number, and says how good each is with it. It is asked
/// once for each group that matters.
pub fn group<E>(
    adapters: usize,
    measure: impl FnMut(&[usize]) -> Result<Measured, E>,
) -> Result<Groupings, E> {
    let mut measurements = Measurements { known: BTreeMap::new(), measure };
    if adapters <= EXHAUSTIVE {
        exhaustive(adapters, &mut measurements)
    } else {
        merging(adapters, &mut measurements)
    }
}

/// Groups that were measured, so that none is measured twice.
struct Measurements<M> {
    known: BTreeMap<Vec<usize>, Measured>,
    measure: M,
}

impl<M> Measurements<M> {
    fn grouping<E>(&mut self, groups: &[Vec<usize>]) -> Result<Grouping, E>
    where
        M: FnMut(&[usize]) -> Result<Measured, E>,
    {
        let mut found = Vec::with_capacity(groups.len());
        for members in groups {
            if !self.known.contains_key(members) {
                let measured = (self.measure)(members)?;
                self.known.insert(members.clone(), measured);
            }
            found.push(Group { members: members.clone(), measured: self.known[members].clone() });
        }
        found.sort_by(|a, b| a.members.cmp(&b.members));
        Ok(Grouping { groups: found })
    }
}

fn exhaustive<E, M>(adapters: usize, measurements: &mut Measurements<M>) -> Result<Groupings, E>
where
    M: FnMut(&[usize]) -> Result<Measured, E>,
{
    let mut best: Vec<Option<Grouping>> = vec![None; adapters];
    for partition in partitions(adapters) {
        let grouping = measurements.grouping(&partition)?;
        let place = &mut best[partition.len() - 1];
        if place.as_ref().is_none_or(|known| grouping.beats(known)) {
            *place = Some(grouping);
        }
    }
    Ok(Groupings { by_count: best.into_iter().flatten().collect(), exhaustive: true })
}

/// Every way to put `adapters` adapters into groups.
fn partitions(adapters: usize) -> Vec<Vec<Vec<usize>>> {
    // Adapter by adapter: each joins one of the groups there are, or opens one.
    let mut all: Vec<Vec<Vec<usize>>> = if adapters == 0 { Vec::new() } else { vec![Vec::new()] };
    for adapter in 0..adapters {
        let mut longer = Vec::new();
        for partition in &all {
            for group in 0..partition.len() {
                let mut joined = partition.clone();
                joined[group].push(adapter);
                longer.push(joined);
            }
            let mut opened = partition.clone();
            opened.push(vec![adapter]);
            longer.push(opened);
        }
        all = longer;
    }
    all
}

fn merging<E, M>(adapters: usize, measurements: &mut Measurements<M>) -> Result<Groupings, E>
where
    M: FnMut(&[usize]) -> Result<Measured, E>,
{
    let mut current: Vec<Vec<usize>> = (0..adapters).map(|adapter| vec![adapter]).collect();
    let mut by_count = vec![measurements.grouping(&current)?];
    while current.len() > 1 {
        let mut best: Option<(Grouping, Vec<Vec<usize>>)> = None;
        for second in 1..current.len() {
            for first in 0..second {
                let mut merged = current.clone();
                let joined = merged.remove(second);
                merged[first].extend(joined);
                merged[first].sort_unstable();
                let grouping = measurements.grouping(&merged)?;
                if best.as_ref().is_none_or(|(known, _)| grouping.beats(known)) {
                    best = Some((grouping, merged));
                }
            }
        }
        let Some((grouping, merged)) = best else { break };
        by_count.push(grouping);
        current = merged;
    }
    by_count.reverse();
    Ok(Groupings { by_count, exhaustive: false })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Adapters with a spread each: sharing costs as much as the members' spreads are apart.
    fn by_spread(spreads: &[f64], members: &[usize]) -> Measured {
        let of = |member: &usize| spreads[*member];
        let widest = members.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let quality = members.iter().map(|member| 50.0 - (widest - of(member))).collect();
        Measured { quality, profile: "unified".to_owned() }
    }

    fn grouped(spreads: &[f64]) -> Groupings {
        let measured = group(spreads.len(), |members| Ok::<_, Infallible>(by_spread(spreads, members)));
        let Ok(groupings) = measured;
        groupings
    }

    fn members(grouping: &Grouping) -> Vec<&[usize]> {
        grouping.groups.iter().map(|group| group.members.as_slice()).collect()
    }

    #[test]
    fn groups_are_partitioned_in_every_way_once() {
        let counts: Vec<usize> = (0..=6).map(|adapters| partitions(adapters).len()).collect();
        // Bell's numbers; nothing is not partitioned.
        assert_eq!(counts, [0, 1, 2, 5, 15, 52, 203]);
        let mut all = partitions(4);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 15);
    }

    #[test]
    fn adapters_that_are_alike_share() {
        let groupings = grouped(&[0.0, 10.0, 1.0, 12.0]);
        assert!(groupings.exhaustive);
        let worst: Vec<f64> = groupings.by_count.iter().map(Grouping::worst).collect();
        assert_eq!(worst, [38.0, 48.0, 49.0, 50.0]);
        assert_eq!(members(&groupings.by_count[1]), [&[0, 2][..], &[1, 3]]);
        assert_eq!(members(&groupings.by_count[2]), [&[0, 2][..], &[1], &[3]]);
        assert_eq!(groupings.fewest(48.0), Some(&groupings.by_count[1]));
        assert_eq!(groupings.fewest(20.0), Some(&groupings.by_count[0]));
        assert_eq!(groupings.fewest(51.0), None);
    }

    #[test]
    fn the_mean_decides_between_equal_worst_ones() {
        // Adapter 2 has 30 in any company: the others decide.
        let measure = |members: &[usize]| {
            let quality = |member: &usize| match (member, members.len()) {
                (2, _) => 30.0,
                (_, 1) => 50.0,
                _ => 40.0,
            };
            let quality = members.iter().map(quality).collect();
            Ok::<_, Infallible>(Measured { quality, profile: String::new() })
        };
        let Ok(groupings) = group(3, measure);
        assert_eq!(groupings.by_count[1].worst(), 30.0);
        assert_eq!(groupings.by_count[1].mean(), 40.0, "{groupings:?}");
    }

    #[test]
    fn merging_finds_what_is_far_apart_and_measures_no_group_twice() {
        let spreads = [0.0, 20.0, 0.5, 21.0, 1.0, 20.5, 40.0, 41.5];
        let mut asked = Vec::new();
        let found = group(spreads.len(), |members| {
            asked.push(members.to_vec());
            Ok::<_, Infallible>(by_spread(&spreads, members))
        });
        let Ok(groupings) = found;
        assert!(!groupings.exhaustive);
        assert_eq!(members(&groupings.by_count[2]), [&[0, 2, 4][..], &[1, 3, 5], &[6, 7]]);
        assert_eq!(groupings.by_count.len(), 8);
        let count = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), count);
    }

    #[test]
    fn failing_to_measure_ends_the_search() {
        assert_eq!(group(3, |_| Err::<Measured, _>("no data")), Err("no data"));
        assert_eq!(group(0, |_| Err::<Measured, _>("no data")).map(|found| found.by_count.len()), Ok(0));
    }
}
