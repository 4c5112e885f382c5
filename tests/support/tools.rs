//! The foreign programs that tests drive. `tools.sh` finds or installs them; this reads its answer once per process.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where each program is.
pub struct Tools(HashMap<String, PathBuf>);

impl Tools {
    /// Python 3 with boto3, cryptography and moto.
    pub fn python(&self) -> &Path {
        &self.0["PYTHON"]
    }

    /// The stock AWS command line.
    pub fn aws(&self) -> &Path {
        &self.0["AWS"]
    }

    /// rclone.
    pub fn rclone(&self) -> &Path {
        &self.0["RCLONE"]
    }

    /// nginx.
    pub fn nginx(&self) -> &Path {
        &self.0["NGINX"]
    }

    /// The openssl command.
    pub fn openssl(&self) -> &Path {
        &self.0["OPENSSL"]
    }

    /// SoftHSM2's PKCS#11 module.
    pub fn softhsm(&self) -> &Path {
        &self.0["SOFTHSM"]
    }

    /// SoftHSM2's tool that initialises tokens.
    pub fn softhsm_util(&self) -> &Path {
        &self.0["SOFTHSM_UTIL"]
    }

    /// A TPM 2.0 in software.
    pub fn swtpm(&self) -> &Path {
        &self.0["SWTPM"]
    }

    /// systemd's tool that seals credentials.
    pub fn systemd_creds(&self) -> &Path {
        &self.0["SYSTEMD_CREDS"]
    }

    /// OpenBao.
    pub fn openbao(&self) -> &Path {
        &self.0["OPENBAO"]
    }

    /// Python 3 with what the example in `examples/email-interactions` needs.
    pub fn example_python(&self) -> &Path {
        &self.0["EXAMPLE_PYTHON"]
    }

    /// What makes a btrfs, where this machine could mount one.
    pub fn mkfs_btrfs(&self) -> Option<&Path> {
        self.0.get("MKFS_BTRFS").map(PathBuf::as_path)
    }

    /// The directory with CPython's `msg_*.txt`.
    pub fn emails(&self) -> &Path {
        &self.0["EMAILS"]
    }
}

/// Finds the programs, installing what is missing on the first call of a process; later calls are free.
///
/// Panics with `tools.sh`'s own words on stderr when something is missing and cannot be installed.
pub fn tools() -> &'static Tools {
    static FOUND: OnceLock<Tools> = OnceLock::new();
    FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh");
        let run = Command::new("bash").arg(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let run = run.expect("bash runs tests/support/tools.sh");
        assert!(
            run.status.success(),
            "tests/support/tools.sh could not find or install what the tests need; see above"
        );
        let list = String::from_utf8(run.stdout).expect("paths are UTF-8");
        Tools(list.lines().filter_map(|l| l.split_once('=')).map(|(n, p)| (n.to_owned(), p.into())).collect())
    })
}

/// A scratch directory under the build directory: on a real disk, where an fsync costs what it costs, unlike `/tmp`
/// on many machines. Removed on drop.
pub fn scratch() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/support is two below the root");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let base = target.join("scratch");
    std::fs::create_dir_all(&base).expect("the build directory is writable");
    tempfile::tempdir_in(base).expect("the build directory is writable")
}
