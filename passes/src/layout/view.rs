//! How a value is stored, beside how the graph sees it.
//!
//! A value of the graph has axes. What stands for it may have other axes: in another order, several merged into one, one
//! split, axes of size 1 anywhere. What both have in common are *factors*: each axis, of either kind, is a product of
//! factors of size above 1, and every factor is part of one axis of either kind. Transposes and reshapes change how the
//! factors make up the axes that the graph sees, and nothing that is stored.

use quad_ir::types::{Dim, Shape};

/// Axes, each a product of factors from the slowest to the fastest. An axis of size 1 has none.
pub(crate) type Axes = Vec<Vec<usize>>;

/// The axes that the graph sees, in terms of those that are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Sizes of the factors, in the order in which they are stored. None is 1.
    pub(crate) factors: Vec<Dim>,
    /// The axes that are stored: the factors in ascending order, cut into axes.
    pub(crate) stored: Axes,
    /// The axes that the graph sees.
    pub(crate) seen: Axes,
}

impl View {
    /// A value that is stored as the graph sees it.
    pub(crate) fn plain(shape: &Shape) -> Self {
        let mut factors = Vec::new();
        let axis = |dim: &Dim| {
            if *dim == Dim::Known(1) {
                return Vec::new();
            }
            factors.push(dim.clone());
            vec![factors.len() - 1]
        };
        let seen: Axes = shape.iter().map(axis).collect();
        Self { factors, stored: seen.clone(), seen }
    }

    /// The same elements, of which the graph sees axis `order[i]` as axis `i`.
    pub(crate) fn transposed(&self, order: &[usize]) -> Self {
        let seen = order.iter().map(|axis| self.seen[*axis].clone()).collect();
        Self { seen, ..self.clone() }
    }

    /// The same elements, of which the graph sees axes of the sizes `shape`. `None` when a factor would have to be cut
    /// where it does not divide, or where symbolic sizes do not tell.
    pub(crate) fn reshaped(&self, shape: &Shape) -> Option<Self> {
        let mut view = self.clone();
        let mut waiting: Vec<usize> = view.seen.concat();
        waiting.reverse();
        let mut seen: Axes = Vec::with_capacity(shape.rank());
        for dim in shape.iter() {
            let mut axis = Vec::new();
            let mut left = dim.clone();
            while left != Dim::Known(1) {
                let factor = waiting.pop()?;
                let size = view.factors[factor].clone();
                if let Some(rest) = quotient(&left, &size) {
                    left = rest;
                } else {
                    // Only a part of the factor belongs to this axis.
                    let rest = quotient(&size, &left)?;
                    view.cut(factor, left, rest);
                    let after = |index: &mut usize| *index += usize::from(*index > factor);
                    waiting.iter_mut().for_each(after);
                    seen.iter_mut().flatten().for_each(after);
                    axis.iter_mut().for_each(after);
                    waiting.push(factor + 1);
                    left = Dim::Known(1);
                }
                axis.push(factor);
            }
            seen.push(axis);
        }
        if !waiting.is_empty() {
            return None;
        }
        view.seen = seen;
        Some(view)
    }

    /// The size of an axis made of `factors`; `None` when it cannot be said.
    pub(crate) fn size(&self, factors: &[usize]) -> Option<Dim> {
        product(factors.iter().map(|factor| &self.factors[*factor]))
    }

    /// The shape of `axes`.
    pub(crate) fn shape(&self, axes: &Axes) -> Option<Shape> {
        axes.iter().map(|axis| self.size(axis)).collect()
    }

    /// Whether the graph sees what is stored.
    pub(crate) fn is_plain(&self) -> bool {
        self.stored == self.seen
    }

    /// The axes that are stored, with neighbors that the graph sees as one axis merged into the last of them. The others
    /// stay as axes of size 1, so that there are as many as before.
    pub(crate) fn merged(&self) -> Axes {
        let mut stored = self.stored.clone();
        for axis in self.seen.iter().filter(|axis| axis.len() > 1) {
            let neighbors = axis.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            let parts: Vec<usize> = (0..stored.len()).filter(|at| overlaps(&stored[*at], axis)).collect();
            let alone = parts.iter().all(|at| stored[*at].iter().all(|factor| axis.contains(factor)));
            if neighbors && alone && parts.len() > 1 {
                for at in &parts {
                    stored[*at].clear();
                }
                stored[parts[parts.len() - 1]].clone_from(axis);
            }
        }
        stored
    }

    /// Cuts a factor in two, the first of size `first`.
    fn cut(&mut self, factor: usize, first: Dim, rest: Dim) {
        self.factors[factor] = first;
        self.factors.insert(factor + 1, rest);
        for axis in self.stored.iter_mut().chain(&mut self.seen) {
            for index in axis.iter_mut() {
                *index += usize::from(*index > factor);
            }
            if let Some(at) = axis.iter().position(|index| *index == factor) {
                axis.insert(at + 1, factor + 1);
            }
        }
    }
}

/// Cuts factors of several values, so that the axes given, one of each value, have factors of the same sizes. `false` when
/// that is not possible.
pub(crate) fn cut_alike(views: &mut [View], axes: &[(usize, usize)]) -> bool {
    let mut at = 0;
    loop {
        let factor = |views: &[View], (view, axis): (usize, usize)| views[view].seen[axis].get(at).copied();
        let found: Vec<Option<usize>> = axes.iter().map(|place| factor(views, *place)).collect();
        if found.iter().all(Option::is_none) {
            return true;
        }
        let sizes: Option<Vec<Dim>> = axes
            .iter()
            .zip(&found)
            .map(|((view, _), factor)| Some(views[*view].factors[(*factor)?].clone()))
            .collect();
        let Some(sizes) = sizes else { return false };
        let smallest = sizes.iter().min_by_key(|size| size.known().unwrap_or(u64::MAX)).cloned();
        for (((view, _), factor), size) in axes.iter().zip(&found).zip(&sizes) {
            let (Some(smallest), Some(factor)) = (&smallest, factor) else { return false };
            match quotient(size, smallest) {
                Some(Dim::Known(1)) => {}
                Some(rest) => views[*view].cut(*factor, smallest.clone(), rest),
                None => return false,
            }
        }
        at += 1;
    }
}

/// `size / divisor`, when it comes out even.
fn quotient(size: &Dim, divisor: &Dim) -> Option<Dim> {
    if size == divisor {
        return Some(Dim::Known(1));
    }
    match (size, divisor) {
        (Dim::Known(size), Dim::Known(divisor)) if *divisor > 1 && size % divisor == 0 && *size > 0 => {
            Some(Dim::Known(size / divisor))
        }
        (Dim::Known(_), _) => None,
        _ => Dim::from_expr(size.expr().div_exact(&divisor.expr())?),
    }
}

fn product<'d>(mut sizes: impl Iterator<Item = &'d Dim>) -> Option<Dim> {
    let first = sizes.next().cloned().unwrap_or(Dim::Known(1));
    sizes.try_fold(first, |product, size| Dim::from_expr(product.expr().mul(&size.expr())?))
}

fn overlaps(axis: &[usize], factors: &[usize]) -> bool {
    axis.iter().any(|factor| factors.contains(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(sizes: &[u64]) -> View {
        View::plain(&Shape::known(sizes))
    }

    #[test]
    fn flattened_planes_are_two_factors() {
        // [n, c, h, w] stored as [n, h, w, c], seen as [n, h * w, c].
        let planes = plain(&[2, 3, 4, 5]).transposed(&[0, 3, 1, 2]);
        assert_eq!(planes.seen, [vec![0], vec![3], vec![1], vec![2]]);
        let rows = planes.reshaped(&Shape::known(&[2, 5, 12])).expect("factors are whole");
        assert_eq!(rows.seen, [vec![0], vec![3], vec![1, 2]]);
        assert_eq!(rows.transposed(&[0, 2, 1]).seen, [vec![0], vec![1, 2], vec![3]]);
        assert_eq!(rows.merged(), [vec![0], vec![], vec![1, 2], vec![3]]);
    }

    #[test]
    fn an_axis_is_cut_where_it_divides() {
        let heads = plain(&[2, 12]).reshaped(&Shape::known(&[2, 1, 3, 4])).expect("3 divides 12");
        assert_eq!(heads.factors, [2, 3, 4].map(Dim::Known));
        assert_eq!(heads.stored, [vec![0], vec![1, 2]]);
        assert_eq!(heads.seen, [vec![0], vec![], vec![1], vec![2]]);
        let back = heads.transposed(&[2, 3, 0, 1]).reshaped(&Shape::known(&[12, 2])).expect("whole factors");
        assert_eq!(back.seen, [vec![1, 2], vec![0]]);
        assert_eq!(plain(&[4, 3]).reshaped(&Shape::known(&[6, 2])), None);
        assert_eq!(plain(&[0, 3]).reshaped(&Shape::known(&[3, 0])), None);
    }

    #[test]
    fn factors_are_cut_alike() {
        let heads = plain(&[3, 4]).reshaped(&Shape::known(&[12])).expect("merged");
        let mut views = [plain(&[12]), heads];
        assert!(cut_alike(&mut views, &[(0, 0), (1, 0)]));
        assert_eq!(views[0].factors, [3, 4].map(Dim::Known));
        let other = plain(&[4, 3]).reshaped(&Shape::known(&[12])).expect("merged");
        let mut views = [views[1].clone(), other];
        assert!(!cut_alike(&mut views, &[(0, 0), (1, 0)]));
    }
}
