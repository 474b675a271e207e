//! A set of nodes, a bit each.

/// As many bits as there are nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    /// The bits of the last word that are nodes.
    last: u64,
}

impl Bits {
    /// Of `nodes` nodes, none.
    pub(super) fn new(nodes: usize) -> Self {
        Self { words: vec![0; nodes.div_ceil(64)], last: u64::MAX >> (nodes.wrapping_neg() % 64) }
    }

    /// Of `nodes` nodes, all.
    pub(super) fn all(nodes: usize) -> Self {
        let mut all = Self::new(nodes);
        all.words.fill(u64::MAX);
        if let Some(word) = all.words.last_mut() {
            *word = all.last;
        }
        all
    }

    #[inline]
    pub(super) fn has(&self, node: u32) -> bool {
        self.words[node as usize / 64] >> (node % 64) & 1 == 1
    }

    #[inline]
    pub(super) fn add(&mut self, node: u32) {
        self.words[node as usize / 64] |= 1 << (node % 64);
    }

    #[inline]
    pub(super) fn add_if(&mut self, node: u32, is_in: bool) {
        self.words[node as usize / 64] |= u64::from(is_in) << (node % 64);
    }

    #[inline]
    pub(super) fn drop(&mut self, node: u32) {
        self.words[node as usize / 64] &= !(1 << (node % 64));
    }

    /// Takes those of 64 out that are in `word`.
    #[inline]
    pub(super) fn remove(&mut self, index: usize, word: u64) {
        self.words[index] &= !word;
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.words.len() * 64 - self.last.leading_zeros() as usize
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// 64 of them.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        self.words[index]
    }

    /// Which of the 64 there are, in it or not.
    #[inline]
    pub(super) fn everyone(&self, index: usize) -> u64 {
        if index + 1 == self.words.len() { self.last } else { u64::MAX }
    }

    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds all that `others` has.
    pub(super) fn add_all(&mut self, others: &Self) {
        self.words.iter_mut().zip(&others.words).for_each(|(word, other)| *word |= other);
    }
}

/// Each node of a word, in order.
#[inline]
pub(super) fn for_each_of(index: usize, mut word: u64, mut each: impl FnMut(u32)) {
    let first = index as u32 * 64;
    if word == u64::MAX {
        return (first..first + 64).for_each(each);
    }
    while word != 0 {
        each(first + word.trailing_zeros());
        word &= word - 1;
    }
}
