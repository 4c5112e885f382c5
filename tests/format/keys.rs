//! K-17: the keyring's secret, the keyring and the key store are wrong, cut, altered, older or gone. The server does not
//! start, says why, and changes nothing: with the right files back in place it serves as before.

use super::attack::{Caller, Stored, copy_tree, files_under, put_back};
use geoseal_support::{
    records::bytes,
    server::{BUCKET, Server},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A stopped server with an object, and its keys as they were twice: before and after more keys were made.
struct Vault {
    server: Server,
    stored: Stored,
    older: PathBuf,
    newest: PathBuf,
}

impl Vault {
    fn new() -> Self {
        let mut server = Server::start();
        let stored = Caller::demo(&server).store(&server, BUCKET, "kept", 100_000);
        server.terminate();
        let (older, newest) = (server.home().join("older"), server.home().join("newest"));
        copy_tree(&geo_of(&server), &older);
        server.restart();
        crate::life::tenant(&server, "contoso");
        server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
        server.terminate();
        copy_tree(&geo_of(&server), &newest);
        Self { server, stored, older, newest }
    }

    /// Does something to the keys, and expects a refusal that says one of these; then everything is put back.
    fn refuses(&mut self, what: &str, words: &[&str], act: impl FnOnce(&Self)) {
        let (secret, geo) = (self.secret(), geo_of(&self.server));
        // Copied, not read: nobody else may read it, and that has to stay so.
        let kept = self.server.home().join("keyring.key");
        fs::copy(&secret, &kept).expect("dev writes the key file");
        act(self);
        let before = content(self.server.data());
        let said = self.server.refuses_to_restart();
        assert!(words.iter().any(|word| said.contains(word)), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        let after = content(self.server.data());
        let changed: Vec<_> = before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).collect();
        let changed: Vec<_> = changed.iter().map(|(path, _)| path.display().to_string()).collect();
        assert!(changed.is_empty(), "{what}: changed {changed:?}");
        fs::copy(&kept, &secret).expect("the data directory is ours");
        put_back(&self.newest, &geo);
    }

    fn secret(&self) -> PathBuf {
        self.server.data().join("secrets/keyring.key")
    }

    fn geo(&self, file: &str) -> PathBuf {
        geo_of(&self.server).join(file)
    }

    fn older(&self, file: &str) -> PathBuf {
        self.older.join(file)
    }
}

fn geo_of(server: &Server) -> PathBuf {
    server.data().join("data/geo/europe")
}

/// What all keys and all data are now; `dev.env` is set aside at every start, and locks are empty.
fn content(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let of_keys = ["secrets", "data/geo/europe/keystore", "data/geo/europe/directory", "data/geo/europe/audit"];
    let folders = of_keys.iter().flat_map(|folder| files_under(&data.join(folder)));
    let files = ["keyring", "keyring.witness"].map(|file| data.join("data/geo/europe").join(file));
    let all = folders.chain(files).filter(|path| path.is_file());
    all.map(|path| (path.clone(), fs::read(path).expect("it can be read"))).collect()
}

fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("it can be read");
    change(&mut bytes);
    fs::write(path, bytes).expect("the data directory is ours");
}

const WRONG_SECRET: &[&str] = &["the passphrase or key file is wrong, or the keyring was altered"];
const SHORT_SECRET: &[&str] = &["keyring.key: too short or too plain for a secret", "keyring.key: is empty"];
const DAMAGED_KEYRING: &[&str] = &["keyring"];
const DAMAGED_STORE: &[&str] = &["the key store is damaged or was altered", "the key store is older than its witness"];
const ROLLED_BACK: &[&str] = &["the key store is older than its witness"];

#[test]
fn wrong_keys_are_refused_and_nothing_is_overwritten() {
    let mut vault = Vault::new();
    vault.refuses("another key file", WRONG_SECRET, |v| fs::write(v.secret(), bytes(9, 32)).unwrap());
    vault.refuses("a short key file", SHORT_SECRET, |v| alter(&v.secret(), |b| b.truncate(31)));
    vault.refuses("an empty key file", SHORT_SECRET, |v| alter(&v.secret(), Vec::clear));
    vault.refuses("no key file", &["keyring.key"], |v| fs::remove_file(v.secret()).unwrap());
    vault.refuses("no keyring", &["there is no keyring file"], |v| fs::remove_file(v.geo("keyring")).unwrap());
    for keep in [0, 10, 100] {
        vault.refuses("a keyring cut", DAMAGED_KEYRING, |v| alter(&v.geo("keyring"), |b| b.truncate(keep)));
    }
    let length = fs::metadata(vault.geo("keyring")).unwrap().len() as usize;
    for at in (0..length).step_by(length / 12 + 1).chain([length - 1]) {
        vault.refuses("a keyring altered", DAMAGED_KEYRING, |v| alter(&v.geo("keyring"), |b| b[at] ^= 1));
    }

    let shard = "keystore/shard-0001.seal";
    let length = fs::metadata(vault.geo(shard)).unwrap().len() as usize;
    for keep in [0, 100, length - 1] {
        vault.refuses("a key store cut", DAMAGED_STORE, |v| alter(&v.geo(shard), |b| b.truncate(keep)));
    }
    for at in (0..length).step_by(length / 12 + 1).chain([length - 1]) {
        let words = [DAMAGED_STORE, &["sealed under a master key that this keyring does not hold"]].concat();
        vault.refuses("a key store altered", &words, |v| alter(&v.geo(shard), |b| b[at] ^= 1));
    }
    vault.refuses("no key store", ROLLED_BACK, |v| fs::remove_dir_all(v.geo("keystore")).unwrap());
    vault.refuses("an older key store", ROLLED_BACK, |v| put_back(&v.older("keystore"), &v.geo("keystore")));
    vault.refuses("an older keyring", &["sealed under a master key that this keyring does not hold"], |v| {
        fs::copy(v.older("keyring"), v.geo("keyring")).unwrap();
    });
    vault.refuses("an older audit log", &["the audit log"], |v| put_back(&v.older("audit"), &v.geo("audit")));

    vault.server.restart();
    let Vault { server, stored, .. } = &vault;
    Caller::demo(server).assert_served(stored, "with its own keys again");
    assert!(server.geoseal(&["audit", "verify"]).ok().contains("europe"));
}
