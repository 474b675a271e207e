//! Databases that resolve their differences, and what becomes of deleted items.

mod letters;

use bytes::Bytes;
use letters::{Faults, Network};
use quorumbench_protocols::crdt::MapUpdate;
use quorumbench_protocols::reconcile::{Database, DatabaseOptions, Deletion, Digest, Replica};
use quorumbench_protocols::{NodeId, Prng};

const WHOLE: Digest = Digest::Whole;
const CHECKSUM: Digest = Digest::Checksum;
const RECENT: Digest = Digest::Recent { window: 12 };
const PEEL_BACK: Digest = Digest::PeelBack { batch: 1 };
const DIGESTS: [Digest; 5] = [WHOLE, CHECKSUM, RECENT, PEEL_BACK, Digest::PeelBack { batch: 8 }];

const SITES: usize = 3;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key {number}"))
}

fn value(prng: &mut Prng) -> Bytes {
    Bytes::from(format!("value {}", prng.next_u64()))
}

/// Replicas that all know each other, with so many items in each.
fn cluster(nodes: u32, options: DatabaseOptions, items: u64, faults: Faults) -> Network<Database> {
    let replica = |id| {
        let mut database = Database::new(NodeId(id), options, 100 + u64::from(id));
        database.load((0..items).map(|item| (key(item), Bytes::from("from the beginning"))));
        (0..nodes).filter(|&other| other != id).for_each(|other| database.connect(NodeId(other)));
        database
    };
    let mut network = Network::new((0..nodes).map(replica).collect(), faults, 1);
    // The beginning is no recent update.
    network.round = 100;
    (0..nodes as usize).for_each(|node| network.replicas[node].tick(100, &mut Vec::new()));
    network
}

fn writes(network: &mut Network<Database>, prng: &mut Prng, count: u64) {
    for _ in 0..count {
        let node = prng.below(network.replicas.len() as u64) as usize;
        let update = MapUpdate::Put(key(prng.below(600)), value(prng));
        assert!(network.replicas[node].update(&update));
    }
}

#[test]
fn all_digests_make_databases_equal() {
    let deletion = Deletion::Certificates { retention: 50 };
    for digest in DIGESTS {
        // Peeling one by one takes many letters, and none of them may be lost.
        let faulty = if digest == PEEL_BACK { Faults::FEW } else { Faults::MANY };
        for faults in [Faults::NONE, faulty] {
            let mut network = cluster(9, DatabaseOptions { digest, deletion }, 300, faults);
            let mut prng = Prng::new(3);
            for _ in 0..5 {
                writes(&mut network, &mut prng, 20);
                let gone = key(prng.below(300));
                _ = network.replicas[0].update(&MapUpdate::Remove(gone));
                network.round();
            }
            network.settle();
            let values: Vec<_> = network.replicas.iter().map(Replica::value).collect();
            assert!(values.windows(2).all(|two| two[0] == two[1]), "{digest:?}");
            assert!(values[0].len() > 300, "new items came, few went");
        }
    }
}

/// The latest write to a key is what is left of it, with any digest.
#[test]
fn the_last_write_counts() {
    for digest in DIGESTS {
        let mut network = cluster(5, DatabaseOptions { digest, deletion: Deletion::None }, 10, Faults::NONE);
        for (round, node) in [3, 1, 4, 0].into_iter().enumerate() {
            network.replicas[node].update(&MapUpdate::Put(key(7), Bytes::from(format!("write {round}"))));
            network.round();
        }
        network.settle();
        assert!(network.replicas.iter().all(|replica| replica.value()[&key(7)] == "write 3"), "{digest:?}");
    }
}

/// Bytes until all agree again after one write, and databases that were sent whole.
fn cost_of_a_write(digest: Digest, idle: u64) -> (u64, u64) {
    let mut network = cluster(16, DatabaseOptions { digest, deletion: Deletion::None }, 1000, Faults::NONE);
    (0..idle).for_each(|_| network.round());
    network.replicas[0].update(&MapUpdate::Put(key(5), Bytes::from("x")));
    network.settle();
    (network.sent.bytes(), network.replicas.iter().map(Database::wholes).sum())
}

/// What section 1.3 is about: whole databases are sent for ever, with checksums while they differ, and with a list of
/// what is recent, or by peeling back, hardly ever.
#[test]
fn digests_cost_less_the_more_they_know() {
    let [whole, checksum, recent, peel_back] =
        [WHOLE, CHECKSUM, RECENT, PEEL_BACK].map(|digest| cost_of_a_write(digest, 20));
    assert!(whole.0 > 3 * checksum.0 && checksum.0 > 5 * recent.0, "{whole:?} {checksum:?} {recent:?}");
    assert!(peel_back.0 < checksum.0 / 20, "{peel_back:?}");
    // Two contacts of one replica may cross, and then its checksum is of more than it sent.
    assert!(recent.1 <= 2 && peel_back.1 == 0 && checksum.1 >= 15, "{recent:?} {peel_back:?}");
    // A window shorter than an update takes to everybody is none.
    let short = cost_of_a_write(Digest::Recent { window: 1 }, 20);
    assert!(short.1 > 0 && short.0 > 3 * recent.0, "{short:?} {recent:?}");
}

/// Items that were deleted while some replicas were away, and are there again long after these came back; and the most
/// certificates that a replica has then.
fn comes_back(deletion: Deletion, absence: u64) -> (usize, usize) {
    const DELETED: u64 = 10;
    let mut network = cluster(12, DatabaseOptions { digest: CHECKSUM, deletion }, 100, Faults::NONE);
    network.away = (9..12).collect();
    for item in 0..DELETED {
        assert!(network.replicas[item as usize % 9].update(&MapUpdate::Remove(key(item))));
    }
    (0..absence).for_each(|_| network.round());
    network.away.clear();
    (0..30).for_each(|_| network.round());
    network.settle();
    let back = (0..DELETED).filter(|&item| network.replicas[0].has(&key(item))).count();
    (back, network.replicas.iter().map(Database::certificates).max().unwrap_or_default())
}

/// Sections 2 to 2.2.
#[test]
fn deleted_items_come_back_unless_somebody_remembers() {
    assert_eq!(comes_back(Deletion::None, 5), (10, 0), "an old copy is as good as a new item");
    let certificates = Deletion::Certificates { retention: 20 };
    assert_eq!(comes_back(certificates, 15).0, 0, "the certificate was still there");
    assert_eq!(comes_back(certificates, 30), (10, 0), "nobody remembered");
    let dormant = Deletion::Dormant { retention: 20, dormant: 400, sites: SITES };
    assert_eq!(comes_back(dormant, 30).0, 0, "some remembered, and woke it up");
    assert_eq!(comes_back(Deletion::Dormant { retention: 20, dormant: 20, sites: SITES }, 60), (10, 0));
}

/// Long after a deletion only its retention sites know of it.
#[test]
fn dormant_certificates_are_kept_at_their_sites() {
    let deletion = Deletion::Dormant { retention: 20, dormant: 50, sites: SITES };
    let mut network = cluster(12, DatabaseOptions { digest: PEEL_BACK, deletion }, 100, Faults::NONE);
    assert!(network.replicas[0].update(&MapUpdate::Remove(key(1))));
    let kept = |network: &Network<Database>| network.replicas.iter().map(Database::certificates).sum::<usize>();
    (0..15).for_each(|_| network.round());
    assert_eq!(kept(&network), 12);
    (0..10).for_each(|_| network.round());
    assert_eq!(kept(&network), SITES);
    (0..60).for_each(|_| network.round());
    assert_eq!(kept(&network), 0);
}

/// A certificate that is woken up cancels no item that was written since (section 2.2).
#[test]
fn what_was_written_after_a_deletion_stays() {
    let deletion = Deletion::Dormant { retention: 10, dormant: 500, sites: SITES };
    let mut network = cluster(8, DatabaseOptions { digest: RECENT, deletion }, 20, Faults::NONE);
    network.away = [7].into();
    assert!(network.replicas[0].update(&MapUpdate::Remove(key(1))));
    (0..20).for_each(|_| network.round());
    network.replicas[2].update(&MapUpdate::Put(key(1), Bytes::from("again")));
    network.away.clear();
    (0..20).for_each(|_| network.round());
    network.settle();
    assert!(network.replicas.iter().all(|replica| replica.value()[&key(1)] == "again"));
}

/// Nothing is asked of what is left but to live: one who forges stamps can do anything.
#[test]
fn hostile_letters_are_refused() {
    let deletion = Deletion::Dormant { retention: 3, dormant: 5, sites: SITES };
    for digest in DIGESTS {
        let mut network = cluster(4, DatabaseOptions { digest, deletion }, 20, Faults::NONE);
        network.tampering = true;
        let mut prng = Prng::new(4);
        for _ in 0..60 {
            writes(&mut network, &mut prng, 3);
            _ = network.replicas[1].update(&MapUpdate::Remove(key(prng.below(20))));
            network.round();
        }
        assert!(network.refused > 20, "{} {digest:?}", network.refused);
    }
}
