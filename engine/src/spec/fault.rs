//! `[[faults]]`: what is done to the cluster while it is measured, and when.

use std::time::Duration;

use super::keys::{self, DAY, Key, MINUTE};
use super::names::FaultName;
use super::tables::{List, Row, keys_of_list};
use super::value::{Kind, Value};

mod check;

pub(super) use check::check;

/// Something to do to one replica while the cluster is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, counted from the start of the measured window.
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// After how long it is undone; `None` for never, or for what is over at once.
    pub lasts: Option<Duration>,
}

/// What can be done to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It dies, and its connections are lost. Undone, it comes back.
    Kill,
    /// It dies, and comes back at once.
    Restart,
    /// It stands still with its connections open, as a stopped process does.
    Pause,
    /// Every frame from and to it is lost, other replicas' and clients' alike.
    Partition,
    /// Each sync of its disk takes longer.
    SlowDisk {
        /// By how much.
        extra: Duration,
    },
    /// What it sends arrives later, at replicas and clients alike.
    SlowLink {
        /// By how much.
        extra: Duration,
    },
    /// After each turn it rests so often as long as the turn took, less one.
    Slow {
        /// The inverse of its speed.
        factor: u32,
    },
    /// It is asked to hand leadership to the next replica.
    Transfer,
}

/// To whom something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Who leads then; of several consensus groups, the first. If nobody does, the fault waits.
    Leader,
    /// The next voter after the leader that is up.
    Follower,
    /// A replica that is up, drawn from the run's seed.
    Any,
    /// This one. If it is down, the fault waits.
    Id(u32),
}

impl Fault {
    /// Whether it kills a replica that is to come back.
    pub fn returns(&self) -> bool {
        self.kind == FaultKind::Restart || self.kind == FaultKind::Kill && self.lasts.is_some()
    }

    /// Does this to the leader of then, once and for good.
    pub const fn new(at: Duration, kind: FaultKind) -> Self {
        Self { at, kind, target: Target::Leader, lasts: None }
    }

    /// The same, to somebody else.
    #[must_use]
    pub const fn on(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// The same, undone after this long.
    #[must_use]
    pub const fn lasting(self, lasts: Duration) -> Self {
        Self { lasts: Some(lasts), ..self }
    }
}

impl FaultKind {
    /// Its name in a config.
    pub const fn name(self) -> FaultName {
        match self {
            Self::Kill => FaultName::Kill,
            Self::Restart => FaultName::Restart,
            Self::Pause => FaultName::Pause,
            Self::Partition => FaultName::Partition,
            Self::SlowDisk { .. } => FaultName::SlowDisk,
            Self::SlowLink { .. } => FaultName::SlowLink,
            Self::Slow { .. } => FaultName::Slow,
            Self::Transfer => FaultName::Transfer,
        }
    }
}

/// One `[[faults]]`, as it is written, defaults included.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting(pub(super) Row);

impl Setting {
    /// What it amounts to: each time that it happens.
    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> {
        let fault = self.first();
        let (every, times) = self.repeats();
        (0..times).map(move |nth| Fault { at: fault.at + every * nth, ..fault })
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.0.value(key)
    }

    fn name(&self) -> FaultName {
        self.value(&KIND).expect("it was checked").choice(FaultName::named)
    }

    fn first(&self) -> Fault {
        let duration = |key: &Key| self.value(key).map(Value::duration);
        let extra = duration(&EXTRA).unwrap_or_default();
        Fault {
            at: duration(&AT).expect("it was checked"),
            kind: match self.name() {
                FaultName::Kill => FaultKind::Kill,
                FaultName::Restart => FaultKind::Restart,
                FaultName::Pause => FaultKind::Pause,
                FaultName::Partition => FaultKind::Partition,
                FaultName::SlowDisk => FaultKind::SlowDisk { extra },
                FaultName::SlowLink => FaultKind::SlowLink { extra },
                FaultName::Slow => FaultKind::Slow { factor: self.value(&FACTOR).map_or(1, Value::count) as u32 },
                FaultName::Transfer => FaultKind::Transfer,
            },
            target: match self.value(&TARGET) {
                Some(Value::Count(id)) => Target::Id(*id as u32),
                Some(Value::Choice(name)) if *name == FOLLOWER => Target::Follower,
                Some(Value::Choice(name)) if *name == ANY => Target::Any,
                _ => Target::Leader,
            },
            lasts: duration(&FOR),
        }
    }

    /// How far apart it happens, and how often.
    fn repeats(&self) -> (Duration, u32) {
        let every = self.value(&EVERY).map(Value::duration).unwrap_or_default();
        (every, self.value(&TIMES).map_or(1, Value::count) as u32)
    }
}

/// All of them.
pub(super) static LIST: List =
    List { name: "faults", one: "a fault", keys: KEYS, required: &[&AT, &KIND], assumed: &[&TARGET] };

const LEADER: &str = "leader";
const FOLLOWER: &str = "follower";
const ANY: &str = "any";

const MILLISECOND: Duration = Duration::from_millis(1);

keys_of_list! { "faults":
    AT = key("at", keys::duration(Duration::ZERO, DAY), "5s",
        "when, counted from the start of the measured window");
    KIND = key("kind", Kind::Choice(FaultName::CHOICES), "kill",
        "what is done");
    TARGET = key("target", Kind::Target(&[LEADER, FOLLOWER, ANY]), LEADER,
        "to which replica");
    FOR = key("for", keys::duration(MILLISECOND, DAY), "3s",
        "after how long it is undone");
    EXTRA = key("extra", keys::duration(Duration::from_micros(1), MINUTE), "10ms",
        "how much slower a disk or a link gets");
    FACTOR = key("factor", keys::count(2, 1000), "10",
        "how much slower a node gets");
    EVERY = key("every", keys::duration(MILLISECOND, DAY), "5s",
        "how far apart it happens, from the beginning of one time to the next");
    TIMES = key("times", keys::count(2, 1000), "3",
        "how often it happens");
}
