//! Go's regular expression syntax (`regexp/syntax` with the flags Perl and DotNL), read into a
//! `Hir`.
//!
//! A loop with a stack of open groups, never a recursion, so that no pattern can overflow ours.
//! Knows no engine and does not anchor.

mod escape;

use regex_syntax::hir::{
    Capture, Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, Repetition,
};

use super::class::ClassBuilder;
use super::{PATTERN_BYTES_MAX, RegexError};

/// How deep an expression may nest, as in Go.
const NEST_MAX: u32 = 1000;
/// How often something may be repeated by count, nested counts multiplied, as in Go.
const REPEAT_MAX: u32 = 1000;
/// Ranges of all classes together: 8 MB of memory. Three bytes of pattern (`\pL`) can stand for
/// 650.
const RANGES_MAX: usize = 1 << 20;
/// Nodes built, and built again when a group dissolves into its parent.
const WORK_MAX: usize = 4 * PATTERN_BYTES_MAX;

const BAD_REPEAT_SIZE: &str = "invalid repeat count";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";

/// An expression and the names of its groups by index (group 0 is the whole).
pub(super) struct Parsed {
    pub(super) hir: Hir,
    /// The levels of nesting, at most 1000.
    pub(super) height: u32,
    pub(super) groups: Vec<Option<String>>,
}

/// Reads `pattern`.
pub(super) fn parse(pattern: &str) -> Result<Parsed, RegexError> {
    let flags = Flags { fold: false, lines: false, dot_newline: true, lazy: false };
    let mut parser = Parser {
        pattern,
        at: 0,
        flags,
        open: Vec::new(),
        here: Frame::new(flags, None),
        groups: vec![None],
        ranges: 0,
        work: 0,
        posix_ends: true,
    };
    parser.run()
}

/// What `(?imsU)` switches.
#[derive(Clone, Copy)]
struct Flags {
    /// `i`: letters match in every case.
    fold: bool,
    /// `m`: `^` and `$` match at lines.
    lines: bool,
    /// `s`: `.` matches a newline.
    dot_newline: bool,
    /// `U`: `x*` and `x*?` change places.
    lazy: bool,
}

/// A group that is being read.
struct Frame {
    /// The flags to return to when it closes.
    outer_flags: Flags,
    capture: Option<u32>,
    branches: Vec<Piece>,
    pieces: Vec<Piece>,
    /// Literal characters not yet made into a piece.
    run: String,
}

/// A finished part of an expression.
struct Piece {
    hir: Hir,
    height: u32,
    /// The product of the nested repeat counts.
    copies: u32,
}

impl Piece {
    fn leaf(hir: Hir) -> Self {
        Piece { hir, height: 1, copies: 0 }
    }
}

impl Frame {
    fn new(outer_flags: Flags, capture: Option<u32>) -> Self {
        let run = String::new();
        Frame { outer_flags, capture, branches: Vec::new(), pieces: Vec::new(), run }
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            let run = std::mem::take(&mut self.run);
            self.pieces.push(Piece::leaf(Hir::literal(run.into_bytes())));
        }
    }

    /// Takes the last piece; the last character alone where a run of them is last.
    fn pop(&mut self) -> Option<Piece> {
        match self.run.pop() {
            Some(last) => {
                self.flush();
                Some(Piece::leaf(literal(last)))
            }
            None => self.pieces.pop(),
        }
    }
}

fn literal(c: char) -> Hir {
    Hir::literal(c.to_string().into_bytes())
}

struct Parser<'p> {
    pattern: &'p str,
    /// Byte offset of what comes next.
    at: usize,
    flags: Flags,
    open: Vec<Frame>,
    here: Frame,
    groups: Vec<Option<String>>,
    ranges: usize,
    work: usize,
    /// False once a search for `:]` has failed, so that it is not made again for each `[:`.
    posix_ends: bool,
}

impl<'p> Parser<'p> {
    fn run(&mut self) -> Result<Parsed, RegexError> {
        // Where the repetition operator just before this place began: two of them in a row are an
        // error.
        let mut last_repeat = None;
        while let Some(next) = self.peek() {
            let mut repeat = None;
            match next {
                '(' => self.open_group()?,
                ')' => self.close_group()?,
                '|' => {
                    self.at += 1;
                    self.end_branch()?;
                }
                '^' => self.look(if self.flags.lines { Look::StartLF } else { Look::Start }, 1),
                '$' => self.look(if self.flags.lines { Look::EndLF } else { Look::End }, 1),
                '.' => {
                    self.at += 1;
                    let newline = self.flags.dot_newline;
                    let dot = if newline { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                    self.push(Hir::dot(dot));
                }
                '[' => self.class()?,
                '*' | '+' | '?' | '{' => repeat = self.repeat(next, last_repeat)?,
                '\\' => self.backslash()?,
                _ => {
                    self.at += next.len_utf8();
                    self.push_char(next as u32)?;
                }
            }
            last_repeat = repeat;
        }
        if !self.open.is_empty() {
            return Err(RegexError::new("missing closing )", self.pattern));
        }
        let frame = std::mem::replace(&mut self.here, Frame::new(self.flags, None));
        let Piece { hir, height, .. } = self.finish(frame)?;
        Ok(Parsed { hir, height, groups: std::mem::take(&mut self.groups) })
    }

    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// The error `what` about the text from `start` to here.
    fn error<T>(&self, what: &str, start: usize) -> Result<T, RegexError> {
        Err(RegexError::new(what, &self.pattern[start..self.at]))
    }

    fn push(&mut self, hir: Hir) {
        self.here.flush();
        self.here.pieces.push(Piece::leaf(hir));
    }

    fn look(&mut self, look: Look, len: usize) {
        self.at += len;
        self.push(Hir::look(look));
    }

    fn push_char(&mut self, code: u32) -> Result<(), RegexError> {
        // A surrogate is no character of any text.
        let Some(c) = char::from_u32(code) else {
            self.push(Hir::fail());
            return Ok(());
        };
        if self.flags.fold {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            class.case_fold_simple();
            if class.ranges().len() > 1 || class.ranges()[0].len() > 1 {
                return self.push_class(class);
            }
        }
        self.here.run.push(c);
        Ok(())
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), RegexError> {
        self.count_ranges(&class)?;
        self.push(Hir::class(Class::Unicode(class)));
        Ok(())
    }

    fn count_ranges(&mut self, class: &ClassUnicode) -> Result<(), RegexError> {
        self.ranges += class.ranges().len();
        if self.ranges > RANGES_MAX {
            let fact = format!("class_ranges over limit={RANGES_MAX}");
            return Err(RegexError::too_large(&fact, self.pattern));
        }
        Ok(())
    }

    /// Joins `pieces`. What is joined is counted, since a group without a capture dissolves into
    /// its parent and its parts are then moved once more.
    fn join(&mut self, pieces: Vec<Piece>, with: fn(Vec<Hir>) -> Hir) -> Result<Piece, RegexError> {
        let mut height = 0;
        let mut copies = 0;
        let mut hirs = Vec::with_capacity(pieces.len());
        for piece in pieces {
            height = height.max(piece.height);
            copies = copies.max(piece.copies);
            self.work += match piece.hir.kind() {
                HirKind::Concat(subs) | HirKind::Alternation(subs) => subs.len(),
                _ => 1,
            };
            hirs.push(piece.hir);
        }
        if self.work > WORK_MAX {
            return Err(RegexError::too_large(
                &format!("nodes over limit={WORK_MAX}"),
                self.pattern,
            ));
        }
        let height = if hirs.len() > 1 { height + 1 } else { height.max(1) };
        self.check_height(height)?;
        Ok(Piece { hir: with(hirs), height, copies })
    }

    fn check_height(&self, height: u32) -> Result<(), RegexError> {
        if height > NEST_MAX {
            return Err(RegexError::new("expression nests too deeply", self.pattern));
        }
        Ok(())
    }

    fn end_branch(&mut self) -> Result<(), RegexError> {
        self.here.flush();
        let pieces = std::mem::take(&mut self.here.pieces);
        let branch = self.join(pieces, Hir::concat)?;
        self.here.branches.push(branch);
        Ok(())
    }

    fn finish(&mut self, mut frame: Frame) -> Result<Piece, RegexError> {
        frame.flush();
        let last = self.join(frame.pieces, Hir::concat)?;
        if frame.branches.is_empty() {
            return Ok(last);
        }
        frame.branches.push(last);
        self.join(frame.branches, Hir::alternation)
    }

    /// `(`, `(?:`, `(?flags)`, `(?flags:`, `(?P<name>`, `(?<name>`.
    fn open_group(&mut self) -> Result<(), RegexError> {
        let rest = self.rest();
        if !rest.starts_with("(?") {
            self.at += 1;
            return self.enter(self.flags, Some(None));
        }
        let named = (rest.len() > 4 && rest.starts_with("(?P<"))
            || (rest.len() > 3 && rest.starts_with("(?<"));
        if !named {
            return self.flags_group();
        }
        let Some(end) = rest.find('>') else {
            return Err(RegexError::new("invalid named capture", rest));
        };
        let name = rest[..end].split_once('<').map_or("", |(_, name)| name);
        let word = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
        if name.is_empty() || !name.bytes().all(word) {
            return Err(RegexError::new("invalid named capture", &rest[..=end]));
        }
        self.at += end + 1;
        self.enter(self.flags, Some(Some(name.to_string())))
    }

    fn flags_group(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        self.at += 2;
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, false);
        while let Some(c) = self.bump() {
            match c {
                'i' => flags.fold = on,
                'm' => flags.lines = on,
                's' => flags.dot_newline = on,
                'U' => flags.lazy = on,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' | ')' if on || seen => {
                    let outer = std::mem::replace(&mut self.flags, flags);
                    return if c == ':' { self.enter(outer, None) } else { Ok(()) };
                }
                _ => return self.error(BAD_PERL, start),
            }
            seen = true;
        }
        self.error(BAD_PERL, start)
    }

    /// Opens a group: `capture` is `None` for `(?:`, `Some(name)` for one that is numbered.
    fn enter(&mut self, outer: Flags, capture: Option<Option<String>>) -> Result<(), RegexError> {
        self.check_height(self.open.len() as u32 + 1)?;
        let capture = capture.map(|name| {
            self.groups.push(name);
            (self.groups.len() - 1) as u32
        });
        self.here.flush();
        let frame = std::mem::replace(&mut self.here, Frame::new(outer, capture));
        self.open.push(frame);
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), RegexError> {
        let Some(parent) = self.open.pop() else {
            return Err(RegexError::new("unexpected )", self.pattern));
        };
        self.at += 1;
        let frame = std::mem::replace(&mut self.here, parent);
        self.flags = frame.outer_flags;
        let capture = frame.capture;
        let mut piece = self.finish(frame)?;
        if let Some(index) = capture {
            let sub = Box::new(piece.hir);
            piece.hir = Hir::capture(Capture { index, name: None, sub });
            piece.height += 1;
            self.check_height(piece.height)?;
        }
        self.here.pieces.push(piece);
        Ok(())
    }

    /// `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, each with an optional `?`. Returns where the operator
    /// began; a `{` that begins no count is a literal.
    fn repeat(&mut self, op: char, last: Option<usize>) -> Result<Option<usize>, RegexError> {
        let start = self.at;
        let (min, max) = match op {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            _ => match counts(self.rest()) {
                Some((count, len)) => {
                    self.at += len;
                    let Some(count) = count else { return self.error(BAD_REPEAT_SIZE, start) };
                    count
                }
                None => {
                    self.at += 1;
                    self.push_char('{' as u32)?;
                    return Ok(None);
                }
            },
        };
        if op != '{' {
            self.at += 1;
        }
        let mut greedy = !self.flags.lazy;
        if self.rest().starts_with('?') {
            self.at += 1;
            greedy = !greedy;
        }
        if let Some(last) = last {
            return self.error("invalid nested repetition operator", last);
        }
        let Some(sub) = self.here.pop() else {
            return self.error("missing argument to repetition operator", start);
        };
        let height = sub.height + 1;
        self.check_height(height)?;
        let copies = match max.unwrap_or(min) {
            _ if op != '{' => sub.copies,
            0 if max.is_none() => sub.copies,
            times => times.saturating_mul(sub.copies.max(1)),
        };
        if op == '{' && min.max(max.unwrap_or(0)) >= 2 && copies > REPEAT_MAX {
            return self.error(BAD_REPEAT_SIZE, start);
        }
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(sub.hir) });
        self.here.pieces.push(Piece { hir, height, copies });
        Ok(Some(start))
    }

    fn backslash(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        let rest = self.rest();
        match rest.as_bytes().get(1) {
            Some(b'A') => self.look(Look::Start, 2),
            Some(b'z') => self.look(Look::End, 2),
            Some(b'b') => self.look(Look::WordAscii, 2),
            Some(b'B') => self.look(Look::WordAsciiNegate, 2),
            Some(b'C') => {
                self.at += 2;
                return self.error("invalid escape sequence", start);
            }
            Some(b'Q') => {
                let quoted = &rest[2..];
                let (text, taken) = match quoted.split_once("\\E") {
                    Some((text, _)) => (text, text.len() + 2),
                    None => (quoted, quoted.len()),
                };
                self.at += 2 + taken;
                for c in text.chars() {
                    self.push_char(c as u32)?;
                }
            }
            _ => {
                let mut builder = ClassBuilder::new(self.flags.fold);
                if self.class_escape(&mut builder)? {
                    return self.push_class(builder.build(false));
                }
                let code = self.escape()?;
                self.push_char(code)?;
            }
        }
        Ok(())
    }
}

/// A minimum and a maximum; `None` as the maximum: without end.
type Counts = (u32, Option<u32>);

/// The counts `{n}`, `{n,}` or `{n,m}` at the start of `text` and their length; `Some(None)` where
/// they have that form but are over the limit or upside down, `None` where they have not.
fn counts(text: &str) -> Option<(Option<Counts>, usize)> {
    let text = text.strip_prefix('{')?;
    let body = &text[..text.find(|c: char| !c.is_ascii_digit() && c != ',')?];
    if !text[body.len()..].starts_with('}') {
        return None;
    }
    let number = |digits: &str| {
        let well_formed = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        // Too many digits for a u32 are too many for the limit, too.
        well_formed.then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
    };
    let (min, max) = match body.split_once(',') {
        None => (number(body)?, Some(number(body)?)),
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    let valid = min <= REPEAT_MAX && max.is_none_or(|max| min <= max && max <= REPEAT_MAX);
    Some((valid.then_some((min, max)), body.len() + 2))
}
