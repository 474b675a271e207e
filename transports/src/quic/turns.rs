//! Which line is served first, of all that share the node's socket.

/// The slots of lines in the order in which they are served, each with whom it is served for: a client, anyone else, or
/// whoever is there. Clients come first, who wait for nothing but their answers.
///
/// Only after a round in which the kernel was full all go on from who was `left_out` of it, whatever they are: if those
/// that fill it always came first, others would starve.
pub(super) fn turns(left_out: Option<usize>, slots: usize) -> impl Iterator<Item = (usize, Whom)> {
    let (from, rounds) = left_out.map_or((0, &[Whom::Client, Whom::Other][..]), |at| (at, &[Whom::Any]));
    rounds.iter().flat_map(move |&whom| (from..slots).chain(0..from).map(move |at| (at, whom)))
}

/// Who is served in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Client,
    Other,
    Any,
}

impl Whom {
    pub(super) fn is(self, client: bool) -> bool {
        self == Self::Any || (self == Self::Client) == client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines 1 and 3 are clients.
    fn served(left_out: Option<usize>) -> Vec<usize> {
        turns(left_out, 5).filter(|&(at, whom)| whom.is(at % 2 == 1)).map(|(at, _)| at).collect()
    }

    #[test]
    fn clients_come_first_unless_somebody_was_left_out() {
        assert_eq!(served(None), [1, 3, 0, 2, 4]);
        assert_eq!(served(Some(2)), [2, 3, 4, 0, 1]);
        assert_eq!(served(Some(0)), [0, 1, 2, 3, 4]);
    }

    /// Each fills the kernel whenever it is served.
    #[test]
    fn nobody_starves() {
        let (mut left_out, mut first) = (None, Vec::new());
        for _ in 0..10 {
            let order = served(left_out);
            first.push(order[0]);
            left_out = Some(order[1]);
        }
        assert_eq!(first, [1, 3, 4, 0, 1, 2, 3, 4, 0, 1]);
    }
}
