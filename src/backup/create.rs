//! Makes a backup while the server serves.
//!
//! Order, and why what comes back is a state that the server could have been in:
//!
//! 1. deletes of blobs are held back: whatever a row of the moment names is still there when its blob is copied
//! 2. heads (index anchors, the log's): a head may be older than what it tells of, never newer
//! 3. the moment: commits pause while a snapshot of every index and then of the directory is taken; that is all the
//!    server's clients can notice, and it takes no longer than a commit
//! 4. the key store: it has every key that a row of the moment needs, because keys are made before rows are sealed
//!    under them, and since the moment none was destroyed (if one was, 2 to 4 are done again)
//! 5. at leisure: rows out of the snapshots, the audit log up to the head of step 2 or a little beyond, blobs
//! 6. the manifest, signed; then the entry in the log; held deletes are carried out, also when something failed
//!
//! The caller keeps the sweeper off. A crash leaves a directory without a manifest, which no restore takes, and blobs
//! that the collector finds.

use super::manifest::{FilePart, KeystorePart, Manifest, RegionPart};
use super::{BackupError, files, rows};
use crate::audit::{Actor, AuditLog, Event as Record, Hash};
use crate::directory::Directory;
use crate::index::engine::Snapshot;
use crate::model::clock::Clock;
use crate::model::ids::{OperationId, SegmentId};
use crate::model::time::Millis;
use crate::regions::RegionRoots;
use crate::seal::KeystoreCopy;
use futures::TryStreamExt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often a moment is taken anew because a key was destroyed in it.
const MOMENTS_MAX: usize = 5;

/// What is to be backed up.
pub struct Source {
    /// The served geos.
    pub geos: Vec<GeoSource>,
    /// Small files of the data directory that are kept as they are: the clock's.
    pub files: Vec<PathBuf>,
    /// By which time.
    pub clock: Arc<dyn Clock>,
    /// Link blobs instead of copying them.
    pub link: bool,
}

/// One geo of it.
pub struct GeoSource {
    /// Its directory, and through it its keys.
    pub directory: Arc<Directory>,
    /// Its log.
    pub audit: Arc<AuditLog>,
    /// Where the log's files lie.
    pub audit_dir: PathBuf,
    /// Where its certificates lie.
    pub certificates: PathBuf,
    /// Its served regions.
    pub regions: Vec<Arc<RegionRoots>>,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// Of which moment it is.
    pub at: Millis,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 over the SHA-256s of the manifests, or that of the only one.
    pub manifest: Hash,
}

/// Makes a backup in `out`, an absolute path that does not exist or is empty. `told` learns the phase, and how many steps
/// of it are done.
pub async fn create(
    source: Source,
    out: &Path,
    by: &Actor,
    told: impl Fn(&'static str, u64) + Send + Sync + 'static,
) -> Result<Made, BackupError> {
    let empty = out.to_owned();
    blocking(move || files::make_empty(&empty)).await?;
    let regions: Vec<_> = source.geos.iter().flat_map(|geo| geo.regions.iter().cloned()).collect();
    regions.iter().for_each(|roots| roots.blobs.hold_deletes());
    let made = make(&source, out, by, &told).await;
    for roots in regions {
        if let Err(error) = roots.blobs.release_deletes().await {
            tracing::warn!(region = roots.region.id, %error, "deletes that waited for a backup are left to the collector");
        }
    }
    made
}

async fn make(
    source: &Source,
    out: &Path,
    by: &Actor,
    told: &(impl Fn(&'static str, u64) + Send + Sync),
) -> Result<Made, BackupError> {
    let id = OperationId::random().to_string();
    let at = source.clock.now().cc_lo;
    let (mut made, mut hashes) =
        (Made { id: id.clone(), at, rows: 0, blobs: 0, bytes: 0, manifest: Hash([0; 32]) }, Vec::new());
    for geo in &source.geos {
        let dir = out.join(geo.directory.geo().id);
        let manifest = one(source, geo, &dir, &id, at, told).await?;
        let (keys, kept, signed) = (geo.directory.key_service().clone(), dir.clone(), manifest.clone());
        let hash = blocking(move || {
            let hash = signed.keep(&kept, &*keys)?;
            files::sync_dirs(&kept)?;
            Ok(hash)
        })
        .await?;
        geo.audit.append(by, Record::BackupMade { backup: id.clone(), manifest: hash }).await?;
        hashes.push(hash);
        made.rows += manifest.rows;
        made.blobs += manifest.blobs;
        made.bytes += manifest.bytes;
    }
    made.manifest = match hashes.as_slice() {
        [only] => *only,
        several => Hash::of(&several.iter().map(|hash| &hash.0[..]).collect::<Vec<_>>()),
    };
    Ok(made)
}

/// The state of one geo at one moment.
struct Moment {
    directory: Box<dyn Snapshot>,
    regions: Vec<Box<dyn Snapshot>>,
    keystore: KeystoreCopy,
}

async fn one(
    source: &Source,
    geo: &GeoSource,
    dir: &Path,
    id: &str,
    at: Millis,
    told: &(impl Fn(&'static str, u64) + Send + Sync),
) -> Result<Manifest, BackupError> {
    told("key store", 0);
    let moment = moment(geo, dir, id).await?;
    let (audit_from, audit_to) = (geo.audit_dir.clone(), dir.join("audit"));
    let (log, certificates) = (geo.audit.clone(), (geo.certificates.clone(), dir.join("certificates")));
    let small: Vec<_> = source.files.clone();
    let clock_dir = dir.join("clock");
    blocking(move || {
        copy_log(&log, &audit_from, &audit_to)?;
        for file in files::below(&certificates.0)? {
            files::copy(&certificates.0.join(&file), &certificates.1.join(&file))?;
        }
        for file in small.iter().filter(|file| file.is_file()) {
            files::copy(file, &clock_dir.join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    })
    .await?;
    told("rows", 0);
    let table = dir.join("directory.rows");
    let mut rows = blocking(move || rows::write(&table, &*moment.directory)).await?;
    let mut regions = Vec::new();
    let (mut blobs, mut bytes) = (0, 0);
    for (roots, snapshot) in geo.regions.iter().zip(moment.regions) {
        told("rows", rows);
        let place = dir.join("region").join(roots.region.id);
        let table = place.join("index.rows");
        let of_region = blocking(move || rows::write(&table, &*snapshot)).await?;
        rows += of_region;
        let copied = copy_blobs(roots, &place, source.link, told).await?;
        regions.push(RegionPart {
            id: roots.region.id.to_owned(),
            rows: of_region,
            blobs_kept: copied.is_some(),
            blobs: copied.map_or(0, |(count, _)| count),
        });
        blobs += copied.map_or(0, |(count, _)| count);
        bytes += copied.map_or(0, |(_, bytes)| bytes);
    }
    let inside = dir.to_owned();
    let files = blocking(move || {
        let listed = files::below(&inside)?.into_iter().filter(|path| !is_blob(path));
        listed.map(|path| FilePart::of(&inside, &path)).collect::<Result<Vec<_>, _>>()
    })
    .await?;
    bytes += files.iter().map(|file| file.bytes).sum::<u64>();
    let KeystoreCopy { note, generation, shreds } = moment.keystore;
    let mut not_in_it = vec![
        "the keyring, or whatever else keeps the master keys: without it nothing of this opens".to_owned(),
        "the newest shred log (keystore.shreds) and the keyring's witness: bring them, too".to_owned(),
        "settings, certificates of listeners, tokens".to_owned(),
    ];
    not_in_it.extend(
        regions
            .iter()
            .filter(|region| !region.blobs_kept)
            .map(|region| format!("blobs of {}: in their own store", region.id)),
    );
    Ok(Manifest {
        format: 1,
        id: id.to_owned(),
        geo: geo.directory.geo().id.to_owned(),
        at: at.to_string(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        keystore: KeystorePart { generation, master: note.master, shreds: shreds.counter },
        regions,
        files,
        rows,
        blobs,
        bytes,
        not_in_it,
    })
}

/// Steps 2 to 4.
async fn moment(geo: &GeoSource, dir: &Path, id: &str) -> Result<Moment, BackupError> {
    for _ in 0..MOMENTS_MAX {
        let (keys, keystore) = (geo.directory.key_service().clone(), dir.join("keystore"));
        let heads = dir.join("heads");
        let begun = blocking(move || {
            // Of a moment that was none.
            let _ = std::fs::remove_dir_all(&keystore);
            let _ = std::fs::remove_dir_all(&heads);
            let _ = std::fs::remove_file(keystore.with_extension("shreds"));
            keys.backup_heads(utf8(&heads)?)?;
            Ok(keys.shred_head()?)
        })
        .await?;
        let (regions, directory) = {
            let _still = geo.directory.pause_commits().await;
            let regions = geo.regions.iter().map(|roots| roots.index.snapshot()).collect::<Result<Vec<_>, _>>()?;
            (regions, geo.directory.engine().snapshot()?)
        };
        let (keys, keystore, id) = (geo.directory.key_service().clone(), dir.join("keystore"), id.to_owned());
        let copied = blocking(move || Ok(keys.backup_keystore(utf8(&keystore)?, &id)?)).await?;
        if copied.shreds == begun {
            return Ok(Moment { directory, regions, keystore: copied });
        }
    }
    Err(BackupError::Unquiet)
}

fn utf8(path: &Path) -> Result<&str, BackupError> {
    path.to_str().ok_or_else(|| BackupError::Place { path: path.to_owned(), why: "its name is not UTF-8" })
}

/// The log's files up to its head, entry for entry as they stand.
fn copy_log(log: &AuditLog, from: &Path, to: &Path) -> Result<(), BackupError> {
    let head = log.head();
    files::make_dir(to)?;
    let mut index = 0;
    for file in files::below(from)? {
        let text = std::fs::read(from.join(&file)).map_err(files::disk(from))?;
        let mut kept = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if index == head.entries {
                break;
            }
            kept.extend_from_slice(line);
            index += 1;
        }
        if !kept.is_empty() {
            files::write(&to.join(&file), &kept)?;
        }
    }
    Ok(())
}

/// Copies a region's blobs and lists them: `sha256 length id` in a line each. `None` where they are not on this machine.
async fn copy_blobs(
    roots: &Arc<RegionRoots>,
    place: &Path,
    link: bool,
    told: &(impl Fn(&'static str, u64) + Send + Sync),
) -> Result<Option<(u64, u64)>, BackupError> {
    if roots.blobs.file_of(SegmentId([0; 16])).is_none() {
        return Ok(None);
    }
    let ids: Vec<_> = roots.blobs.list().map_ok(|blob| blob.id).try_collect().await?;
    let list = place.join("blobs.list");
    let mut listed = Some(BufWriter::new(files::create(&list)?));
    let (mut count, mut bytes) = (0, 0);
    for step in ids.chunks(256) {
        told("blobs", count);
        let (store, step, place, list) = (roots.blobs.clone(), step.to_vec(), place.to_owned(), list.clone());
        let mut file = listed.take().ok_or(BackupError::Worker)?;
        let (done, file) = blocking(move || {
            let mut done = (0, 0);
            for id in step {
                let Some(from) = store.file_of(id) else { continue };
                let to = place.join("blobs").join(blob_path(id));
                match copy_blob(&from, &to, link) {
                    Ok(()) => {}
                    // Deleted between the listing and the hold, so no row of the moment names it.
                    Err(BackupError::Disk { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                let sum = files::sum(&to)?;
                writeln!(file, "{} {} {}", hex::encode(sum.sha256), sum.bytes, hex::encode(id.0))
                    .map_err(files::disk(&list))?;
                done = (done.0 + 1, done.1 + sum.bytes);
            }
            Ok((done, file))
        })
        .await?;
        listed = Some(file);
        (count, bytes) = (count + done.0, bytes + done.1);
    }
    let mut file = listed.take().ok_or(BackupError::Worker)?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(files::disk(&list))?;
    Ok(Some((count, bytes)))
}

fn copy_blob(from: &Path, to: &Path, link: bool) -> Result<(), BackupError> {
    if !link {
        return files::copy(from, to);
    }
    files::make_dir(to.parent().unwrap_or(Path::new("/")))?;
    std::fs::hard_link(from, to).map_err(files::disk(from))
}

/// `ab/cd/<32 hexadecimal digits>`, as the cellar has it.
pub(super) fn blob_path(id: SegmentId) -> PathBuf {
    let digits = hex::encode(id.0);
    PathBuf::from(&digits[..2]).join(&digits[2..4]).join(&digits)
}

/// `region/<id>/blobs/…`
fn is_blob(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str());
    parts.next().is_some_and(|first| first == "region") && parts.nth(1).is_some_and(|third| third == "blobs")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Worker)?
}
