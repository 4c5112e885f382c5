//! Versions in the simulated house: a bucket that keeps them, suspended and enabled again, deleted by name and by version,
//! thinned out by rules, held, under rotations of every kind, and the process dies at any write. The model is a stack of
//! versions for each name; after a deed that was cut off there are two of them, until somebody looks.

use super::rotations::Rotation;
use super::world::{House, World, operator};
use super::{DAY_MS, Outcome, bucket, object};
use crate::gate::act;
use crate::model::clock::Clock;
use crate::model::ids::TenantId;
use crate::model::lifecycle::{Filter, Rule, Rules, Superseded};
use crate::model::login::Login;
use crate::model::time::Millis;
use crate::model::versioning::{VersionAsked, Versioning};
use crate::store::types::{About, Expected, Get, Incoming, ListVersions, ReadConditions, WriteCondition};
use crate::tenant::{Event, Hold, HoldScope};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;

const STEPS: usize = 70;
/// Of each prefix: few, so that a name sees much.
const NAMES: usize = 2;

/// A version as the model knows it; the newest of a name comes first.
#[derive(Clone, PartialEq)]
struct Version {
    /// Its bytes; none, of a delete marker.
    bytes: Option<Vec<u8>>,
    is_null: bool,
    /// When its successor was written.
    superseded: Option<Millis>,
    /// Its id, once it was seen.
    id: Option<VersionAsked>,
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let about = self.bytes.as_ref().map(|bytes| (bytes.len(), bytes.first()));
        write!(f, "{about:?} null={} superseded={:?} {:?}", self.is_null, self.superseded, self.id)
    }
}

type Stack = Vec<Version>;

/// Another version on top. What is suspended has one `null` version at most.
fn with(stack: &Stack, bytes: Option<Vec<u8>>, versioning: Versioning, now: Millis) -> Stack {
    let (mut stack, is_null) = (stack.clone(), versioning != Versioning::Enabled);
    if is_null {
        stack.retain(|version| !version.is_null);
    }
    if let Some(first) = stack.first_mut() {
        first.superseded.get_or_insert(now);
    }
    stack.insert(0, Version { bytes, is_null, superseded: None, id: None });
    stack
}

fn without(stack: &Stack, at: usize) -> Stack {
    let mut stack = stack.clone();
    stack.remove(at);
    if let Some(first) = stack.first_mut() {
        first.superseded = None;
    }
    stack
}

/// Rules that let superseded versions of what begins with `short/` go after so many days.
fn rules(days: u32) -> Rules {
    let filter = Filter { prefix: Some("short/".into()), ..Filter::default() };
    let superseded = Some(Superseded { days, keep: None });
    let (expire, abort_days, lone_markers) = (None, None, None);
    Rules(vec![Rule { id: "short".into(), enabled: true, filter, expire, abort_days, superseded, lone_markers }])
}

#[derive(Debug)]
enum Deed {
    Put {
        name: String,
        length: usize,
    },
    Delete {
        name: String,
    },
    /// The version at this place of its stack, if there is one.
    Erase {
        name: String,
        at: usize,
    },
    Keep(Versioning),
    Rules(Option<u32>),
    Apply(Event),
    Rotate(Rotation),
    Sweep,
    Pass(i64),
}

struct Life {
    world: World,
    house: Option<House>,
    tenant: TenantId,
    login: Login,
    versioning: Versioning,
    rules: Option<u32>,
    is_held: bool,
    /// By name, what may be there.
    names: BTreeMap<String, Vec<Stack>>,
    /// Every version's bytes begin with a number of their own.
    written: u64,
    checked: usize,
}

impl Life {
    async fn new() -> Self {
        let world = World::new();
        let house = world.open(0).await.expect("nothing burns");
        let (tenant, login) = house.tenant(0).await;
        let (versioning, house) = (Versioning::Enabled, Some(house));
        let (names, written, checked) = (BTreeMap::new(), 0, 0);
        let life =
            Self { world, house, tenant, login, versioning, rules: None, is_held: false, names, written, checked };
        assert!(life.keep(versioning).await);
        life
    }

    fn house(&self) -> &House {
        self.house.as_ref().expect("a process runs")
    }

    fn draw(&self, rng: &mut fastrand::Rng) -> Deed {
        let name = format!("{}{}", ["keep/", "short/"][rng.usize(..2)], rng.usize(..NAMES));
        match rng.u8(..100) {
            0..36 => Deed::Put { name, length: [9, 900, 20_000, 90_000][rng.usize(..4)] },
            36..48 => Deed::Delete { name },
            48..62 => Deed::Erase { name, at: [0, 0, 1, 2][rng.usize(..4)] },
            62..68 => Deed::Keep([Versioning::Enabled, Versioning::Suspended][rng.usize(..2)]),
            68..72 => Deed::Rules([None, Some(1), Some(5)][rng.usize(..3)]),
            72..78 => {
                let (id, scope) = ("M-1".into(), HoldScope::Tenant);
                Deed::Apply(Event::PlaceHold(Hold { id, scope, since: self.world.clock.now().stamp() }))
            }
            78..83 => Deed::Apply(Event::ReleaseHold { id: "M-1".into() }),
            83..89 => Deed::Rotate(Rotation::ALL[rng.usize(..Rotation::ALL.len())]),
            89..92 => Deed::Sweep,
            _ => Deed::Pass([1000, 3_600_000, DAY_MS, 6 * DAY_MS][rng.usize(..4)]),
        }
    }

    async fn keep(&self, versioning: Versioning) -> bool {
        let Ok(at) = self.house().gate.admit::<act::Delete>(&self.login.access_id, &bucket()).await else {
            return false;
        };
        self.house().store.set_versioning(&at, versioning).await.is_ok()
    }

    /// Does it, and says which stacks a name may have then.
    async fn deed(&mut self, deed: &Deed) -> Outcome {
        let now = self.world.clock.now().cc_lo;
        let mut changed = None;
        let done = match deed {
            Deed::Put { name, length } => {
                self.written += 1;
                let mut bytes = vec![self.written as u8; *length];
                bytes[..8].copy_from_slice(&self.written.to_le_bytes());
                changed = Some((name, with(&self.stack(name), Some(bytes.clone()), self.versioning, now)));
                self.put(name, bytes).await
            }
            Deed::Delete { name } => {
                changed = Some((name, with(&self.stack(name), None, self.versioning, now)));
                self.delete(name, None).await
            }
            Deed::Erase { name, at } => {
                let stack = self.stack(name);
                let Some(version) = stack.get(*at) else { return Outcome::Refused };
                changed = Some((name, without(&stack, *at)));
                let done = self.delete(name, version.id).await;
                let is_kept = self.is_held && version.bytes.is_some();
                assert!(!(done && is_kept), "P3: a hold keeps {version:?}, and it was deleted");
                done
            }
            Deed::Keep(versioning) => self.keep(*versioning).await,
            Deed::Rules(days) => self.put_rules(*days).await,
            Deed::Apply(event) => self.house().tenancy.apply(&operator(), self.tenant, None, event).await.is_ok(),
            Deed::Rotate(what) => self.house().rotate(self.tenant, *what).await,
            Deed::Sweep => self.house().sweeper.run(&operator()).await.is_ok(),
            Deed::Pass(ms) => self.world.clock.advance(*ms).is_ok(),
        };
        let outcome = match done {
            _ if self.house().fuse.is_burnt() => Outcome::Unknown,
            true => Outcome::Done,
            false => Outcome::Refused,
        };
        if let Some((name, stack)) = changed {
            let may = self.names.entry(name.clone()).or_insert_with(|| vec![Stack::new()]);
            match outcome {
                Outcome::Done => *may = vec![stack],
                Outcome::Unknown => may.push(stack),
                Outcome::Refused => {}
            }
        }
        let always = matches!(deed, Deed::Put { .. } | Deed::Delete { .. } | Deed::Keep(_) | Deed::Rotate(_));
        assert!(outcome != Outcome::Refused || !always, "P10, P12: refused without a reason: {deed:?}");
        outcome
    }

    /// What a name has; somebody has looked.
    fn stack(&self, name: &str) -> Stack {
        self.names.get(name).map_or_else(Stack::new, |may| may[0].clone())
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> bool {
        let Ok(at) = self.house().gate.admit::<act::Write>(&self.login.access_id, &bucket()).await else {
            return false;
        };
        let length = bytes.len() as u64;
        let body = stream::iter([Ok(Bytes::from(bytes))]).boxed();
        let incoming = Incoming { body, length, expected: Expected::default() };
        let (about, condition) = (About::default(), WriteCondition::None);
        let put = crate::store::types::Put { name: object(name), incoming, about, condition };
        self.house().store.put(&at, put).await.is_ok()
    }

    async fn delete(&self, name: &str, version: Option<VersionAsked>) -> bool {
        let Ok(at) = self.house().gate.admit::<act::Erase>(&self.login.access_id, &bucket()).await else {
            return false;
        };
        self.house().store.delete(&at, &object(name), version, WriteCondition::None).await.is_ok()
    }

    async fn put_rules(&self, days: Option<u32>) -> bool {
        let Ok(at) = self.house().gate.admit::<act::Delete>(&self.login.access_id, &bucket()).await else {
            return false;
        };
        let set = self.house().store.set_lifecycle(&at, days.map(rules)).await.is_ok();
        // In the daemon a task of its own does this, a moment later.
        set && self.house().sweeper.date_objects().await.is_ok()
    }

    /// Whether it may go: under rules of so many days.
    fn is_over(&self, rules: Option<u32>, name: &str, version: &Version, now: Millis) -> bool {
        let over = |since: Millis, days: u32| {
            let end = since.0 + i64::from(days) * DAY_MS;
            end + (DAY_MS - end % DAY_MS) % DAY_MS <= now.0
        };
        let held = self.is_held && version.bytes.is_some();
        let over = version.superseded.zip(rules).is_some_and(|(since, days)| over(since, days));
        name.starts_with("short/") && over && !held
    }

    /// Holds all that is there against the model. `strict`: a whole sweep has just ended.
    async fn look(&mut self, strict: bool) {
        let now = self.world.clock.now().cc_lo;
        let house = self.house();
        let at = house.gate.admit::<act::Read>(&self.login.access_id, &bucket()).await.expect("it is active");
        let versioning = house.store.versioning(&at).await.expect("it reads");
        let in_force = house.store.lifecycle(&at).await.expect("it reads");
        let days = in_force.and_then(|rules| rules.0[0].superseded.map(|when| when.days));
        let entry = house.tenancy.directory.tenant(self.tenant).await.expect("it reads").expect("ids stay");
        let is_held = !entry.standing.holds.is_empty();

        let list = ListVersions { prefix: String::new(), delimiter: None, after: None, limit: 1000 };
        let page = house.store.list_versions(&at, list).await.expect("it lists");
        let mut found: BTreeMap<String, Stack> = BTreeMap::new();
        for one in page.versions {
            let bytes = match one.is_marker {
                true => None,
                false => {
                    let (name, version) = (object(&one.name), Some(one.version));
                    let conditions = ReadConditions::default();
                    let get = Get { name, version, range: None, part: None, conditions };
                    let got = house.store.get(&at, get).await.expect("P10, P12: a listed version reads");
                    let pieces: Vec<Bytes> = got.body.try_collect().await.expect("what is stored verifies");
                    Some(pieces.concat())
                }
            };
            let (is_null, id) = (one.version == VersionAsked::Null, Some(one.version));
            let stack = found.entry(one.name).or_default();
            assert_eq!(one.is_latest, stack.is_empty(), "the newest version of a name is its current one, alone");
            stack.push(Version { bytes, is_null, superseded: None, id });
        }
        (self.versioning, self.is_held) = (versioning, is_held);
        // What the last rules made due may be gone under new ones.
        let before = std::mem::replace(&mut self.rules, days);
        let names: Vec<String> = self.names.keys().chain(found.keys()).cloned().collect();
        for name in names {
            self.checked += 1;
            let (may, there) = (self.names.remove(&name).unwrap_or_default(), found.get(&name));
            let there = there.cloned().unwrap_or_default();
            let may_go = |version: &Version| {
                [before, self.rules].into_iter().any(|rules| self.is_over(rules, &name, version, now))
            };
            let is = may.iter().find_map(|stack| thinned(stack, &there, may_go));
            let Some(is) = is else { panic!("P7, P10: at {name} there is {there:?}, and should be one of {may:?}") };
            if strict && let Some(left) = is.iter().find(|version| self.is_over(self.rules, &name, version, now)) {
                panic!("R51: {name} has {left:?}, which is over, and a sweep left it");
            }
            self.names.insert(name, vec![is]);
        }
        self.house().tenancy.audit.verify().expect("P11: the log is one chain");
    }

    async fn restart(&mut self, crash: u64) {
        let house = self.house.take();
        self.house = Some(self.world.again(house, crash).await);
    }

    /// Takes up what a crash cut off, as the daemon does at its start.
    async fn take_up(&self) {
        self.house().tenancy.resume().await.expect("what standings owe is carried out");
        self.house().take_up_rotations(|_| true).await;
        self.house().sweeper.date_objects().await.expect("walks go on");
    }

    /// P15, and no blob is left that no version names: what holds kept beside has gone after their release.
    async fn end(&mut self) {
        let released = Event::ReleaseHold { id: "M-1".into() };
        _ = self.house().tenancy.apply(&operator(), self.tenant, None, &released).await;
        // The day's collection takes what crashes left; it spares what is younger than a day.
        for _ in 0..3 {
            self.world.clock.advance(2 * DAY_MS).expect("time passes");
            let report = self.house().sweeper.run(&operator()).await.expect("it sweeps");
            assert!(report.skipped.is_empty(), "P2: {:?}", report.skipped);
            self.look(true).await;
        }
        let large = |version: &&Version| version.bytes.as_ref().is_some_and(|bytes| bytes.len() > 65_536);
        let named = self.names.values().flatten().flatten().filter(large).count();
        assert_eq!(self.world.blobs().await, named, "blobs that no version names");
    }
}

/// The stack as it is there, with what the model knows of each version, if only versions are missing that may go.
fn thinned(stack: &Stack, there: &Stack, may_go: impl Fn(&Version) -> bool) -> Option<Stack> {
    let (mut left, mut is) = (there.iter().peekable(), Stack::new());
    for version in stack {
        let found = left.next_if(|found| {
            let known = version.id.is_none() || version.id == found.id;
            known && (&version.bytes, version.is_null) == (&found.bytes, found.is_null)
        });
        match found {
            Some(found) => is.push(Version { id: found.id, ..version.clone() }),
            None if may_go(version) => {}
            None => return None,
        }
    }
    left.next().is_none().then_some(is)
}

async fn live(seed: u64) -> [usize; 2] {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut life = Life::new().await;
    let mut crashes = 0;
    for step in 0..STEPS {
        let deed = life.draw(&mut rng);
        let dies = rng.u8(..3) == 0;
        if dies {
            let most = [4, 24][rng.usize(..2)];
            life.restart(1 + rng.u64(..most)).await;
        }
        let outcome = life.deed(&deed).await;
        if dies {
            crashes += usize::from(outcome == Outcome::Unknown);
            life.restart(0).await;
            life.take_up().await;
        }
        life.look(false).await;
        if step % 8 == 7 {
            life.house().sweeper.run(&operator()).await.expect("it sweeps");
            life.look(true).await;
        }
    }
    life.end().await;
    [crashes, life.checked]
}

#[test]
fn p3_p10_p12_versions_follow_each_other_when_the_house_dies_at_any_write() {
    let [crashes, checked] = super::relived([8, 60], live);
    assert!(crashes > 5 && checked > 500, "lives that show little");
}
