//! `Slots`: which series a scrape has seen, and which of them the one before it.

/// Book of the caller's series.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Counts scrapes, failed ones too. Starts high enough that "never" is long ago.
    now: u32,
    seen_now: usize,
    seen_before: usize,
    appeared: Vec<u32>,
    vanished: Vec<u32>,
    released: Vec<u32>,
    /// Whether a slot is held that no line leads to: there was no room for its line.
    unlined: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The last scrape that saw the series.
    seen: u32,
    /// How many lines lead here.
    lines: u32,
    held: bool,
}

impl Default for Slots {
    fn default() -> Self {
        Slots {
            slots: Vec::new(),
            now: 2,
            seen_now: 0,
            seen_before: 0,
            appeared: Vec::new(),
            vanished: Vec::new(),
            released: Vec::new(),
            unlined: false,
        }
    }
}

impl Slots {
    pub(super) fn begin(&mut self) {
        self.now += 1;
        self.seen_before = self.seen_now;
        self.seen_now = 0;
        self.appeared.clear();
        self.vanished.clear();
        self.released.clear();
    }

    /// Forgets what the scrape under way has seen.
    pub(super) fn roll_back(&mut self) {
        for slot in self.appeared.drain(..) {
            self.slots[slot as usize].seen = 0;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.seen == self.now) {
            slot.seen -= 1;
        }
        self.now -= 1;
        self.seen_now = self.seen_before;
    }

    /// Takes note of a slot that the caller gave to a line; `lined` says that the line is remembered.
    pub(super) fn assign(&mut self, slot: u32, lined: bool) {
        let at = slot as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, Slot::default());
        }
        self.slots[at].held = true;
        self.slots[at].lines += u32::from(lined);
        self.unlined |= !lined;
    }

    #[inline]
    pub(super) fn mark(&mut self, slot: u32) {
        let Some(state) = self.slots.get_mut(slot as usize) else { return };
        if state.seen == self.now {
            return;
        }
        if state.seen + 1 != self.now {
            self.appeared.push(slot);
        }
        state.seen = self.now;
        self.seen_now += 1;
    }

    pub(super) fn line_gone(&mut self, slot: u32) {
        if let Some(state) = self.slots.get_mut(slot as usize) {
            state.lines = state.lines.saturating_sub(1);
        }
    }

    /// Ends the scrape; `evicted` says that lines have gone.
    pub(super) fn finish(&mut self, evicted: bool) {
        // Every slot is either new or was seen before: the counts say whether one is missing.
        let stayed = self.seen_now - self.appeared.len();
        if stayed < self.seen_before {
            let gone = self.slots.iter().enumerate().filter(|(_, slot)| slot.seen + 1 == self.now);
            self.vanished.extend(gone.map(|(at, _)| at as u32));
        }
        if evicted || self.unlined {
            let mut unlined = false;
            for (at, slot) in self.slots.iter_mut().enumerate() {
                if !slot.held || slot.lines > 0 {
                    continue;
                }
                if slot.seen + 2 <= self.now {
                    slot.held = false;
                    self.released.push(at as u32);
                } else {
                    unlined = true;
                }
            }
            self.unlined = unlined;
        }
    }

    pub(super) fn appeared(&self) -> &[u32] {
        &self.appeared
    }

    pub(super) fn vanished(&self) -> &[u32] {
        &self.vanished
    }

    pub(super) fn released(&self) -> &[u32] {
        &self.released
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + (self.appeared.capacity() + self.vanished.capacity() + self.released.capacity())
                * size_of::<u32>()
    }
}
