//! Versions of keys whose day has come: destroyed with the sweep. When, the sweeper knows; how, the conductor of rotation.
//! It asks through [`KeyEnds`], answered by `app`.

use crate::audit::Actor;

/// Who can destroy a version of a key on its day.
#[async_trait::async_trait]
pub trait KeyEnds: Send + Sync + 'static {
    /// Destroys those of a geo; without an actor only says what would come of it.
    async fn end_due(&self, geo: &str, actor: Option<&Actor>) -> Ended;
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Versions destroyed.
    pub destroyed: u64,
    /// What stays until the next sweep, and why, in opaque ids.
    pub stay: Vec<String>,
}
