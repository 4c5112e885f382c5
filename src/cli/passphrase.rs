//! A passphrase from the terminal, without echo; never from an argument or the environment.

use super::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal};
use zeroize::Zeroizing;

/// Fewest bytes.
const BYTES_MIN: usize = 16;

/// The passphrase, typed twice. How strong it must be `config` says; this only spares a second prompt.
pub(super) fn typed() -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Usage("no terminal to ask for a passphrase on: give --passphrase-file".into()));
    }
    let first = line("Passphrase for the keyring: ")?;
    if first.trim_ascii_end().len() < BYTES_MIN {
        return Err(Failure::Usage(format!("a passphrase has at least {BYTES_MIN} characters")));
    }
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
