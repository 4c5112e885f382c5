//! The front door: arguments, then the command line or the server.

#![forbid(unsafe_code)]

use geoseal::app;
use geoseal::cli::{self, RolledBack, Wiring, dev};
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

    fn serve_dev(&self, prepared: &dev::Prepared, ready: dev::OnReady) -> Result<(), String> {
        app::serve_dev(prepared, ready).map_err(|error| error.to_string())
    }

    fn verify_certificate(&self, certificate: &[u8], log_key: &[u8; 32]) -> Result<(), String> {
        app::verify_certificate(certificate, log_key)
    }
}
