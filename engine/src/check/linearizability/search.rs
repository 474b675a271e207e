//! Wing & Gong's search over one register.
//!
//! Invocations and returns stand in a list, in the order of time. To linearize an operation is to take both of its
//! entries out; only operations that were invoked before the first return still in the list can be next. Whoever gets
//! stuck takes the last choice back. A state that was seen before (what is linearized, and what the register holds) is
//! not entered again: that is Lowe's addition, and keeps most histories linear.
//!
//! A register allows more, each without losing an answer:
//!
//! - A get that can be next and reads what the register holds is taken at once: it changes nothing, so whatever order
//!   follows works after it too. So the next choice is always a write.
//! - A write whose value no get read is taken as soon as a write has to come: whichever write comes next may as well
//!   follow it at once, and hide it. There is no choice among such writes.
//! - A write that may not have happened is only taken if a get reads it right away; otherwise the order does as well
//!   without it.
//! - If the first return is that of a get, then some write of its value must be among those that can be next.

use std::collections::HashSet;

use super::Limits;
use super::prepare::{ABSENT, Kind, Register};

/// How a search ended.
#[derive(Debug)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none. The end of the longest beginning of one, and those of which none can be next.
    Stuck { before: Vec<usize>, blocked: Vec<usize> },
    /// Too many steps, or too much to remember.
    GaveUp,
}

/// An entry of the list: an item's invocation or its return.
#[derive(Clone, Copy, Debug)]
struct Entry {
    item: usize,
    returns: bool,
    previous: usize,
    next: usize,
}

/// A choice that can be taken back.
#[derive(Debug)]
struct Choice {
    /// The entry of the write that was chosen.
    entry: usize,
    /// How many items were linearized before it.
    linearized: usize,
    /// What the register held before it.
    held: u32,
}

/// The search over one register.
pub(super) struct Search<'a> {
    register: &'a Register<'a>,
    limits: Limits,
    /// Entry 0 is both ends of the list.
    list: Vec<Entry>,
    /// Each item's entries: its invocation, and its return or 0.
    entries: Vec<[usize; 2]>,
    /// What is linearized, in this order.
    order: Vec<usize>,
    held: u32,
    done: Done,
    choices: Vec<Choice>,
    seen: HashSet<Box<[u64]>>,
    memory_bytes: usize,
    steps: u64,
    stuck: (usize, Vec<usize>, Vec<usize>),
}

/// What the register holds after a write that nobody read: nothing that a get could find.
const UNREAD: u32 = u32::MAX;
/// A remembered state's bytes besides its words: the box, the hash table's share, the allocator's.
const STATE_OVERHEAD: usize = 64;
/// Operations shown of the longest order.
const SHOWN_BEFORE: usize = 6;
/// Operations shown of those that cannot be next.
const SHOWN_BLOCKED: usize = 16;

impl<'a> Search<'a> {
    pub(super) fn new(register: &'a Register<'a>, limits: Limits) -> Self {
        let ends = Entry { item: 0, returns: true, previous: register.events.len(), next: 1 };
        let mut list = vec![ends];
        let mut entries = vec![[0; 2]; register.items.len()];
        for &(item, returns) in &register.events {
            let at = list.len();
            entries[item][usize::from(returns)] = at;
            let next = if at == register.events.len() { 0 } else { at + 1 };
            list.push(Entry { item, returns, previous: at - 1, next });
        }
        list[0].next = usize::from(!register.events.is_empty());
        Self {
            register,
            limits,
            list,
            entries,
            order: Vec::new(),
            held: ABSENT,
            done: Done::new(register.required, register.items.len()),
            choices: Vec::new(),
            seen: HashSet::new(),
            memory_bytes: 0,
            steps: 0,
            stuck: (0, Vec::new(), Vec::new()),
        }
    }

    /// States gone through.
    pub(super) fn states(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Entries looked at.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn run(&mut self) -> Found {
        self.take_reads();
        self.take_silent_writes();
        self.remember();
        let mut from = self.list[0].next;
        loop {
            if self.done.required == self.register.required {
                return Found::Order;
            }
            if self.steps > self.limits.steps || self.memory_bytes > self.limits.memory_bytes {
                return Found::GaveUp;
            }
            if let Some(entry) = self.candidate(from) {
                from = if self.choose(entry) { self.list[0].next } else { self.take_back() };
                continue;
            }
            self.note_stuck();
            if self.choices.is_empty() {
                let (_, before, blocked) = std::mem::take(&mut self.stuck);
                return Found::Stuck { before, blocked };
            }
            from = self.take_back();
        }
    }

    /// The first write from entry `from` on that can be next.
    fn candidate(&mut self, mut from: usize) -> Option<usize> {
        while !self.list[from].returns {
            self.steps += 1;
            let entry = self.list[from];
            if matches!(self.register.items[entry.item].kind, Kind::Write | Kind::MaybeWrite) {
                return Some(from);
            }
            from = entry.next;
        }
        None
    }

    /// Linearizes a write and all that follows from it. False if that leads nowhere, or where it was before.
    fn choose(&mut self, entry: usize) -> bool {
        let item = self.list[entry].item;
        self.choices.push(Choice { entry, linearized: self.order.len(), held: self.held });
        self.linearize(item);
        self.held = self.register.items[item].value;
        let reads = self.take_reads();
        if reads == 0 && self.register.items[item].kind == Kind::MaybeWrite {
            return false;
        }
        self.take_silent_writes();
        if !self.can_go_on() {
            self.note_stuck();
            return false;
        }
        self.remember()
    }

    /// Takes the last choice back. Says where to look for the next one.
    fn take_back(&mut self) -> usize {
        let choice = self.choices.pop().expect("a choice is taken back once");
        for item in self.order.drain(choice.linearized..).rev() {
            self.done.set(item, false);
            for entry in self.entries[item].into_iter().filter(|&entry| entry > 0) {
                let Entry { previous, next, .. } = self.list[entry];
                self.list[previous].next = entry;
                self.list[next].previous = entry;
            }
        }
        self.held = choice.held;
        self.list[choice.entry].next
    }

    fn linearize(&mut self, item: usize) {
        // The return first: then the invocation, once out, still says what comes next in the list.
        for entry in self.entries[item].into_iter().rev().filter(|&entry| entry > 0) {
            let Entry { previous, next, .. } = self.list[entry];
            self.list[previous].next = next;
            self.list[next].previous = previous;
        }
        self.done.set(item, true);
        self.order.push(item);
    }

    /// Linearizes all gets that can be next and read what the register holds. Says how many.
    fn take_reads(&mut self) -> usize {
        let held = self.held;
        self.take_all(|kind, value| kind == Kind::Read && value == held)
    }

    /// Linearizes all writes that can be next and that nobody read.
    fn take_silent_writes(&mut self) {
        if self.take_all(|kind, _| kind == Kind::SilentWrite) > 0 {
            self.held = UNREAD;
        }
    }

    /// One walk is enough: what is taken only takes entries out ahead.
    fn take_all(&mut self, wanted: impl Fn(Kind, u32) -> bool) -> usize {
        let before = self.order.len();
        let mut at = self.list[0].next;
        while !self.list[at].returns {
            self.steps += 1;
            let item = self.list[at].item;
            let next = self.register.items[item];
            if wanted(next.kind, next.value) {
                self.linearize(item);
            }
            at = self.list[at].next;
        }
        self.order.len() - before
    }

    /// Whether the first operation to return can still be next at some time.
    fn can_go_on(&mut self) -> bool {
        let mut at = self.list[0].next;
        let mut writes = false;
        let first = loop {
            match self.list[at] {
                _ if at == 0 => return true,
                Entry { item, returns: true, .. } => break item,
                Entry { item, next, .. } => {
                    writes |= self.register.items[item].kind != Kind::Read;
                    at = next;
                }
            }
        };
        let wanted = self.register.items[first];
        if wanted.kind != Kind::Read || !writes {
            return writes;
        }
        let mut at = self.list[0].next;
        while !self.list[at].returns {
            self.steps += 1;
            let Entry { item, next, .. } = self.list[at];
            if self.register.items[item].kind != Kind::Read && self.register.items[item].value == wanted.value {
                return true;
            }
            at = next;
        }
        false
    }

    /// Remembers where the search is. False if it has been there.
    fn remember(&mut self) -> bool {
        let state = self.done.state(self.held);
        let bytes = state.len() * size_of::<u64>() + STATE_OVERHEAD;
        let new = self.seen.insert(state);
        self.memory_bytes += if new { bytes } else { 0 };
        new
    }

    /// Keeps the furthest that the search came.
    fn note_stuck(&mut self) {
        if self.order.len() < self.stuck.0 || !self.stuck.2.is_empty() && self.order.len() == self.stuck.0 {
            return;
        }
        let mut blocked = Vec::new();
        let mut at = self.list[0].next;
        while !self.list[at].returns && blocked.len() < SHOWN_BLOCKED {
            blocked.push(self.list[at].item);
            at = self.list[at].next;
        }
        // The one that must come before all others, however many there are.
        while !self.list[at].returns {
            at = self.list[at].next;
        }
        let first = self.list[at].item;
        if !blocked.contains(&first) {
            blocked.push(first);
        }
        let shown = self.order.len().saturating_sub(SHOWN_BEFORE);
        self.stuck = (self.order.len(), self.order[shown..].to_vec(), blocked);
    }
}

/// Which items are linearized.
///
/// Those that must happen are linearized nearly in the order of their invocations, so a state is told apart by a few
/// words: where the first gap is, and the bits from there to the last one set.
#[derive(Debug)]
struct Done {
    bits: Vec<u64>,
    /// Of those that may not have happened.
    maybe_bits: Vec<u64>,
    first_maybe: usize,
    /// How many of those that must happen are linearized.
    required: usize,
    /// All words before this one are full.
    full: usize,
}

impl Done {
    fn new(required: usize, items: usize) -> Self {
        let words = |count: usize| vec![0; count.div_ceil(64)];
        Self { bits: words(required), maybe_bits: words(items - required), first_maybe: required, required: 0, full: 0 }
    }

    fn set(&mut self, item: usize, done: bool) {
        if item >= self.first_maybe {
            let maybe = item - self.first_maybe;
            self.maybe_bits[maybe / 64] ^= 1 << (maybe % 64);
            return;
        }
        self.required = if done { self.required + 1 } else { self.required - 1 };
        self.full = self.full.min(item / 64);
        self.bits[item / 64] ^= 1 << (item % 64);
    }

    /// The state in as few words as tell it from any other.
    fn state(&mut self, held: u32) -> Box<[u64]> {
        while self.bits.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
        let mut left = self.required - self.full * 64;
        let mut words = vec![u64::from(held) | (self.full as u64) << 32, 0];
        for &word in &self.bits[self.full..] {
            if left == 0 {
                break;
            }
            left -= word.count_ones() as usize;
            words.push(word);
        }
        words[1] = words.len() as u64;
        let maybe = self.maybe_bits.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        words.extend_from_slice(&self.maybe_bits[..maybe]);
        words.into()
    }
}
