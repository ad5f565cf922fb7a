//! What is wrong with a file: each problem with its place and its mend.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::io;
use std::str::Utf8Error;

/// Everything that is wrong with a configuration file, in its order.
///
/// Displays as one line per problem: `FILE:LINE:COLUMN: tunnel.session.KEY: what is wrong; the mend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, unless it is about the file as a whole.
    pub position: Option<Position>,
    /// The key with its tables, like `tunnel.session.cookie`; `None` for a syntax error.
    pub key: Option<String>,
    /// What is wrong; the mend.
    pub message: String,
}

/// A place in a file; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl ConfigError {
    /// The problems, in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn unreadable(file: &str, error: &io::Error) -> Self {
        Self::one(file, None, format!("cannot be read: {error}; check the path and its permissions"))
    }

    pub(super) fn not_utf8(file: &str, bytes: &[u8], error: Utf8Error) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let position = Lines::of(&text).position(&text, error.valid_up_to());
        Self::one(file, Some(position), "this byte is not UTF-8; save the file as UTF-8".into())
    }

    fn one(file: &str, position: Option<Position>, message: String) -> Self {
        Self { file: file.into(), problems: vec![Problem { position, key: None, message }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { position, key, message }) in self.problems.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            f.write_str(&self.file)?;
            if let Some(Position { line, column }) = position {
                write!(f, ":{line}:{column}")?;
            }
            if let Some(key) = key {
                write!(f, ": {key}")?;
            }
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Where the lines of a text begin, so that a place needs no reading from the top.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let behind_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self(std::iter::once(0).chain(behind_newlines).collect())
    }

    /// The place of a byte offset in the text; one past the end is the end.
    fn position(&self, text: &str, offset: usize) -> Position {
        let before = text.get(..offset).unwrap_or(text);
        let line = self.0.partition_point(|start| *start <= before.len());
        let start = self.0.get(line - 1).copied().unwrap_or_default();
        Position { line, column: before.get(start..).map_or(0, |line| line.chars().count()) + 1 }
    }
}

/// A key of the file and where it, or the section that lacks it, stands.
pub struct Place {
    /// The key with its tables.
    pub key: String,
    /// Bytes from the start of the file.
    pub offset: usize,
}

/// The proof that a problem was reported: whoever returns it needs no message of its own.
#[derive(Clone, Copy, Debug)]
pub struct Reported(());

/// Collects the problems of a text.
pub struct Problems<'a> {
    text: &'a str,
    /// Known from the first problem on.
    lines: OnceCell<Lines>,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    /// None yet.
    pub fn new(text: &'a str) -> Self {
        Self { text, lines: OnceCell::new(), found: RefCell::default() }
    }

    /// One about a key.
    pub fn report(&self, place: Place, message: impl Into<String>) -> Reported {
        self.add(Some(place.offset), Some(place.key), message.into())
    }

    /// One of the TOML parser's.
    pub fn syntax(&self, error: &toml::de::Error) -> Reported {
        let message = format!("this is not TOML: {}; see https://toml.io", error.message());
        self.add(error.span().map(|span| span.start), None, message)
    }

    /// The place of a byte offset.
    pub fn position(&self, offset: usize) -> Position {
        self.lines.get_or_init(|| Lines::of(self.text)).position(self.text, offset)
    }

    /// The result, unless there is a problem.
    pub fn into_result<T>(self, file: &str, result: Result<T, Reported>) -> Result<T, ConfigError> {
        let mut problems = self.found.into_inner();
        match result {
            Ok(value) if problems.is_empty() => Ok(value),
            _ => {
                problems.sort_by_key(|problem| problem.position);
                Err(ConfigError { file: file.into(), problems })
            }
        }
    }

    fn add(&self, offset: Option<usize>, key: Option<String>, message: String) -> Reported {
        let position = offset.map(|offset| self.position(offset));
        self.found.borrow_mut().push(Problem { position, key, message });
        Reported(())
    }
}
