//! Walks the chain. Reads files only, so an auditor can run it on a copy.
//!
//! A line that is edited fails its own hash. A line whose hash was computed anew no longer matches the `prev` of the
//! next one, or the head. A line removed, added or moved breaks the count. What is missing at the end does not reach
//! the head.

use super::entry::{self, Entry};
use super::{Hash, Head};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What a whole walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Entries in place and unchanged.
    pub entries: u64,
    /// The hash of the last, as the key service keeps it.
    pub head: Hash,
    /// Entries behind the head: written by a process that died, or is just about to answer for them.
    pub behind_head: u64,
}

/// The first entry that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} {fault}")]
pub struct BadIndex {
    /// Which.
    pub index: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes do not fit its hash, or it is no entry.
    #[error("was edited")]
    Edited,
    /// It stands where another should: something was removed, added or moved.
    #[error("is not in its place")]
    Misplaced,
    /// Its hash is not what the next entry, or the head, says that it is.
    #[error("was replaced")]
    Replaced,
    /// It is not there.
    #[error("is missing")]
    Missing,
}

/// Why a walk did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is bad.
    #[error(transparent)]
    Bad(#[from] BadIndex),
    /// A file could not be read.
    #[error("the audit log's files: {0}")]
    File(#[from] std::io::Error),
}

/// Walks all of the log of `geo` in `dir`, from its first entry to `head` and behind.
pub fn verify(dir: &Path, geo: &str, head: &Head) -> Result<Summary, VerifyError> {
    let mut walk = Walk::new(Head::first(geo), head);
    for (first, path) in files(dir)? {
        if walk.at.entries >= head.entries && first != walk.at.entries {
            break;
        }
        walk.file(first, &path, Behind::Wait)?;
    }
    walk.end()?;
    Ok(Summary { entries: walk.at.entries, head: head.hash, behind_head: walk.at.entries - head.entries })
}

/// What [`walk_from_anchor`] found.
pub(super) struct Found {
    pub(super) head: Head,
    /// Files that end in a torn write, and how many bytes of each are good.
    pub(super) cut: Vec<(PathBuf, u64)>,
}

/// Walks from the file that holds the head, to spare a start the whole log.
pub(super) fn walk_from_anchor(dir: &Path, geo: &str, head: &Head) -> Result<Found, VerifyError> {
    let files = files(dir)?;
    // The last entry that was answered for lies in the last file that begins before it.
    let start = files.iter().rposition(|(first, _)| *first < head.entries).unwrap_or(0);
    let mut walk = Walk::new(Head::first(geo), head);
    if let Some((first @ 1.., path)) = files.get(start) {
        // The chain in front is vouched for by the head that this file has to meet.
        let prev = first_line(path)?.ok_or(BadIndex { index: *first, fault: Fault::Edited })?.prev;
        walk.at = Head { entries: *first, hash: prev };
    }
    let mut cut = Vec::new();
    for (first, path) in files.iter().skip(start) {
        let torn = walk.at.entries >= head.entries && *first != walk.at.entries;
        match torn {
            true => cut.push((path.clone(), 0)),
            false => cut.extend(walk.file(*first, path, Behind::Cut)?.map(|keep| (path.clone(), keep))),
        }
    }
    walk.end()?;
    Ok(Found { head: walk.at, cut })
}

/// At most `limit` entries from `from` on, before `head`. Each is checked against its own hash.
pub(super) fn entries(dir: &Path, from: u64, limit: usize, head: &Head) -> Result<Vec<Entry>, VerifyError> {
    read(dir, from, limit, head, |_, entry| entry)
}

/// Their lines, without line feeds.
pub(super) fn lines(dir: &Path, from: u64, limit: usize, head: &Head) -> Result<Vec<String>, VerifyError> {
    read(dir, from, limit, head, |line, _| String::from_utf8(line).expect("JSON is UTF-8"))
}

fn read<T>(
    dir: &Path,
    from: u64,
    limit: usize,
    head: &Head,
    wanted: impl Fn(Vec<u8>, Entry) -> T,
) -> Result<Vec<T>, VerifyError> {
    let files = files(dir)?;
    let start = files.iter().rposition(|(first, _)| *first <= from).unwrap_or(0);
    let mut found = Vec::new();
    for (first, path) in files.iter().skip(start) {
        for (index, line) in (*first..head.entries).zip(Lines::open(path)?) {
            if found.len() >= limit {
                return Ok(found);
            }
            if index >= from {
                let line = line?.bytes;
                let entry = entry::read(&line).filter(|entry| entry.index == index);
                found.push(wanted(line, entry.ok_or(BadIndex { index, fault: Fault::Edited })?));
            }
        }
    }
    Ok(found)
}

/// The log's files in order, each with the index of its first entry.
pub(super) fn files(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        let first = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        files.extend(first.filter(|first| path.ends_with(file_name(*first))).map(|first| (first, path)));
    }
    files.sort();
    Ok(files)
}

pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// What to do with lines behind the head that do not verify.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// They are a torn write.
    Cut,
    /// Only one without its line feed may be there: it is being written.
    Wait,
}

/// The state of a walk: where it is, and where it has to come by.
struct Walk<'a> {
    at: Head,
    anchor: &'a Head,
}

impl<'a> Walk<'a> {
    fn new(at: Head, anchor: &'a Head) -> Self {
        Self { at, anchor }
    }

    /// Walks one file. Gives how many bytes of it are good if there are more.
    fn file(&mut self, first: u64, path: &Path, behind: Behind) -> Result<Option<u64>, VerifyError> {
        if first != self.at.entries {
            let fault = if first > self.at.entries { Fault::Missing } else { Fault::Misplaced };
            return Err(BadIndex { index: self.at.entries, fault }.into());
        }
        let mut good = 0;
        for line in Lines::open(path)? {
            let line = line?;
            let beyond = self.at.entries >= self.anchor.entries;
            match self.next(&line) {
                Ok(()) => good += line.bytes.len() as u64 + 1,
                Err(_) if beyond && (behind == Behind::Cut || !line.complete) => return Ok(Some(good)),
                Err(Fault::Replaced) => return Err(self.blame(path, line.start)?.into()),
                Err(fault) => return Err(BadIndex { index: self.at.entries, fault }.into()),
            }
        }
        Ok(None)
    }

    fn next(&mut self, line: &Line) -> Result<(), Fault> {
        let entry = entry::read(&line.bytes).filter(|_| line.complete).ok_or(Fault::Edited)?;
        if entry.index != self.at.entries {
            return Err(Fault::Misplaced);
        }
        if entry.prev != self.at.hash {
            return Err(Fault::Replaced);
        }
        if entry.index + 1 == self.anchor.entries && entry.hash != self.anchor.hash {
            // Its own bytes fit, and so does what it follows: the key service remembers another one here.
            return Err(Fault::Edited);
        }
        self.at = Head { entries: entry.index + 1, hash: entry.hash };
        Ok(())
    }

    /// The entry at `start` does not follow the one before. If the chain from it on meets the head, it is genuine, and
    /// the one before was replaced; else it is the bad one itself.
    fn blame(&self, path: &Path, start: u64) -> Result<BadIndex, VerifyError> {
        let (here, before) = (self.at.entries, self.at.entries.checked_sub(1));
        let mut chain: Option<Hash> = None;
        let dir = path.parent().unwrap_or(Path::new("."));
        let after = files(dir)?.into_iter().filter(|(_, other)| other.as_path() >= path);
        for (_, other) in after {
            let from = if other == path { start } else { 0 };
            for line in Lines::open(&other)?.skip_to(from) {
                let Some(entry) = entry::read(&line?.bytes) else { break };
                if chain.is_some_and(|hash| hash != entry.prev) {
                    break;
                }
                chain = Some(entry.hash);
                if entry.index + 1 == self.anchor.entries && entry.hash == self.anchor.hash {
                    return Ok(BadIndex { index: before.unwrap_or(here), fault: Fault::Replaced });
                }
            }
        }
        Ok(BadIndex { index: here, fault: Fault::Edited })
    }

    fn end(&self) -> Result<(), VerifyError> {
        let reached = self.at.entries >= self.anchor.entries;
        let empty_differs = self.anchor.entries == 0 && self.at.entries == 0 && self.at.hash != self.anchor.hash;
        match reached && !empty_differs {
            true => Ok(()),
            false => Err(BadIndex { index: self.at.entries, fault: Fault::Missing }.into()),
        }
    }
}

/// A line without its line feed.
struct Line {
    start: u64,
    bytes: Vec<u8>,
    /// Whether the line feed was there.
    complete: bool,
}

/// The lines of a file, each at most [`LINE_BYTES_MAX`] long.
struct Lines {
    file: BufReader<File>,
    at: u64,
}

/// No entry comes near it: a longer line is not ours.
const LINE_BYTES_MAX: u64 = 64 << 10;

impl Lines {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), at: 0 })
    }

    fn skip_to(self, start: u64) -> impl Iterator<Item = std::io::Result<Line>> {
        self.skip_while(move |line| line.as_ref().is_ok_and(|line| line.start < start))
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        let start = self.at;
        match std::io::Read::take(&mut self.file, LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(read) => {
                self.at += read as u64;
                let complete = bytes.last() == Some(&b'\n');
                bytes.truncate(bytes.len() - usize::from(complete));
                Some(Ok(Line { start, bytes, complete }))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

fn first_line(path: &Path) -> Result<Option<Entry>, VerifyError> {
    Ok(Lines::open(path)?.next().transpose()?.and_then(|line| entry::read(&line.bytes)))
}
