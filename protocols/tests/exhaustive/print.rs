//! Fingerprints: what tells one state from another.

use std::fmt::{self, Debug, Write as _};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Something with a fingerprint of all that it shows of itself, by which it is told from others.
///
/// What behaves differently shows differently, since `derive(Debug)` leaves nothing out; what shows
/// differently and behaves alike costs states, not soundness.
pub struct Printed<T> {
    value: T,
    pub print: u128,
}

impl<T: Debug> Printed<T> {
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self { print: print(&value), value })
    }
}

impl<T> Deref for Printed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Printed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl<T> Hash for Printed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.print);
    }
}

/// The fingerprint of what `value` shows.
pub fn print(value: &impl Debug) -> u128 {
    let mut print = Print { hash: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, skips: false };
    write!(print, "{value:?}").expect("a fingerprint takes all");
    print.hash
}

/// FNV-1a of 128 bits. It leaves out the state of a generator of random numbers, which here draws
/// nothing but zeros, see `Case::config`: histories that differ in how often it was asked are one.
struct Print {
    hash: u128,
    skips: bool,
}

impl fmt::Write for Print {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.skips {
            self.skips = !text.ends_with('}');
            return Ok(());
        }
        self.skips = text == "Prng";
        for &byte in text.as_bytes() {
            self.hash = (self.hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
        Ok(())
    }
}

#[test]
fn a_fingerprint_leaves_out_chance_and_nothing_else() {
    use quorumbench_protocols::Prng;
    let of = |seed, more: u64| print(&(1, Prng::new(seed), more));
    assert_eq!(of(1, 5), of(2, 5));
    assert_ne!(of(1, 5), of(1, 6), "what follows it counts");
}
