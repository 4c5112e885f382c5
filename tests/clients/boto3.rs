//! boto3 with default settings: checksums, chunked trailers and retries as the library chooses them.

use geoseal_support::{clients::python, server::Server};

use super::{BUCKET, samples, write_to};

#[test]
fn boto3_stores_lists_reads_copies_presigns_uploads_in_parts_and_deletes() {
    let server = Server::start();
    let folder = server.home().join("records");
    write_to(&folder, &samples(12));
    let ran = python(&server, include_str!("boto3.py"), &[BUCKET, folder.to_str().unwrap()]);
    assert_eq!(ran.ok(), "ok\n");
}
