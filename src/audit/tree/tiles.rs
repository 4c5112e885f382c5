//! A log in a directory, as anybody may keep and serve it: `checkpoint`, `tile/L/NNN[.p/W]` with 256 hashes each, and
//! `tile/entries/NNN[.p/W]` with 256 entries each, every entry behind its length in two bytes. Source: c2sp.org/tlog-tiles.

use super::super::{Hash, Head, entry};
use super::Tree;
use super::note::{Checkpoint, NoteError};
use std::path::{Path, PathBuf};

/// Hashes in a tile, entries in a bundle.
const TILE: u64 = 256;
/// Levels of the tree that one level of tiles takes.
const TILE_LEVELS: u8 = 8;

/// A log in a directory that says what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerdict {
    /// What its checkpoint says.
    pub checkpoint: Checkpoint,
    /// Of the older checkpoint that it was compared with: its size.
    pub older: Option<u64>,
}

/// Why a log in a directory is not believed, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Its checkpoint.
    #[error("its checkpoint: {0}")]
    Checkpoint(NoteError),
    /// The older checkpoint.
    #[error("the older checkpoint: {0}")]
    Older(NoteError),
    /// A file of entries does not have the form.
    #[error("{0} holds something else than entries")]
    Entries(PathBuf),
    /// An entry that does not follow the one before.
    #[error("entry {0} was edited, moved or replaced")]
    Entry(u64),
    /// A tile whose hashes are not those of the entries.
    #[error("{0} is not the tile of these entries")]
    Tile(PathBuf),
    /// The root of the entries is another.
    #[error("the entries are not those that the checkpoint was signed for")]
    Root,
    /// The older checkpoint is not of an earlier state of this log: something before it was changed.
    #[error("the log is no continuation of the older checkpoint: its first {0} entries are others")]
    Forked(u64),
    /// The log is shorter than it was.
    #[error("the log has {now} entries; it had {then} when the older checkpoint was signed")]
    Shorter {
        /// Entries now.
        now: u64,
        /// Entries then.
        then: u64,
    },
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> LogDirError {
    let path = path.to_owned();
    |error| LogDirError::File { path, error }
}

/// Where tile or bundle `n` lies; with `width` below 256 it is the last, and partial.
fn path_of(level: &str, n: u64, width: u64) -> PathBuf {
    let mut parts = vec![format!("{:03}", n % 1000)];
    let mut rest = n / 1000;
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    parts.reverse();
    let last = if width < TILE { format!(".p/{width}") } else { String::new() };
    PathBuf::from(format!("tile/{level}/{}{last}", parts.join("/")))
}

/// What a path below `tile/` names: 256 hashes of a level, or 256 entries, or the first so many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// None: entries.
    level: Option<u8>,
    number: u64,
    width: u64,
}

impl Tile {
    /// `0/000`, `1/x001/234.p/5`, `entries/000.p/12`. Each tile has one path, and no other is taken.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let (number, width) = match rest.rsplit_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE),
        };
        let mut digits = number.split('/').map(|part| part.trim_start_matches('x').parse::<u64>().ok());
        let number = digits.try_fold(0u64, |n, part| n.checked_mul(1000)?.checked_add(part?))?;
        let (of, level) = match level {
            "entries" => (level, None),
            _ => (level, Some((0..LEVELS).find(|known| known.to_string() == level)?)),
        };
        let fits = (1..=TILE).contains(&width) && number < u64::MAX / TILE - 1;
        let same =
            fits && path_of(of, number, width).strip_prefix("tile").is_ok_and(|only| only.to_str() == Some(path));
        same.then_some(Self { level, number, width })
    }

    /// Of entries: the first one, and how many.
    pub(in crate::audit) fn entries(&self) -> Option<(u64, usize)> {
        let width = usize::try_from(self.width).expect("256 at most");
        self.level.is_none().then_some((self.number * TILE, width))
    }

    /// The hashes, if the tree has them.
    pub(in crate::audit) fn hashes(&self, tree: &Tree) -> Option<Vec<u8>> {
        let level = TILE_LEVELS * self.level?;
        let (from, to) = (self.number * TILE, self.number * TILE + self.width);
        let there = to <= tree.size() >> level;
        there.then(|| (from..to).flat_map(|at| tree.hash(level, at).expect("the subtree is whole").0).collect())
    }
}

/// Levels of tiles that a tree can have.
const LEVELS: u8 = 8;

/// (number, width) of the tiles that `count` hashes or entries fill.
fn widths(count: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..count.div_ceil(TILE)).map(move |n| (n, (count - n * TILE).min(TILE)))
}

/// The tiles of hashes of a tree: where each lies, and what is in it.
pub(super) fn tiles(tree: &Tree) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let levels =
        (0..LEVELS).map(|level| (level, tree.size() >> (TILE_LEVELS * level))).take_while(|(_, count)| *count > 0);
    levels.flat_map(move |(level, count)| {
        widths(count).map(move |(n, width)| {
            let hashes = (n * TILE..n * TILE + width).map(|at| tree.hash(TILE_LEVELS * level, at));
            let bytes = hashes.flat_map(|hash| hash.expect("the subtree is whole").0).collect();
            (path_of(&level.to_string(), n, width), bytes)
        })
    })
}

/// Entries, each behind its length.
pub(in crate::audit) fn bundle(lines: &[String]) -> Vec<u8> {
    let with_length = |line: &String| {
        let length = u16::try_from(line.len()).expect("a line of the log is shorter than 64 KiB");
        [&length.to_be_bytes()[..], line.as_bytes()].concat()
    };
    lines.iter().flat_map(with_length).collect()
}

/// The entries of a bundle.
fn unbundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (line, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        lines.push(line);
        bytes = rest;
    }
    bytes.is_empty().then_some(lines)
}

/// Writes a log into `dir`, which is made: `lines` are its entries, `checkpoint` the signed note over exactly these.
pub fn write_dir(dir: &Path, checkpoint: &str, lines: &[String]) -> Result<(), LogDirError> {
    let write = |path: &Path, bytes: &[u8]| {
        let path = dir.join(path);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, bytes)).map_err(file(&path))
    };
    let mut tree = Tree::default();
    lines.iter().for_each(|line| tree.push(line.as_bytes()));
    for (chunk, (n, width)) in lines.chunks(TILE as usize).zip(widths(tree.size())) {
        write(&path_of("entries", n, width), &bundle(chunk))?;
    }
    tiles(&tree).try_for_each(|(path, bytes)| write(&path, &bytes))?;
    // Last: with it the log is whole.
    write(Path::new("checkpoint"), checkpoint.as_bytes())
}

/// The entries of the log in `dir`, as many as its signed checkpoint has. They are not verified: for comparing.
pub fn lines_of_dir(dir: &Path, log_key: &[u8; 32]) -> Result<Vec<String>, LogDirError> {
    let path = dir.join("checkpoint");
    let note = std::fs::read_to_string(&path).map_err(file(&path))?;
    let checkpoint = Checkpoint::verified(&note, log_key).map_err(LogDirError::Checkpoint)?;
    let mut all = Vec::new();
    for (n, width) in widths(checkpoint.size) {
        let path = dir.join(path_of("entries", n, width));
        let bytes = std::fs::read(&path).map_err(file(&path))?;
        let lines = unbundle(&bytes).ok_or(LogDirError::Entries(path))?;
        all.extend(lines.into_iter().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    Ok(all)
}

/// Verifies the log in `dir` by its public key alone: signature, every entry, every tile, and that it goes on from where
/// an `older` checkpoint left it.
pub fn verify_dir(dir: &Path, log_key: &[u8; 32], older: Option<&str>) -> Result<LogVerdict, LogDirError> {
    let path = dir.join("checkpoint");
    let note = std::fs::read_to_string(&path).map_err(file(&path))?;
    let checkpoint = Checkpoint::verified(&note, log_key).map_err(LogDirError::Checkpoint)?;
    let older = older.map(|note| Checkpoint::verified(note, log_key).map_err(LogDirError::Older)).transpose()?;
    let (mut tree, mut at) = (Tree::default(), Head::first(&checkpoint.geo));
    for (n, width) in widths(checkpoint.size) {
        let path = dir.join(path_of("entries", n, width));
        let bytes = std::fs::read(&path).map_err(file(&path))?;
        let lines = unbundle(&bytes).filter(|lines| lines.len() as u64 == width);
        for line in lines.ok_or(LogDirError::Entries(path))? {
            let entry = entry::read(line).filter(|entry| entry.index == at.entries && entry.prev == at.hash);
            let entry = entry.ok_or(LogDirError::Entry(at.entries))?;
            at = Head { entries: at.entries + 1, hash: entry.hash };
            tree.push(line);
        }
    }
    if tree.root(checkpoint.size) != Some(checkpoint.root) {
        return Err(LogDirError::Root);
    }
    for (path, bytes) in tiles(&tree) {
        let path = dir.join(path);
        if std::fs::read(&path).map_err(file(&path))? != bytes {
            return Err(LogDirError::Tile(path));
        }
    }
    if let Some(older) = &older {
        let root: Option<Hash> = tree.root(older.size);
        match root {
            None => return Err(LogDirError::Shorter { now: checkpoint.size, then: older.size }),
            Some(root) if root != older.root || older.geo != checkpoint.geo => {
                return Err(LogDirError::Forked(older.size));
            }
            Some(_) => {}
        }
    }
    Ok(LogVerdict { older: older.map(|older| older.size), checkpoint })
}
