//! Standard output of the tools: the only way by which they print.
//!
//! A reader that has seen enough (`pando block inspect FILE | head`) closes the pipe. That is no fault: what else would
//! be printed is dropped, and the tool goes on to its end, for it may be doing more than print.

use std::fmt::Display;
use std::io::{self, ErrorKind, Stdout, Write};

use anyhow::{Context, Result};

/// Where a tool prints.
pub(crate) struct Output<W = Stdout> {
    /// None when the reader is gone.
    to: Option<W>,
}

impl Output {
    /// Prints to standard output.
    pub(crate) fn stdout() -> Self {
        Output { to: Some(io::stdout()) }
    }
}

impl<W: Write> Output<W> {
    /// Prints to `to`.
    #[cfg(test)]
    pub(super) fn to(to: W) -> Self {
        Output { to: Some(to) }
    }

    /// Prints `text` and ends the line.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<()> {
        self.print(format_args!("{text}\n"))
    }

    /// Prints `text` as it is.
    pub(crate) fn print(&mut self, text: impl Display) -> Result<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        match write!(to, "{text}").and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.to = None;
                Ok(())
            }
            written => written.context("cannot write to standard output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, then fails with `kind`.
    struct Short {
        room: usize,
        kind: ErrorKind,
        writes: usize,
    }

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            if taken == 0 { Err(self.kind.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_not_written_to_again() {
        let mut short = Short { room: 5, kind: ErrorKind::BrokenPipe, writes: 0 };
        let mut output = Output { to: Some(&mut short) };
        for _ in 0..9 {
            output.line("abc").expect("quiet");
        }
        assert!(output.to.is_none());
        assert_eq!(short.room, 0);
        assert!(short.writes < 9, "{}", short.writes);
    }

    #[test]
    fn other_faults_of_writing_are_errors() {
        let short = Short { room: 5, kind: ErrorKind::StorageFull, writes: 0 };
        let mut output = Output { to: Some(short) };
        output.line("abc").expect("there is room");
        let error = output.line("abc").expect_err("there is none");
        assert!(format!("{error:#}").starts_with("cannot write to standard output: "), "{error:#}");
        let mut all = Output { to: Some(Vec::new()) };
        all.line(1).and_then(|()| all.print("x")).expect("memory");
        assert_eq!(all.to.as_deref(), Some(&b"1\nx"[..]));
    }
}
