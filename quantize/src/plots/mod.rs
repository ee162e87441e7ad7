//! Pictures of scores and sweeps, as SVG text or a page that shows one.
//!
//! Two kinds are enough: [`Bars`], a figure for each of several names, and [`Curves`], figures that change along an axis.
//! Drawing is deterministic: the same figures give the same bytes.

mod bars;
mod curves;
mod page;

pub use bars::{Bar, Bars};
pub use curves::{Curve, Curves};
pub use page::{Image, Page, Section, page};

use plotters::style::RGBColor;

/// A picture cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlotError {
    /// There is nothing to draw.
    #[error("the picture `{0}` would be empty: there is not one finite figure in it")]
    Empty(String),
    /// The library that draws failed.
    #[error("the picture `{title}` could not be drawn: {reason}")]
    Draw {
        /// Its title.
        title: String,
        /// What the library says.
        reason: String,
    },
}

impl PlotError {
    fn draw(title: &str, reason: &impl std::fmt::Display) -> Self {
        Self::Draw { title: title.to_owned(), reason: reason.to_string() }
    }
}

/// Colours that stay apart for people who do not see all of them (Okabe and Ito, "Color Universal Design", 2008).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Text, in pixels.
const TITLE: u32 = 20;
const LABEL: u32 = 14;
/// Width of a picture in pixels.
const WIDTH: u32 = 900;
/// Font of all text; whoever shows the picture has one of the name.
const FONT: &str = "sans-serif";

/// How wide `text` is at most, in pixels, in letters of [`LABEL`].
fn text_width(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX).saturating_mul(LABEL * 6 / 10)
}

/// A number as labels show it: three digits that count.
fn figure(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e5).contains(&size) {
        let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{number:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{number:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let shown = [0.0, 1.0, 12.345, 0.001_234_5, 123_456.0, 99.99, 7e-9].map(figure);
        assert_eq!(shown, ["0", "1", "12.3", "0.00123", "1.23e5", "100", "7.00e-9"]);
    }
}
