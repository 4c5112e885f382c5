//! The rows of an engine as a file: sealed, as the engine has them.
//!
//! `GSROWS01`, then for each row `u32 key length | key | u32 value length | value`, then `0xffffffff | u64 rows`. All
//! integers big-endian. That nothing is missing or changed is the manifest's to say; that a row is what was sealed, the
//! row's own.

use super::BackupError;
use super::files::{create, disk};
use crate::index::engine::{Batch, Engine, EngineError, Snapshot};
use bytes::Bytes;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"GSROWS01";
const END: u32 = u32::MAX;
/// Longest row key or value: an inline segment and its row, with room.
const FIELD_BYTES_MAX: u32 = 64 << 20;
/// Bytes committed at once when rows are put back.
const BATCH_BYTES: usize = 8 << 20;

/// Writes every row of `snapshot`; answers how many. Blocks.
pub(super) fn write(path: &Path, snapshot: &dyn Snapshot) -> Result<u64, BackupError> {
    let failed = disk(path);
    let mut file = BufWriter::with_capacity(1 << 20, create(path)?);
    file.write_all(MAGIC).map_err(&failed)?;
    let mut rows = 0_u64;
    let mut unwritten = None;
    let walked = snapshot.each(&mut |row_key, value| {
        rows += 1;
        put(&mut file, row_key).and_then(|()| put(&mut file, value)).map_err(|error| {
            unwritten = Some(error);
            EngineError::Read("the backup's disk".into())
        })
    });
    if let Some(error) = unwritten {
        return Err(failed(error));
    }
    walked?;
    let end = [&END.to_be_bytes()[..], &rows.to_be_bytes()].concat();
    let done = file.write_all(&end).and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_all());
    done.map_err(failed)?;
    Ok(rows)
}

fn put(file: &mut impl Write, field: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(field.len()).map_err(|_| std::io::Error::from(std::io::ErrorKind::FileTooLarge))?;
    file.write_all(&len.to_be_bytes())?;
    file.write_all(field)
}

/// Reads rows from a file and commits them to an engine that has none; answers how many.
pub(super) async fn read(path: &Path, engine: &dyn Engine) -> Result<u64, BackupError> {
    let unfit = || BackupError::Unfit { path: path.to_owned(), why: "it is not a file of rows, or was cut" };
    let file = File::open(path).map_err(disk(path))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    if take::<8>(&mut file).map_err(disk(path))?.as_ref() != Some(MAGIC) {
        return Err(unfit());
    }
    let (mut rows, mut batch, mut bytes) = (0_u64, Batch::new(), 0);
    loop {
        let len = u32::from_be_bytes(take(&mut file).map_err(disk(path))?.ok_or_else(unfit)?);
        if len == END {
            break;
        }
        let row_key = field(&mut file, len).map_err(disk(path))?.ok_or_else(unfit)?;
        let len = u32::from_be_bytes(take(&mut file).map_err(disk(path))?.ok_or_else(unfit)?);
        let value = field(&mut file, len).map_err(disk(path))?.ok_or_else(unfit)?;
        (rows, bytes) = (rows + 1, bytes + row_key.len() + value.len());
        batch.put(row_key, value);
        if bytes >= BATCH_BYTES {
            engine.commit(std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    let count = u64::from_be_bytes(take(&mut file).map_err(disk(path))?.ok_or_else(unfit)?);
    let over = take::<1>(&mut file).map_err(disk(path))?;
    if count != rows || over.is_some() {
        return Err(unfit());
    }
    engine.commit(batch).await?;
    Ok(rows)
}

/// `None` where the file ends before.
fn take<const N: usize>(file: &mut impl Read) -> std::io::Result<Option<[u8; N]>> {
    let mut out = [0; N];
    match file.read_exact(&mut out) {
        Ok(()) => Ok(Some(out)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn field(file: &mut impl Read, len: u32) -> std::io::Result<Option<Bytes>> {
    if len > FIELD_BYTES_MAX {
        return Ok(None);
    }
    let mut out = Vec::new();
    let read = file.take(u64::from(len)).read_to_end(&mut out)?;
    Ok((read == len as usize).then(|| out.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::MemoryEngine;
    use crate::index::engine::{Direction, KeyRange};

    #[tokio::test]
    async fn rows_come_back_as_they_were_and_no_cut_file_is_taken() {
        let (from, dir) = (MemoryEngine::default(), tempfile::tempdir().unwrap());
        let mut batch = Batch::new();
        for n in 0..500_u16 {
            batch.put(n.to_be_bytes().to_vec(), vec![n as u8; usize::from(n) * 7]);
        }
        from.commit(batch).await.unwrap();
        let path = dir.path().join("rows");
        let moment = from.snapshot().unwrap();
        let mut later = Batch::new();
        later.put(b"later".to_vec(), b"x".to_vec());
        from.commit(later).await.unwrap();
        assert_eq!(write(&path, &*moment).unwrap(), 500, "of its moment, not of a later one");
        let to = MemoryEngine::default();
        assert_eq!(read(&path, &to).await.unwrap(), 500);
        let all = |engine: MemoryEngine| async move {
            engine.scan(KeyRange::all(), usize::MAX, Direction::Ascending).await.unwrap()
        };
        let mut expected = all(from).await;
        expected.retain(|(row_key, _)| row_key.as_ref() != b"later");
        assert_eq!(all(to).await, expected);
        let whole = std::fs::read(&path).unwrap();
        for bad in [&whole[..whole.len() - 1], &whole[..8], &whole[1..], &[&whole[..], b"x"].concat()] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(read(&path, &MemoryEngine::default()).await, Err(BackupError::Unfit { .. })));
        }
    }
}
