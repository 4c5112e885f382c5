//! T-07: peers that are silent, drip, or do not read; caps; drain.

use super::rig::{GET, Rig, read_to_close, short};
use crate::edge::{EdgeLimits, Refusal};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio::time::{sleep, timeout};

/// Slow peers of each kind at one time.
const EACH: usize = 150;

/// A drip: one byte, then a pause shorter than any deadline, until the server has enough of it.
async fn drip(mut to: impl AsyncWriteExt + Unpin, byte: u8) {
    while to.write_all(&[byte]).await.is_ok() && to.flush().await.is_ok() {
        sleep(Duration::from_millis(100)).await;
    }
}

/// T-07: all kinds at once, and an honest client in their midst.
#[tokio::test(flavor = "multi_thread")]
async fn t_07_slow_peers_are_cut_and_others_are_served() {
    let rig = std::sync::Arc::new(Rig::start(short()).await);
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..EACH {
        let r = rig.clone();
        slow.spawn(async move {
            _ = r.tcp().await.read(&mut [0]).await;
        });
        let r = rig.clone();
        slow.spawn(async move {
            let mut tcp = r.tcp().await;
            _ = tcp.write_all(&[0x16, 3, 1]).await;
            drip(tcp, 0).await;
        });
        let r = rig.clone();
        slow.spawn(async move {
            if let Ok(mut tls) = r.connect_as(r.client()).await {
                _ = tls.read(&mut [0]).await;
            }
        });
        let r = rig.clone();
        slow.spawn(async move {
            if let Ok(mut tls) = r.connect_as(r.client()).await {
                _ = tls.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
                drip(tls, b'x').await;
            }
        });
        let r = rig.clone();
        slow.spawn(async move {
            if let Ok(mut tls) = r.connect_as(r.client()).await {
                _ = tls.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
                drip(tls, b'x').await;
            }
        });
        let r = rig.clone();
        slow.spawn(async move {
            if let Ok(mut tls) = r.connect_as(r.client()).await {
                _ = tls.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
                // Reads nothing; the server's end closing is seen by the connection count below.
                sleep(Duration::from_secs(4)).await;
            }
        });
    }
    let (mut served, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        if let Ok(mut tls) = rig.connect_as(rig.client()).await {
            tls.write_all(GET.as_bytes()).await.unwrap();
            served += u32::from(read_to_close(&mut tls).await.starts_with("HTTP/1.1 200 "));
        }
    }
    assert!(served >= 5, "only {served} honest requests were served");
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.meters.connections() > 0 {
        assert!(Instant::now() < deadline, "{} slow connections are still open", rig.meters.connections());
        sleep(Duration::from_millis(50)).await;
    }
    for reason in
        [Refusal::HandshakeSlow, Refusal::FirstByteSlow, Refusal::HeaderSlow, Refusal::BodySlow, Refusal::ReaderSlow]
    {
        assert!(rig.meters.refused(reason) > 0, "nobody was cut for {reason:?}");
    }
    slow.shutdown().await;
}

/// How long until the server closes, in milliseconds.
async fn closes_after(tls: &mut super::rig::Tls) -> u128 {
    let begun = Instant::now();
    timeout(Duration::from_secs(10), read_to_close(tls)).await.expect("the server closes");
    begun.elapsed().as_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deadline_is_its_own() {
    let rig = Rig::start(short()).await;
    let silent = async { closes_after(&mut rig.connect().await).await };
    let header = async {
        let mut tls = rig.connect().await;
        tls.write_all(b"GET").await.unwrap();
        closes_after(&mut tls).await
    };
    let idle = async {
        let mut tls = rig.connect().await;
        tls.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        closes_after(&mut tls).await
    };
    let body = async {
        let mut tls = rig.connect().await;
        tls.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await.unwrap();
        closes_after(&mut tls).await
    };
    let (silent, header, idle, body) = tokio::join!(silent, header, idle, body);
    assert!((350..750).contains(&silent), "first byte: {silent} ms");
    assert!((750..1300).contains(&header), "header: {header} ms");
    assert!((1450..2300).contains(&idle), "idle: {idle} ms");
    assert!((950..1450).contains(&body), "body: {body} ms");
}

/// Time that the service takes is not the peer's fault, and a peer at the least rate may go on.
#[tokio::test(flavor = "multi_thread")]
async fn honest_slowness_is_not_cut() {
    let mut limits = short();
    limits.header = Duration::from_millis(200);
    limits.body_window = Duration::from_millis(200);
    limits.body_window_bytes_min = 64;
    let rig = Rig::start(limits).await;
    let slow_service = rig.ask("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(slow_service.ends_with("slow"), "{slow_service}");
    let mut tls = rig.connect().await;
    tls.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n").await.unwrap();
    for _ in 0..30 {
        tls.write_all(&[b'x'; 100]).await.unwrap();
        tls.flush().await.unwrap();
        sleep(Duration::from_millis(30)).await;
    }
    let answer = read_to_close(&mut tls).await;
    assert!(answer.contains("3000 bytes"), "{answer}");
}

/// A reader that keeps the least rate is served, however long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_at_the_least_rate_is_served() {
    // About 21 KiB a second are wanted, the reader takes about 110. Both move in steps that the kernel makes: without
    // the bound on unsent bytes, one step is a third of a send buffer of megabytes, and this reader would be cut.
    let limits = EdgeLimits { body_window: Duration::from_millis(1500), body_window_bytes_min: 32 * 1024, ..short() };
    let rig = Rig::start(limits).await;
    let mut tls = rig.connect().await;
    tls.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut page = vec![0; 16 * 1024];
    for _ in 0..40 {
        tls.read_exact(&mut page).await.expect("the server goes on");
        sleep(Duration::from_millis(140)).await;
    }
    assert_eq!(rig.meters.refused(Refusal::ReaderSlow), 0);
}

#[tokio::test]
async fn caps_refuse_what_is_too_much_and_places_come_back() {
    let rig = Rig::start(EdgeLimits { connections_per_address_max: 2, ..short() }).await;
    let (first, second) = (rig.connect().await, rig.connect().await);
    assert!(rig.connect_as(rig.client()).await.is_err());
    assert_eq!(rig.meters.refused(Refusal::TooManyFromAddress), 1);
    drop((first, second));
    let deadline = Instant::now() + Duration::from_secs(5);
    while rig.connect_as(rig.client()).await.is_err() {
        assert!(Instant::now() < deadline, "the places did not come back");
        sleep(Duration::from_millis(10)).await;
    }
    let rig = Rig::start(EdgeLimits { connections_max: 1, ..short() }).await;
    let _first = rig.connect().await;
    assert!(rig.connect_as(rig.client()).await.is_err());
    assert_eq!(rig.meters.refused(Refusal::TooManyConnections), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_finishes_what_is_in_flight_and_takes_no_more() {
    let rig = Rig::start(short()).await;
    let mut busy = rig.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut idle = rig.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    sleep(Duration::from_millis(100)).await;
    rig.drain.start();
    let begun = Instant::now();
    assert_eq!(read_to_close(&mut idle).await, "");
    assert!(begun.elapsed() < Duration::from_millis(150), "an idle connection is closed at once");
    let answer = read_to_close(&mut busy).await;
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(tokio::net::TcpStream::connect(rig.address).await.is_err());
    assert_eq!(rig.served.await.unwrap().cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_cuts_at_its_deadline() {
    let rig = Rig::start(short()).await;
    let mut endless = rig.connect().await;
    endless.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let reading = tokio::spawn(async move {
        let mut page = vec![0; 64 * 1024];
        while endless.read(&mut page).await.is_ok_and(|n| n > 0) {}
    });
    sleep(Duration::from_millis(100)).await;
    rig.drain.start();
    let drained = timeout(Duration::from_secs(5), rig.served).await.expect("drain ends").unwrap();
    assert_eq!(drained.cut, 1);
    timeout(Duration::from_secs(5), reading).await.expect("the connection is cut").unwrap();
}
