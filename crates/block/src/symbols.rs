//! `Symbols`: each distinct text of a block under construction, once, and labels as pairs of
//! numbers.
//!
//! A block is built in memory before its columns are known, and its label texts repeat a
//! thousandfold.

use indexmap::IndexSet;
use pando_model::Labels;
use rapidhash::fast::RandomState;

/// A text's number, in order of first use.
pub(crate) type Symbol = u32;

/// Texts and label pairs of rows.
#[derive(Default)]
pub(crate) struct Symbols {
    texts: IndexSet<Box<str>, RandomState>,
    text_bytes: usize,
}

impl Symbols {
    /// The number of `text`.
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(at) = self.texts.get_index_of(text) {
            return at as Symbol;
        }
        self.text_bytes += text.len() + 32;
        self.texts.insert_full(text.into()).0 as Symbol
    }

    /// The text with number `symbol`.
    ///
    /// # Panics
    /// For a number that [`Symbols::intern`] did not give.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
    }

    /// `labels` as (name, value) numbers in their order, appended to `out`.
    pub(crate) fn intern_labels(&mut self, labels: &Labels, out: &mut Vec<(Symbol, Symbol)>) {
        for (name, value) in labels {
            let name = self.intern(name);
            out.push((name, self.intern(value)));
        }
    }

    /// How many texts there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Approximate memory, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.text_bytes
    }
}
