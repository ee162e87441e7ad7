//! `quad compare`: says how far the tensors of two archives are apart.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use quad_frontends::data::npz::Archive;
use quad_ir::compare::{Difference, Tolerance};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::table::{Align, Table, counted, grouped};

/// Say how far the tensors of two NumPy archives are apart.
///
/// An element of A may differ from that of B by ATOL + RTOL * |element of B|; without --atol and --rtol all must be
/// equal. A NaN equals a NaN and an infinity itself; any other pair with one of them is infinitely far apart. Tensors
/// of the same name must have the same sizes; element types may differ, and the numbers are compared.
#[derive(Debug, clap::Args)]
#[command(after_help = "Columns:
  max abs  largest |a - b|
  max rel  largest |a - b| / |b| where b is not zero
  PSNR     spread of B over the root of the mean squared difference, in dB
  SQNR     power of B over the power of the difference, in dB
  cosine   of the angle between A and B as vectors

Examples:
  quad compare outputs.npz expected.npz --atol 1e-4
  quad compare int8.npz float.npz --rtol 0.05 --atol 0.01 --json

The exit code is 1 when a tensor is missing, has other sizes or is out of tolerance.")]
pub(crate) struct Arguments {
    /// The archive that is judged.
    a: PathBuf,
    /// The archive that it is compared with.
    b: PathBuf,
    /// Absolute tolerance.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true, value_parser = tolerance)]
    atol: f64,
    /// Tolerance relative to the elements of B.
    #[arg(long, value_name = "Y", default_value_t = 0.0, allow_negative_numbers = true, value_parser = tolerance)]
    rtol: f64,
    /// Print one JSON object; figures that are not finite are null.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    equal: bool,
    atol: f64,
    rtol: f64,
    tensors: Vec<Line>,
}

/// What there is to say about one tensor.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// Whether it is within the tolerance.
    holds: bool,
    /// Why it does not hold.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(flatten)]
    figures: Option<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    elements: usize,
    outside: usize,
    max_abs: f64,
    max_rel: f64,
    psnr: f64,
    sqnr: f64,
    cosine: f64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut a = Archive::open(&arguments.a).map_err(Failure::input)?;
    let mut b = Archive::open(&arguments.b).map_err(Failure::input)?;
    let names: BTreeSet<String> = a.names().chain(b.names()).map(str::to_owned).collect();
    if names.is_empty() {
        let (a, b) = (arguments.a.display(), arguments.b.display());
        return Err(Failure::message(format!(
            "neither `{a}` nor `{b}` holds a tensor: there is nothing to compare"
        )));
    }
    let tolerance = Tolerance { rtol: arguments.rtol, atol: arguments.atol };
    let mut tensors = Vec::new();
    for name in names {
        tensors.push(compare(&mut a, &mut b, name, tolerance)?);
    }
    let equal = tensors.iter().all(|line| line.holds);
    let report = Report { equal, atol: arguments.atol, rtol: arguments.rtol, tensors };
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &report)?;
    } else {
        report.print(out)?;
    }
    Ok(if equal { Outcome::Done } else { Outcome::DoesNotHold })
}

/// Compares one tensor; only two are in memory at a time.
fn compare(a: &mut Archive, b: &mut Archive, name: String, tolerance: Tolerance) -> Result<Line, Failure> {
    let without = |name, reason| Line { name, holds: false, reason, figures: None };
    for archive in [&*a, &*b] {
        if !archive.contains(&name) {
            return Ok(without(name, format!("missing in {}", archive.path().display())));
        }
    }
    // What one archive does not tell of an element type, the other may.
    let (dtype_a, dtype_b) =
        (a.dtype(&name).map_err(Failure::input)?, b.dtype(&name).map_err(Failure::input)?);
    let found = a.read(&name, dtype_b).map_err(Failure::input)?;
    let expected = b.read(&name, dtype_a).map_err(Failure::input)?;
    let difference = match Difference::between_values(&found, &expected, tolerance) {
        Ok(difference) => difference,
        Err(error) => return Ok(without(name, error.to_string())),
    };
    let reason = difference.first_outside.as_ref().map_or_else(String::new, |first| {
        format!(
            "{} of {} elements are out of tolerance, the first at {:?}: {} against {}",
            grouped(difference.outside as u64),
            grouped(difference.elements as u64),
            first.index,
            first.found,
            first.expected
        )
    });
    Ok(Line { name, holds: difference.holds(), reason, figures: Some(Figures::of(&difference)) })
}

impl Figures {
    fn of(difference: &Difference) -> Self {
        Self {
            elements: difference.elements,
            outside: difference.outside,
            max_abs: difference.max_abs,
            max_rel: difference.max_rel,
            psnr: difference.psnr,
            sqnr: difference.sqnr,
            cosine: difference.cosine,
        }
    }
}

impl Report {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        use Align::{Left, Right};
        let mut table = Table::new(&[Left, Right, Right, Right, Right, Right, Right, Left]);
        table.row(["tensor", "elements", "max abs", "max rel", "PSNR dB", "SQNR dB", "cosine", ""]);
        for line in &self.tensors {
            let verdict = if line.holds { "ok" } else { "off" }.to_owned();
            let figures = line.figures.as_ref().map_or_else(|| [const { String::new() }; 6], Figures::cells);
            table.row(std::iter::once(line.name.clone()).chain(figures).chain([verdict]));
        }
        if !self.tensors.is_empty() {
            table.print("", out)?;
        }
        let off: Vec<&Line> = self.tensors.iter().filter(|line| !line.holds).collect();
        for line in &off {
            writeln!(out, "{}: {}", line.name, line.reason)?;
        }
        let total = counted(self.tensors.len(), "tensor");
        match off.len() {
            0 => writeln!(out, "{total} compared, all agree {}", self.tolerance()),
            off => writeln!(out, "{total} compared, {off} off: do not agree {}", self.tolerance()),
        }
    }

    fn tolerance(&self) -> String {
        if self.atol == 0.0 && self.rtol == 0.0 {
            return "exactly".to_owned();
        }
        let show = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:e}") };
        format!("within {} + {} * |b|", show(self.atol), show(self.rtol))
    }
}

impl Figures {
    fn cells(&self) -> [String; 6] {
        [
            grouped(self.elements as u64),
            format!("{:.3e}", self.max_abs),
            format!("{:.3e}", self.max_rel),
            format!("{:.1}", self.psnr),
            format!("{:.1}", self.sqnr),
            format!("{:.7}", self.cosine),
        ]
    }
}

/// Reads a tolerance.
pub(super) fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 => Ok(value),
        _ => Err("expected a number that is not negative".to_owned()),
    }
}
