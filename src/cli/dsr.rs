//! `geoseal dsr …`: data subjects' requests. A subject's name is read from a file or from standard input, never taken as
//! an argument, and is in nothing that is printed.

use super::args::Dsr;
use super::client::Client;
use super::failure::Failure;
use super::files::failed;
use super::print::{Output, ask};
use super::work::work_on;
use crate::admin::wire::{EraseSubject, SubjectErasure};
use std::io::Read;
use std::path::Path;

/// Longest subject file that is read, in bytes: a name, and a line feed.
const SUBJECT_BYTES_MAX: u64 = 4096;

/// Runs one command.
pub(super) async fn dsr(client: &Client, output: Output, command: Dsr) -> Result<(), Failure> {
    let Dsr::Erase { tenant, subject_file, confirm, long } = command;
    let subject = subject(&subject_file)?;
    let asked = || ask(&format!("This erases a data subject of {tenant} for good. The tenant's name, to confirm:"));
    let confirm = confirm.or_else(|| if long.dry_run { None } else { asked() });
    if confirm.is_none() && !long.dry_run {
        return Err(Failure::Usage("this erases for good: give the tenant's name with --confirm".into()));
    }
    work_on(client, output, &["tenants", &tenant, "dsrs", "erase"], &EraseSubject { subject, confirm }, long).await
}

/// The one line of a file.
pub(super) fn subject(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(SUBJECT_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(SUBJECT_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| failed(file, &e))?;
    let name = text.strip_suffix('\n').unwrap_or(&text);
    let name = name.strip_suffix('\r').unwrap_or(name);
    if name.is_empty() || name.contains('\n') {
        return Err(Failure::Usage(format!("{} holds one name, on one line", file.display())));
    }
    Ok(name.to_owned())
}

/// What was done, in a sentence.
pub(super) fn erased(e: &SubjectErasure) -> String {
    let (Some(subject), Some(level)) = (&e.subject, &e.level) else {
        return "there is no such data subject: nothing was changed".into();
    };
    let SubjectErasure { objects, uploads, blobs, files_scanned, salts_found, .. } = e;
    format!(
        "erased {subject}: {objects} objects, {uploads} uploads, {blobs} blobs; key destroyed, {level}: {files_scanned} \
         files read, {salts_found} traces"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_file_holds_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subject");
        for (text, want) in [("contact:4711", "contact:4711"), ("contact:4711\n", "contact:4711"), ("é\r\n", "é")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(subject(&file).unwrap(), want);
        }
        for bad in ["", "\n", "one\ntwo\n"] {
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(subject(&file), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
