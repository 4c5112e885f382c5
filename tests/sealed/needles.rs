//! Every spelling in which a secret could lie in a file: as it is, as UTF-16, in hexadecimal, in both alphabets of
//! base 64 at every offset, percent-encoded, backwards; and the search for all of them at once.

use std::{fs, path::Path};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// Things to look for, each with a word to report it by.
#[derive(Default)]
pub(crate) struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// One more secret, in every spelling.
    pub(crate) fn add(&mut self, what: &str, secret: &[u8]) {
        assert!(secret.len() >= 12, "{what}: short needles are found by chance");
        let mut spell = |how: &str, bytes: Vec<u8>| self.0.push((format!("{what}, {how}"), bytes));
        spell("as it is", secret.to_vec());
        spell("backwards", secret.iter().rev().copied().collect());
        spell("hexadecimal", hex::encode(secret).into());
        spell("HEXADECIMAL", hex::encode_upper(secret).into());
        spell("percent-encoded", secret.iter().map(|b| format!("%{b:02X}")).collect::<String>().into());
        if let Ok(text) = std::str::from_utf8(secret) {
            spell("UTF-16 LE", text.encode_utf16().flat_map(u16::to_le_bytes).collect());
            spell("UTF-16 BE", text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
        for offset in 0..3 {
            for (name, alphabet) in [("base 64", BASE64_STANDARD_NO_PAD), ("base 64 for URLs", BASE64_URL_SAFE_NO_PAD)]
            {
                // Encoded behind `offset` unknown bytes; the letters that those or unknown followers touch are cut off.
                let text = alphabet.encode([&vec![0; offset][..], secret].concat());
                let inner = &text[[0, 2, 3][offset]..(offset + secret.len()) / 3 * 4];
                spell(&format!("{name} at offset {offset}"), inner.into());
            }
        }
    }

    /// Where any of them lies in these bytes, by the word to report.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let lies = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
        self.0.iter().filter(|(_, needle)| lies(needle)).map(|(what, _)| what.as_str()).collect()
    }

    /// Every file under a directory that holds one, or whose path does, and the number of files that were read.
    pub(crate) fn found_under(&self, directory: &Path) -> (Vec<String>, usize) {
        let (mut found, mut files, mut folders) = (vec![], 0, vec![directory.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("the data directory can be read") {
                let path = entry.expect("the data directory can be read").path();
                let report = |what: &str| format!("{}: {what}", path.display());
                let inside = path.strip_prefix(directory).expect("below").as_os_str().as_encoded_bytes().to_vec();
                found.extend(self.found_in(&inside).into_iter().map(report));
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    files += 1; // a file that is gone by now was compacted away
                    found.extend(self.found_in(&bytes).into_iter().map(report));
                }
            }
        }
        (found, files)
    }
}

#[test]
fn every_spelling_is_found() {
    let secret = b"a-canary-that-sings";
    let mut needles = Needles::default();
    needles.add("it", secret);
    let (head, tail) = ("xy", "zzzz");
    for offset in 0..3 {
        let around = [&head.as_bytes()[..offset.min(2)], secret, tail.as_bytes()].concat();
        assert!(!needles.found_in(BASE64_STANDARD_NO_PAD.encode(&around).as_bytes()).is_empty(), "offset {offset}");
    }
    assert_eq!(needles.found_in(format!("x{}x", hex::encode(secret)).as_bytes()), ["it, hexadecimal"]);
    assert_eq!(needles.found_in(b"...a-canary-that-sings..."), ["it, as it is"]);
    assert_eq!(needles.found_in(b"...sgnis-taht-yranac-a"), ["it, backwards"]);
    assert!(needles.found_in(b"a-canary-that-sing").is_empty());
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("below")).unwrap();
    fs::write(home.path().join("below/file"), [&[0; 100], &secret[..]].concat()).unwrap();
    let (found, files) = needles.found_under(home.path());
    assert_eq!((found.len(), files), (1, 1), "{found:?}");
}
