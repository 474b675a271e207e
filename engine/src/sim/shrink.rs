//! Fewer faults that still fail: what a reader of a failing seed wants to see.

use super::fault::Fault;
use super::runner::Outcome;
use super::swarm::{LENGTH, Wishes};

/// Switches faults off one by one, and halves the time in which things break, as long as the same
/// property still fails. The smallest wishes found, and what they lead to.
pub fn shrink(wishes: &Wishes, failed: &Outcome, run: &dyn Fn(&Wishes) -> Outcome) -> (Wishes, Outcome) {
    let property = |outcome: &Outcome| outcome.failure.as_ref().map(|failure| failure.violation.property);
    let wanted = property(failed);
    let mut smallest = (wishes.clone(), failed.clone());
    let try_out = |wishes: Wishes, smallest: &mut (Wishes, Outcome)| {
        let outcome = run(&wishes);
        let fails = property(&outcome) == wanted;
        if fails {
            *smallest = (wishes, outcome);
        }
        fails
    };
    // Once is not enough: a fault may be needed only because of another that went later.
    let mut went = true;
    while went {
        went = false;
        for &fault in Fault::ALL {
            if smallest.1.scenario.strengths[fault] > 0 {
                let mut fewer = smallest.0.clone();
                fewer.without.push(fault);
                went |= try_out(fewer, &mut smallest);
            }
        }
    }
    loop {
        let length = smallest.0.length.unwrap_or(LENGTH) / 2;
        let shorter = Wishes { length: Some(length), ..smallest.0.clone() };
        if length == 0 || !try_out(shorter, &mut smallest) {
            break;
        }
    }
    smallest.0.without.sort_unstable();
    smallest
}
