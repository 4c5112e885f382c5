//! Holds the two tables of error codes, in docs/s3.md and docs/admin-api.md, to the code: what can be answered stands
//! there with its status, and what stands there can be answered.
//!
//! A code is a quoted word beside its status in a source file, as the one `match` of each face has it:
//! `("NotFollowed", S::UNPROCESSABLE_ENTITY)`, `Face(S::CONFLICT, "Busy", …)`, `no(410, "TenantPurged")`. What S3 itself
//! documents is left to S3: `s3s` knows its codes, and docs/s3.md has the others.

use super::{root, sources};
use s3s::S3ErrorCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Code → the statuses it comes with.
type Codes = BTreeMap<String, BTreeSet<u16>>;

/// Rooms whose codes an administrator sees; the command line only repeats them.
const OF_ADMINISTRATORS: [&str; 2] = ["admin", "tenant"];

/// What S3 answers as well, and `s3s` has no word for.
const OF_S3_TOO: [&str; 3] = ["AccessForbidden", "InvalidPartNumber", "XAmzContentSHA256Mismatch"];

#[test]
fn the_tables_of_error_codes_are_those_of_the_code() {
    let (mut admin, mut s3) = (Codes::new(), Codes::new());
    for file in sources() {
        let room = super::room_of(&file);
        let table = match room.as_str() {
            "cli" => continue,
            room if OF_ADMINISTRATORS.contains(&room) => &mut admin,
            _ => &mut s3,
        };
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for (code, status) in codes(text.split("#[cfg(test)]").next().unwrap_or_default()) {
            table.entry(code).or_default().insert(status);
        }
    }
    assert!(admin.len() > 40 && s3.len() > 40, "the reader finds them: {} and {}", admin.len(), s3.len());
    let mut wrong = differences("docs/admin-api.md", &table("docs/admin-api.md"), &admin, |_| true);
    wrong.extend(differences("docs/s3.md", &table("docs/s3.md"), &s3, |code| {
        let unknown = matches!(S3ErrorCode::from_bytes(code.as_bytes()), Some(S3ErrorCode::Custom(_)));
        unknown && !OF_S3_TOO.contains(&code)
    }));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_codes_sees_every_way_of_giving_one() {
    let source = "E::A => (\"OneCode\", S::CONFLICT),\nSelf::B => Face(\n S::GONE,\n \"TwoCodes\",\n Some(\"use It\")),\
                  no(410, \"ThreeCodes\"), Refusal::bad(\"FourCodes\", \"Text\"), Self::new(\"FiveCodes\", \
                  StatusCode::NOT_FOUND, m), Refusal::forbidden(\n  \"Six.Codes\", x), (\"storage-class\", S::OK), \
                  see(\"Operation\")";
    let expected = [
        ("FiveCodes", 404),
        ("FourCodes", 400),
        ("OneCode", 409),
        ("Six.Codes", 403),
        ("ThreeCodes", 410),
        ("TwoCodes", 410),
    ];
    let mut found = codes(source);
    found.sort();
    assert_eq!(found, expected.map(|(code, status)| (code.to_owned(), status)));
}

/// What is in one of them only, or there with another status. Of the code's, only those that are `owed` to the page.
fn differences(page: &str, told: &Codes, answered: &Codes, owed: impl Fn(&str) -> bool) -> Vec<String> {
    let missing = answered.iter().filter(|(code, _)| owed(code) && !told.contains_key(*code));
    let mut wrong: Vec<_> =
        missing.map(|(code, status)| format!("{page}: {code} {status:?} is answered and not told")).collect();
    for (code, told) in told {
        match answered.get(code) {
            None => wrong.push(format!("{page}: {code} is told and never answered")),
            Some(status) if status != told => {
                wrong.push(format!("{page}: {code} is told with {told:?} and answered with {status:?}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// The rows under "| code | status |" of a page.
fn table(page: &str) -> Codes {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let mut codes = Codes::new();
    for row in text.lines().skip_while(|line| !line.starts_with("| code | status |")).skip(2) {
        let Some(cells) = row.strip_prefix('|') else { break };
        let cells: Vec<&str> = cells.split(" | ").collect();
        assert!(cells.len() >= 3 && cells.iter().all(|cell| !cell.trim().is_empty()), "{page}: an empty cell: {row}");
        let status: BTreeSet<u16> =
            cells[1].split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
        for code in super::backticked(cells[0]) {
            assert!(codes.insert(code.clone(), status.clone()).is_none(), "{page}: {code} stands there twice");
        }
    }
    codes
}

/// Every code in a source text, with its status.
fn codes(source: &str) -> Vec<(String, u16)> {
    let mut found = vec![];
    for (at, _) in source.match_indices('"') {
        let Some((word, after)) = source[at + 1..].split_once('"') else { break };
        if is_code(word)
            && let Some(status) = status_after(after).or_else(|| status_before(&source[..at]))
        {
            found.push((word.to_owned(), status));
        }
    }
    found
}

fn is_code(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.contains(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
}

/// `, S::CONFLICT`, and the name in full.
fn status_after(after: &str) -> Option<u16> {
    let rest = after.trim_start().strip_prefix(',')?.trim_start();
    named(rest.strip_prefix("S::").or_else(|| rest.strip_prefix("StatusCode::"))?)
}

/// `S::CONFLICT,`, `409,`, or the refusal that means one.
fn status_before(before: &str) -> Option<u16> {
    let before = before.trim_end();
    if before.ends_with("::bad(") {
        return Some(400);
    }
    if before.ends_with("::forbidden(") {
        return Some(403);
    }
    let word = before.strip_suffix(',')?.rsplit(|c: char| c.is_whitespace() || "(,".contains(c)).next()?;
    word.parse().ok().or_else(|| named(word.strip_prefix("S::").or_else(|| word.strip_prefix("StatusCode::"))?))
}

/// The status of a constant of `http::StatusCode`, as `UNPROCESSABLE_ENTITY`.
fn named(rest: &str) -> Option<u16> {
    let name = &rest[..rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(rest.len())];
    let constant = |status: &http::StatusCode| {
        status.canonical_reason().is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
    };
    (100..600).filter_map(|status| http::StatusCode::from_u16(status).ok()).find(constant).map(|s| s.as_u16())
}
