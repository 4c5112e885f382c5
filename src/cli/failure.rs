//! How a command ends when it does not end well: one exit code for each kind, the same for every command.

use crate::admin::wire::Problem;

/// The exit codes. Source: docs/cli.md, "Exit codes".
pub mod exit {
    /// It failed.
    pub const FAILED: u8 = 1;
    /// The command was wrong.
    pub const USAGE: u8 = 2;
    /// There is no such thing.
    pub const NOT_FOUND: u8 = 3;
    /// The thing's state does not allow it.
    pub const WRONG_STATE: u8 = 4;
    /// The caller may not.
    pub const DENIED: u8 = 5;
    /// The server, or what it needs, is out of reach.
    pub const UNREACHABLE: u8 = 6;
    /// A hold stands in the way.
    pub const HELD: u8 = 7;
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was wrong: the text says what to write instead.
    #[error("{0}")]
    Usage(String),
    /// The server refused.
    #[error("{}", words(.0))]
    Refused(Box<Problem>),
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
    /// Something here failed.
    #[error("{0}")]
    Failed(String),
    /// What was asked for was made and printed, and something is missing in it.
    #[error("{0}")]
    Incomplete(String),
    /// What was looked at is not in order. The result was printed; this is only the exit code and a last word.
    #[error("{0}")]
    Unfit(String),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Refused(problem) => refused(problem),
            Self::Unreachable(_) => exit::UNREACHABLE,
            Self::Incomplete(_) => exit::WRONG_STATE,
            Self::Failed(_) | Self::Unfit(_) => exit::FAILED,
        }
    }

    /// For `--json`: the server's own words, or the like in the same shape.
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::Refused(problem) => return (**problem).clone(),
            Self::Usage(_) => "Usage",
            Self::Unreachable(_) => "Unreachable",
            Self::Failed(_) | Self::Incomplete(_) | Self::Unfit(_) => "Failed",
        };
        Problem { code: code.into(), detail: self.to_string(), kind: "about:blank".into(), ..Problem::default() }
    }
}

fn refused(problem: &Problem) -> u8 {
    match (problem.status, problem.code.as_str()) {
        (_, "PurgeHeld" | "LegalHold") => exit::HELD,
        (400 | 413 | 422, _) => exit::USAGE,
        (401 | 403, _) => exit::DENIED,
        (404, _) => exit::NOT_FOUND,
        (409 | 410 | 412, _) => exit::WRONG_STATE,
        (502..=504, _) => exit::UNREACHABLE,
        _ => exit::FAILED,
    }
}

fn words(problem: &Problem) -> String {
    let mut text = format!("{} ({})", problem.detail, problem.code);
    if !problem.holds.is_empty() {
        text.push_str(&format!("\nholds: {}", problem.holds.join(", ")));
    }
    if !problem.valid.is_empty() {
        text.push_str(&format!("\nvalid: {}", problem.valid.join(", ")));
    }
    if let Some(remedy) = &problem.remedy {
        text.push_str(&format!("\nwhat to do: {remedy}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::error::ActError;
    use crate::admin::wire::TenantState;

    #[test]
    fn every_refusal_has_its_exit_code() {
        for (error, code) in [
            (ActError::BadBody("x".into()), 2),
            (ActError::ConfirmMismatch, 2),
            (ActError::UnknownRegion, 2),
            (ActError::NoInGeoReplica, 2),
            (ActError::NoSuchTenant, 3),
            (ActError::NoCertificate, 3),
            (ActError::NameTaken, 4),
            (ActError::WrongState(TenantState::Purging), 4),
            (ActError::TenantPurged, 4),
            (ActError::RevisionChanged, 4),
            (ActError::Unauthenticated, 5),
            (ActError::ConsentRequired, 5),
            (ActError::Unavailable("the key service"), 6),
            (ActError::Held(vec!["M-9".into()]), 7),
            (ActError::NotBuilt, 1),
            (ActError::Broken, 1),
        ] {
            assert_eq!(Failure::Refused(Box::new(error.problem())).exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let text = Failure::Refused(Box::new(ActError::UnknownGeo.problem())).to_string();
        assert!(text.contains("(UnknownGeo)") && text.contains("brazil") && text.contains("what to do"), "{text}");
    }
}
