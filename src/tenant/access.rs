//! What each state lets be done: one table, read by whoever answers the gate and the admin acts.
//!
//! The printed form is `access_table.txt`, reviewed as a diff; docs/retention.md shows it. Source: docs/retention.md,
//! "State and operation".

use super::State;

/// What somebody wants of a tenant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Write through a service login.
    ServicePut,
    /// Read or list through a service login.
    ServiceGet,
    /// Export by an administrator.
    AdminExport,
    /// A data subject's request.
    DataSubject,
    /// Place or release a hold.
    Hold,
    /// Delete objects.
    Delete,
}

impl Operation {
    /// All, in the order of the table's columns.
    pub const ALL: [Self; 6] =
        [Self::ServicePut, Self::ServiceGet, Self::AdminExport, Self::DataSubject, Self::Hold, Self::Delete];
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Go on.
    Yes,
    /// Only under a condition; otherwise refused as said.
    If(Condition, No),
    /// Accepted, recorded, done when the hold is released.
    Deferred,
    /// Refused.
    No(No),
}

/// What must hold for an [`Access::If`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It serves a data subject's request.
    ForDataSubject,
    /// The caller has the legal role.
    LegalRole,
    /// No hold keeps the object.
    NotHeld,
    /// Only the certificate is asked for.
    CertificateOnly,
}

/// A refusal: HTTP status and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct No {
    /// HTTP status.
    pub status: u16,
    /// The code, in S3's XML or the admin API's problem body.
    pub code: &'static str,
}

/// What `state` says to `operation`.
pub fn access(state: State, operation: Operation) -> Access {
    TABLE[state as usize][operation as usize]
}

const fn no(status: u16, code: &'static str) -> Access {
    Access::No(No { status, code })
}

const fn only(condition: Condition, status: u16, code: &'static str) -> Access {
    Access::If(condition, No { status, code })
}

const YES: Access = Access::Yes;
const NOT_READY: Access = no(503, "ServiceUnavailable");
const PURGING: Access = no(410, "TenantPurging");
const PURGED: Access = no(410, "TenantPurged");

/// Rows in the order of [`State::ALL`], columns in the order of [`Operation::ALL`].
#[rustfmt::skip]
const TABLE: [[Access; 6]; 7] = [
    /* PROVISIONING */ [NOT_READY, NOT_READY, NOT_READY, NOT_READY, NOT_READY, NOT_READY],
    /* ACTIVE       */ [YES, YES, YES, YES, YES, YES],
    /* DISABLED     */ [no(409, "TenantDisabled"), no(403, "TenantDisabled"), YES, YES, YES,
                        only(Condition::ForDataSubject, 409, "TenantDisabled")],
    /* TERMINATED   */ [no(403, "TenantTerminated"), no(403, "TenantTerminated"), YES, YES, YES, YES],
    /* PURGE_HELD   */ [no(403, "TenantTerminated"), no(403, "TenantTerminated"),
                        only(Condition::LegalRole, 403, "TenantTerminated"), Access::Deferred, YES,
                        only(Condition::NotHeld, 403, "LegalHold")],
    /* PURGING      */ [PURGING, PURGING, PURGING, PURGING, no(409, "TenantPurging"), PURGING],
    /* PURGED       */ [PURGED, PURGED, only(Condition::CertificateOnly, 410, "TenantPurged"), PURGED, PURGED, PURGED],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn word(access: Access) -> String {
        match access {
            Access::Yes => "yes".into(),
            Access::Deferred => "deferred".into(),
            Access::No(no) => format!("{} {}", no.status, no.code),
            Access::If(condition, no) => format!("{condition:?} or {} {}", no.status, no.code),
        }
    }

    /// `UPDATE_GOLDEN=1` rewrites the file; the diff is then reviewed.
    #[test]
    fn the_printed_table_is_the_reviewed_one() {
        let mut printed = String::new();
        for (state, row) in State::ALL.iter().zip(TABLE) {
            for (operation, cell) in Operation::ALL.iter().zip(row) {
                assert_eq!(access(*state, *operation), cell);
                let operation = format!("{operation:?}");
                printed += &format!("{:<13} {operation:<12} {}\n", state.as_str(), word(cell));
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tenant/access_table.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &printed).unwrap();
        }
        assert_eq!(printed, std::fs::read_to_string(path).unwrap(), "see access_table.txt");
    }

    /// The page's table is this one.
    #[test]
    fn the_documented_table_is_this_one() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/retention.md")).unwrap();
        for (state, row) in State::ALL.iter().zip(TABLE) {
            let cells: Vec<String> = row.into_iter().map(word).collect();
            let line = format!("| {} | {} |", state.as_str(), cells.join(" | "));
            assert!(page.contains(&line), "docs/retention.md lacks: {line}");
        }
    }
}
