//! The part of a test file that is not the graph: the sentence, the commands, the errors that are expected.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A test as it is written.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file.
    pub path: PathBuf,
    /// What the test shows, in prose: the leading comment.
    pub sentence: String,
    /// The lines that start with `//!`, in order.
    pub commands: Vec<Command>,
    /// The comments `// error: ..`, in order.
    pub expected_errors: Vec<ExpectedError>,
    /// The whole file. Headers are comments to the parser, so that its line numbers are those of the file.
    pub text: String,
}

/// A line `//! name: arguments` of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it is, counted from 1.
    pub line: u32,
    /// The word before the colon.
    pub name: String,
    /// What follows it, in parts between commas; commas within brackets or quotes do not part.
    pub arguments: Vec<String>,
}

/// A comment `// error: ..` at the end of a line that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedError {
    /// The line, counted from 1.
    pub line: u32,
    /// What the message of that line must contain.
    pub part: String,
}

impl Case {
    /// Reads the test at `path`.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::from_text(path, fs::read_to_string(path)?))
    }

    /// The test that `text` is.
    pub fn from_text(path: &Path, text: String) -> Self {
        let prose =
            text.lines().map_while(|line| line.strip_prefix("//")).take_while(|line| !line.starts_with('!'));
        let sentence = prose.map(str::trim).collect::<Vec<_>>().join(" ");
        let commands = numbered(&text).filter_map(|(line, text)| Command::from_line(line, text)).collect();
        let expected_errors = numbered(&text)
            .filter_map(|(line, text)| {
                let (_, part) = text.split_once("// error:")?;
                Some(ExpectedError { line, part: part.trim().to_owned() })
            })
            .collect();
        Self { path: path.to_owned(), sentence, commands, expected_errors, text }
    }

    /// The file without header, comments and empty lines: what is left is text of the graph.
    pub fn body(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.starts_with("//"));
        let lines: Vec<&str> = lines.skip_while(|line| line.is_empty()).collect();
        lines.join("\n")
    }
}

impl Command {
    fn from_line(line: u32, text: &str) -> Option<Self> {
        let text = text.strip_prefix("//!")?;
        let (name, arguments) = text.split_once(':').unwrap_or((text, ""));
        Some(Self { line, name: name.trim().to_owned(), arguments: split_arguments(arguments) })
    }
}

/// The parts of `text` between commas that are outside of brackets and quotes.
pub(super) fn split_arguments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0usize, false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '[' | '(' | '{' if !quoted => depth += 1,
            ']' | ')' | '}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if character == ',' && depth == 0 && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_apart() {
        let text = "// One sentence,\n// over two lines.\n//! eval: x = [1, 2] : f32[2], seed = 3\n//! onnx\nquad 1\n\n\
                    graph @main() {\n  %y = nonsense() : f32[2] // error: no operation\n  return\n}\n";
        let case = Case::from_text(Path::new("a.quad"), text.to_owned());
        assert_eq!(case.sentence, "One sentence, over two lines.");
        let eval = Command {
            line: 3,
            name: "eval".into(),
            arguments: vec!["x = [1, 2] : f32[2]".into(), "seed = 3".into()],
        };
        assert_eq!(case.commands, [eval, Command { line: 4, name: "onnx".into(), arguments: Vec::new() }]);
        assert_eq!(case.expected_errors, [ExpectedError { line: 8, part: "no operation".into() }]);
        assert!(case.body().starts_with("quad 1\n\ngraph @main"), "{}", case.body());
    }
}
