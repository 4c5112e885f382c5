//! The front door: arguments, then the command line or the server.

#![forbid(unsafe_code)]

use geoseal::admin::transparency::LogGrowth;
use geoseal::app;
use geoseal::cli::{self, RestoredGeo, RolledBack, VerifiedCertificate, Wiring, dev};
use std::path::Path;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Every byte that the heap takes back is overwritten first: keys, plaintext, request headers, what a growing buffer leaves behind.
#[global_allocator]
static HEAP: ZeroAlloc<mimalloc::MiMalloc> = ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    cli::run(&House)
}

struct House;

impl Wiring for House {
    fn found(&self, config: &Path) -> Result<(), String> {
        app::found(config).map_err(|error| error.to_string())
    }

    fn serve(&self, config: &Path, accepted: Option<&RolledBack>) -> Result<(), String> {
        app::serve(config, accepted).map_err(|error| error.to_string())
    }

    fn found_keys(&self, config: &Path) -> Result<(), String> {
        app::found_keys(config).map_err(|error| error.to_string())
    }

    fn serve_keys(&self, config: &Path, accepted: Option<&RolledBack>) -> Result<(), String> {
        app::serve_keys(config, accepted).map_err(|error| error.to_string())
    }

    fn serve_dev(&self, prepared: &dev::Prepared, ready: dev::OnReady) -> Result<(), String> {
        app::serve_dev(prepared, ready).map_err(|error| error.to_string())
    }

    fn restore_backup(
        &self,
        from: &Path,
        to: Option<&Path>,
        log_key: Option<&[u8; 32]>,
    ) -> Result<Vec<RestoredGeo>, String> {
        let restored = app::restore_backup(from, to, log_key).map_err(|error| error.to_string())?;
        Ok(restored
            .into_iter()
            .map(|geo| RestoredGeo {
                backup: geo.manifest.id,
                geo: geo.manifest.geo,
                at: geo.manifest.at,
                rows: geo.manifest.rows,
                blobs: geo.manifest.blobs,
                log_key: geo.log_key.iter().map(|byte| format!("{byte:02x}")).collect(),
                not_in_it: geo.manifest.not_in_it,
            })
            .collect())
    }

    fn verify_certificate(
        &self,
        certificate: &[u8],
        log_key: &[u8; 32],
        older: Option<&str>,
    ) -> Result<VerifiedCertificate, String> {
        app::verify_certificate(certificate, log_key, older)
    }

    fn write_log(&self, dir: &Path, checkpoint: &str, lines: &[String]) -> Result<(), String> {
        app::write_log(dir, checkpoint, lines)
    }

    fn verify_log(&self, dir: &Path, log_key: &[u8; 32], older: Option<&str>) -> Result<(u64, String), String> {
        app::verify_log(dir, log_key, older)
    }

    fn verify_growth(&self, older: &str, newer: &LogGrowth, log_key: &[u8; 32]) -> Result<(u64, u64), String> {
        app::verify_growth(older, newer, log_key)
    }

    fn first_difference(&self, dir: &Path, log_key: &[u8; 32], lines: &[String]) -> Result<Option<u64>, String> {
        app::first_difference(dir, log_key, lines)
    }

    fn verify_proof(&self, proof: &str, log_key: &[u8; 32]) -> Result<String, String> {
        app::verify_proof(proof, log_key)
    }
}
