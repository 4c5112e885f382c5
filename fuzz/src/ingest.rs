//! A batch of events is read or refused; what is taken of it can be stored, and says the same when it stands alone.

use geoseal::ingest::Form;

/// `data` is tried as a batch, and as one event.
pub fn check(data: &[u8]) {
    for form in [Form::Single, Form::Batch] {
        let Ok(events) = form.read(data) else { continue };
        assert!(events.len() <= 1000, "as many as there may be");
        for event in events.iter().flatten() {
            let inside = data.as_ptr_range().contains(&event.bytes.as_ptr());
            assert!(inside && event.bytes.len() <= data.len(), "the event as it came");
            assert!(event.name.as_str().starts_with("interactions/dt=") && event.name.as_str().ends_with(".json"));
            let bytes: usize = event.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(bytes <= 2048, "metadata that an upload can have");
            assert!(event.metadata.iter().all(|(_, value)| !value.contains(char::is_control) && value.trim() == value));
            let alone = Form::Single.read(event.bytes.as_bytes()).expect("it was JSON");
            assert!(alone[0].as_ref().is_ok_and(|alone| alone == event), "an event changed when it was taken out");
        }
    }
}
