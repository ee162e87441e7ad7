//! Small dense matrices in double precision, for writing factors out.

use quad_ir::tensor::Tensor;

use super::factors::{Fault, MAX_ELEMENTS, check_axes};

/// A row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) elements: Vec<f64>,
}

impl Matrix {
    /// A matrix of zeros; an error about tensor `name` when it would be too large.
    pub(super) fn zeros(name: &str, rows: usize, columns: usize) -> Result<Self, Fault> {
        match rows.checked_mul(columns) {
            Some(count) if count <= MAX_ELEMENTS => Ok(Self { rows, columns, elements: vec![0.0; count] }),
            _ => Err(Fault::new(
                name,
                format!("written out it is {rows} by {columns}, more than {MAX_ELEMENTS} elements"),
            )),
        }
    }

    /// The tensor `name` with its axes after the first joined.
    pub(super) fn of(name: &str, tensor: &Tensor) -> Result<Self, Fault> {
        check_axes(name, tensor)?;
        let rows = tensor.sizes()[0];
        let elements = Self::elements_of(name, tensor)?;
        Ok(Self { rows, columns: elements.len() / rows, elements })
    }

    /// The elements of the tensor `name`.
    pub(super) fn elements_of(name: &str, tensor: &Tensor) -> Result<Vec<f64>, Fault> {
        if tensor.len() > MAX_ELEMENTS {
            return Err(Fault::new(name, format!("it has more than {MAX_ELEMENTS} elements")));
        }
        tensor.to_f64().map_err(|error| Fault::new(name, error.to_string()))
    }

    /// The identity.
    pub(super) fn identity(name: &str, size: usize) -> Result<Self, Fault> {
        let mut identity = Self::zeros(name, size, size)?;
        for index in 0..size {
            identity.elements[index * size + index] = 1.0;
        }
        Ok(identity)
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.elements[row * self.columns + column]
    }

    pub(super) fn transposed(&self) -> Self {
        let Self { rows, columns, .. } = *self;
        let elements = (0..rows * columns).map(|at| self.at(at % rows, at / rows)).collect();
        Self { rows: columns, columns: rows, elements }
    }

    /// A matrix whose row `(i, j)` is the elementwise product of row `i` of `self` and row `j` of `other`.
    pub(super) fn pairs_of_rows(&self, other: &Self, name: &str) -> Result<Self, Fault> {
        let mut pairs = Self::zeros(name, self.rows.saturating_mul(other.rows), self.columns)?;
        let mut next = 0;
        for i in 0..self.rows {
            for j in 0..other.rows {
                for column in 0..self.columns {
                    pairs.elements[next] = self.at(i, column) * other.at(j, column);
                    next += 1;
                }
            }
        }
        Ok(pairs)
    }

    /// The Kronecker product: row `(i, k)`, column `(j, l)` is `self[i, j] * other[k, l]`.
    pub(super) fn kronecker(&self, other: &Self, name: &str) -> Result<Self, Fault> {
        let rows = self.rows.saturating_mul(other.rows);
        let mut product = Self::zeros(name, rows, self.columns.saturating_mul(other.columns))?;
        let mut next = 0;
        for i in 0..self.rows {
            for k in 0..other.rows {
                for j in 0..self.columns {
                    let factor = self.at(i, j);
                    for l in 0..other.columns {
                        product.elements[next] = factor * other.at(k, l);
                        next += 1;
                    }
                }
            }
        }
        Ok(product)
    }
}
