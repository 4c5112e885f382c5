//! Acts that one administrator proposed and another has to approve: `w | hash of the act`, sealed under the geo's
//! directory key. The act is in words of whoever proposes it: opaque ids and versions, never a name.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::time::Millis;
use ring::digest::{SHA256, digest};

/// Seconds that a proposal waits for its approval.
pub const PROPOSAL_KEEP_S: i64 = 86_400;

/// An act that waits for its approval.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Proposal {
    /// What is to be done, such as `destroy mk/europe/1`.
    #[n(0)]
    pub act: String,
    /// Who proposed it.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Millis,
}

/// What became of a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approval {
    /// It was proposed now, and waits for another administrator.
    Proposed,
    /// This administrator had proposed it already; it waits for another.
    Waits,
    /// Another administrator had proposed the same within a day: the act may be carried out. The proposal is used up.
    Given,
}

impl Directory {
    /// Proposes an act, or approves it when another administrator proposed the same within a day.
    pub async fn propose(&self, act: &str, by: &str, now: Millis) -> Result<Approval, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let row_key = row_key(act);
        let open = match self.engine.get(&row_key).await? {
            None => None,
            Some(row) => Some(self.open_proposal(&row_key, &row)?),
        };
        let open = open.filter(|found| found.act == act && found.is_open(now));
        let mut batch = Batch::new();
        let approval = match open {
            Some(found) if found.by != by => {
                batch.delete(row_key);
                Approval::Given
            }
            Some(_) => return Ok(Approval::Waits),
            None => {
                let proposal = Proposal { act: act.to_owned(), by: by.to_owned(), at: now };
                let geo_keys = self.keys.geo_keys();
                let row = geo_keys.directory().seal(kind::PROPOSAL, &row_key, &rows::encode(&proposal), &[]);
                batch.put(row_key, row);
                Approval::Proposed
            }
        };
        self.engine.commit(batch).await?;
        Ok(approval)
    }

    /// Takes a proposal back, whoever made it; whether there was one.
    pub async fn withdraw(&self, act: &str, now: Millis) -> Result<bool, DirectoryError> {
        let _change = self.change.lock().await;
        let row_key = row_key(act);
        let Some(row) = self.engine.get(&row_key).await? else { return Ok(false) };
        let found = self.open_proposal(&row_key, &row)?;
        let mut batch = Batch::new();
        batch.delete(row_key);
        self.engine.commit(batch).await?;
        Ok(found.is_open(now))
    }

    /// The proposals that wait, in no order.
    pub async fn proposals(&self, now: Millis) -> Result<Vec<Proposal>, DirectoryError> {
        let range = KeyRange::prefix(&[kind::PROPOSAL]);
        let rows = self.engine.scan(range, PROPOSALS_MAX, Direction::Ascending).await?;
        let found = rows.iter().map(|(row_key, row)| self.open_proposal(row_key, row));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().filter(|found| found.is_open(now)).collect())
    }

    fn open_proposal(&self, row_key: &[u8], row: &[u8]) -> Result<Proposal, DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::PROPOSAL, row_key, row)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }
}

impl Proposal {
    /// Whether it can still be approved.
    fn is_open(&self, now: Millis) -> bool {
        now < self.until()
    }

    /// Until when it waits.
    pub fn until(&self) -> Millis {
        self.at.plus_seconds(PROPOSAL_KEEP_S)
    }
}

/// Most proposals that are read at once.
const PROPOSALS_MAX: usize = 1000;

fn row_key(act: &str) -> Vec<u8> {
    let hash: [u8; 16] = digest(&SHA256, act.as_bytes()).as_ref()[..16].try_into().expect("16 of 32 bytes");
    rows::row_key(kind::PROPOSAL, &[&hash])
}
