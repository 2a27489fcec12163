//! Escapes and character classes of the parser: what follows a backslash or a `[`.

use super::Parser;
use crate::regex::RegexError;
use crate::regex::class::{self, ClassBuilder};

const BAD_RANGE: &str = "invalid character class range";

impl Parser<'_> {
    /// `\d`, `\S`, `\pL`, `\p{^Greek}` and their like: adds what it names. False where there is
    /// none here.
    pub(super) fn class_escape(&mut self, builder: &mut ClassBuilder) -> Result<bool, RegexError> {
        let [b'\\', letter, ..] = self.rest().as_bytes() else { return Ok(false) };
        let (letter, mut negated) = (letter.to_ascii_lowercase(), letter.is_ascii_uppercase());
        if let Some(class) = class::perl(letter) {
            self.at += 2;
            builder.add_named(class, negated);
            return Ok(true);
        }
        if letter != b'p' {
            return Ok(false);
        }
        let start = self.at;
        self.at += 2;
        let mut name = match self.bump() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    return Err(RegexError::new(BAD_RANGE, &self.pattern[start..]));
                };
                let name = &self.rest()[..end];
                self.at += end + 1;
                name
            }
            Some(_) => &self.pattern[start + 2..self.at],
            None => return self.error(BAD_RANGE, start),
        };
        if let Some(rest) = name.strip_prefix('^') {
            (name, negated) = (rest, !negated);
        }
        let Some(class) = class::unicode(name) else { return self.error(BAD_RANGE, start) };
        self.count_ranges(&class)?;
        builder.add_named(class, negated);
        Ok(true)
    }

    /// `[...]`.
    pub(super) fn class(&mut self) -> Result<(), RegexError> {
        let start = self.at;
        self.at += 1;
        let negated = self.rest().starts_with('^');
        self.at += usize::from(negated);
        let mut builder = ClassBuilder::new(self.flags.fold);
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            if self.posix_class(&mut builder)? || self.class_escape(&mut builder)? {
                continue;
            }
            let from = self.at;
            let low = self.class_char(start)?;
            let mut high = low;
            let rest = self.rest().as_bytes();
            if rest.len() >= 2 && rest[0] == b'-' && rest[1] != b']' {
                self.at += 1;
                high = self.class_char(start)?;
                if high < low {
                    return self.error(BAD_RANGE, from);
                }
            }
            builder.add(low, high);
        }
        self.at += 1;
        self.push_class(builder.build(negated))
    }

    /// `[:name:]` or `[:^name:]` inside a class. False where there is none here.
    fn posix_class(&mut self, builder: &mut ClassBuilder) -> Result<bool, RegexError> {
        let Some(body) = self.rest().strip_prefix("[:") else { return Ok(false) };
        if !self.posix_ends {
            return Ok(false);
        }
        let Some(end) = body.find(":]") else {
            self.posix_ends = false;
            return Ok(false);
        };
        let start = self.at;
        self.at += end + 4;
        let name = &body[..end];
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let Some(class) = class::posix(name) else { return self.error(BAD_RANGE, start) };
        builder.add_named(class, negated);
        Ok(true)
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, RegexError> {
        match self.peek() {
            None => Err(RegexError::new("missing closing ]", &self.pattern[class_start..])),
            Some('\\') => self.escape(),
            Some(c) => {
                self.at += c.len_utf8();
                Ok(c as u32)
            }
        }
    }

    /// A backslash and the one character that it stands for.
    pub(super) fn escape(&mut self) -> Result<u32, RegexError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.bump() else {
            return Err(RegexError::new("trailing backslash at end of expression", ""));
        };
        let octal = |text: &str| text.bytes().next().is_some_and(|b| (b'0'..=b'7').contains(&b));
        match c {
            '0' => Ok(self.octal(0)),
            // One digit alone would be a reference back, which no linear engine can follow.
            '1'..='7' if octal(self.rest()) => Ok(self.octal(c as u32 - '0' as u32)),
            'x' => match self.hex() {
                Some(code) => Ok(code),
                None => self.error("invalid escape sequence", start),
            },
            'a' => Ok(7),
            'f' => Ok(12),
            'n' => Ok(10),
            'r' => Ok(13),
            't' => Ok(9),
            'v' => Ok(11),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c as u32),
            _ => self.error("invalid escape sequence", start),
        }
    }

    /// Up to two more octal digits after `value`.
    fn octal(&mut self, mut value: u32) -> u32 {
        for _ in 0..2 {
            match self.rest().bytes().next() {
                Some(digit @ b'0'..=b'7') => value = value * 8 + u32::from(digit - b'0'),
                _ => break,
            }
            self.at += 1;
        }
        value
    }

    /// What follows `\x`: two digits, or any number of them in braces.
    fn hex(&mut self) -> Option<u32> {
        let first = self.bump()?;
        if first != '{' {
            let high = first.to_digit(16);
            let low = self.bump()?.to_digit(16)?;
            return Some(high? * 16 + low);
        }
        let (mut value, mut digits) = (0u32, 0);
        loop {
            match self.bump()? {
                '}' if digits > 0 => return Some(value),
                digit => value = value * 16 + digit.to_digit(16)?,
            }
            if value > char::MAX as u32 {
                return None;
            }
            digits += 1;
        }
    }
}
