//! Files that `dev` and `init` make: whole or not at all, and secrets readable by their owner only.

use super::failure::Failure;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readers {
    /// Its owner: mode 600.
    Owner,
    /// Everybody: mode 644.
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Makes a directory, mode 700, and those above it; one that is there stays as it is.
pub(super) fn make_dir(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed(path, &e))
}

/// Writes a new file, durably. A file that is there is not overwritten: that is a failure.
pub(super) fn write_new(path: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| sync_dir(path)).map_err(|e| failed(path, &e))
}

/// Writes a file beside `path` and renames it there: readers see the old content or the new, never a part.
pub(super) fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&beside, &e)),
        _ => write_new(&beside, content, readers)?,
    }
    fs::rename(&beside, path).and_then(|()| sync_dir(path)).map_err(|e| failed(path, &e))
}

/// Reads a file that may not be there.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, &e)),
    }
}

fn sync_dir(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(dir).sync_all()
}

/// A failure that names the file and the system's reason.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_its_owners_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_new(&path, b"one", Readers::Owner).unwrap();
        assert!(write_new(&path, b"two", Readers::Owner).is_err());
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
        make_dir(&dir.path().join("a/b")).unwrap();
        assert_eq!(mode(&dir.path().join("a/b")), 0o700);
    }

    #[test]
    fn a_replaced_file_takes_its_new_mode_even_over_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.env");
        fs::write(dir.path().join("dev.env.new"), "leftover").unwrap();
        fs::write(&path, "old").unwrap();
        replace(&path, b"new", Readers::Owner).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), 0o600));
        assert!(!dir.path().join("dev.env.new").exists());
    }
}
