//! Where commands print to.

use std::io::{self, Write};

use serde::Serialize;

/// Standard output for results, without anything that a name in a file could do to a terminal.
pub(crate) fn stdout() -> impl Write {
    Plain(io::stdout().lock())
}

/// Writes `value` to `out` as one JSON object, for scripts to read.
pub(crate) fn json<W: Write + ?Sized>(out: &mut W, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Tells of something that is most likely not what was wanted.
pub(crate) fn warning(text: &str) {
    // Without a place to print to there is nobody to tell.
    let _ = writeln!(Plain(io::stderr()), "warning: {text}");
}

/// Tells how far something is.
pub(crate) fn line(text: &str) {
    // Without a place to print to there is nobody to tell.
    let _ = writeln!(Plain(io::stderr()), "{text}");
}

/// Tells something worth knowing beside the results.
pub(crate) fn note(text: &str) {
    // Without a place to print to there is nobody to tell.
    let _ = writeln!(Plain(io::stderr()), "note: {text}");
}

/// Shows control characters instead of sending them, line ends excepted. Text is written in whole characters.
#[derive(Debug)]
pub(crate) struct Plain<W>(pub(crate) W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| is_control(*byte)) {
            // The second block of control characters takes two bytes in UTF-8; other text begins with the same one.
            let second = rest.get(at + 1).filter(|next| rest[at] == 0xc2 && (0x80..0xa0).contains(*next));
            if rest[at] == 0xc2 && second.is_none() {
                self.0.write_all(&rest[..=at])?;
                rest = &rest[at + 1..];
                continue;
            }
            self.0.write_all(&rest[..at])?;
            let code = second.unwrap_or(&rest[at]);
            write!(self.0, "\\x{code:02x}")?;
            rest = &rest[at + 1 + usize::from(second.is_some())..];
        }
        self.0.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether `byte` is a control character, or begins one of those above the ASCII range.
fn is_control(byte: u8) -> bool {
    (byte.is_ascii_control() && byte != b'\n') || byte == 0xc2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        let shown = |text: &str| {
            let mut out = Plain(Vec::new());
            write!(out, "{text}").expect("a vector takes all");
            String::from_utf8(out.0).expect("text")
        };
        assert_eq!(shown("a\u{1b}[31mb\nc\r\u{7f}"), "a\\x1b[31mb\nc\\x0d\\x7f");
        assert_eq!(shown("\u{9b}31m"), "\\x9b31m");
        assert_eq!(shown("§ 4 ± ü 漢"), "§ 4 ± ü 漢");
        assert_eq!(shown(""), "");
    }
}
