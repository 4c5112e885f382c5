//! How the process says "no more": one switch, any number of listeners to it.

use tokio::sync::watch;

/// The switch. Dropping it drains, too: nobody is left who could.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

/// Tells when the switch was thrown.
#[derive(Debug, Clone)]
pub struct DrainToken(watch::Receiver<bool>);

impl Drain {
    /// A switch that has not been thrown.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Another listener to it.
    pub fn token(&self) -> DrainToken {
        DrainToken(self.0.subscribe())
    }

    /// Throws the switch, for good.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl DrainToken {
    /// Returns once draining has begun.
    pub async fn started(&mut self) {
        // An error means that the switch is gone, which counts as thrown.
        _ = self.0.wait_for(|started| *started).await;
    }

    /// Whether draining has begun.
    pub fn has_started(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_see_the_switch_thrown_or_dropped() {
        let drain = Drain::new();
        let (mut a, mut b) = (drain.token(), drain.token());
        assert!(!a.has_started());
        drain.start();
        a.started().await;
        b.started().await;
        assert!(b.has_started());
        let dropped = Drain::new();
        let mut c = dropped.token();
        drop(dropped);
        c.started().await;
        assert!(c.has_started());
    }
}
