//! What is said of a panic: where it was, never what it said. A panic's message may hold a name, or bytes of a request.

use std::panic;

/// From here on the process logs the place of a panic and nothing else. Call it once the logs have started.
pub fn watch_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location();
        let (file, line) = place.map_or(("?", 0), |place| (place.file(), place.line()));
        tracing::error!(target: "geoseal", file, line, "a panic, which is a bug of this program; its message is withheld");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m06_a_panics_place_is_logged_and_its_message_is_not() {
        let log = super::super::logs::tests::written_by(|| {
            let before = panic::take_hook();
            watch_panics();
            let caught = panic::catch_unwind(|| panic!("canary {}", 4711));
            panic::set_hook(before);
            assert!(caught.is_err());
        });
        assert!(log.contains("panics.rs") && log.contains("withheld"), "{log}");
        assert!(!log.contains("canary") && !log.contains("4711"), "{log}");
    }
}
