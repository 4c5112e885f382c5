//! The stock clients, run against a server with nothing but its `dev.env` in their environment: no flag, no
//! configuration file, nothing that weakens TLS.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::{server::Server, tools::tools};

/// What a program did.
pub struct Ran(Output);

impl Ran {
    /// Runs it to its end.
    pub fn of(command: &mut Command) -> Self {
        Self(command.output().unwrap_or_else(|e| panic!("{:?} does not start: {e}", command.get_program())))
    }

    /// Its stdout, after a success; panics with its stderr after anything else.
    pub fn ok(&self) -> String {
        assert!(self.0.status.success(), "{}\n{}{}", self.0.status, self.stderr(), self.stdout());
        self.stdout()
    }

    /// Its stderr, after a failure; panics after a success.
    pub fn refused(&self) -> String {
        assert!(!self.0.status.success(), "succeeded, and should not have:\n{}", self.stdout());
        self.stderr()
    }

    /// Its stdout as JSON, after a success.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap_or_else(|e| panic!("not JSON: {e}\n{}", self.stdout()))
    }

    /// Its exit code, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// Its stdout as it is.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Its stderr as it is.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

/// `aws ARGUMENTS`
pub fn aws<A: AsRef<OsStr>>(server: &Server, arguments: &[A]) -> Ran {
    Ran::of(with_env(server, tools().aws()).args(arguments))
}

/// A Python script given as text; its arguments are in `sys.argv[1:]`.
pub fn python<A: AsRef<OsStr>>(server: &Server, script: &str, arguments: &[A]) -> Ran {
    Ran::of(python_command(server, script, arguments).stdin(Stdio::null()))
}

/// The same, not started yet: for scripts that run beside a test.
pub fn python_command<A: AsRef<OsStr>>(server: &Server, script: &str, arguments: &[A]) -> Command {
    let mut command = with_env(server, tools().python());
    command.arg("-c").arg(script).args(arguments);
    command
}

/// A script of `examples/email-interactions`, with the environment that its README makes.
pub fn example<A: AsRef<OsStr>>(server: &Server, script: &str, arguments: &[A]) -> Ran {
    example_as(server, &[], script, arguments)
}

/// The same, with some of these variables in the place of the server's: a job's own login.
pub fn example_as<A: AsRef<OsStr>>(server: &Server, login: &[(&str, &str)], script: &str, arguments: &[A]) -> Ran {
    let mut command = with_env(server, tools().example_python());
    command.envs(login.iter().copied());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/email-interactions").join(script);
    Ran::of(command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).args(arguments))
}

/// A POSIX shell with nothing of `dev.env` in its environment: the script sources it itself, as a person would. It is
/// given as text; its arguments are in `$1` and so on.
pub fn shell<A: AsRef<OsStr>>(server: &Server, script: &str, arguments: &[A]) -> Ran {
    let mut command = bare(server, Path::new("/bin/sh"));
    Ran::of(command.args(["-c", script, "sh"]).args(arguments))
}

/// `rclone ARGUMENTS`, with a remote `geoseal:` that takes everything from the environment.
///
/// rclone wants its CA file under a name of its own, and Debian's 1.60 (AWS SDK 1) refuses to start at all when
/// `AWS_CA_BUNDLE` is set.
pub fn rclone<A: AsRef<OsStr>>(server: &Server, arguments: &[A]) -> Ran {
    let mut command = with_env(server, tools().rclone());
    command
        .env_remove("AWS_CA_BUNDLE")
        .env("RCLONE_CONFIG", "/dev/null")
        .env("RCLONE_CONFIG_GEOSEAL_TYPE", "s3")
        .env("RCLONE_CONFIG_GEOSEAL_PROVIDER", "Other")
        .env("RCLONE_CONFIG_GEOSEAL_ENV_AUTH", "true")
        .env("RCLONE_CONFIG_GEOSEAL_ENDPOINT", server.variable("AWS_ENDPOINT_URL"))
        .env("RCLONE_CONFIG_GEOSEAL_REGION", server.variable("AWS_REGION"))
        .env("RCLONE_CA_CERT", server.variable("AWS_CA_BUNDLE"));
    Ran::of(command.args(arguments))
}

/// A program that sees `dev.env`, a PATH, an empty home, and nothing else of this process's environment.
fn with_env(server: &Server, program: &Path) -> Command {
    let mut command = bare(server, program);
    command.envs(server.env());
    command
}

/// A program that sees a PATH, an empty home, and nothing else of this process's environment.
fn bare(server: &Server, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", server.home())
        .env("LANG", "C.UTF-8")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(server.home())
        .stdin(Stdio::null());
    command
}
