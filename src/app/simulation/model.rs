//! What must be there, said again without the house: for each name the contents that it may have. Usually one; after a
//! deed that a crash cut off two, until somebody looks.

use super::{Deed, Outcome};
use crate::model::clock::{Reading, Stamp};
use crate::model::ids::TenantId;
use crate::model::limits::TERMINATION_KEEP_S;
use crate::model::login::Login;
use crate::model::time::Millis;
use crate::sweep::Report;
use crate::tenant::{Event, Standing, State};
use std::collections::BTreeMap;

const DAY_MS: i64 = super::DAY_MS;

/// An object that somebody wants to store.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub(super) tenant: usize,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) subject: Option<&'static str>,
}

/// What a deed may change.
pub(super) enum Thing {
    Put(Put),
    Delete { tenant: usize, name: String },
    Erase { tenant: usize, subject: &'static str },
    Rules { tenant: usize, days: Option<u32> },
    Terminate { tenant: usize },
    Other,
}

impl Thing {
    pub(super) fn of(deed: &Deed) -> Self {
        match deed {
            Deed::Put(put) => Self::Put(put.clone()),
            Deed::Delete { tenant, name } => Self::Delete { tenant: *tenant, name: name.clone() },
            Deed::Erase { tenant, subject } => Self::Erase { tenant: *tenant, subject },
            Deed::Rules { tenant, days } => Self::Rules { tenant: *tenant, days: *days },
            Deed::Apply { tenant, event: Event::Terminate } => Self::Terminate { tenant: *tenant },
            _ => Self::Other,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Content {
    bytes: Vec<u8>,
    subject: Option<&'static str>,
    written: Millis,
}

pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) login: Login,
    /// As it was seen last.
    standing: Option<Standing>,
    /// When the termination in force was made.
    terminated: Option<Millis>,
    /// By name, what may be there.
    objects: BTreeMap<String, Vec<Option<Content>>>,
    /// Days after which `short/` goes: what may be in force.
    rules: Vec<Option<u32>>,
}

impl Tenant {
    pub(super) fn state(&self) -> State {
        self.standing.as_ref().map_or(State::Active, |standing| standing.state)
    }

    /// Whether it ever was, in this life.
    pub(super) fn was_terminated(&self) -> bool {
        self.terminated.is_some()
    }

    fn held(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| !standing.holds.is_empty())
    }

    fn is_over(&self, name: &str, content: &Content, now: Millis) -> bool {
        let over = |days: u32| {
            let end = content.written.0 + i64::from(days) * DAY_MS;
            end + (DAY_MS - end % DAY_MS) % DAY_MS <= now.0
        };
        name.starts_with("short/") && self.rules.iter().flatten().any(|days| over(*days))
    }
}

pub(super) struct Model {
    pub(super) tenants: Vec<Tenant>,
    pub(super) now: Stamp,
    /// A sweep has just ended, and nothing happened since.
    strict: bool,
    /// Whom that sweep had to destroy.
    doomed: Vec<usize>,
    /// Objects that were looked at.
    pub(super) checked: usize,
}

impl Model {
    pub(super) fn new(tenants: Vec<(TenantId, Login)>, now: &Reading) -> Self {
        let tenant = |(id, login)| Tenant {
            id,
            login,
            standing: None,
            terminated: None,
            objects: BTreeMap::new(),
            rules: vec![None],
        };
        let tenants = tenants.into_iter().map(tenant).collect();
        Self { tenants, now: now.stamp(), strict: false, doomed: Vec::new(), checked: 0 }
    }

    pub(super) fn names(&self, tenant: usize) -> Vec<String> {
        self.tenants[tenant].objects.keys().cloned().collect()
    }

    /// Something is about to be done.
    pub(super) fn begins(&mut self, _: &Thing) {
        self.strict = false;
        self.doomed.clear();
    }

    /// What it came to.
    pub(super) fn came_to(&mut self, thing: &Thing, outcome: Outcome, now: &Reading) {
        self.now = now.stamp();
        match thing {
            Thing::Put(put) => {
                let tenant = &mut self.tenants[put.tenant];
                assert!(
                    outcome != Outcome::Done || tenant.state() == State::Active,
                    "P4: taken when {:?}",
                    tenant.state()
                );
                let content = Content { bytes: put.bytes.clone(), subject: put.subject, written: now.cc_lo };
                tenant.may_be(&put.name, Some(content), outcome);
            }
            Thing::Delete { tenant, name } => self.tenants[*tenant].may_be(name, None, outcome),
            Thing::Erase { tenant, subject } => {
                // Refused half-way, by a hold: some of it may have gone.
                let outcome = if outcome == Outcome::Done { outcome } else { Outcome::Unknown };
                for may in self.tenants[*tenant].objects.values_mut() {
                    let of = |content: &Option<Content>| content.as_ref().is_some_and(|c| c.subject == Some(subject));
                    if !may.iter().any(of) {
                        continue;
                    }
                    if outcome == Outcome::Done {
                        may.retain(|content| !of(content));
                    }
                    may.push(None);
                }
            }
            Thing::Rules { tenant, days } => {
                let rules = &mut self.tenants[*tenant].rules;
                match outcome {
                    Outcome::Done => *rules = vec![*days],
                    // Put, and not walked, is in force as well.
                    Outcome::Unknown | Outcome::Refused => rules.push(*days),
                }
            }
            Thing::Terminate { tenant } if outcome != Outcome::Refused => {
                let tenant = &mut self.tenants[*tenant];
                if matches!(tenant.state(), State::Active | State::Disabled) {
                    tenant.terminated = Some(now.cc_lo);
                }
            }
            Thing::Terminate { .. } | Thing::Other => {}
        }
    }

    /// Where a tenant stands.
    pub(super) fn saw(&mut self, at: usize, standing: &Standing, now: &Reading) {
        let tenant = &mut self.tenants[at];
        let (before, state) = (tenant.state(), standing.state);
        let destroys = |state: State| matches!(state, State::PurgeHeld | State::Purging | State::Purged);
        if destroys(state) && !destroys(before) {
            let lived = tenant.terminated.map(|then| now.cc_lo.0 - then.0);
            let kept = lived.is_some_and(|ms| ms >= TERMINATION_KEEP_S * 1000);
            assert!(kept, "P1: {} {lived:?} ms after its termination", state.as_str());
        }
        assert!(state != State::Purged || standing.holds.is_empty(), "P3: purged and held");
        assert!(before != State::Purged || state == State::Purged, "there is no way back");
        if self.strict && self.doomed.contains(&at) {
            assert_eq!(state, State::Purged, "P2: it was due, and a sweep left it");
        }
        tenant.standing = Some(standing.clone());
    }

    /// What is at a name.
    pub(super) fn found(&mut self, at: usize, name: &str, found: Option<Vec<u8>>, now: &Reading) {
        self.checked += 1;
        let strict = self.strict;
        let tenant = &mut self.tenants[at];
        let may = tenant.objects.get(name).expect("the model named it").clone();
        let is = |content: &&Option<Content>| content.as_ref().map(|content| &content.bytes) == found.as_ref();
        let now_is = may.iter().find(is).cloned();
        let over = |content: &Content| tenant.is_over(name, content, now.cc_lo) && !tenant.held();
        let gone = found.is_none() && may.iter().flatten().any(over);
        let now_is = match now_is {
            Some(now_is) => now_is,
            None if gone => None,
            None => panic!(
                "P7, P10: at {name} of tenant {at} there is {:?} bytes, and should be one of {:?}",
                found.map(|bytes| bytes.len()),
                may.iter().map(|one| one.as_ref().map(|content| content.bytes.len())).collect::<Vec<_>>()
            ),
        };
        if strict && tenant.rules.len() == 1 {
            assert!(!now_is.as_ref().is_some_and(over), "R51: {name} of tenant {at} is over, and a sweep left it");
        }
        tenant.objects.insert(name.to_owned(), vec![now_is]);
    }

    /// A whole sweep has ended.
    pub(super) fn swept(&mut self, report: &Report, now: &Reading) {
        let due = |tenant: &Tenant| match (tenant.state(), tenant.terminated) {
            // The key service keeps whole seconds, and rounds up.
            (State::Terminated, Some(then)) => {
                now.cc_lo.0 - then.0 >= (TERMINATION_KEEP_S + 1) * 1000 && !tenant.held()
            }
            (State::PurgeHeld, _) => !tenant.held(),
            (State::Purging, _) => true,
            _ => false,
        };
        let doomed = self.tenants.iter().enumerate().filter(|(_, tenant)| due(tenant));
        self.doomed = doomed.map(|(at, _)| at).collect();
        self.strict = true;
        assert!(self.doomed.len() as u64 <= report.tenants_purged, "P2: {:?}", report.skipped);
    }
}

impl Tenant {
    fn may_be(&mut self, name: &str, content: Option<Content>, outcome: Outcome) {
        let may = self.objects.entry(name.to_owned()).or_insert_with(|| vec![None]);
        match outcome {
            Outcome::Done => *may = vec![content],
            Outcome::Unknown => may.push(content),
            Outcome::Refused => {}
        }
    }
}
