//! What a replica has to catch up with after what was done to it.

use super::EventKind;

/// Slots that others had been delivered when something that was done to this replica was over: one for each, since another
/// may be over before it has caught up with the first.
#[derive(Debug, Default)]
pub(super) struct Arrears(Vec<Arrear>);

#[derive(Debug)]
struct Arrear {
    slot: u64,
    /// Bytes that the replica had received when it was back.
    received: u64,
}

impl Arrears {
    /// Others had been delivered `slot`, and this one had received so many bytes, when it was back.
    pub(super) fn add(&mut self, slot: u64, received: u64) {
        self.0.push(Arrear { slot, received });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It has been delivered so many slots, and received so many bytes: what it has caught up with by that.
    pub(super) fn settle(&mut self, delivered: u64, received: u64) -> impl Iterator<Item = EventKind> {
        let settled = self.0.extract_if(.., move |arrear| delivered >= arrear.slot);
        settled.map(move |arrear| EventKind::CaughtUp { slot: arrear.slot, bytes: received - arrear.received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_caught_up_with_by_itself() {
        let mut arrears = Arrears::default();
        let settled = |arrears: &mut Arrears, at, received| arrears.settle(at, received).collect::<Vec<_>>();
        arrears.add(100, 7_000);
        assert_eq!(settled(&mut arrears, 99, 8_000), []);
        arrears.add(200, 9_000);
        assert_eq!(settled(&mut arrears, 150, 9_500), [EventKind::CaughtUp { slot: 100, bytes: 2_500 }]);
        assert_eq!(settled(&mut arrears, 150, 9_600), [], "it is said once");
        assert!(!arrears.is_empty());
        assert_eq!(settled(&mut arrears, 200, 9_700), [EventKind::CaughtUp { slot: 200, bytes: 700 }]);
        assert!(arrears.is_empty());
    }
}
