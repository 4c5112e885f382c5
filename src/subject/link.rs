//! The link by which whoever asked fetches the copy, once and without a login: an address with a token that nobody guesses.
//!
//! Invariants:
//! - of the token only the SHA-256 is kept, in the request's sealed row; so links end with the request, and with the tenant;
//! - a request has one link: another takes its place, and a restored backup brings none back;
//! - it ends when the latest plausible time (`cc_hi`) has come to its end: early rather than late;
//! - it is spent, durably, before the last piece of the archive leaves: without that piece the archive does not open, so no
//!   link gives two. A download that broke off earlier may be begun again, [`DOWNLOADS_MAX`] in all;
//! - who does not know the token learns nothing, not even whether there is such a request.

use super::SubjectError;
use super::requests::Desk;
use crate::audit::{Actor, Event as Record};
use crate::directory::{BundleLink, SubjectRequest};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::tenancy::Tenancy;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Seconds for which a link is good: 7 days.
pub const LINK_S: i64 = 604_800;
/// How often a download may be begun by one link.
pub const DOWNLOADS_MAX: u32 = 5;

/// Bytes of a token: the tenant's id, the request's number, 32 random ones.
const TOKEN_BYTES: usize = 16 + 8 + 32;

/// What the address of a link ends with. Whoever has it has the copy: it is printed nowhere.
pub struct Token(Zeroizing<[u8; TOKEN_BYTES]>);

impl Token {
    fn new(tenant: TenantId, number: u64) -> Self {
        let mut token = Zeroizing::new([0; TOKEN_BYTES]);
        token[..16].copy_from_slice(&tenant.0);
        token[16..24].copy_from_slice(&number.to_be_bytes());
        SystemRandom::new().fill(&mut token[24..]).expect("the operating system gives random bytes");
        Self(token)
    }

    /// From the end of an address. `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut token = Zeroizing::new([0; TOKEN_BYTES]);
        hex::decode_to_slice(text, token.as_mut_slice()).ok()?;
        Some(Self(token))
    }

    /// As the address has it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// Whose request it is about.
    pub fn tenant(&self) -> TenantId {
        TenantId(self.0[..16].try_into().expect("16 bytes"))
    }

    /// Which request.
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.0[16..24].try_into().expect("8 bytes"))
    }

    fn hash(&self) -> [u8; 32] {
        digest(&SHA256, self.0.as_slice()).as_ref().try_into().expect("SHA-256 is 32 bytes")
    }
}

impl Desk<'_> {
    /// Makes the link of a request, in the place of one that there was. Answers when it ends. Errors: `WrongStep` when who asked
    /// is known no more.
    pub async fn make_link(&self, number: u64) -> Result<(Token, Millis), SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut request = self.request(number).await?;
        self.name(&request).await?;
        let token = Token::new(self.tenant, number);
        let until = self.tenancy.clock.now().cc_hi.plus_seconds(LINK_S);
        let made = Record::DsrLinkMade { tenant: self.tenant, dsr: number, until: until.to_string() };
        self.tenancy.audit.append(self.actor, made).await?;
        request.link = Some(BundleLink { hash: token.hash(), until, begun: 0, spent: None });
        directory.keep_request(self.tenant, &request).await?;
        Ok((token, until))
    }

    /// Begins a download, and counts it. `allowed`: whether the tenant's state lets requests be answered. Errors: `NoSuchLink`
    /// unless the token is the one; `LinkOver`.
    pub async fn use_link(&self, token: &Token, allowed: bool) -> Result<SubjectRequest, SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let found = directory.request(self.tenant, token.number()).await?;
        let mut request = found.filter(|request| is_of(token.hash(), request)).ok_or(SubjectError::NoSuchLink)?;
        let link = request.link.as_mut().filter(|link| allowed && self.is_good(link) && link.begun < DOWNLOADS_MAX);
        link.ok_or(SubjectError::LinkOver)?.begun += 1;
        directory.keep_request(self.tenant, &request).await?;
        Ok(request)
    }

    /// Ends a link: the last piece is about to leave. Errors: `LinkOver` when another download was faster, or it is over
    /// meanwhile.
    async fn spend_link(&self, number: u64, hash: [u8; 32]) -> Result<(), SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut request = self.request(number).await?;
        if !is_of(hash, &request) {
            return Err(SubjectError::LinkOver);
        }
        let link = request.link.as_mut().filter(|link| self.is_good(link)).ok_or(SubjectError::LinkOver)?;
        link.spent = Some(self.tenancy.clock.now().wall);
        let spent = Record::DsrLinkSpent { tenant: self.tenant, dsr: number };
        self.tenancy.audit.append(self.actor, spent).await?;
        Ok(directory.keep_request(self.tenant, &request).await?)
    }

    fn is_good(&self, link: &BundleLink) -> bool {
        link.spent.is_none() && !self.tenancy.clock.now().ended(link.until)
    }
}

fn is_of(hash: [u8; 32], request: &SubjectRequest) -> bool {
    request.link.as_ref().is_some_and(|link| bool::from(link.hash.ct_eq(&hash)))
}

/// The copy as it leaves by a link: its last piece only once the link is spent.
pub fn once(
    tenancy: Tenancy,
    by: Actor,
    token: &Token,
    bundle: BoxStream<'static, Result<Bytes, SubjectError>>,
) -> BoxStream<'static, Result<Bytes, SubjectError>> {
    let leaving =
        Leaving { tenancy, by, of: (token.tenant(), token.number(), token.hash()), bundle: Some(bundle), last: None };
    stream::unfold(leaving, |mut leaving| async move { Some((leaving.next().await?, leaving)) }).boxed()
}

struct Leaving {
    tenancy: Tenancy,
    by: Actor,
    of: (TenantId, u64, [u8; 32]),
    /// None: it ended, or broke off.
    bundle: Option<BoxStream<'static, Result<Bytes, SubjectError>>>,
    /// Held back, for it may be the last.
    last: Option<Bytes>,
}

impl Leaving {
    async fn next(&mut self) -> Option<Result<Bytes, SubjectError>> {
        loop {
            match self.bundle.as_mut()?.next().await {
                Some(Ok(piece)) => {
                    if let Some(before) = self.last.replace(piece) {
                        return Some(Ok(before));
                    }
                }
                Some(Err(error)) => {
                    self.bundle = None;
                    return Some(Err(error));
                }
                None => {
                    self.bundle = None;
                    let last = self.last.take()?;
                    return Some(self.spend().await.map(|()| last));
                }
            }
        }
    }

    async fn spend(&mut self) -> Result<(), SubjectError> {
        let (tenant, number, hash) = self.of;
        let desk = Desk { tenancy: &self.tenancy, actor: &self.by, tenant, because: None };
        desk.spend_link(number, hash).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_request_it_is_about_and_nobody_guesses_it() {
        let token = Token::new(TenantId([7; 16]), 17);
        let again = Token::parse(&token.text()).unwrap();
        assert_eq!((again.tenant(), again.number(), again.hash()), (TenantId([7; 16]), 17, token.hash()));
        assert_ne!(token.hash(), Token::new(TenantId([7; 16]), 17).hash());
        let text = token.text();
        for bad in ["", "00", &text[1..], &text[2..], &format!("{}00", *text), &text.replacen('0', "g", 1)] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
