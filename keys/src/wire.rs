//! Requests and replies as bytes on a link.
//!
//! A frame is `u32 length | body`, big endian; a body is CBOR of [`Asked`] or [`Answered`]. A length beyond the bound ends
//! the link before anything is read; memory is taken as bytes arrive, never as a length promises. Buffers that held
//! keys are cleared.

use crate::authority::{Reply, Request};
use crate::context::Id;
use crate::error::{KeyError, KeyringError, KeystoreError, OpenClass, OpenError, ProviderError, Refusal};
use crate::grant::{Grant, SubjectGrant};
use crate::material::Secret;
use crate::purposes::Purposes;
use crate::record::KeyName;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write as Out};
use minicbor::{Decode, Decoder, Encode, Encoder};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// The version of requests and replies; both ends must have the same.
const VERSION: u8 = 1;
/// The longest request: what is asked to be signed is the longest part of one.
pub(crate) const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// The longest reply: a status of a hundred thousand tenants.
pub(crate) const REPLY_BYTES_MAX: u32 = 64 << 20;
/// What is set aside for a frame before its first byte: more than any lease has.
const BYTES_FIRST: usize = 64 << 10;

/// One request, and for the keys of which geo.
#[derive(Encode, Decode)]
pub(crate) struct Asked {
    #[n(0)]
    version: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) geo: Id,
    #[n(2)]
    pub(crate) request: Request,
}

#[derive(Encode, Decode)]
struct Answered {
    #[n(0)]
    version: u8,
    #[n(1)]
    answer: Answer,
}

#[derive(Encode, Decode)]
enum Answer {
    #[n(0)]
    Given(#[n(0)] Reply),
    #[n(1)]
    Failed(#[n(0)] Failure),
}

/// [`KeyError`] without what only the service's own log needs.
#[derive(Encode, Decode)]
enum Failure {
    #[n(0)]
    Open(#[n(0)] OpenClass),
    #[n(1)]
    Unknown,
    #[n(2)]
    Exists,
    #[n(3)]
    Suspended,
    #[n(4)]
    Destroyed,
    #[n(5)]
    Refused(#[n(0)] Refusal),
    #[n(6)]
    ProviderUnreachable,
    #[n(7)]
    ProviderRefused,
    #[n(8)]
    ProviderWrong,
    #[n(9)]
    Keyring,
    #[n(10)]
    Store,
    #[n(11)]
    StoreDamaged,
    #[n(12)]
    StoreRolledBack,
    #[n(13)]
    Exhausted,
    #[n(14)]
    Unreachable,
    #[n(15)]
    Protocol,
    #[n(16)]
    TooOften,
}

impl From<&KeyError> for Failure {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::Open(error) => Self::Open(error.class()),
            KeyError::Unknown => Self::Unknown,
            KeyError::Exists => Self::Exists,
            KeyError::Suspended => Self::Suspended,
            KeyError::Destroyed => Self::Destroyed,
            KeyError::Refused(refusal) => Self::Refused(*refusal),
            KeyError::Provider(ProviderError::Unreachable | ProviderError::Setup(_)) => Self::ProviderUnreachable,
            KeyError::Provider(ProviderError::Refused) => Self::ProviderRefused,
            KeyError::Provider(ProviderError::Wrong) => Self::ProviderWrong,
            KeyError::Provider(ProviderError::Keyring(_)) => Self::Keyring,
            KeyError::Store(KeystoreError::Damaged) => Self::StoreDamaged,
            KeyError::Store(KeystoreError::RolledBack) => Self::StoreRolledBack,
            KeyError::Store(_) => Self::Store,
            KeyError::Exhausted => Self::Exhausted,
            KeyError::Unreachable => Self::Unreachable,
            KeyError::Protocol => Self::Protocol,
            KeyError::TooOften => Self::TooOften,
        }
    }
}

impl From<Failure> for KeyError {
    fn from(failure: Failure) -> Self {
        let other = io::ErrorKind::Other;
        match failure {
            Failure::Open(class) => OpenError::new(class).into(),
            Failure::Unknown => Self::Unknown,
            Failure::Exists => Self::Exists,
            Failure::Suspended => Self::Suspended,
            Failure::Destroyed => Self::Destroyed,
            Failure::Refused(refusal) => refusal.into(),
            Failure::ProviderUnreachable => ProviderError::Unreachable.into(),
            Failure::ProviderRefused => ProviderError::Refused.into(),
            Failure::ProviderWrong => ProviderError::Wrong.into(),
            Failure::Keyring => ProviderError::Keyring(KeyringError::Io(other)).into(),
            Failure::Store => KeystoreError::Io(other).into(),
            Failure::StoreDamaged => KeystoreError::Damaged.into(),
            Failure::StoreRolledBack => KeystoreError::RolledBack.into(),
            Failure::Exhausted => Self::Exhausted,
            Failure::Unreachable => Self::Unreachable,
            Failure::Protocol => Self::Protocol,
            Failure::TooOften => Self::TooOften,
        }
    }
}

/// The frame's body of a request.
pub(crate) fn request_to_bytes(geo: Id, request: Request) -> Vec<u8> {
    to_bytes(&Asked { version: VERSION, geo, request }).to_vec()
}

/// A request as it arrived.
pub(crate) fn request_from_bytes(body: &[u8]) -> Result<Asked, KeyError> {
    let asked: Asked = from_bytes(body)?;
    if asked.version == VERSION { Ok(asked) } else { Err(KeyError::Protocol) }
}

/// The frame's body of an answer; cleared when dropped.
pub(crate) fn answer_to_bytes(answer: Result<Reply, KeyError>) -> Zeroizing<Vec<u8>> {
    let answer = match answer {
        Ok(reply) => Answer::Given(reply),
        Err(error) => Answer::Failed(Failure::from(&error)),
    };
    to_bytes(&Answered { version: VERSION, answer })
}

/// An answer as it arrived.
pub(crate) fn answer_from_bytes(body: &[u8]) -> Result<Reply, KeyError> {
    let answered: Answered = from_bytes(body)?;
    match answered.answer {
        _ if answered.version != VERSION => Err(KeyError::Protocol),
        Answer::Given(reply) => Ok(reply),
        Answer::Failed(failure) => Err(failure.into()),
    }
}

fn to_bytes<T: Encode<()>>(value: &T) -> Zeroizing<Vec<u8>> {
    // Room from the start for whatever holds keys: a buffer that grows leaves a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(BYTES_FIRST));
    minicbor::encode(value, &mut *out).expect("writing to memory does not fail");
    out
}

fn from_bytes<'b, T: Decode<'b, ()>>(body: &'b [u8]) -> Result<T, KeyError> {
    let mut decoder = Decoder::new(body);
    let value = decoder.decode().map_err(|_| KeyError::Protocol)?;
    if decoder.position() == body.len() { Ok(value) } else { Err(KeyError::Protocol) }
}

/// Writes one frame.
pub(crate) fn write_frame(link: &mut (impl Write + ?Sized), body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    link.write_all(&length.to_be_bytes())?;
    link.write_all(body)?;
    link.flush()
}

/// Reads one frame of at most `bytes_max`; cleared when dropped. `None` when the link ended between two frames.
pub(crate) fn read_frame(link: &mut (impl Read + ?Sized), bytes_max: u32) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut length = [0; 4];
    match link.read(&mut length)? {
        0 => return Ok(None),
        some => link.read_exact(&mut length[some..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Zeroizing::new(Vec::with_capacity(BYTES_FIRST.min(length as usize)));
    link.take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() as u64 == u64::from(length) { Ok(Some(body)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

impl<C> Encode<C> for Secret {
    fn encode<W: Out>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(self.bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes = d.bytes()?;
        Self::try_filled(|secret| {
            *secret = bytes.try_into().map_err(|_| DecodeError::message("a key has 32 bytes"))?;
            Ok(())
        })
    }
}

impl<C> Encode<C> for Grant {
    fn encode<W: Out>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(3)?.bytes(&self.tenant)?.bytes(&self.geo)?;
        self.purposes.encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for Grant {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        array(d, 3)?;
        Ok(Self { tenant: id(d)?, geo: id(d)?, purposes: Purposes::decode(d, c)? })
    }
}

impl<C> Encode<C> for SubjectGrant {
    fn encode<W: Out>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?;
        self.name.encode(e, c)?;
        self.secret.encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for SubjectGrant {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        array(d, 2)?;
        Ok(Self { name: KeyName::decode(d, c)?, secret: Secret::decode(d, c)? })
    }
}

fn array(d: &mut Decoder<'_>, len: u64) -> Result<(), DecodeError> {
    if d.array()? == Some(len) { Ok(()) } else { Err(DecodeError::message("an array of another length")) }
}

fn id(d: &mut Decoder<'_>) -> Result<Id, DecodeError> {
    d.bytes()?.try_into().map_err(|_| DecodeError::message("an id has 16 bytes"))
}

/// A text that is cleared when dropped.
pub(crate) mod text {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Out, Zeroizing};

    pub(crate) fn encode<C, W: Out>(
        text: &Zeroizing<String>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.str(text)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Zeroizing<String>, DecodeError> {
        Ok(Zeroizing::new(d.str()?.to_owned()))
    }
}
