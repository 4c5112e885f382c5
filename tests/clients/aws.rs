//! The AWS command line: `s3api` for single calls, `s3 cp` and `s3 sync` for files and folders.

use std::fs;

use geoseal_support::{clients::aws, server::Server};

use super::{BUCKET, assert_holds, samples, write_to};

#[test]
fn s3api_stores_describes_lists_and_removes() {
    let server = Server::start();
    let place = "LocationConstraint=westeurope";
    aws(&server, &["s3api", "create-bucket", "--bucket", BUCKET, "--create-bucket-configuration", place]).ok();
    let file = server.home().join("record.json");
    fs::write(&file, br#"{"type":"email.interaction.opened"}"#).unwrap();
    let path = file.to_str().unwrap();

    let metadata = "geoseal-subject=contact:4711,geoseal-class=interaction";
    let put = aws(
        &server,
        &[
            "s3api",
            "put-object",
            "--bucket",
            BUCKET,
            "--key",
            "a/b",
            "--body",
            path,
            "--metadata",
            metadata,
            "--content-type",
            "application/json",
        ],
    );
    assert_eq!(put.json()["ETag"], "\"522f00b42aface6a76e7b07d158c42a2\"");

    let head = aws(&server, &["s3api", "head-object", "--bucket", BUCKET, "--key", "a/b"]).json();
    assert_eq!(head["ContentLength"], 35);
    assert_eq!(head["ContentType"], "application/json");
    assert_eq!(head["Metadata"]["geoseal-subject"], "contact:4711");
    assert_eq!(head["ServerSideEncryption"], "aws:kms");

    let back = server.home().join("back");
    aws(&server, &["s3api", "get-object", "--bucket", BUCKET, "--key", "a/b", back.to_str().unwrap()]).ok();
    assert_eq!(fs::read(&back).unwrap(), fs::read(&file).unwrap());
    let part =
        ["s3api", "get-object", "--bucket", BUCKET, "--key", "a/b", "--range", "bytes=2-5", back.to_str().unwrap()];
    aws(&server, &part).ok();
    assert_eq!(fs::read(&back).unwrap(), b"type");

    let listed = aws(&server, &["s3api", "list-objects-v2", "--bucket", BUCKET]).json();
    assert_eq!(listed["Contents"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["Contents"][0]["Key"], "a/b");

    aws(&server, &["s3api", "delete-object", "--bucket", BUCKET, "--key", "a/b"]).ok();
    let gone = aws(&server, &["s3api", "get-object", "--bucket", BUCKET, "--key", "a/b", "/dev/null"]);
    assert!(gone.refused().contains("NoSuchKey"), "{}", gone.stderr());
}

#[test]
fn s3_sync_and_cp_carry_a_folder_there_and_back() {
    let server = Server::start();
    aws(&server, &["s3", "mb", &format!("s3://{BUCKET}")]).ok();
    let (there, back) = (server.home().join("there"), server.home().join("back"));
    let records = samples(11);
    write_to(&there, &records);

    let bucket = format!("s3://{BUCKET}/sync");
    aws(&server, &["s3", "sync", "--only-show-errors", there.to_str().unwrap(), &bucket]).ok();
    aws(&server, &["s3", "cp", "--recursive", "--only-show-errors", &bucket, back.to_str().unwrap()]).ok();
    assert_holds(&back, &records);

    let again = aws(&server, &["s3", "sync", there.to_str().unwrap(), &bucket]);
    assert_eq!(again.ok(), "", "a second sync has nothing to do");
    let listed = aws(&server, &["s3", "ls", "--recursive", &bucket]).ok();
    assert_eq!(listed.lines().count(), records.len());

    aws(&server, &["s3", "rm", "--recursive", "--only-show-errors", &bucket]).ok();
    let empty = aws(&server, &["s3", "ls", "--recursive", &format!("s3://{BUCKET}/")]);
    assert_eq!(empty.stdout(), "");
}
