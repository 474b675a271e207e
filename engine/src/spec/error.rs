//! What is wrong with a config, and where, in the manner of rustc.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// A mistake in a config or an override: the user's to fix, so it says where it is and what would be right.
///
/// Shown as `file:line:column: message; help`, the line it is on, and carets below the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The file, or the override (`--set key=value`).
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The full key that it is about, if it is about one.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line and what to underline in it, unless there is no text. Boxed, as results carry errors by value.
    excerpt: Option<Box<Excerpt>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    indent: usize,
    width: usize,
}

impl SpecError {
    /// A file that cannot be read at all.
    pub(super) fn unreadable(file: String, why: &std::io::Error) -> Self {
        let message = format!("cannot read the config: {why}");
        Self { file, line: 1, column: 1, key: None, message, help: None, excerpt: None }
    }
}

impl Error for SpecError {}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        let Some(Excerpt { line, indent, width }) = self.excerpt.as_deref() else { return Ok(()) };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "\n{gutter} |\n{number} | {line}\n{gutter} | {}{}", " ".repeat(*indent), "^".repeat(*width))
    }
}

/// What is wrong and what would be right, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A text that settings are read from: a file or an override.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: String,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The error at this range of bytes.
    pub(super) fn error(&self, at: &Range<usize>, key: Option<String>, complaint: Complaint) -> SpecError {
        let start = self.boundary(at.start);
        let end = self.boundary(at.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let before = self.text[line_start..start].chars().count();
        let width = self.text[start..end].lines().next().unwrap_or("").chars().count();
        SpecError {
            file: self.file.clone(),
            line: self.text[..start].matches('\n').count() + 1,
            column: before + 1,
            key,
            message: complaint.message,
            help: complaint.help,
            excerpt: (!self.text.is_empty()).then(|| Box::new(Excerpt::new(line, before, width))),
        }
    }

    /// The nearest boundary of a character at or below `offset`.
    fn boundary(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|&offset| self.text.is_char_boundary(offset)).unwrap_or(0)
    }
}

impl Excerpt {
    /// As much of a long line as a terminal shows, around what is underlined.
    fn new(line: &str, before: usize, width: usize) -> Self {
        let skipped = before.saturating_sub(LINE_CHARS / 2) * usize::from(line.chars().count() > LINE_CHARS);
        let shown: String = line.chars().skip(skipped).take(LINE_CHARS).map(printable).collect();
        let indent = before - skipped;
        let width = width.min(shown.chars().count().saturating_sub(indent)).max(1);
        Self { line: shown, indent, width }
    }
}

/// A config is the user's, but a terminal should not obey its control characters, and a tab would move the caret.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// `text` as part of a message: on one line, and not longer than helps.
pub(super) fn brief(text: &str) -> String {
    let mut brief: String = text.chars().take(WORD_CHARS).map(printable).collect();
    if text.chars().nth(WORD_CHARS).is_some() {
        brief.push_str("...");
    }
    brief
}

/// The candidate that `word` is probably a slip of.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > WORD_CHARS {
        return None;
    }
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|each| (strsim::osa_distance(&word, &each.to_lowercase()), each));
    let (distance, nearest) = scored.min_by_key(|&(distance, _)| distance)?;
    // A third of the letters wrong is still a slip; more is another word.
    (distance <= word.chars().count().div_ceil(3)).then_some(nearest)
}

/// Characters of a source line that an error shows.
const LINE_CHARS: usize = 100;

/// Characters of a user's word that a message repeats.
const WORD_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, at: Range<usize>) -> String {
        Source { file: "x".into(), text }.error(&at, None, Complaint::new("wrong").help("right")).to_string()
    }

    #[test]
    fn points_at_the_place() {
        assert_eq!(shown("a = 1\nb = 22\n", 10..12), "x:2:5: wrong; right\n  |\n2 | b = 22\n  |     ^^");
        assert_eq!(shown("é\tb", 3..4), "x:1:3: wrong; right\n  |\n1 | é b\n  |   ^", "columns are characters");
        assert_eq!(shown("a", 1..1), "x:1:2: wrong; right\n  |\n1 | a\n  |  ^", "the end has a caret too");
        assert_eq!(shown("", 0..0), "x:1:1: wrong; right");
        assert_eq!(shown("a\n", 900..901), "x:2:1: wrong; right\n  |\n2 | \n  | ^");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}here{}", "-".repeat(5000), "-".repeat(5000));
        let shown = shown(&text, 5000..5004);
        assert!(shown.lines().all(|line| line.len() <= LINE_CHARS + 4), "{shown}");
        let (line, carets) = shown.rsplit_once('\n').expect("two lines");
        let column = carets.find('^').expect("a caret");
        assert_eq!(&line.lines().last().expect("a line")[column..column + 4], "here");
    }

    #[test]
    fn nearest_is_a_slip_not_another_word() {
        let protocols = ["raft", "echo", "star"];
        assert_eq!(nearest("rafft", protocols), Some("raft"));
        assert_eq!(nearest("RAFT", protocols), Some("raft"));
        assert_eq!(nearest("ehco", protocols), Some("echo"));
        assert_eq!(nearest("paxos", protocols), None);
        assert_eq!(nearest(&"raft".repeat(3000), protocols), None);
        assert_eq!(brief(&"x".repeat(10_000)).len(), WORD_CHARS + 3);
        assert_eq!(brief("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
    }
}
