//! Opaque identifiers: 16 random bytes each, never derived from a name. They may stand in clear in logs, the audit
//! log and the engine's rows. Source: docs/object-format.md, "Identifiers".

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::str::FromStr;

/// The text was not 32 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an id is 32 hexadecimal digits")]
pub struct BadId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh random id from the operating system's generator.
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BadId)?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| minicbor::decode::Error::message("an id is 16 bytes"))
            }
        }
    };
}

id!(
    /// One tenant, for good: never used again after the tenant is purged.
    TenantId
);
id!(
    /// One bucket of one tenant.
    BucketId
);
id!(
    /// One object: stays the same over its versions.
    ObjectId
);
id!(
    /// One version of one object.
    VersionId
);
id!(
    /// One sealed segment, and so one blob or inline row.
    SegmentId
);
id!(
    /// One data key.
    DekId
);
id!(
    /// One multipart upload.
    UploadId
);
id!(
    /// One data subject of one tenant.
    SubjectId
);
id!(
    /// One long piece of work that an administrator started.
    OperationId
);
