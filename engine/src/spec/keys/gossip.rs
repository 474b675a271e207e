//! The rows of what spreads: `[gossip]`.

use std::time::Duration;

use super::super::applies::Applies;
use super::super::names::{Acts, Exchange, Interest, Judging, PartnerChoice, Pulls, Rounds, Stop, Style, Toss, View};
use super::super::value::Kind;
use super::{BATCH_BYTES, HOUR, Key, count, duration, key, size};

table! {
    "gossip" {
        STYLE = key("style", Kind::Choice(Style::CHOICES), "rumor",
            "how an update spreads",
            |to, value| to.point.gossip.style = value.choice(Style::named)).axis().when(Applies::Gossip);
        EXCHANGE = key("exchange", Kind::Choice(Exchange::CHOICES), "push",
            "which way an update goes in a contact",
            |to, value| to.point.gossip.exchange = value.choice(Exchange::named)).axis().when(Applies::Epidemic);
        INTEREST = key("interest", Kind::Choice(Interest::CHOICES), "feedback",
            "what makes a node lose interest",
            |to, value| to.point.gossip.interest = value.choice(Interest::named)).axis().when(Applies::Rumor);
        STOP = key("stop", Kind::Choice(Stop::CHOICES), "counter",
            "how a node loses interest",
            |to, value| to.point.gossip.stop = value.choice(Stop::named)).axis().when(Applies::Rumor);
        K = key("k", count(1, 1000), "2",
            "useless contacts (blind: cycles) until interest is lost, for certain or on average",
            |to, value| to.point.gossip.k = value.count()).axis().when(Applies::Rumor);
        FANOUT = key("fanout", count(1, 1024), "1",
            "partners that a node chooses in a cycle; fewer than there are others",
            |to, value| to.point.gossip.fanout = value.count()).axis().when(Applies::Partners);
        PARTNERS = key("partners", Kind::Choice(PartnerChoice::CHOICES), "uniform",
            "which nodes a node chooses",
            |to, value| to.point.gossip.partners = value.choice(PartnerChoice::named)).axis().when(Applies::Partners);
        EXPONENT = key("exponent", Kind::Number { min: 0.0, max: 100.0 }, "2.0",
            "a: how fast the probability falls with the distance d, as d^-a",
            |to, value| to.point.gossip.exponent = value.number()).axis().when(Applies::Spatial);
        VIEW = key("view", Kind::Choice(View::CHOICES), "full",
            "whom a node may talk to",
            |to, value| to.point.gossip.view = value.choice(View::named)).axis().when(Applies::Partners);
        VIEW_SIZE = key("view_size", count(1, 64), "5",
            "nodes in an active view: those that a node talks to",
            |to, value| to.point.gossip.view_size = value.count()).axis().when(Applies::PartialView);
        PASSIVE_SIZE = key("passive_size", count(1, 1024), "30",
            "nodes in a passive view: those that take the place of active ones",
            |to, value| to.point.gossip.passive_size = value.count()).axis().when(Applies::PartialView);
        BROADCASTS = key("broadcasts", count(1, 1000), "10",
            "updates of a trial, one after the other, of which the last is measured",
            |to, value| to.point.gossip.broadcasts = value.count()).axis().when(Applies::Grown);
        GRAFT_TIMEOUT = key("graft_timeout", count(1, 1000), "3",
            "cycles that a node waits for an update that was announced, before it asks for it",
            |to, value| to.point.gossip.graft_timeout = value.count()).axis().when(Applies::Tree);
        ROUNDS = key("rounds", Kind::Choice(Rounds::CHOICES), "synchronous",
            "when nodes have their turns",
            |to, value| to.point.gossip.rounds = value.choice(Rounds::named)).axis().when(Applies::Epidemic);
        LATENCY = key("latency", duration(Duration::ZERO, HOUR), "0s",
            "how long a message is under way on average: up to twice as long, at random",
            |to, value| to.point.gossip.latency = value.duration()).axis().when(Applies::Delayed);
        RUMORS = key("rumors", count(1, 1024), "1",
            "updates that spread at once, and share contacts",
            |to, value| to.point.gossip.rumors = value.count()).axis().when(Applies::Epidemic);
        CRASH = key("crash", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of the nodes that crash in a cycle",
            |to, value| to.point.gossip.crash = value.number()).axis().when(Applies::Lasting);
        JOIN = key("join", Kind::Number { min: 0.0, max: 0.9 }, "0.0",
            "share of the nodes that join in a cycle, as far as so many are down; they know nothing",
            |to, value| to.point.gossip.join = value.number()).axis().when(Applies::Crash);
        CONNECTION_LIMIT = key("connection_limit", Kind::Limit { min: 1, max: 1024 }, "unlimited",
            "contacts that a node accepts in a cycle",
            |to, value| to.point.gossip.connection_limit = value.limit()).axis().when(Applies::Cycles);
        HUNT_LIMIT = key("hunt_limit", Kind::Limit { min: 0, max: 1024 }, "0",
            "other partners that a node tries when one does not accept",
            |to, value| to.point.gossip.hunt_limit = value.limit()).axis().when(Applies::Refused);
        MINIMIZE = key("minimize", Kind::Switch, "false",
            "whether of two who both know an update only the smaller counter rises",
            |to, value| to.point.gossip.minimize = value.switch()).axis().when(Applies::Compared);
        JUDGING = key("judging", Kind::Choice(Judging::CHOICES), "snapshot",
            "when it is judged whether a contact knew the update",
            |to, value| to.point.gossip.judging = value.choice(Judging::named)).axis().when(Applies::Judged);
        RESET = key("reset", Kind::Switch, "true",
            "whether a useful contact sets the counter back to zero",
            |to, value| to.point.gossip.reset = value.switch()).axis().when(Applies::Counted);
        PULLS = key("pulls", Kind::Choice(Pulls::CHOICES), "together",
            "how those count who pull from one node in a cycle and knew the update",
            |to, value| to.point.gossip.pulls = value.choice(Pulls::named)).axis().when(Applies::Pulled);
        TOSS = key("toss", Kind::Choice(Toss::CHOICES), "after",
            "when a blind node tosses its coin",
            |to, value| to.point.gossip.toss = value.choice(Toss::named)).axis().when(Applies::Tossed);
        ACTS = key("acts", Kind::Choice(Acts::CHOICES), "next-cycle",
            "when a node acts on an update that it has got",
            |to, value| to.point.gossip.acts = value.choice(Acts::named)).axis().when(Applies::Cycles);
        INTERVAL = key("interval", duration(Duration::from_micros(1), HOUR), "1s",
            "how long a cycle is: what turns rounds into time",
            |to, value| to.point.gossip.interval = value.duration()).axis().when(Applies::Gossip);
        TRIALS = key("trials", count(1, 1_000_000), "100",
            "epidemics of each point, each with randomness of its own",
            |to, value| to.point.gossip.trials = value.count()).when(Applies::Gossip);
        GOSSIP_PAYLOAD = key("payload", size(0, BATCH_BYTES), "64B",
            "bytes of the update",
            |to, value| to.point.gossip.payload = value.size())
            .known_as("gossip_payload").axis().when(Applies::Gossip);
        GOSSIP_LOSS = key("loss", Kind::Number { min: 0.0, max: 0.99 }, "0.0",
            "share of updates sent that are lost",
            |to, value| to.point.gossip.loss = value.number()).known_as("gossip_loss").axis().when(Applies::Gossip);
    }
}
