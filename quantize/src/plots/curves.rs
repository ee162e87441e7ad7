//! Curves over a common axis.

use plotters::prelude::*;

use super::{FONT, LABEL, PALETTE, PlotError, TITLE, WIDTH, figure};

/// Height in pixels.
const HEIGHT: u32 = 520;

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it stands for.
    pub name: String,
    /// Its points, from left to right. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether it is drawn as what matters most.
    pub marked: bool,
}

/// Curves over a common axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// What the picture shows.
    pub title: String,
    /// What is along the axis, with its unit.
    pub along: String,
    /// What the curves show, with its unit.
    pub axis: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

impl Curves {
    /// The picture as SVG.
    pub fn svg(&self) -> Result<String, PlotError> {
        let points: Vec<(f64, f64)> = self.curves.iter().flat_map(Curve::finite).collect();
        if points.is_empty() {
            return Err(PlotError::Empty(self.title.clone()));
        }
        let along = range(points.iter().map(|(x, _)| *x), 0.0);
        let axis = range(points.iter().map(|(_, y)| *y), 0.06);
        let mut svg = String::new();
        self.draw(&mut svg, along, axis).map_err(|error| PlotError::draw(&self.title, &error))?;
        Ok(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        along: std::ops::Range<f64>,
        axis: std::ops::Range<f64>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let labels = labels(&along);
        let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, (FONT, TITLE))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(along, axis)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(labels)
            .x_label_formatter(&|x| figure(*x))
            .y_label_formatter(&|y| figure(*y))
            .x_desc(&self.along)
            .y_desc(&self.axis)
            .label_style((FONT, LABEL))
            .draw()?;
        for (curve, colour) in self.curves.iter().zip(PALETTE.iter().cycle()) {
            let style = colour.stroke_width(if curve.marked { 4 } else { 2 });
            let points: Vec<(f64, f64)> = curve.finite().collect();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(self.free_corner())
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, LABEL))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

impl Curves {
    /// A corner that curves stay clear of: on the left, above where the first rises, and below where it falls.
    fn free_corner(&self) -> SeriesLabelPosition {
        let points: Vec<(f64, f64)> = self.curves.iter().take(1).flat_map(Curve::finite).collect();
        match (points.first(), points.last()) {
            (Some((_, first)), Some((_, last))) if first < last => SeriesLabelPosition::UpperLeft,
            _ => SeriesLabelPosition::LowerLeft,
        }
    }
}

/// How many labels an axis gets: one for each whole number where there are few.
fn labels(along: &std::ops::Range<f64>) -> usize {
    let whole = along.start.fract() == 0.0 && along.end.fract() == 0.0;
    if whole && along.end - along.start < 11.0 { (along.end - along.start) as usize + 1 } else { 11 }
}

impl Curve {
    /// The points that can be drawn.
    fn finite(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// What `numbers` span, with `margin` times that on either side, and something around a single number.
fn range(numbers: impl Iterator<Item = f64> + Clone, margin: f64) -> std::ops::Range<f64> {
    let low = numbers.clone().fold(f64::INFINITY, f64::min);
    let high = numbers.fold(f64::NEG_INFINITY, f64::max);
    if low == high {
        return low - 0.5..high + 0.5;
    }
    let room = (high - low) * margin;
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(points: &[(f64, f64)]) -> Curves {
        let curve = |name: &str, marked| Curve { name: name.to_owned(), points: points.to_vec(), marked };
        Curves {
            title: "Mixed precision".to_owned(),
            along: "share of W8A8 (%)".to_owned(),
            axis: "PSNR (dB)".to_owned(),
            curves: vec![curve("edge", false), curve("worst", true)],
        }
    }

    #[test]
    fn curves_have_names_and_points() {
        let picture = curves(&[(0.0, 50.5), (50.0, 41.0), (100.0, f64::INFINITY)]);
        let svg = picture.svg().expect("two points");
        for part in ["edge", "worst", "share of W8A8 (%)", "PSNR (dB)", "Mixed precision"] {
            assert!(svg.contains(part), "`{part}` is not in\n{svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 4, "what is not finite is left out");
        assert_eq!(svg, picture.svg().expect("two points"));
    }

    #[test]
    fn few_whole_numbers_have_a_label_each() {
        assert_eq!([labels(&(1.0..4.0)), labels(&(0.0..100.0)), labels(&(0.5..1.5))], [4, 11, 11]);
    }

    #[test]
    fn one_point_is_enough_and_none_is_not() {
        assert!(curves(&[(1.0, 40.0)]).svg().is_ok());
        assert!(matches!(curves(&[]).svg(), Err(PlotError::Empty(_))));
    }
}
