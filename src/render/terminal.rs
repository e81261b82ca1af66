//! Terminal output: styles and colours of escape sequences (SGR), carriage returns, backspaces and tabs. All other
//! sequences are removed, such as links, window titles and cursor movements.

use std::borrow::Cow;
use std::mem::take;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

use super::budget::Budget;
use super::tree::{Block, PlainReason, TerminalSpan};
use crate::text::safe_text::mark_hidden;

const TAB_WIDTH: usize = 8;
const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
/// The steps of a channel in the 256-colour palette's cube.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

const ESCAPE: char = '\u{1b}';

/// Returns whether the text has an escape sequence.
pub(super) fn has_escapes(text: &str) -> bool {
    text.contains(ESCAPE)
}

/// Returns the text without escape sequences. Other characters stay.
pub(super) fn without_escapes(text: &str) -> Cow<'_, str> {
    struct Text(String);

    impl Perform for Text {
        fn print(&mut self, c: char) {
            self.0.push(c);
        }

        fn execute(&mut self, byte: u8) {
            self.0.push(char::from(byte));
        }
    }

    if !has_escapes(text) {
        return Cow::Borrowed(text);
    }
    let mut parsed = Text(String::with_capacity(text.len()));
    parse(text, &mut parsed);
    Cow::Owned(parsed.0)
}

/// A sequence ends with its line at the latest: one that is not complete must not hide the rest of the text.
fn parse(text: &str, performer: &mut impl Perform) {
    for line in text.split_inclusive('\n') {
        let mut parser = Parser::<DefaultCharAccumulator>::new();
        for byte in line.trim_end_matches('\n').bytes() {
            parser.advance(performer, byte);
        }
        if line.ends_with('\n') {
            performer.execute(b'\n');
        }
    }
}

/// Renders what a program has printed.
pub(super) fn render(text: &str, budget: &mut Budget) -> Result<Block, PlainReason> {
    let mut screen = Screen::default();
    parse(text.trim_end_matches(['\n', '\r']), &mut screen);
    screen.end_line();
    let mut lines = Vec::with_capacity(screen.lines.len());
    for cells in screen.lines {
        budget.take_many(1 + cells.chunk_by(|a, b| a.style == b.style).count())?;
        lines.push(spans(&cells));
    }
    Ok(Block::Terminal { lines })
}

fn spans(cells: &[Cell]) -> Vec<TerminalSpan> {
    let runs = cells.chunk_by(|a, b| a.style == b.style);
    runs.map(|run| run[0].style.span(&run.iter().map(|cell| cell.c).collect::<String>()))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    c: char,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    /// 0 to 15.
    Named(u8),
    Rgb([u8; 3]),
}

impl Color {
    /// Returns a colour of the 256-colour palette.
    fn indexed(index: u8) -> Self {
        match index {
            0..16 => Self::Named(index),
            16..232 => {
                let index = usize::from(index - 16);
                Self::Rgb([index / 36, index / 6 % 6, index % 6].map(|step| CUBE[step]))
            }
            232.. => Self::Rgb([8 + 10 * (index - 232); 3]),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Named(index @ 0..8) => NAMES[usize::from(index)].to_owned(),
            Self::Named(index) => format!("bright_{}", NAMES[usize::from(index % 8)]),
            Self::Rgb([r, g, b]) => format!("#{r:02x}{g:02x}{b:02x}"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    color: Option<Color>,
    background: Option<Color>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    strike: bool,
    inverse: bool,
}

impl Style {
    fn span(self, text: &str) -> TerminalSpan {
        let styles = [
            (self.bold, "bold"),
            (self.dim, "dim"),
            (self.italic, "italic"),
            (self.underline, "underline"),
            (self.strike, "strike"),
            (self.inverse, "inverse"),
        ];
        TerminalSpan {
            text: mark_hidden(text),
            color: self.color.map(Color::text),
            background: self.background.map(Color::text),
            styles: styles
                .into_iter()
                .filter(|(is_set, _)| *is_set)
                .map(|(_, name)| name)
                .collect(),
        }
    }

    /// Applies the parameters of one SGR sequence. Hidden text (8) stays visible.
    fn apply(&mut self, params: &Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            let code = param.first().copied().unwrap_or(0);
            // 0 to 7, after the range's first code.
            let named = |bright: u8| Some(Color::Named((code % 10) as u8 + bright));
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = param.get(1) != Some(&0),
                7 => self.inverse = true,
                9 => self.strike = true,
                21 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                30..=37 => self.color = named(0),
                39 => self.color = None,
                40..=47 => self.background = named(0),
                49 => self.background = None,
                90..=97 => self.color = named(8),
                100..=107 => self.background = named(8),
                38 | 48 => {
                    // `38:5:n` and `38:2::r:g:b` have the values as subparameters, `38;5;n` and `38;2;r;g;b` as parameters.
                    let color = if param.len() > 1 {
                        extended_color(&mut param[1..].iter().copied(), param.len() > 5)
                    } else {
                        extended_color(
                            &mut params.by_ref().map(|param| param.first().copied().unwrap_or(0)),
                            false,
                        )
                    };
                    if color.is_some() {
                        *(if code == 38 {
                            &mut self.color
                        } else {
                            &mut self.background
                        }) = color;
                    }
                }
                _ => {}
            }
        }
    }
}

/// Reads `5;n` or `2;r;g;b`. With `has_space`, `2` is followed by the number of a colour space.
fn extended_color(values: &mut dyn Iterator<Item = u16>, has_space: bool) -> Option<Color> {
    let byte = |values: &mut dyn Iterator<Item = u16>| u8::try_from(values.next()?).ok();
    match values.next()? {
        5 => byte(values).map(Color::indexed),
        2 => {
            if has_space {
                values.next();
            }
            Some(Color::Rgb([byte(values)?, byte(values)?, byte(values)?]))
        }
        _ => None,
    }
}

/// The lines printed so far, and the line that the cursor is in.
#[derive(Debug, Default)]
struct Screen {
    lines: Vec<Vec<Cell>>,
    line: Vec<Cell>,
    /// At most the length of `line`.
    column: usize,
    style: Style,
}

impl Screen {
    fn end_line(&mut self) {
        self.lines.push(take(&mut self.line));
        self.column = 0;
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        let cell = Cell { c, style: self.style };
        match self.line.get_mut(self.column) {
            Some(place) => *place = cell,
            None => self.line.push(cell),
        }
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                for _ in 0..TAB_WIDTH - self.column % TAB_WIDTH {
                    // A tab moves over existing text.
                    if self.column < self.line.len() {
                        self.column += 1;
                    } else {
                        self.print(' ');
                    }
                }
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params
            .iter()
            .next()
            .and_then(|param| param.first().copied())
            .unwrap_or(0);
        match (action, first) {
            (b'm', _) => {
                if params.is_empty() {
                    self.style = Style::default();
                }
                self.style.apply(params);
            }
            // Programs erase the line before they print a new state of their progress.
            (b'K', 0) => self.line.truncate(self.column),
            (b'K', 2) => {
                self.line.clear();
                self.column = 0;
            }
            _ => {}
        }
    }
}
