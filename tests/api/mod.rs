//! The S3 face of the running binary, by the clients that people have: boto3 (the scripts beside this file, one per
//! area, each case a function), the `aws` command and rclone.

mod aws;
mod rclone;
mod slices;

use geoseal_support::clients::python;
use geoseal_support::server::Server;

/// What every script begins with, and how its case is called.
const COMMON: &str = include_str!("common.py");
const CALL: &str = "globals()[sys.argv[1]]()";

/// Runs one case of a script.
fn case(server: &Server, script: &str, case: &str) {
    let data = server.data().to_str().expect("a temporary directory's name is UTF-8");
    python(server, &format!("{COMMON}\n{script}\n{CALL}"), &[case, data]).ok();
}

/// One test per case, named after it, against the shared server.
macro_rules! cases {
    ($($area:ident: $($case:ident),+ $(,)?);+ $(;)?) => {$(
        mod $area {
            const SCRIPT: &str = include_str!(concat!(stringify!($area), ".py"));
            $(
                #[test]
                fn $case() {
                    super::case(super::Server::shared(), SCRIPT, stringify!($case));
                }
            )+

            /// A case that is in the script and not in the list above would never run.
            #[test]
            fn every_case_of_the_script_is_run() {
                let listed = [$(stringify!($case)),+];
                for line in SCRIPT.lines().filter_map(|line| line.strip_prefix("def ")) {
                    let Some(name) = line.strip_suffix("():").filter(|name| !name.starts_with('_')) else { continue };
                    assert!(listed.contains(&name), "{name} is not run");
                }
            }
        }
    )+};
}

cases! {
    buckets:
        create_list_head_delete,
        a_bucket_with_an_upload_under_way,
        regions_and_residency,
        names_that_are_none;
    objects:
        everything_that_was_said_comes_back,
        what_is_not_there,
        delete_one_and_many,
        copies,
        conditional_reads,
        conditional_writes,
        one_of_many_writers_wins,
        response_overrides,
        tags,
        user_metadata;
    ranges:
        fx_18_random_ranges_are_slices,
        fx_18_a_header_that_is_no_single_range,
        parts_by_number_and_conditions_on_ranges;
    listing:
        nx_04_every_page_is_the_references,
        start_after_and_markers,
        pages_of_a_big_bucket,
        fields_of_an_entry;
    multipart:
        parts_become_one_object,
        fx_10_what_complete_does_not_take,
        abort_and_start_again,
        two_uploads_of_one_name,
        listing_uploads,
        parts_that_are_copied,
        boto3_transfers;
    checksums:
        as_headers,
        one_nobody_asked_for_is_kept,
        as_trailers,
        content_md5,
        over_parts,
        copies_keep_or_change_theirs;
    addresses:
        presigned_both_ways,
        presigned_what_was_signed_must_be_sent,
        presigned_parts,
        virtual_hosted_style;
    versions:
        a_bucket_is_told_to_keep_versions,
        overwritten_deleted_and_brought_back,
        ids_that_are_none,
        suspended_there_is_one_null_version,
        every_page_of_the_versions_is_the_references,
        more_versions_than_a_page_holds,
        uploads_are_versions_too,
        tags_are_a_versions_own,
        conditions_look_at_the_newest_version,
        many_deleted_at_once,
        a_bucket_with_anything_left_stays;
    unbuilt:
        every_other_operation_is_501,
        headers_that_imply_what_is_not_there;
}

/// On a server of its own: it counts the files in the cellar.
#[test]
fn fx_24_sizes_at_the_borders() {
    case(&Server::start(), include_str!("sizes.py"), "fx_24_sizes_at_the_borders");
}
