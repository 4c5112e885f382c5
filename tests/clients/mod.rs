//! Stock clients: what a newcomer has installed must work with `dev.env` and nothing else. Each stores the same records,
//! lists them and reads them back byte for byte, over TLS that it verifies itself.

mod aws;
mod boto3;
mod rclone;
mod wire;

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use geoseal_support::{
    fixtures,
    records::{Mix, Record, Records, bytes},
};

/// Each client makes this bucket itself: the one that `dev` makes has `dev`'s own first object in it.
pub(crate) const BUCKET: &str = "records";

/// Every real record, some generated ones, an empty one, one that needs multipart, and names that break careless clients.
fn samples(seed: u64) -> Vec<Record> {
    let plain = |name: &str, body: Vec<u8>| Record {
        name: name.into(),
        subject: "contact:4711".into(),
        class: "interaction",
        content_type: "application/octet-stream",
        body,
    };
    let real = fixtures::all().into_iter().map(|f| plain(&format!("real/{}", f.name), f.bytes));
    let odd =
        ["odd/with space", "odd/plus+percent%41&amp;", "odd/ünï-çødé-株", "odd/~tilde*(paren)'quote'!", "odd/a=b?c#d"];
    let odd = odd.into_iter().map(|name| plain(name, name.into()));
    let sizes = [0, 1, 65_535, 65_536, 65_537, 9 << 20];
    let sized = sizes.into_iter().map(|size| plain(&format!("sized/{size}"), bytes(seed, size)));
    real.chain(odd).chain(sized).chain(Records::new(seed, Mix::Small).take(30)).collect()
}

/// Writes records as files under `directory`, an hour old: clients compare times with those of the server.
pub(crate) fn write_to(directory: &Path, records: &[Record]) {
    for record in records {
        let path = directory.join(&record.name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the scratch directory is writable");
        fs::write(&path, &record.body).expect("the scratch directory is writable");
        let file = fs::File::options().write(true).open(path).expect("just written");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("our own file");
    }
}

/// Panics unless `directory` holds exactly these records, byte for byte.
fn assert_holds(directory: &Path, records: &[Record]) {
    for record in records {
        let back = fs::read(directory.join(&record.name)).unwrap_or_else(|e| panic!("{}: {e}", record.name));
        assert!(back == record.body, "{} came back different", record.name);
    }
    let (mut files, mut folders) = (0, vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    assert_eq!(files, records.len(), "more files than records");
}
