//! Bars beside names.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{FONT, LABEL, PALETTE, PlotError, TITLE, WIDTH, figure, text_width};

/// Height of one bar with its gap, in pixels.
const ROW: u32 = 24;
/// Letters of a name that are shown.
const MAX_NAME: usize = 64;
/// Height of title and axis together, in pixels.
const FRAME: u32 = 100;

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Its length. What is not finite has no bar, but is named.
    pub value: f64,
    /// Whether it stands out.
    pub marked: bool,
}

/// A figure of 0 or more for each of several names, from top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// What the picture shows.
    pub title: String,
    /// What the figures are, with their unit.
    pub axis: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

impl Bars {
    /// The picture as SVG.
    pub fn svg(&self) -> Result<String, PlotError> {
        let finite = self.bars.iter().map(|bar| bar.value).filter(|value| value.is_finite());
        let Some(longest) = finite.reduce(f64::max) else { return Err(PlotError::Empty(self.title.clone())) };
        let rows = u32::try_from(self.bars.len().max(2)).unwrap_or(u32::MAX);
        let mut svg = String::new();
        // Room for the figure that stands behind the longest bar.
        let end = if longest > 0.0 { longest * 1.12 } else { 1.0 };
        let size = (WIDTH, rows.saturating_mul(ROW).saturating_add(FRAME));
        self.draw(&mut svg, size, end).map_err(|error| PlotError::draw(&self.title, &error))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String, size: (u32, u32), end: f64) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let names = self.bars.iter().map(|bar| text_width(&shortened(&bar.name))).max().unwrap_or(0);
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, (FONT, TITLE))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(names + 12)
            // An axis of one place has no length.
            .build_cartesian_2d(0.0..end, (0..(self.bars.len() - 1).max(1)).into_segmented())?;
        let name = |place: &SegmentValue<usize>| match place {
            SegmentValue::CenterOf(row) => self.row(*row).map_or(String::new(), |bar| shortened(&bar.name)),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(self.bars.len())
            .y_label_formatter(&name)
            .x_label_formatter(&|x| figure(*x))
            .x_desc(&self.axis)
            .label_style((FONT, LABEL))
            .draw()?;
        let drawn = (0..self.bars.len()).filter_map(|row| Some((row, self.row(row)?)));
        let drawn: Vec<(usize, &Bar)> = drawn.collect();
        chart.draw_series(drawn.iter().filter(|(_, bar)| bar.value.is_finite()).map(|(row, bar)| {
            let colour = PALETTE[usize::from(bar.marked)];
            let corners = [(0.0, SegmentValue::Exact(*row)), (bar.value, SegmentValue::Exact(row + 1))];
            let mut rectangle = Rectangle::new(corners, colour.filled());
            rectangle.set_margin(3, 3, 0, 0);
            rectangle
        }))?;
        let style = (FONT, LABEL).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        chart.draw_series(drawn.iter().map(|(row, bar)| {
            let (at, text) = if bar.value.is_finite() {
                (bar.value, figure(bar.value))
            } else {
                (0.0, bar.value.to_string())
            };
            EmptyElement::at((at, SegmentValue::CenterOf(*row))) + Text::new(text, (4, 0), style.clone())
        }))?;
        root.present()?;
        Ok(())
    }

    /// The bar in `row`, counted from below.
    fn row(&self, row: usize) -> Option<&Bar> {
        self.bars.len().checked_sub(row + 1).map(|place| &self.bars[place])
    }
}

/// The end of a name that is too long, which is what tells it from others.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= MAX_NAME {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(count - MAX_NAME + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[(&str, f64)]) -> Bars {
        let bar = |(name, value): &(&str, f64)| Bar {
            name: (*name).to_owned(),
            value: *value,
            marked: *name == "edge",
        };
        Bars {
            title: "QSS per adapter".to_owned(),
            axis: "Jensen-Shannon divergence (bits)".to_owned(),
            bars: values.iter().map(bar).collect(),
        }
    }

    #[test]
    fn every_bar_has_its_name_and_figure() {
        let picture = bars(&[("inpaint", 1.25e-5), ("edge", 3.5e-5), ("<relight>", 0.0)]);
        let svg = picture.svg().expect("three bars");
        for part in ["inpaint", "edge", "&lt;relight&gt;", "1.25e-5", "3.50e-5", "QSS per adapter", "(bits)"]
        {
            assert!(svg.contains(part), "`{part}` is not in\n{svg}");
        }
        assert_eq!(svg.matches("#D55E00").count(), 1, "one bar stands out");
        assert_eq!(svg, picture.svg().expect("three bars"));
    }

    #[test]
    fn of_long_names_the_end_is_shown() {
        assert_eq!(shortened("conv_in"), "conv_in");
        let long = format!("{}.to_q", "blocks.".repeat(20));
        let shown = shortened(&long);
        assert_eq!(shown.chars().count(), MAX_NAME);
        assert!(shown.starts_with('…') && shown.ends_with("blocks..to_q"), "{shown}");
    }

    #[test]
    fn nothing_is_no_picture() {
        assert!(matches!(bars(&[]).svg(), Err(PlotError::Empty(_))));
        assert!(matches!(bars(&[("a", f64::NAN)]).svg(), Err(PlotError::Empty(_))));
        assert!(bars(&[("a", f64::INFINITY), ("b", 0.0)]).svg().expect("two names").contains("inf"));
        let one = bars(&[("edge", 1.0)]).svg().expect("one name");
        assert!(one.contains("edge") && one.contains("#D55E00"), "{one}");
    }
}
