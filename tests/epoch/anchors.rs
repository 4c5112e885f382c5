//! The story: somebody with access to the server's disk puts old copies back, everything that vouches for the rest with
//! them: key store, keyring or ledger, witness, shred log. What is erased would be there again. What notices:
//!
//! * the audit log, as long as it is not put back too: it says more than that key store answers for;
//! * a provider outside, for everything before the last close of an epoch: it destroyed the master key of then.
//!
//! Everything put back, to a state behind the last close, is not noticed; the last test says so.

use super::text;
use geoseal_support::daemon::{Daemon, REGION};
use geoseal_support::keepers::SoftHsm;
use std::fs;
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp starts");
    assert!(copied.success());
}

#[test]
fn an_old_key_store_with_its_keyring_and_witness_is_noticed_by_the_audit_log() {
    let mut daemon = Daemon::start();
    daemon.tenant("acme");
    assert!(daemon.terminate().success());
    let (of_geo, old) = (daemon.dir().join("data/geo/europe"), daemon.home().join("old"));
    copy(&of_geo, &old);
    daemon.serve();
    daemon.tenant("later");
    assert!(daemon.terminate().success());
    let put_back = |audit: bool| {
        for kept in ["keystore", "keyring", "keyring.witness", "directory"] {
            copy_any(&old.join(kept), &of_geo.join(kept));
        }
        if audit {
            copy(&old.join("audit"), &of_geo.join("audit"));
        }
    };
    put_back(false);
    let refused = daemon.refused(&[]).refused();
    assert!(refused.contains("the audit log goes on for") && refused.contains("older copy"), "{refused}");
    // The witness was put back, too: this is not what `--accept-restore` is for.
    let accept = ["--accept-restore", "europe", "--reason", "a thief's word"];
    assert!(daemon.refused(&accept).refused().contains("is not older than its witness"));

    // M-10: the key store is wiped, the disks are sold. With the keyring and everything else in hand nothing begins again.
    fs::remove_dir_all(of_geo.join("keystore")).expect("our own directory");
    let refused = daemon.refused(&[]).refused();
    assert!(refused.contains("witness"), "{refused}");
    for vouching in ["keyring.witness", "keystore.shreds"] {
        let _ = fs::remove_file(of_geo.join(vouching));
    }
    let refused = daemon.refused(&[]).refused();
    assert!(
        !refused.contains("panicked") && (refused.contains("europe") || refused.contains("audit log")),
        "{refused}"
    );
}

fn copy_any(from: &Path, to: &Path) {
    if from.is_dir() {
        copy(from, to);
    } else if from.exists() {
        fs::copy(from, to).expect("our own file");
    }
}

#[test]
fn a_whole_disk_put_back_beyond_a_close_is_refused_by_the_provider_and_one_behind_it_is_not_noticed() {
    let hsm = SoftHsm::new();
    let mut daemon = Daemon::bare(&[(SoftHsm::VARIABLE, &hsm.settings())]);
    let (module, pin) = (hsm.module(), hsm.pin_file());
    let (module, pin) = (text(&module).to_owned(), text(&pin).to_owned());
    let flags =
        ["--keyring", "pkcs11", "--pkcs11-module", &module, "--pkcs11-token", SoftHsm::TOKEN, "--pin-file", &pin];
    daemon.init(&[REGION], &flags).ok();
    daemon.edit(|toml| toml.replacen("[admin]", "[epoch]\nallow_no_soak = true\n[admin]\ntwo_person = false", 1));
    daemon.serve();
    daemon.tenant("acme");
    assert!(daemon.terminate().success());
    let (data, before, after) = (daemon.dir().join("data"), daemon.home().join("before"), daemon.home().join("after"));
    copy(&data, &before);
    daemon.serve();
    let closed = daemon.geoseal(&["key", "epoch", "close", "--geo", "europe", "--no-soak", "--json"]).json();
    assert_eq!(closed["result"]["epoch"]["state"], "closed", "{closed}");
    let of_epoch = daemon.geoseal(&["key", "epoch", "certificate", "--geo", "europe", "1"]).json();
    let receipt = of_epoch["certificate"]["epoch"]["masters"][0]["receipt"].as_str().expect("a receipt").to_owned();
    assert!(receipt.starts_with("pkcs11:"), "{receipt}");
    assert!(daemon.terminate().success());
    copy(&data, &after);

    // Everything, to before the close: ledger, witness, key store, audit log, indexes. The token destroyed the key.
    copy(&before, &data);
    for flags in [&[][..], &["--accept-restore", "europe", "--reason", "a thief's word"]] {
        let refused = daemon.refused(flags).refused();
        assert!(!refused.contains("panicked") && refused.contains("key"), "{refused}");
    }
    // Everything, to a moment behind it: nobody notices. Keep the ledger on other media.
    copy(&after, &data);
    daemon.serve();
    daemon.tenant("forgotten");
    assert!(daemon.terminate().success());
    copy(&after, &data);
    daemon.serve();
    daemon.geoseal(&["tenant", "show", "forgotten"]).refused();
}
