//! Reading the equation of an `einsum`.

use std::collections::BTreeMap;

/// An axis of the equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// One of the axes that `...` stands for, counted from the last one, so that shorter ones align with longer ones.
    Broadcast(usize),
    /// A letter.
    Letter(char),
}

/// An equation with `...` resolved to the axes it stands for.
#[derive(Clone, Debug)]
pub(super) struct Equation {
    /// For each operand, the labels of its axes.
    pub(super) terms: Vec<Vec<Label>>,
    /// The labels of the result's axes.
    pub(super) result: Vec<Label>,
}

/// A term as written.
struct Written {
    letters: Vec<char>,
    /// How many letters stand before `...`, where it occurs.
    ellipsis: Option<usize>,
}

impl Equation {
    /// Reads `text` for operands of `ranks` axes. The error completes "expected ..".
    pub(super) fn parse(text: &str, ranks: &[usize]) -> Result<Self, String> {
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(read_term(right)?)),
            None => (text, None),
        };
        let written = left.split(',').map(read_term).collect::<Result<Vec<_>, _>>()?;
        if written.len() != ranks.len() {
            return Err(format!("as many terms as operands, {}", ranks.len()));
        }
        let mut terms = Vec::with_capacity(ranks.len());
        for (term, rank) in written.iter().zip(ranks) {
            terms.push(term.labels(*rank)?);
        }
        // Where terms differ, the longest `...` decides.
        let broadcast = terms.iter().map(|term| broadcast_axes(term)).max().unwrap_or(0);
        let result = match right {
            Some(right) => right.result(broadcast, &terms)?,
            None => implicit(broadcast, &terms),
        };
        Ok(Self { terms, result })
    }
}

impl Written {
    /// The labels of an operand of `rank` axes.
    fn labels(&self, rank: usize) -> Result<Vec<Label>, String> {
        let unnamed = match (self.ellipsis, rank.checked_sub(self.letters.len())) {
            (Some(_), Some(unnamed)) => unnamed,
            (None, Some(0)) => 0,
            _ => {
                let term: String = self.letters.iter().collect();
                return Err(format!(
                    "a letter for each of the {rank} axes of an operand, `{term}` has other ones"
                ));
            }
        };
        Ok(self.resolve(unnamed))
    }

    /// The labels of the result, where `...` stands for `broadcast` axes.
    fn result(&self, broadcast: usize, terms: &[Vec<Label>]) -> Result<Vec<Label>, String> {
        for (index, letter) in self.letters.iter().enumerate() {
            if self.letters[..index].contains(letter) {
                return Err(format!("each letter once after `->`, `{letter}` is repeated"));
            }
            if !terms.iter().flatten().any(|label| *label == Label::Letter(*letter)) {
                return Err(format!("letters of the operands after `->`, `{letter}` is none"));
            }
        }
        Ok(self.resolve(broadcast))
    }

    fn resolve(&self, unnamed: usize) -> Vec<Label> {
        let (before, after) = self.letters.split_at(self.ellipsis.unwrap_or(self.letters.len()));
        let letters = |letters: &[char]| letters.iter().copied().map(Label::Letter).collect::<Vec<_>>();
        let unnamed = if self.ellipsis.is_some() { unnamed } else { 0 };
        let mut labels = letters(before);
        labels.extend((0..unnamed).rev().map(Label::Broadcast));
        labels.extend(letters(after));
        labels
    }
}

/// Reads letters and at most one `...`; spaces do not count.
fn read_term(text: &str) -> Result<Written, String> {
    let text: String = text.chars().filter(|letter| *letter != ' ').collect();
    let (before, after) = match text.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (&*text, None),
    };
    let letters: Vec<char> = before.chars().chain(after.unwrap_or_default().chars()).collect();
    match letters.iter().find(|letter| !letter.is_ascii_alphabetic()) {
        Some('.') => Err("at most one `...` in a term".to_owned()),
        Some(other) => Err(format!("letters, commas and one `->`, not `{other}`")),
        None => Ok(Written { ellipsis: after.map(|_| before.chars().count()), letters }),
    }
}

/// The labels that occur once, sorted; axes without letters come first.
fn implicit(broadcast: usize, terms: &[Vec<Label>]) -> Vec<Label> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for label in terms.iter().flatten() {
        if let Label::Letter(letter) = label {
            *counts.entry(*letter).or_default() += 1;
        }
    }
    let once = counts.into_iter().filter(|(_, count)| *count == 1).map(|(letter, _)| Label::Letter(letter));
    (0..broadcast).rev().map(Label::Broadcast).chain(once).collect()
}

fn broadcast_axes(term: &[Label]) -> usize {
    term.iter().filter(|label| matches!(label, Label::Broadcast(_))).count()
}
