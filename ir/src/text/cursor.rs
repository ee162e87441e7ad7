//! Reading tokens one after the other, with one token of foresight.

use std::borrow::Cow;

use super::error::{ParseError, ParseErrorKind, error_at};
use super::lex::{Lexer, Token};
use super::literal::{Magnitude, Numeral};

/// The place of the parser in the text.
pub(super) struct Cursor<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    token: Token<'t>,
    at: usize,
    /// Newlines before `counted_to`, so that lines are counted once.
    lines: u32,
    counted_to: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, ParseError> {
        let mut cursor =
            Self { text, lexer: Lexer::new(text), token: Token::End, at: 0, lines: 1, counted_to: 0 };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The token that is next.
    pub(super) fn peek(&self) -> &Token<'t> {
        &self.token
    }

    /// Where that token starts.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The line of the token that is next, counted from 1.
    pub(super) fn line(&mut self) -> u32 {
        let newlines = self.text.get(self.counted_to..self.at).map_or(0, |text| text.matches('\n').count());
        self.lines = self.lines.saturating_add(u32::try_from(newlines).unwrap_or(u32::MAX));
        self.counted_to = self.at;
        self.lines
    }

    /// The next token, leaving it behind.
    pub(super) fn take(&mut self) -> Result<Token<'t>, ParseError> {
        let token = std::mem::replace(&mut self.token, Token::End);
        self.advance()?;
        Ok(token)
    }

    /// The error `kind` at byte `at`.
    pub(super) fn error(&self, at: usize, kind: ParseErrorKind) -> ParseError {
        error_at(self.text, at, kind)
    }

    /// The error that the next token should have been `expected`.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let found = self.token.describe();
        self.error(self.at, ParseErrorKind::Unexpected { found, expected: expected.into() })
    }

    /// Whether the next token is `mark`; it is left behind if so.
    pub(super) fn skip_mark(&mut self, mark: char) -> Result<bool, ParseError> {
        self.skip(&Token::Mark(mark))
    }

    /// Whether the next token is `word`; it is left behind if so.
    pub(super) fn skip_word(&mut self, word: &'static str) -> Result<bool, ParseError> {
        self.skip(&Token::Word(word))
    }

    /// Leaves `mark` behind, which must be next.
    pub(super) fn mark(&mut self, mark: char) -> Result<(), ParseError> {
        if self.skip_mark(mark)? { Ok(()) } else { Err(self.unexpected(format!("`{mark}`"))) }
    }

    /// Leaves `word` behind, which must be next.
    pub(super) fn word(&mut self, word: &'static str) -> Result<(), ParseError> {
        if self.skip_word(word)? { Ok(()) } else { Err(self.unexpected(format!("`{word}`"))) }
    }

    /// Any word.
    pub(super) fn any_word(&mut self, expected: &'static str) -> Result<&'t str, ParseError> {
        let Token::Word(word) = self.token else { return Err(self.unexpected(expected)) };
        self.advance()?;
        Ok(word)
    }

    /// A text in quotes.
    pub(super) fn quoted(&mut self, expected: &'static str) -> Result<Cow<'t, str>, ParseError> {
        match &self.token {
            Token::Quoted(text) => {
                let text = text.clone();
                self.advance()?;
                Ok(text)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// Items separated by commas up to `close`; a comma after the last one is allowed.
    pub(super) fn list(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        while !self.skip_mark(close)? {
            item(self)?;
            if !self.skip_mark(',')? {
                return self.mark(close);
            }
        }
        Ok(())
    }

    /// A number, or `true` or `false`.
    pub(super) fn numeral(&mut self, expected: &str) -> Result<Numeral<'t>, ParseError> {
        let negative = self.skip_mark('-')?;
        let magnitude = match self.token {
            Token::Number(digits) => Magnitude::Digits(digits),
            Token::Word("inf") => Magnitude::Infinity,
            Token::Word("nan") => Magnitude::Nan(None),
            Token::Word("true") => Magnitude::Bool(true),
            Token::Word("false") => Magnitude::Bool(false),
            _ => return Err(self.unexpected(expected)),
        };
        self.advance()?;
        let is_nan = magnitude == Magnitude::Nan(None);
        if !(is_nan && self.skip_mark('(')?) {
            return Ok(Numeral { negative, magnitude });
        }
        let Token::Number(bits) = self.token else { return Err(self.unexpected("bits such as 0x7fc00001")) };
        self.advance()?;
        self.mark(')')?;
        Ok(Numeral { negative, magnitude: Magnitude::Nan(Some(bits)) })
    }

    /// An integer of type `T`.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self, expected: &str) -> Result<T, ParseError> {
        let at = self.at;
        let numeral = self.numeral(expected)?;
        let value = numeral.integer().and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| self.error(at, self.not_a(at, expected)))
    }

    /// The error kind that the text from `at` to here is not what was expected.
    pub(super) fn not_a(&self, at: usize, expected: &str) -> ParseErrorKind {
        let written = self.text.get(at..self.at).unwrap_or_default().trim_end();
        ParseErrorKind::Number {
            text: super::lex::shorten(written).into_owned(),
            expected: expected.to_owned(),
        }
    }

    fn skip(&mut self, token: &Token<'_>) -> Result<bool, ParseError> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn advance(&mut self) -> Result<(), ParseError> {
        (self.at, self.token) = self.lexer.token().map_err(|(at, kind)| error_at(self.text, at, kind))?;
        Ok(())
    }
}
