//! The rows of what is replicated and reconciled: `[crdt]`, `[database]` and `[replication]`.

use super::super::applies::Applies;
use super::super::names::{CrdtType, DeletionName, DigestName, SyncName, Topology};
use super::super::value::Kind;
use super::{Key, count, key, size};

table! {
    "crdt" {
        CRDT_TYPE = key("type", Kind::Choice(CrdtType::CHOICES), "or-set",
            "what is replicated",
            |to, value| to.point.crdt.data = value.choice(CrdtType::named)).axis().when(Applies::Crdt);
        SYNC_KIND = key("sync", Kind::Choice(SyncName::CHOICES), "delta",
            "what replicas send each other",
            |to, value| to.point.crdt.sync = value.choice(SyncName::named))
            .known_as("crdt_sync").axis().when(Applies::Crdt);
        AVOID_BACK_PROPAGATION = key("avoid_back_propagation", Kind::Switch, "true",
            "whether a delta is not sent back to whom it came from",
            |to, value| to.point.crdt.avoid_back_propagation = value.switch()).axis().when(Applies::Delta);
        REMOVE_REDUNDANT = key("remove_redundant", Kind::Switch, "true",
            "whether of a delta that was received only what was news is sent on",
            |to, value| to.point.crdt.remove_redundant = value.switch()).axis().when(Applies::Delta);
        BUFFER = key("buffer", Kind::Limit { min: 1, max: 1_000_000 }, "unlimited",
            "deltas that are kept for those who have not acknowledged them; whoever is further behind gets all",
            |to, value| to.point.crdt.buffer = value.limit()).axis().when(Applies::Delta);
        TOPOLOGY = key("topology", Kind::Choice(Topology::CHOICES), "mesh",
            "who is whose neighbour",
            |to, value| to.point.crdt.topology = value.choice(Topology::named)).axis().when(Applies::Crdt);
        DEGREE = key("degree", count(2, 64), "4",
            "neighbours of a replica; an even number",
            |to, value| to.point.crdt.degree = value.count()).axis().when(Applies::Degree);
    }
    "database" {
        DIGEST = key("digest", Kind::Choice(DigestName::CHOICES), "recent",
            "how two databases find out in what they differ",
            |to, value| to.point.database.digest = value.choice(DigestName::named)).axis().when(Applies::Database);
        RECENT_WINDOW = key("window", count(1, 100_000), "15",
            "rounds for which an update is recent: more than it takes to everybody",
            |to, value| to.point.database.window = value.count())
            .known_as("recent_window").axis().when(Applies::RecentList);
        PEEL = key("peel", count(1, 1024), "1",
            "entries in each letter, before checksums are compared again",
            |to, value| to.point.database.peel = value.count()).axis().when(Applies::PeelBack);
        DELETION = key("deletion", Kind::Choice(DeletionName::CHOICES), "certificates",
            "what is left of an item that is deleted",
            |to, value| to.point.database.deletion = value.choice(DeletionName::named)).axis().when(Applies::Database);
        DELETIONS = key("deletions", count(0, 100_000), "0",
            "items that are deleted once all replicas have them, at the beginning of the partition if there is one",
            |to, value| to.point.database.deletions = value.count()).axis().when(Applies::Database);
        RETENTION = key("retention", count(1, 1_000_000), "30",
            "rounds for which every replica keeps a death certificate",
            |to, value| to.point.database.retention = value.count()).axis().when(Applies::Certificates);
        DORMANT = key("dormant", count(1, 1_000_000), "1000",
            "rounds after these for which its sites do",
            |to, value| to.point.database.dormant = value.count()).axis().when(Applies::DormantCertificates);
        SITES = key("sites", count(1, 64), "3",
            "replicas, by chance, that keep a certificate when it is dormant",
            |to, value| to.point.database.sites = value.count()).axis().when(Applies::DormantCertificates);
    }
    "replication" {
        UPDATES = key("updates", count(1, 1_000_000), "1000",
            "updates, over all replicas",
            |to, value| to.point.replication.updates = value.count()).axis().when(Applies::Replicated);
        UPDATE_RATE = key("update_rate", Kind::Number { min: 0.001, max: 1e6 }, "10",
            "updates in a round, over all replicas",
            |to, value| to.point.replication.update_rate = value.number()).axis().when(Applies::Replicated);
        ELEMENTS = key("elements", count(1, 1_000_000), "1000",
            "elements of a set, or keys, that updates choose from; a database begins with all of them",
            |to, value| to.point.replication.elements = value.count()).axis().when(Applies::Keyed);
        REPLICATED_PAYLOAD = key("payload", size(8, 1 << 20), "16B",
            "bytes of an element or a value",
            |to, value| to.point.replication.payload = value.size())
            .known_as("replicated_payload").axis().when(Applies::Keyed);
        REMOVALS = key("removals", Kind::Number { min: 0.0, max: 0.9 }, "0.2",
            "share of updates that take away",
            |to, value| to.point.replication.removals = value.number()).axis().when(Applies::Removals);
        LETTER_LOSS = key("loss", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of letters that are lost",
            |to, value| to.point.replication.loss = value.number())
            .known_as("letter_loss").axis().when(Applies::Replicated);
        DUPLICATION = key("duplication", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of letters that arrive a second time, in a later round",
            |to, value| to.point.replication.duplication = value.number()).axis().when(Applies::Replicated);
        LETTER_REORDER = key("reorder", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of letters that arrive some rounds later",
            |to, value| to.point.replication.reorder = value.number())
            .known_as("letter_reorder").axis().when(Applies::Replicated);
        PARTITION = key("partition", count(0, 1_000_000), "0",
            "rounds for which some replicas are cut off once all agree, while updates go on on both sides",
            |to, value| to.point.replication.partition = value.count()).axis().when(Applies::Replicated);
        CUT_OFF = key("cut_off", Kind::Number { min: 0.0, max: 0.5 }, "0.5",
            "share of replicas that are; at least one is",
            |to, value| to.point.replication.cut_off = value.number()).axis().when(Applies::Partition);
        NEWCOMER = key("newcomer", Kind::Switch, "false",
            "whether a replica that knows nothing joins in the end",
            |to, value| to.point.replication.newcomer = value.switch()).axis().when(Applies::Replicated);
        REPLICATION_TRIALS = key("trials", count(1, 100_000), "20",
            "trials of each point, each with randomness of its own",
            |to, value| to.point.replication.trials = value.count())
            .known_as("replication_trials").when(Applies::Replicated);
    }
}
