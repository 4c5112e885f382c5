//! rclone: copies a folder there, checks it against the original by size and hash, and copies it back.

use geoseal_support::{clients::rclone, server::Server};

use super::{BUCKET, assert_holds, samples, write_to};

#[test]
fn rclone_copies_checks_and_copies_back() {
    let server = Server::start();
    rclone(&server, &["mkdir", &format!("geoseal:{BUCKET}")]).ok();
    let (there, back) = (server.home().join("there"), server.home().join("back"));
    let records = samples(13);
    write_to(&there, &records);

    let (there, remote) = (there.to_str().unwrap(), format!("geoseal:{BUCKET}/rclone"));
    rclone(&server, &["copy", there, &remote]).ok();
    rclone(&server, &["check", there, &remote]).ok();
    rclone(&server, &["check", "--download", there, &remote]).ok();
    rclone(&server, &["copy", &remote, back.to_str().unwrap()]).ok();
    assert_holds(&back, &records);

    let listed = rclone(&server, &["lsf", "--recursive", "--files-only", &remote]).ok();
    assert_eq!(listed.lines().count(), records.len());
    rclone(&server, &["purge", &remote]).ok();
    assert_eq!(rclone(&server, &["lsf", &format!("geoseal:{BUCKET}")]).ok(), "");
}
