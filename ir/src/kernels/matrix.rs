//! Strided matrix views whose bounds are checked once, when they are made.

use super::KernelError;

/// A read-only matrix: element (i, j) is `values[i * row_stride + j * column_stride]`.
///
/// Strides count elements; a transposed operand swaps them, a broadcast one has a stride of zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A view with explicit strides; an error if any element would lie outside `values`.
    pub(crate) fn new(
        values: &'a [T],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Result<Self, KernelError> {
        check_bounds(values.len(), [rows, columns], [row_stride, column_stride])?;
        // A stride that is never walked may be anything; bounding it lets every stride be read as a signed offset.
        let (row_stride, column_stride) = (row_stride.min(values.len()), column_stride.min(values.len()));
        Ok(Self { values, rows, columns, row_stride, column_stride })
    }

    /// A view of `values` as rows that lie one after another.
    pub(crate) fn row_major(values: &'a [T], rows: usize, columns: usize) -> Result<Self, KernelError> {
        Self::new(values, [rows, columns], [columns, 1])
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// The elements the view was made over; empty only if no element is in reach.
    pub(crate) fn values(&self) -> &'a [T] {
        self.values
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Elements between one row and the next.
    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Elements between one column and the next.
    pub(crate) fn column_stride(&self) -> usize {
        self.column_stride
    }
}

impl<T: Copy> Matrix<'_, T> {
    /// The element at `row` and `column`, which must be in range.
    pub(crate) fn get(&self, row: usize, column: usize) -> T {
        debug_assert!(row < self.rows && column < self.columns);
        self.values[row * self.row_stride + column * self.column_stride]
    }

    /// Copies the elements of the given rows and columns, converted, into row-major order.
    pub(crate) fn gather<U>(
        &self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        convert: impl Fn(T) -> U,
    ) -> Vec<U> {
        let mut gathered = Vec::with_capacity(rows.len() * columns.len());
        for row in rows {
            if self.column_stride == 1 {
                let start = row * self.row_stride;
                let line = &self.values[start + columns.start..start + columns.end];
                gathered.extend(line.iter().map(|&value| convert(value)));
            } else {
                gathered.extend(columns.clone().map(|column| convert(self.get(row, column))));
            }
        }
        gathered
    }
}

/// A matrix to write: element (i, j) is `values[i * row_stride + j]`. Rows never overlap.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a, T> {
    values: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A view with a row stride of at least `columns`; an error if rows overlap or reach outside `values`.
    pub(crate) fn new(
        values: &'a mut [T],
        [rows, columns]: [usize; 2],
        row_stride: usize,
    ) -> Result<Self, KernelError> {
        check_bounds(values.len(), [rows, columns], [row_stride, 1])?;
        if rows > 1 && row_stride < columns {
            return Err(KernelError::Mismatch { what: "row stride", found: row_stride, expected: columns });
        }
        let row_stride = if rows <= 1 { columns } else { row_stride };
        Ok(Self { values, rows, columns, row_stride })
    }

    /// A view of `values` as rows that lie one after another.
    pub(crate) fn row_major(values: &'a mut [T], rows: usize, columns: usize) -> Result<Self, KernelError> {
        Self::new(values, [rows, columns], columns)
    }

    /// The elements the view was made over.
    pub(crate) fn values(&mut self) -> &mut [T] {
        self.values
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Elements between one row and the next.
    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Whether the matrix has no elements.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0 || self.columns == 0
    }
}

/// An error unless every element of the matrix lies within a slice of `length`.
fn check_bounds(
    length: usize,
    [rows, columns]: [usize; 2],
    [row_stride, column_stride]: [usize; 2],
) -> Result<(), KernelError> {
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let last_row = (rows - 1).checked_mul(row_stride);
    let last_column = (columns - 1).checked_mul(column_stride);
    let last = last_row.zip(last_column).and_then(|(row, column)| row.checked_add(column));
    if last.is_some_and(|last| last < length) {
        Ok(())
    } else {
        Err(KernelError::MatrixBounds { rows, columns, row_stride, column_stride, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_must_lie_within_its_slice() {
        let values = [0_i32; 6];
        assert!(Matrix::row_major(&values, 2, 3).is_ok());
        assert!(Matrix::row_major(&values, 3, 2).is_ok());
        assert!(Matrix::row_major(&values, 2, 4).is_err());
        assert!(Matrix::new(&values, [4, 3], [1, 1]).is_ok());
        assert!(Matrix::new(&values, [4, 3], [1, 2]).is_err());
        assert!(Matrix::new(&values, [2, 2], [usize::MAX, usize::MAX]).is_err());
        assert!(Matrix::new(&values, [usize::MAX, usize::MAX], [0, 0]).is_ok());
        assert!(Matrix::<i32>::row_major(&[], 0, usize::MAX).is_ok());
        assert!(Matrix::<i32>::row_major(&[], 1, 1).is_err());
    }

    #[test]
    fn a_view_to_write_has_rows_apart() {
        let mut values = [0_i32; 6];
        assert!(MatrixMut::new(&mut values, [2, 2], 3).is_ok());
        assert!(MatrixMut::new(&mut values, [2, 2], 1).is_err());
        assert!(MatrixMut::new(&mut values, [2, 2], 5).is_err());
    }

    #[test]
    fn transposed_exchanges_the_axes() {
        let values = [1, 2, 3, 4, 5, 6];
        let matrix = Matrix::row_major(&values, 2, 3).expect("in bounds").transposed();
        assert_eq!((matrix.rows(), matrix.columns()), (3, 2));
        assert_eq!(matrix.gather(0..3, 0..2, |value| value), [1, 4, 2, 5, 3, 6]);
    }
}
