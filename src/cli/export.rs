//! `geoseal export`: a tenant's sealed data into a directory that can be read without this software, its keys into a file
//! of their own.
//!
//! Nothing is left of an export that failed: files are written beside the directory that was asked for, and take its
//! name only when everything is there.

use super::args::Export;
use super::client::{Client, How, Reply};
use super::failure::Failure;
use super::files::failed;
use super::print::{Output, ask, progress};
use super::tenants::show;
use crate::admin::wire::{self, ExportReport};
use crate::model::ids::{OperationId, SegmentId};
use futures::TryStreamExt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Longest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 1 << 30;

/// Runs the command.
pub(super) async fn export(client: &Client, output: Output, args: Export) -> Result<(), Failure> {
    let Export { tenant, out, bucket, key_file, confirm, dry_run } = args;
    let body = wire::Export { bucket };
    if dry_run {
        let how = How { dry_run, revision: None };
        let reply: Reply<()> = client.post(&["tenants", &tenant, "export"], &body, how).await?;
        return show(output, reply, |()| String::new());
    }
    let asked = || ask(&format!("The key file opens everything of {tenant}. The tenant's name, to confirm:"));
    let confirm = confirm.or_else(asked);
    let confirm = confirm
        .ok_or_else(|| Failure::Usage("this hands out a tenant's key: give the tenant's name with --confirm".into()))?;
    if key_file.exists() {
        return Err(Failure::Usage(format!("{} exists: it is not overwritten", key_file.display())));
    }
    let keys_path = ["tenants", tenant.as_str(), "export", "keys"];
    let confirmed = wire::RevealExportKeys { confirm };
    // Refused here, nothing has left yet.
    let _: Reply<()> = client.post(&keys_path, &confirmed, How { dry_run: true, revision: None }).await?;
    let part = Part::beside(&out)?;
    let reply = client.post_for_stream(&["tenants", &tenant, "export"], &body).await?;
    let bar = progress("export");
    let counted = bar.clone();
    let bytes = reply.bytes_stream().map_err(io::Error::other).inspect_ok(move |piece| counted.inc(piece.len() as u64));
    let archive = SyncIoBridge::new(StreamReader::new(bytes));
    let below = part.path.clone();
    let unpacked = tokio::task::spawn_blocking(move || unpack(archive, &below)).await;
    bar.finish_and_clear();
    let (report, version) = unpacked.map_err(|_| Failure::Failed("a worker stopped".into()))??;
    let how = How { dry_run: false, revision: None };
    let keys = match client.post(&keys_path, &confirmed, how).await? {
        Reply::Done::<wire::ExportKeys>(keys) => keys,
        Reply::Planned(_) => return Err(Failure::Failed("the answer is not from a geoseal admin API".into())),
    };
    if keys.version != version {
        return Err(Failure::Failed("the tenant's key was rotated while the export was made: run it again".into()));
    }
    write_keys(&key_file, &keys)?;
    if let Err(failure) = part.take_name() {
        // Keys without what they open are of no use to anybody honest.
        fs::remove_file(&key_file).map_err(|e| failed(&key_file, &e))?;
        return Err(failure);
    }
    output.result(&report, |r| {
        let unfinished = match r.uploads {
            0 => String::new(),
            uploads => format!("; {uploads} uploads in progress, {} parts, not in it", r.parts),
        };
        let (out, keys) = (out.display(), key_file.display());
        format!("{} objects, {} bytes in {out}; its keys in {keys}{unfinished}", r.objects, r.bytes)
    })?;
    match report.damaged {
        0 => Ok(()),
        n => {
            Err(Failure::Unfit(format!("{n} objects did not verify and are not in the export; the audit log has them")))
        }
    }
}

/// A directory under construction, removed unless it takes its name.
struct Part {
    path: PathBuf,
    out: PathBuf,
    done: bool,
}

impl Part {
    fn beside(out: &Path) -> Result<Self, Failure> {
        let empty = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed(out, &error)),
        };
        if !empty {
            return Err(Failure::Usage(format!("{} is not empty", out.display())));
        }
        let name = out.file_name().ok_or_else(|| Failure::Usage("--out names a directory to make".into()))?;
        let mut beside = name.to_owned();
        beside.push(format!(".partial-{}", OperationId::random()));
        let path = out.with_file_name(beside);
        let part = Self { path, out: out.to_owned(), done: false };
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&part.path).and_then(|()| make(&part.path.join("blobs"))).map_err(|e| failed(&part.path, &e))?;
        Ok(part)
    }

    fn take_name(mut self) -> Result<(), Failure> {
        let sync = |path: &Path| File::open(path).and_then(|dir| dir.sync_all());
        sync(&self.path.join("blobs")).and_then(|()| sync(&self.path)).map_err(|e| failed(&self.path, &e))?;
        // An empty directory may be in its place; rename replaces it.
        fs::rename(&self.path, &self.out).map_err(|e| failed(&self.out, &e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            // Whatever cannot be removed is sealed all the same.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes the archive's files, which must have the names that an export has; answers the report, and the version of the
/// key that the manifest is under.
fn unpack(archive: impl Read, below: &Path) -> Result<(ExportReport, u32), Failure> {
    let cut = |_| Failure::Unreachable("the export broke off; nothing of it was kept".into());
    let mut archive = tar::Archive::new(archive);
    let (mut report, mut version, mut manifest) = (None, None, false);
    for entry in archive.entries().map_err(cut)? {
        let mut entry = entry.map_err(cut)?;
        let path = entry.path_bytes().into_owned();
        match path.as_slice() {
            b"export.json" => {
                let mut json = Vec::new();
                Read::by_ref(&mut entry).take(REPORT_BYTES_MAX).read_to_end(&mut json).map_err(cut)?;
                report = Some(serde_json::from_slice::<ExportReport>(&json).map_err(|_| strange())?);
            }
            b"manifest.rec" => {
                let mut record = Vec::new();
                Read::by_ref(&mut entry).take(1024).read_to_end(&mut record).map_err(cut)?;
                let parent = record.get(12..16).and_then(|v| v.try_into().ok()).ok_or_else(strange)?;
                version = Some(u32::from_be_bytes(parent));
                write(&below.join("manifest.rec"), &mut record.as_slice())?;
            }
            b"manifest.seg" => {
                write(&below.join("manifest.seg"), &mut entry)?;
                manifest = true;
            }
            path => write(&below.join(blob_path(path)?), &mut entry)?,
        }
    }
    let (Some(report), Some(version), true) = (report, version, manifest) else {
        return Err(Failure::Unreachable("the export broke off; nothing of it was kept".into()));
    };
    for segment in &report.discard {
        let segment: SegmentId = segment.parse().map_err(|_| strange())?;
        let path = below.join(format!("blobs/{segment}.seg"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path, &error)),
            _ => {}
        }
    }
    Ok((report, version))
}

/// `blobs/<32 hexadecimal digits>.seg` and nothing else: no path of somebody else's choosing is written to.
fn blob_path(path: &[u8]) -> Result<String, Failure> {
    let inside = || std::str::from_utf8(path).ok()?.strip_prefix("blobs/")?.strip_suffix(".seg");
    let segment: SegmentId = inside().and_then(|id| id.parse().ok()).ok_or_else(strange)?;
    Ok(format!("blobs/{segment}.seg"))
}

fn strange() -> Failure {
    Failure::Failed("the answer is not an export of a geoseal server".into())
}

fn write(path: &Path, content: &mut impl Read) -> Result<(), Failure> {
    let mut file = new_file(path).map_err(|e| failed(path, &e))?;
    io::copy(content, &mut file).and_then(|_| file.sync_all()).map_err(|e| failed(path, &e))
}

/// Never over a file that is there, and readable by its owner only.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_keys(path: &Path, keys: &wire::ExportKeys) -> Result<(), Failure> {
    let text = zeroize::Zeroizing::new(format!("{}\n{}\n", keys.tenant_key, keys.subject_wrap_key));
    let mut file = new_file(path).map_err(|e| failed(path, &e))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<(ExportReport, u32), Failure> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        unpack(bytes, dir.path())
    }

    #[test]
    fn an_archive_without_its_end_and_one_with_other_files_are_refused() {
        let id = "ab".repeat(16);
        let blob = format!("blobs/{id}.seg");
        let report = format!(r#"{{"objects":1,"bytes":2,"damaged":0,"discard":["{id}"]}}"#);
        let whole: [(&str, &[u8]); 4] = [
            (&blob, &[7; 3000]),
            ("manifest.rec", &[&[0; 15][..], &[3; 137]].concat()),
            ("manifest.seg", b"segment"),
            ("export.json", report.as_bytes()),
        ];
        let bytes = archive(&whole);
        assert_eq!(unpacked(&bytes).unwrap().1, 3);
        for left_out in 1..4 {
            let some: Vec<_> = whole.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, f)| *f).collect();
            assert!(unpacked(&archive(&some)).is_err(), "{left_out}");
        }
        for cut in [0, 100, 512, 2000, 4000, 4700] {
            assert!(unpacked(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for path in ["../escape", "/etc/escape", "blobs/../../escape.seg", "blobs/short.seg", "else"] {
            let error = unpacked(&archive(&[&[(path, &b"x"[..])], &whole[..]].concat()));
            assert!(matches!(error, Err(Failure::Failed(_))), "{path}");
        }
    }

    #[test]
    fn what_did_not_end_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("export");
        drop(Part::beside(&out).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let (first, second) = (Part::beside(&out).unwrap(), Part::beside(&out).unwrap());
        first.take_name().unwrap();
        second.take_name().unwrap_err();
        assert!(Part::beside(&out).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [out]);
    }
}
