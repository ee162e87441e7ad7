//! Tokens of the text form.

use std::borrow::Cow;

use super::error::ParseErrorKind;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A word, such as `graph`, `relu`, `true` or `_`.
    Word(&'t str),
    /// A number without its sign, such as `12`, `1.5`, `1e-5` or `0x7fc0`.
    Number(&'t str),
    /// A text in quotes.
    Quoted(Cow<'t, str>),
    /// `%name` or `%"name"`.
    Value(Cow<'t, str>),
    /// `%12`: a value without a name.
    Numbered(&'t str),
    /// `@name` or `@"name"`.
    Global(Cow<'t, str>),
    /// `?12`: a symbol without a name.
    Nameless(&'t str),
    /// A single character that stands for itself.
    Mark(char),
    /// Nothing is left.
    End,
}

impl Token<'_> {
    /// How a message calls it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) => format!("`{}`", shorten(text)),
            Self::Quoted(text) => format!("{:?}", shorten(text)),
            Self::Value(text) => format!("the value %{}", shorten(text)),
            Self::Numbered(text) => format!("the value %{}", shorten(text)),
            Self::Global(text) => format!("the name @{}", shorten(text)),
            Self::Nameless(text) => format!("the symbol ?{}", shorten(text)),
            Self::Mark(mark) => format!("`{mark}`"),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// The beginning of a name, so that a message stays a message.
pub(super) fn shorten(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}..", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Whether `text` is a word, so that it needs no quotes where one is expected.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(starts_word) && text.chars().all(continues_word)
}

/// Makes tokens of a text, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte it starts at.
    pub(super) fn token(&mut self) -> Result<(usize, Token<'t>), (usize, ParseErrorKind)> {
        self.skip_space();
        let start = self.at;
        let Some(first) = self.peek() else { return Ok((start, Token::End)) };
        let token = match first {
            '"' => self.quoted().map(Token::Quoted),
            '%' => self.value(),
            '@' => {
                self.at += 1;
                self.name().map(Token::Global)
            }
            '?' => {
                self.at += 1;
                self.digits().map(Token::Nameless)
            }
            '0'..='9' => Ok(Token::Number(self.number())),
            '(' | ')' | '[' | ']' | '{' | '}' | ',' | ':' | '=' | '*' | '+' | '-' => {
                self.at += 1;
                Ok(Token::Mark(first))
            }
            _ if starts_word(first) => Ok(Token::Word(self.take_while(continues_word))),
            other => Err(ParseErrorKind::Character(other)),
        };
        token.map(|token| (start, token)).map_err(|kind| (self.at.max(start), kind))
    }

    fn skip_space(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|character| character != '\n');
        }
    }

    fn value(&mut self) -> Result<Token<'t>, ParseErrorKind> {
        self.at += 1;
        match self.peek() {
            Some('0'..='9') => self.digits().map(Token::Numbered),
            _ => self.name().map(Token::Value),
        }
    }

    fn name(&mut self) -> Result<Cow<'t, str>, ParseErrorKind> {
        match self.peek() {
            Some('"') => self.quoted(),
            Some(first) if starts_word(first) => Ok(Cow::Borrowed(self.take_while(continues_word))),
            Some(other) => Err(ParseErrorKind::Character(other)),
            None => Err(expected_name()),
        }
    }

    fn digits(&mut self) -> Result<&'t str, ParseErrorKind> {
        match self.take_while(|character| character.is_ascii_digit()) {
            "" => Err(expected_name()),
            digits => Ok(digits),
        }
    }

    fn number(&mut self) -> &'t str {
        let start = self.at;
        if self.rest().starts_with("0x") {
            self.at += 2;
            self.take_while(|character| character.is_ascii_hexdigit());
            return &self.text[start..self.at];
        }
        let digit = |character: char| character.is_ascii_digit();
        self.take_while(digit);
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(digit);
        }
        let exponent = self.rest().strip_prefix(['e', 'E']);
        let digits = exponent.map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        if let Some(digits) = digits.filter(|rest| rest.starts_with(digit)) {
            self.at = self.text.len() - digits.len();
            self.take_while(digit);
        }
        &self.text[start..self.at]
    }

    fn quoted(&mut self) -> Result<Cow<'t, str>, ParseErrorKind> {
        self.at += 1;
        let plain = self.take_while(|character| !matches!(character, '"' | '\\' | '\n'));
        if self.peek() == Some('"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some('\\') => text.push(self.escape()?),
                Some('\n') | None => {
                    return Err(ParseErrorKind::Quoted("the quoted text does not end in its line"));
                }
                Some(_) => text.push_str(self.take_while(|c| !matches!(c, '"' | '\\' | '\n'))),
            }
        }
    }

    /// One of `\"`, `\\`, `\n`, `\r`, `\t` and `\u{1f600}`.
    fn escape(&mut self) -> Result<char, ParseErrorKind> {
        const UNKNOWN: ParseErrorKind =
            ParseErrorKind::Quoted("escapes are \\\" \\\\ \\n \\r \\t and \\u{..}; this is none of them");
        let escaped = self.rest()[1..].chars().next().ok_or(UNKNOWN)?;
        let plain = match escaped {
            '"' | '\\' => escaped,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (digits, _) =
                    self.rest()[2..].strip_prefix('{').and_then(|s| s.split_once('}')).ok_or(UNKNOWN)?;
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 6);
                let character = code.and_then(char::from_u32).ok_or(UNKNOWN)?;
                self.at += digits.len() + 4;
                return Ok(character);
            }
            _ => return Err(UNKNOWN),
        };
        self.at += 2;
        Ok(plain)
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|character| !holds(character)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }
}

fn starts_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn continues_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.')
}

fn expected_name() -> ParseErrorKind {
    ParseErrorKind::Unexpected { found: "nothing".to_owned(), expected: "a name or a number".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.token().expect("a token").1 {
                Token::End => return tokens,
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn every_kind() {
        let text = "%y.1 %12 %\"a \\\"b\\\"\" @main ?3 1e-05 2*h - 0x1f // rest\n\"\\u{e9}\"";
        let expected = [
            Token::Value("y.1".into()),
            Token::Numbered("12"),
            Token::Value("a \"b\"".into()),
            Token::Global("main".into()),
            Token::Nameless("3"),
            Token::Number("1e-05"),
            Token::Number("2"),
            Token::Mark('*'),
            Token::Word("h"),
            Token::Mark('-'),
            Token::Number("0x1f"),
            Token::Quoted("\u{e9}".into()),
        ];
        assert_eq!(tokens(text), expected);
    }

    #[test]
    fn refused() {
        let error = |text: &str| Lexer::new(text).token().expect_err("not a token").1.to_string();
        assert_eq!(error("\"abc\ndef\""), "the quoted text does not end in its line");
        assert!(error("\"\\u{110000}\"").contains("this is none of them"));
        assert!(error("\"\\").contains("this is none of them"));
        assert_eq!(error("#"), "'#' starts nothing; names with such characters are written in quotes");
        assert_eq!(error("?"), "found nothing, expected a name or a number");
    }
}
