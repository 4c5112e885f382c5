//! A passphrase from a file or from the terminal, without echo; never from an argument or the environment.

use super::failure::Failure;
use super::files::failed;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use zeroize::Zeroizing;

/// Fewest characters.
const CHARS_MIN: usize = 12;

/// The passphrase that the file holds, or that is typed twice.
pub(super) fn obtain(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match file {
        Some(file) => of_file(file)?,
        None => typed()?,
    };
    if passphrase.chars().count() < CHARS_MIN {
        return Err(Failure::Usage(format!("a passphrase has at least {CHARS_MIN} characters")));
    }
    Ok(passphrase)
}

/// The file's first line, as the server will read it.
fn of_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let content = Zeroizing::new(std::fs::read(file).map_err(|e| failed(file, &e))?);
    let text = std::str::from_utf8(&content).map_err(|_| Failure::Usage(format!("{}: not UTF-8", file.display())))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn typed() -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Usage("no terminal to ask for a passphrase on: give --passphrase-file".into()));
    }
    let first = line("Passphrase for the keyring: ")?;
    if line("Once more: ")? == first { Ok(first) } else { Err(Failure::Usage("the two differ".into())) }
}

fn line(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let terminal = |e: std::io::Error| Failure::Failed(format!("terminal: {e}"));
    eprint!("{prompt}");
    let silent = Silent::new().map_err(terminal)?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let read = std::io::stdin().lock().read_line(&mut text);
    drop(silent);
    eprintln!();
    read.map_err(terminal)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// While this lives the terminal does not echo.
struct Silent(Termios);

impl Silent {
    fn new() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing better is left to do when the terminal is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_file_is_its_text_without_the_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p");
        std::fs::write(&file, " correct horse battery \r\n").unwrap();
        assert_eq!(obtain(Some(&file)).unwrap().as_str(), " correct horse battery ");
        for bad in [&b"short\n"[..], b"", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(obtain(Some(&file)), Err(Failure::Usage(_))));
        }
    }
}
