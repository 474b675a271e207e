//! The search: a [`Case`] as a model for `stateright`, what must hold in every state, and a report.

#![expect(clippy::disallowed_types, reason = "the checker wants to be shared between threads")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use quorumbench_protocols::{Nanos, NodeId};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::world::{Action, Bounds, Case, Checked, Event, Outcome, Prelude, Said, World};

/// No search takes more, even where a protocol can go on for ever.
const MOST_STEPS: usize = 100_000_000;

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// Different states that were visited.
    pub states: usize,
    /// The most steps that one of them is away from the first.
    pub depth: usize,
    /// These are all states that there are.
    pub complete: bool,
    /// The properties that some state violates, and how that comes about: not always the shortest way,
    /// since the search goes on for a moment.
    pub violations: BTreeMap<&'static str, String>,
    /// All commands were delivered everywhere in some state.
    pub completes: bool,
}

/// Visits every state that `case` leads to, or stops soon after one that violates a property.
pub fn search<P: Checked>(case: Case) -> Found {
    let search = Search::<P> { case, known: Mutex::default(), protocol: PhantomData };
    let builder = search.checker().finish_when(HasDiscoveries::AnyFailures).target_state_count(MOST_STEPS);
    let checker = builder.spawn_bfs().join();
    let mut found = Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth() - 1,
        complete: checker.state_count() < MOST_STEPS,
        violations: BTreeMap::new(),
        completes: false,
    };
    for (name, path) in checker.discoveries() {
        if checker.model().property(name).expectation == Expectation::Sometimes {
            found.completes = true;
            continue;
        }
        let mut trace = String::new();
        for (world, action) in path.into_vec() {
            let text = action.map_or_else(|| format!("{world:?}"), |action| world.describe(action));
            writeln!(trace, "{text}").expect("a String takes all");
        }
        found.complete = false;
        found.violations.insert(name, trace);
    }
    found
}

/// What happens at a node, from here: its fingerprint, the time and the event's fingerprint.
type Local = (u128, Nanos, u128);

struct Search<P> {
    case: Case,
    /// Nodes do the same in a great many states of the whole: each thing is tried once.
    known: Mutex<BTreeMap<Local, Arc<Outcome<P>>>>,
    protocol: PhantomData<P>,
}

impl<P: Checked> Search<P> {
    fn outcome(&self, world: &World<P>, id: NodeId, event: &Event) -> Arc<Outcome<P>> {
        let node = world.node(id);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let happen = || Arc::new(self.case.happen(world.now, node, event));
        known.entry((node.print, world.now, event.print())).or_insert_with(happen).clone()
    }

    fn next(&self, world: &World<P>, action: Action) -> World<P> {
        let mut next = world.clone();
        if let Some((id, event)) = next.begin(action) {
            let outcome = self.outcome(&next, id, &event);
            next.absorb(id, &outcome);
        }
        next
    }

    /// Where the search begins.
    fn start(&self) -> World<P> {
        let mut world = self.case.start();
        for step in self.case.begin {
            world.left = Bounds { commands: 1, timeouts: 1, crashes: 1, ..Bounds::default() };
            world = self.prelude(world, *step);
        }
        World { left: self.case.bounds, ..world }
    }

    fn prelude(&self, mut world: World<P>, step: Prelude) -> World<P> {
        match step {
            Prelude::Timeout(id) => self.next(&world, Action::Timeout(NodeId(id))),
            Prelude::Submit(id) => self.next(&world, Action::Submit(NodeId(id))),
            Prelude::Crash(id) => self.next(&world, Action::Crash(NodeId(id))),
            Prelude::Sync(id) => self.next(&world, Action::Sync(NodeId(id))),
            Prelude::Carry(from, to) => {
                let at = world.flight.iter().position(|sent| (sent.from.0, sent.to.0) == (from, to));
                self.next(&world, Action::Deliver(at.expect("a frame between them")))
            }
            Prelude::Ask(from, to) => {
                let asked = self.prelude(world, Prelude::Carry(from, to));
                self.prelude(asked, Prelude::Carry(to, from))
            }
            Prelude::Settle(among) => loop {
                world.flight.retain(|sent| among.contains(&sent.from.0) && among.contains(&sent.to.0));
                let mut actions = Vec::new();
                world.actions(&mut actions);
                let settles = |action: &&Action| match action {
                    Action::Deliver(_) => true,
                    Action::Sync(id) => among.contains(&id.0),
                    _ => false,
                };
                let Some(&action) = actions.iter().find(settles) else { return world };
                world = self.next(&world, action);
            },
        }
    }
}

impl<P: Checked> Model for Search<P> {
    type State = World<P>;
    type Action = Action;

    fn init_states(&self) -> Vec<World<P>> {
        vec![self.start()]
    }

    fn actions(&self, world: &World<P>, actions: &mut Vec<Action>) {
        if world.nodes.iter().all(|node| node.protocol.rounds() <= self.case.rounds) {
            world.actions(actions);
        }
    }

    fn next_state(&self, world: &World<P>, action: Action) -> Option<World<P>> {
        Some(self.next(world, action))
    }

    /// What holds of any protocol that orders commands, by its published name.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("state machine safety", |_, world: &World<P>| {
                world.delivered().all(|(slot, said)| world.decided[slot] == *said)
            }),
            Property::always("delivery in slot order, once", |_, world: &World<P>| {
                world
                    .nodes
                    .iter()
                    .all(|node| node.delivered.iter().map(|(slot, _)| slot.0).eq(1..=node.delivered.len() as u64))
            }),
            Property::always("integrity", |_, world: &World<P>| {
                let times = |said| world.decided.values().filter(|decided| **decided == said).count();
                let commands = || (1..=world.submitted).map(|number| times(Said::Command(number)));
                commands().all(|times| times <= 1)
                    && commands().sum::<usize>() + times(Said::Noop) == world.decided.len()
            }),
            Property::always("election safety", |_, world: &World<P>| {
                let terms = || world.leaders.iter().map(|(term, _)| term);
                terms().zip(terms().skip(1)).all(|(term, next)| term != next)
            }),
            Property::always("correct nodes are well-formed", |_, world: &World<P>| {
                world.nodes.iter().all(|node| node.malformed.is_none())
            }),
            Property::sometimes("everything is delivered everywhere", |_, world: &World<P>| {
                let everywhere = |number| {
                    let is_it = |(_, said): &(_, Said)| *said == Said::Command(number);
                    world.nodes.iter().all(|node| node.delivered.iter().any(is_it))
                };
                world.submitted > 0 && world.left.commands == 0 && (1..=world.submitted).all(everywhere)
            }),
        ]
    }
}
