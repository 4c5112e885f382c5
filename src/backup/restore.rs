//! Puts a backup back, offline, into an empty data directory. Checks everything first: the manifest's signature, and the
//! SHA-256 of every file and blob. A restore that fails leaves a directory that may be removed.
//!
//! What it cannot bring back is what was never in it: the keyring. Nor does it bring back what was destroyed since: at the
//! first start the newest shred log is replayed before anything is served.

use super::manifest::{FILE, Manifest};
use super::{BackupError, LOG_KEY_BYTES, files, rows};
use crate::index::{FjallEngine, FjallOptions};
use crate::model::atlas::Geo;
use crate::model::ids::SegmentId;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// The log key that signed it.
    pub log_key: [u8; LOG_KEY_BYTES],
}

/// Puts the backup in `from` into `to`, which has to be empty; without a `to` only checks that it could. Answers what
/// there was, geo by geo.
pub async fn restore(
    from: &Path,
    to: Option<&Path>,
    log_key: Option<&[u8; LOG_KEY_BYTES]>,
) -> Result<Vec<Restored>, BackupError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(from).map_err(files::disk(from))? {
        let dir = entry.map_err(files::disk(from))?.path();
        if dir.join(FILE).is_file() {
            let (manifest, log_key) = Manifest::read(&dir, log_key)?;
            found.push((dir, Restored { manifest, log_key }));
        }
    }
    if found.is_empty() {
        let why = "there is no backup: no directory in it has a manifest, so none was completed";
        return Err(BackupError::Place { path: from.to_owned(), why });
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (dir, restored) in &found {
        check(dir, &restored.manifest)?;
    }
    if let Some(to) = to {
        files::make_empty(to)?;
        for (dir, restored) in &found {
            put_back(dir, to, &restored.manifest).await?;
        }
        files::sync_dirs(to)?;
    }
    Ok(found.into_iter().map(|(_, restored)| restored).collect())
}

/// One line of a list of blobs.
struct Blob {
    sha256: String,
    bytes: u64,
    id: SegmentId,
}

fn check(dir: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    if Geo::find(&manifest.geo).is_none() {
        return Err(BackupError::Unfit { path: dir.join(FILE), why: "the atlas has no such geo" });
    }
    for file in &manifest.files {
        file.check(dir)?;
    }
    for region in manifest.regions.iter().filter(|region| region.blobs_kept) {
        let place = dir.join("region").join(&region.id);
        let blobs = blobs(&place)?;
        if blobs.len() as u64 != region.blobs {
            return Err(BackupError::Unfit { path: place.join("blobs.list"), why: "it is not as long as was listed" });
        }
        for blob in blobs {
            let path = place.join("blobs").join(super::create::blob_path(blob.id));
            let unfit = |why| BackupError::Unfit { path: path.clone(), why };
            if !path.is_file() {
                return Err(unfit("it is missing"));
            }
            let sum = files::sum(&path)?;
            if sum.bytes != blob.bytes || hex::encode(sum.sha256) != blob.sha256 {
                return Err(unfit("its SHA-256 is not the listed one: it was changed or damaged"));
            }
        }
    }
    Ok(())
}

fn blobs(place: &Path) -> Result<Vec<Blob>, BackupError> {
    let path = place.join("blobs.list");
    let unfit = || BackupError::Unfit { path: path.clone(), why: "a line of it is not one of a list of blobs" };
    let file = std::fs::File::open(&path).map_err(files::disk(&path))?;
    let mut found = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(files::disk(&path))?;
        let mut fields = line.split(' ');
        let (Some(sha256), Some(bytes), Some(id), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(unfit());
        };
        let bytes = bytes.parse().map_err(|_| unfit())?;
        let id = id.parse().map_err(|_| unfit())?;
        found.push(Blob { sha256: sha256.to_owned(), bytes, id });
    }
    Ok(found)
}

async fn put_back(dir: &Path, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let geo = to.join("geo").join(&manifest.geo);
    for part in ["keystore", "audit", "certificates"] {
        files::make_dir(&geo.join(part))?;
    }
    for file in &manifest.files {
        let Some(place) = place_of(Path::new(&file.path), &geo, to) else { continue };
        if !place.exists() {
            files::copy(&dir.join(&file.path), &place)?;
        }
    }
    let engine = FjallEngine::open(&geo.join("directory"), FjallOptions::default())?;
    let mut rows = rows::read(&dir.join("directory.rows"), &engine).await?;
    drop(engine);
    for region in &manifest.regions {
        let (from, place) = (dir.join("region").join(&region.id), to.join("region").join(&region.id));
        let engine = FjallEngine::open(&made(&place)?.join("index"), FjallOptions::default())?;
        rows += rows::read(&from.join("index.rows"), &engine).await?;
        drop(engine);
        if region.blobs_kept {
            for blob in blobs(&from)? {
                let path = super::create::blob_path(blob.id);
                files::copy(&from.join("blobs").join(&path), &place.join("blobs").join(&path))?;
            }
        }
    }
    if rows == manifest.rows {
        Ok(())
    } else {
        Err(BackupError::Unfit { path: dir.join(FILE), why: "there are not as many rows as it lists" })
    }
}

fn made(path: &Path) -> Result<&Path, BackupError> {
    files::make_dir(path)?;
    Ok(path)
}

/// Where a listed file goes: tables and lists go nowhere, they are read.
fn place_of(path: &Path, geo: &Path, to: &Path) -> Option<PathBuf> {
    let first = path.components().next()?.as_os_str().to_str()?;
    match first {
        "keystore" | "keystore.shreds" | "audit" | "certificates" => Some(geo.join(path)),
        "heads" => Some(geo.join("keystore").join(path)),
        "clock" => Some(to.join(path.file_name()?)),
        _ => None,
    }
}
