//! Classes of data, purposes of its use, and the features that own some of the classes: three closed lists. A dataset
//! class stands in an object's user metadata, [`CLASS_METADATA`].

use std::fmt;

/// The user metadata that says which class of data an object is: `x-amz-meta-geoseal-class`.
pub const CLASS_METADATA: &str = "geoseal-class";
/// The user metadata that commits a watermark: the end of the newest hour whose interactions a job has consumed, RFC 3339.
pub const WATERMARK_METADATA: &str = "geoseal-watermark";
/// The user metadata that goes with it: the beginning of the oldest hour that it has consumed, RFC 3339.
pub const WATERMARK_FROM_METADATA: &str = "geoseal-watermark-from";
/// The user metadata that goes with it: when the job began to look, RFC 3339.
pub const SEEN_METADATA: &str = "geoseal-seen";
/// The user metadata that names the message of an interaction: `x-amz-meta-geoseal-message`.
pub const MESSAGE_METADATA: &str = "geoseal-message";
/// The user metadata that says when an interaction occurred, RFC 3339.
pub const OCCURRED_METADATA: &str = "geoseal-occurred";
/// The user metadata that registers an interaction's message as followed: `true`.
pub const FOLLOW_METADATA: &str = "geoseal-follow";
/// The user metadata that says who tracked a message: `x-amz-meta-geoseal-actor`.
pub const ACTOR_METADATA: &str = "geoseal-actor";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $n:literal $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, minicbor::Encode, minicbor::Decode)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$variant_doc])* #[n($n)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As people and the wire write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// From what people write; `None` when it is not on the list.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What kind of data an object is. Source: docs/features.md, "Classes".
    Class {
        /// One recipient's act on one message: an open, a click, a reply.
        0 Interaction = "interaction",
        /// A message that a user tracked into a shared activity.
        1 TrackedActivity = "tracked-activity",
        /// Excerpts that are looked at and never kept: an object of this class is refused.
        2 Transient = "transient",
        /// Contacts.
        3 Contact = "contact",
        /// Leads.
        4 Lead = "lead",
        /// Opportunities.
        5 Opportunity = "opportunity",
        /// Accounts.
        6 Account = "account",
        /// Activities.
        7 Activity = "activity",
        /// Descriptions of other data.
        8 Metadata = "metadata",
        /// Figures that a job made of interactions.
        9 Kpi = "kpi",
    }
}

words! {
    /// What data may be used for. Source: docs/features.md, "Purposes".
    Purpose {
        /// Figures about recipients' activity.
        0 Kpi = "kpi",
        /// Training of models.
        1 Training = "training",
        /// Scoring by models.
        2 Scoring = "scoring",
        /// Support.
        3 Support = "support",
    }
}

words! {
    /// A feature that an administrator enables for a tenant, with a consent. Source: docs/features.md.
    Feature {
        /// Engagement with e-mail: opens, clicks, replies.
        0 EmailEngagement = "email-engagement",
    }
}

impl Class {
    /// The feature without which objects of this class are neither taken nor given.
    pub const fn feature(self) -> Option<Feature> {
        match self {
            Self::Interaction | Self::TrackedActivity => Some(Feature::EmailEngagement),
            _ => None,
        }
    }

    /// Whether objects of this class have a lifetime.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Interaction)
    }

    /// The class that an object's metadata names, as the store wrote it.
    pub fn of(metadata: &[(String, String)]) -> Option<Self> {
        let named = metadata.iter().find(|(name, _)| name == CLASS_METADATA)?;
        Self::parse(&named.1)
    }
}
