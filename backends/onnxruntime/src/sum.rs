//! Sums of vectors, whose order depends on how many lanes a processor adds in at a time.

/// The sum of `row`, which begins `offset` elements into a buffer that is aligned: whole groups of four from the first aligned
/// element on, in two times four lanes, then what is before and behind (`redux` of Eigen, with vectors of 128 bits).
///
/// 0 of no elements.
pub(crate) fn aligned(row: &[f32], offset: usize) -> f32 {
    let before = (4 - offset % 4) % 4;
    if before >= row.len() || row.len() - before < 4 {
        return row.iter().copied().reduce(|sum, x| sum + x).unwrap_or_default();
    }
    let (head, body) = row.split_at(before);
    let (groups, tail) = body.as_chunks::<4>();
    let add = |a: [f32; 4], b: [f32; 4]| std::array::from_fn(|lane| a[lane] + b[lane]);
    let (pairs, single) = groups.as_chunks::<2>();
    let both = pairs.iter().copied().reduce(|[a, b], [c, d]| [add(a, c), add(b, d)]);
    let lanes = match (both, single.first()) {
        (Some([a, b]), None) => add(a, b),
        (Some([a, b]), Some(last)) => add(add(a, b), *last),
        (None, last) => last.copied().unwrap_or_default(),
    };
    head.iter().chain(tail).fold((lanes[0] + lanes[2]) + (lanes[1] + lanes[3]), |sum, x| sum + x)
}

/// The sum of eight lanes: halves, then halves of that.
pub(crate) fn of_eight(lanes: [f32; 8]) -> f32 {
    let [a, b, c, d] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 4]);
    (a + c) + (b + d)
}

/// The sum of eight lanes: neighbors, then neighbors of that, then both halves.
pub(crate) fn of_neighbors(lanes: [f32; 8]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
