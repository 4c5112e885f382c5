//! P14: time that the machine was off counts only when somebody vouches for it; two administrators can, never beyond the
//! machine's own clock, and the act is on record.

use super::holds::Deputy;
use geoseal_support::server::{Launch, Server};
use serde_json::Value;

/// The simulated machine is edited between two runs: it was off for ten days, and nobody vouches for its clock.
#[test]
fn p14_time_that_nobody_vouches_for_waits_for_two_administrators() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let deputy = Deputy::demanded_by(&mut server);
    let clock = |server: &Server| server.geoseal(&["clock", "status", "--json"]).json();
    let before = clock(&server);
    assert_eq!(
        (&before["pending_s"], &before["suspect"], &before["corroborated"]),
        (&0.into(), &false.into(), &true.into())
    );

    // Off for ten days: the wall moved, the boot clock began anew.
    server.terminate();
    let machine = server.data().join("data/clock.machine");
    let text = std::fs::read_to_string(&machine).expect("the simulated machine has a file");
    let mut shift: Value = serde_json::from_str(&text).expect("JSON");
    let ten_days_ms = 10 * 86_400_000_i64;
    shift["wall"] = (shift["wall"].as_i64().expect("a number") + ten_days_ms).into();
    shift["boot_id"] = "00112233445566778899aabbccddeeff".into();
    shift["disciplined"] = false.into();
    std::fs::write(&machine, shift.to_string()).expect("our own file");
    server.restart();
    let off = clock(&server);
    let pending = off["pending_s"].as_i64().expect("a number");
    assert!(pending >= 10 * 86_400 && off["corroborated"] == false, "{off}");
    let now = off["wall"].as_str().expect("a time").to_owned();

    // Beyond the wall, or behind what is proven: refused, whoever says it.
    for bad in ["2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "yesterday"] {
        let refused = server.geoseal(&["clock", "attest", "--utc", bad, "--reason", "r"]);
        assert!(refused.code() == Some(2) && refused.stderr().contains("utc"), "{bad}: {}", refused.stderr());
    }
    let attest = ["clock", "attest", "--utc", &now, "--reason", "two wrist watches"];
    server.geoseal(&[&attest[..], &["--dry-run"]].concat()).ok();
    assert!(server.geoseal(&attest).ok().contains("another administrator"));
    assert_eq!(server.geoseal(&attest).code(), Some(5), "the same twice");
    assert!(clock(&server)["pending_s"].as_i64() >= Some(pending), "one is not enough");
    let attested = deputy.run(&server, &[&attest[..], &["--json"]].concat()).json();
    let credited = attested["credited_s"].as_i64().expect("a number");
    assert!((10 * 86_400 - 600..=10 * 86_400 + 600).contains(&credited), "{credited}");
    assert_eq!(clock(&server)["pending_s"], 0);
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    for event in ["clock-attestation-proposed", "clock-attestation-agreed", "clock-attested"] {
        assert!(log.contains(event), "{event}");
    }
    assert!(!log.contains("wrist"), "the log keeps the hash of the words");
}

/// P14: on a machine's own clock the kernel vouches, or not: what the server says is what another program hears from it.
#[test]
fn p14_the_kernels_word_is_what_another_program_hears() {
    const HEARD: &str = "import ctypes; timex = ctypes.create_string_buffer(512); \
        state = ctypes.CDLL(None).adjtimex(timex); \
        print(int(state != 5 and not int.from_bytes(timex.raw[40:44], 'little') & 0x40))";
    let server = Server::start();
    let heard = || {
        let said = std::process::Command::new("python3").args(["-c", HEARD]).output().expect("Python is there");
        match std::str::from_utf8(&said.stdout).map(str::trim) {
            Ok("0") => false,
            Ok("1") => true,
            other => panic!("{other:?} {}", String::from_utf8_lossy(&said.stderr)),
        }
    };
    // It may change its mind between two questions; not every time.
    let agree = (0..100).any(|_| {
        let before = heard();
        let told = server.geoseal(&["clock", "status", "--json"]).json()["corroborated"].clone();
        std::thread::sleep(std::time::Duration::from_millis(20));
        told == before && heard() == before
    });
    assert!(agree, "the kernel says {}", heard());
}

/// P14: a peer's time, authenticated by TLS, vouches for the machine's clock when it agrees within five minutes, and for
/// nothing when it does not.
#[test]
fn p14_a_peers_time_over_tls_vouches_for_the_machines_clock() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let peer = Server::shared();
    let authority = server.home().join("peer-ca.pem");
    std::fs::write(&authority, peer.authority()).expect("our own directory");
    // Off, and up again with a wall that moved by so much, which nobody vouches for.
    let off = |server: &mut Server, seconds: i64, boot: &str| {
        server.terminate();
        let machine = server.data().join("data/clock.machine");
        let text = std::fs::read_to_string(&machine).expect("the simulated machine has a file");
        let mut shift: Value = serde_json::from_str(&text).expect("JSON");
        shift["wall"] = (shift["wall"].as_i64().expect("a number") + seconds * 1000).into();
        shift["boot_id"] = boot.repeat(16).into();
        shift["disciplined"] = false.into();
        std::fs::write(&machine, shift.to_string()).expect("our own file");
        server.restart();
    };
    let pending = |server: &Server| server.geoseal(&["clock", "show", "--json"]).json()["pending_s"].clone();
    off(&mut server, 100, "a1");
    assert!(pending(&server).as_i64() >= Some(100), "nobody vouches for it");

    server.terminate();
    let config = server.data().join("geoseal.toml");
    let mut text = std::fs::read_to_string(&config).expect("dev wrote it");
    text += &format!("\n[clock]\npeers = [\"https://{}/healthz\"]\npeers_ca_file = {authority:?}\n", peer.admin());
    std::fs::write(&config, &text).expect("our own file");
    server.restart();
    let settled = (0..1200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        pending(&server) == 0
    });
    assert!(settled, "the peer agrees: {}\n{}", pending(&server), server.log());

    // Ten days: the peer knows better, and nothing is credited.
    off(&mut server, 10 * 86_400, "b2");
    let told = (0..1200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        server.log().contains("does not agree")
    });
    assert!(told && pending(&server).as_i64() >= Some(10 * 86_400 - 600), "{}\n{}", pending(&server), server.log());

    // An address over plain http proves nothing.
    server.terminate();
    std::fs::write(&config, text.replace("https://", "http://")).expect("our own file");
    assert!(server.refuses_to_restart().contains("clock.peers"));
}
