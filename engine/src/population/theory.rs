//! What the literature says that should come out.

use crate::results::Theory;
use crate::spec::{Acts, Exchange, Gossip, Interest, PartnerChoice, Rounds, Stop, Style, Toss, View};

/// Of so many nodes that gossip so, and were measured to send so many updates each. Empty where there is none: for
/// partners that refuse, and for updates that are lost, but by mail.
pub(super) fn of(nodes: usize, gossip: &Gossip, traffic: f64) -> Theory {
    let plain = gossip.connection_limit.is_none()
        && gossip.loss == 0.0
        && gossip.crash == 0.0
        && gossip.partners == PartnerChoice::Uniform
        && gossip.view == View::Full
        && gossip.rounds == Rounds::Synchronous
        && gossip.acts == Acts::NextCycle;
    match gossip.style {
        Style::DirectMail => Theory { rounds_last: Some(1.0), residue: Some(gossip.loss), residue_of_traffic: None },
        _ if !plain => Theory::default(),
        Style::AntiEntropy => Theory {
            rounds_last: (gossip.fanout == 1).then(|| rounds(nodes, gossip.exchange)),
            residue: Some(0.0),
            residue_of_traffic: None,
        },
        // O(log n) and O(n log log n), with constants that nobody has published.
        Style::MedianCounter => Theory::default(),
        // A broadcast tree has no redundancy, and reaches all: section 3 of its paper.
        Style::Plumtree => Theory { rounds_last: None, residue: Some(0.0), residue_of_traffic: None },
        Style::Rumor => Theory {
            rounds_last: None,
            residue: residue(gossip),
            residue_of_traffic: (gossip.exchange == Exchange::Push).then(|| (-traffic).exp()),
        },
    }
}

/// Until everyone knows. Push: Pittel, *On Spreading a Rumor* (1987). Pull, once half know, squares the share that does
/// not know in every round (Demers et al. 1987, section 1.3). Both at once: Karp et al., *Randomized Rumor Spreading*
/// (2000), section 2.
fn rounds(nodes: usize, exchange: Exchange) -> f64 {
    let n = nodes as f64;
    match exchange {
        Exchange::Push => n.log2() + n.ln(),
        Exchange::Pull => n.log2() + n.ln().log2(),
        Exchange::PushPull => n.ln() / 3_f64.ln() + n.ln().log2(),
    }
}

/// By the differential equations of Demers et al. 1987, section 1.4, for push with one partner: s = e^-(k+1)(1-s) with
/// feedback and a coin, which a counter comes close to. With time alone the same equations give s = e^-k(1-s), and for
/// nodes that spread for k cycles, to f partners in each, s = e^-kf(1-s). Who tosses before it sends does so once less.
fn residue(gossip: &Gossip) -> Option<f64> {
    let (k, fanout) = (gossip.k as f64, gossip.fanout as f64);
    let told = match (gossip.exchange, gossip.interest) {
        (Exchange::Push, Interest::Feedback) if gossip.fanout == 1 && (gossip.stop == Stop::Coin || gossip.reset) => {
            k + 1.0
        }
        (Exchange::Push, Interest::Blind) if gossip.toss == Toss::Before => (k - 1.0) * fanout,
        (Exchange::Push, Interest::Blind) => k * fanout,
        _ => return None,
    };
    Some(fixed_point(told))
}

/// The least root of s = e^-r(1-s): 1 up to r = 1. From zero the iteration rises to it.
fn fixed_point(r: f64) -> f64 {
    if r > 1.0 { (0..1000).fold(0.0, |s: f64, _| (-r * (1.0 - s)).exp()) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_and_rounds_are_the_published_ones() {
        // "k = 1: 20 % will miss the rumor; k = 2: only 6 %" (section 1.4).
        assert!((fixed_point(2.0) - 0.203).abs() < 5e-4 && (fixed_point(3.0) - 0.0595).abs() < 5e-4);
        let said = [Exchange::Push, Exchange::Pull, Exchange::PushPull].map(|exchange| rounds(1 << 20, exchange));
        let expected = [33.863, 23.793, 16.412];
        assert!(said.iter().zip(expected).all(|(said, expected)| (said - expected).abs() < 5e-3), "{said:?}");
    }
}
