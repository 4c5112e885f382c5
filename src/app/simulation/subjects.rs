//! P7 and P8 by seeds: people are written about, opt out, are erased and put right, in buckets that keep versions and in such
//! that do not, while backups of before come back; a model that shares no code says, to the byte, what every version of every
//! name must hold. What must not be there is not looked for: everything that is there is compared.

use super::world::{BUCKET, Backup, House, World, operator};
use super::{bucket, object, subject};
use crate::app::{dsrwork, subjects};
use crate::audit::Actor;
use crate::gate::act;
use crate::model::dsr::{RequestKind, RequestStep};
use crate::model::ids::TenantId;
use crate::model::login::Login;
use crate::model::names::BucketName;
use crate::model::versioning::Versioning;
use crate::store::types::{
    About, Expected, Get, Incoming, ListVersions, Put, ReadConditions, StoreError, Upload, WriteCondition,
};
use crate::subject::contacts::{Contact, ContactKind, follow};
use crate::subject::requests::{Asked, Desk};
use crate::subject::{SubjectError, bundle};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

const PEOPLE: usize = 3;
const NAMES: usize = 4;
const STEPS: usize = 50;

/// A record: of whom, and a number that no other has.
type Record = (Option<usize>, u64);

/// A version, or the mark of a deletion.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Version {
    Object { batch: bool, records: Vec<Record> },
    Mark,
}

/// By name, the oldest first.
type Stacks = BTreeMap<usize, Vec<Version>>;

#[derive(Clone, Debug)]
enum Deed {
    Put {
        name: usize,
        batch: bool,
        of: Vec<Option<usize>>,
    },
    /// Somebody opts out while the body comes in.
    PutMeanwhile {
        name: usize,
        who: usize,
    },
    Delete {
        name: usize,
    },
    Rectify {
        name: usize,
        who: usize,
    },
    Erase {
        who: usize,
        block: bool,
    },
    Follow {
        who: usize,
        follow: bool,
    },
    Backup,
    Restore,
    Restart,
}

fn draw(rng: &mut fastrand::Rng) -> Deed {
    let (name, who) = (rng.usize(..NAMES), rng.usize(..PEOPLE));
    match rng.u8(..100) {
        0..26 => Deed::Put { name, batch: false, of: vec![[Some(who), None][usize::from(rng.u8(..6) == 0)]] },
        26..42 => Deed::Put { name, batch: true, of: (0..rng.usize(1..4)).map(|n| Some((who + n) % PEOPLE)).collect() },
        42..47 => Deed::PutMeanwhile { name, who },
        47..54 => Deed::Delete { name },
        54..63 => Deed::Rectify { name, who },
        63..72 => Deed::Erase { who, block: rng.u8(..3) == 0 },
        72..84 => Deed::Follow { who, follow: rng.u8(..4) != 0 },
        84..90 => Deed::Backup,
        90..95 => Deed::Restore,
        _ => Deed::Restart,
    }
}

fn person(who: usize) -> String {
    format!("contact:{who}")
}

fn object_of(name: usize) -> String {
    format!("name-{name}")
}

fn body(batch: bool, records: &[Record]) -> Vec<u8> {
    let line = |(of, n): &Record| match (batch, of) {
        (true, Some(who)) => format!("{{\"subject\":\"{}\",\"n\":{n}}}\n", person(*who)),
        _ => format!("{{\"n\":{n}}}\n"),
    };
    // Some small enough for a row, some for a blob.
    let pad = if !batch && records.iter().any(|(_, n)| n % 5 == 0) { " ".repeat(70_000) } else { String::new() };
    (records.iter().map(line).collect::<String>() + &pad).into_bytes()
}

struct Life {
    world: World,
    house: Option<House>,
    tenant: TenantId,
    login: Login,
    versioned: bool,
    stacks: Stacks,
    opted_out: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    /// Records of people who were erased after they were written.
    erased: BTreeSet<u64>,
    backup: Option<(Backup, Stacks)>,
    numbers: u64,
    looked: usize,
    refused: usize,
}

impl Life {
    fn house(&self) -> &House {
        self.house.as_ref().expect("a process runs")
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    async fn put(&self, name: usize, about: About, body: Upload, length: u64) -> Result<(), StoreError> {
        let at = self.house().gate.admit::<act::Write>(&self.login.access_id, &bucket()).await.expect("it is active");
        let incoming = Incoming { body, length, expected: Expected::default() };
        let put = Put { name: object(&object_of(name)), incoming, about, condition: WriteCondition::None };
        self.house().store.put(&at, put).await.map(drop)
    }

    fn about(batch: bool, records: &[Record]) -> About {
        let mut about = About::default();
        if batch {
            about.headers.content_type = Some("application/x-ndjson".into());
            about.metadata.push(("geoseal-subjects".into(), "records".into()));
        } else if let Some((Some(who), _)) = records.first() {
            about.metadata.push(("geoseal-subject".into(), person(*who)));
        }
        about
    }

    fn keep(&mut self, name: usize, version: Version) {
        let stack = self.stacks.entry(name).or_default();
        if !self.versioned {
            stack.clear();
        }
        stack.push(version);
    }

    fn is_welcome(&self, who: usize) -> bool {
        !self.opted_out.contains(&who) && !self.blocked.contains(&who)
    }

    async fn follow(&self, who: usize, is_followed: bool) {
        let contact = Contact::of(ContactKind::Contact, &who.to_string()).expect("a good name");
        follow(&self.house().tenancy, &operator(), self.tenant, &contact, is_followed).await.expect("it is heard");
    }

    async fn deed(&mut self, deed: &Deed) {
        match deed {
            Deed::Put { name, batch, of } => {
                let records: Vec<_> = of.iter().map(|of| (*of, self.number())).collect();
                let bytes = body(*batch, &records);
                let (length, body) = (bytes.len() as u64, stream::iter([Ok(Bytes::from(bytes))]).boxed());
                let put = self.put(*name, Self::about(*batch, &records), body, length).await;
                match put {
                    Ok(()) => {
                        assert!(of.iter().flatten().all(|who| self.is_welcome(*who)), "P8, P7: {deed:?} was taken");
                        self.keep(*name, Version::Object { batch: *batch, records });
                    }
                    Err(StoreError::OptedOut | StoreError::SubjectErased) => {
                        assert!(of.iter().flatten().any(|who| !self.is_welcome(*who)), "{deed:?} was refused");
                        self.refused += 1;
                    }
                    Err(error) => panic!("{deed:?}: {error:?}"),
                }
            }
            Deed::PutMeanwhile { name, who } => {
                let records = vec![(Some(*who), self.number())];
                let (bytes, (tell, told)) = (body(false, &records), futures::channel::oneshot::channel::<()>());
                let length = bytes.len() as u64;
                let body = stream::once(async move {
                    told.await.expect("they opt out");
                    Ok(Bytes::from(bytes))
                });
                let opt_out = async {
                    self.follow(*who, false).await;
                    tell.send(()).ok();
                };
                let (put, ()) =
                    futures::join!(self.put(*name, Self::about(false, &records), body.boxed(), length), opt_out);
                assert!(put.is_err(), "P8: {deed:?}: it was received after they had opted out");
                self.refused += 1;
                self.opted_out.insert(*who);
            }
            Deed::Delete { name } => {
                let gate = &self.house().gate;
                let at = gate.admit::<act::Erase>(&self.login.access_id, &bucket()).await.expect("it is active");
                let deleted =
                    self.house().store.delete(&at, &object(&object_of(*name)), None, WriteCondition::None).await;
                deleted.expect("it is deleted");
                match self.versioned {
                    true => self.keep(*name, Version::Mark),
                    false => drop(self.stacks.remove(name)),
                }
            }
            Deed::Rectify { name, who } => self.rectify(*name, *who).await,
            Deed::Erase { who, block } => self.erase(*who, *block).await,
            Deed::Follow { who, follow } => {
                self.follow(*who, *follow).await;
                if *follow {
                    self.opted_out.remove(who)
                } else {
                    self.opted_out.insert(*who)
                };
            }
            Deed::Backup => {
                self.restart(false).await;
                self.backup = Some((self.world.backup().await, self.stacks.clone()));
            }
            Deed::Restore => {
                if self.backup.is_none() {
                    return;
                }
                self.restart(true).await;
            }
            Deed::Restart => self.restart(false).await,
        }
    }

    async fn open(&self, kind: RequestKind, who: usize, block: bool) -> u64 {
        let by = operator();
        let desk = Desk { tenancy: &self.house().tenancy, actor: &by, tenant: self.tenant, because: None };
        let asked = Asked { kind, name: subject(&person(who)), basis: "art".into(), block };
        desk.open(&asked).await.expect("it is entered").number
    }

    async fn rectify(&mut self, name: usize, who: usize) {
        let number = self.open(RequestKind::Rectify, who, false).await;
        let (by, n) = (operator(), self.number());
        let house = self.house.as_ref().expect("a process runs");
        let desk = Desk { tenancy: &house.tenancy, actor: &by, tenant: self.tenant, because: None };
        let request = desk.request(number).await.expect("it was entered");
        let target = desk.target(&request, &bucket(), &object(&object_of(name))).await;
        let of = |records: &[Record]| records.iter().any(|(of, _)| *of == Some(who));
        let stack = self.stacks.entry(name).or_default();
        let (batch, records) = match (target, stack.last()) {
            (Ok(_), Some(Version::Object { batch, records })) if of(records) => (*batch, vec![(Some(who), n)]),
            (Err(SubjectError::NoSuchObject), top) => {
                let is_theirs = matches!(top, Some(Version::Object { records, .. }) if of(records));
                return assert!(!is_theirs, "P7: an object of who asks is not found");
            }
            (target, top) => panic!("{:?} of {top:?}", target.map(drop)),
        };
        let bytes = body(batch, &records);
        let (length, content) = (bytes.len() as u64, stream::iter([Ok(Bytes::from(bytes))]).boxed());
        let target = desk.target(&request, &bucket(), &object(&object_of(name))).await.expect("as before");
        let done = desk.rectify(&house.store, number, &target, (content, length)).await;
        match done {
            Ok(_) => {
                assert!(!self.blocked.contains(&who));
                stack.pop();
                stack.retain(|version| !matches!(version, Version::Object { records, .. } if of(records)));
                stack.push(Version::Object { batch, records });
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn erase(&mut self, who: usize, block: bool) {
        let number = self.open(RequestKind::Erase, who, block).await;
        let (by, house) = (operator(), self.house());
        let desk = Desk { tenancy: &house.tenancy, actor: &by, tenant: self.tenant, because: None };
        desk.step(number, RequestStep::Begin, |_| {}).await.expect("it begins");
        // As the next start goes on with what a crash cut off here.
        dsrwork::resume(dsrwork::Hands { tenancy: &house.tenancy, store: &house.store }).await;
        assert_eq!(desk.request(number).await.expect("it is kept").state, crate::model::dsr::RequestState::Done);
        if block {
            self.blocked.insert(who);
        }
        let theirs =
            self.stacks.values().flatten().chain(self.backup.iter().flat_map(|(_, then)| then.values().flatten()));
        let records = theirs.filter_map(|version| match version {
            Version::Object { records, .. } => Some(records),
            Version::Mark => None,
        });
        let erased: Vec<_> = records.flatten().filter(|(of, _)| *of == Some(who)).map(|(_, n)| *n).collect();
        self.erased.extend(erased);
        self.forget();
    }

    /// Takes from the model what is erased.
    fn forget(&mut self) {
        let erased = &self.erased;
        for stack in self.stacks.values_mut() {
            let had = stack.len();
            for version in stack.iter_mut() {
                if let Version::Object { records, .. } = version {
                    records.retain(|(_, n)| !erased.contains(n));
                }
            }
            stack.retain(|version| !matches!(version, Version::Object { records, .. } if records.is_empty()));
            if stack.len() < had && !stack.iter().any(|version| matches!(version, Version::Object { .. })) {
                stack.clear();
            }
        }
    }

    async fn restart(&mut self, with_backup: bool) {
        for roots in self.house().tenancy.regions.values() {
            roots.index.stop().await.expect("it stops");
        }
        self.house = None;
        if with_backup && let Some((backup, stacks)) = &self.backup {
            self.world.restore(backup).await;
            self.stacks = stacks.clone();
        }
        self.house = Some(self.world.open(0).await.expect("nothing burns"));
        if !with_backup {
            return;
        }
        // As a start behind a restore does, before anything is served.
        let (house, mut again) = (self.house(), Vec::new());
        for at in house.tenancy.directory.subjects_page(self.tenant, None, 100).await.expect("it reads") {
            if house.tenancy.directory.subject_key(self.tenant, at.id).await.is_err() {
                again.push((self.tenant, at.id));
            }
        }
        subjects::redelete(&house.tenancy, &house.store, &again).await.expect("what was erased is erased again");
        self.forget();
    }

    /// Every version of every name, by listing and by reading, against the model.
    async fn look(&mut self) {
        let house = self.house.as_ref().expect("a process runs");
        let at = house.gate.admit::<act::Read>(&self.login.access_id, &bucket()).await.expect("it is active");
        let all = ListVersions { prefix: String::new(), delimiter: None, after: None, limit: 1000 };
        let listed = house.store.list_versions(&at, all).await.expect("it lists");
        let mut found: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
        for version in listed.versions {
            let bytes = match version.is_marker {
                true => None,
                false => {
                    let (name, asked) = (object(&version.name), Some(version.version));
                    let conditions = ReadConditions::default();
                    let get = Get { name, version: asked, range: None, part: None, conditions };
                    let got = house.store.get(&at, get).await.expect("what is listed is there");
                    let pieces: Vec<Bytes> = got.body.try_collect().await.expect("what is stored verifies");
                    Some(pieces.concat())
                }
            };
            self.looked += 1;
            found.entry(version.name).or_default().push(bytes);
        }
        let mut expected: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
        for (name, stack) in self.stacks.iter().filter(|(_, stack)| !stack.is_empty()) {
            let versions = stack.iter().rev().map(|version| match version {
                Version::Object { batch, records } => Some(body(*batch, records)),
                Version::Mark => None,
            });
            expected.insert(object_of(*name), versions.collect());
        }
        let shown = |all: &BTreeMap<String, Vec<Option<Vec<u8>>>>| {
            let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).trim().to_owned());
            all.iter().map(|(name, all)| format!("{name}: {:?}", all.iter().map(text).collect::<Vec<_>>())).collect()
        };
        let (found_text, expected_text): (Vec<String>, Vec<String>) = (shown(&found), shown(&expected));
        assert!(found == expected, "P7: found\n{}\nexpected\n{}", found_text.join("\n"), expected_text.join("\n"));
    }

    /// What somebody gets as a copy has every record of theirs and no other.
    async fn look_at_a_copy(&mut self, who: usize) {
        let number = self.open(RequestKind::Access, who, false).await;
        let by = Actor::part("simulation");
        let house = self.house();
        let desk = Desk { tenancy: &house.tenancy, actor: &by, tenant: self.tenant, because: None };
        let request = desk.request(number).await.expect("it was entered");
        let copy =
            bundle::begin(desk, &house.store, &request, subject(&person(who)), Vec::new()).await.expect("it begins");
        let pieces: Vec<Bytes> = copy.try_collect().await.expect("it is whole");
        let copy = pieces.concat();
        let has = |n: u64| {
            let needle = format!("\"n\":{n}}}").into_bytes();
            copy.windows(needle.len()).any(|window| window == needle)
        };
        let records = self.stacks.values().flatten().filter_map(|version| match version {
            Version::Object { records, .. } => Some(records),
            Version::Mark => None,
        });
        let theirs: BTreeSet<_> = records.flatten().filter(|(of, _)| *of == Some(who)).map(|(_, n)| *n).collect();
        for n in 1..=self.numbers {
            assert_eq!(has(n), theirs.contains(&n), "P7: record {n} in the copy of {who}");
        }
    }
}

async fn live(seed: u64) -> [usize; 2] {
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new();
    let house = world.open(0).await.expect("nothing burns");
    let (tenant, login) = house.tenant(0).await;
    let versioned = seed % 2 == 1;
    if versioned {
        let name = BucketName::parse(BUCKET).expect("a good name");
        let at = house.gate.admit::<act::Delete>(&login.access_id, &name).await.expect("it is active");
        house.store.set_versioning(&at, Versioning::Enabled).await.expect("it keeps versions");
    }
    let mut life = Life {
        world,
        house: Some(house),
        tenant,
        login,
        versioned,
        stacks: Stacks::new(),
        opted_out: BTreeSet::new(),
        blocked: BTreeSet::new(),
        erased: BTreeSet::new(),
        backup: None,
        numbers: 0,
        looked: 0,
        refused: 0,
    };
    for step in 0..STEPS {
        let deed = draw(&mut rng);
        life.deed(&deed).await;
        life.look().await;
        if step % 7 == 6 {
            life.look_at_a_copy(rng.usize(..PEOPLE)).await;
        }
    }
    [life.looked, life.refused]
}

#[test]
fn p7_p8_nothing_of_who_is_erased_or_opted_out_is_there_whatever_comes_back() {
    let [looked, refused] = super::relived([8, 60], live);
    assert!(looked > 500 && refused > 20, "lives that show little: {looked}, {refused}");
}
