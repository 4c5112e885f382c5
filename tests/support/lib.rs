//! What the tests and the load bench share; never part of the product.
//!
//! - [`tools`]: the foreign programs (Python, the AWS command line, rclone, nginx), found or installed once per run
//! - [`server`]: the shipped binary with `dev` in a directory of its own: started, killed, restarted, stopped
//! - [`daemon`]: the same binary with `init` and `serve --config`
//! - [`clients`]: those foreign programs, run against such a server with nothing but its `dev.env`
//! - [`wire`] and [`signer`]: a bare HTTPS client that sends exactly the bytes it is given, and SigV4 for it
//! - [`key_service`]: `keys serve`, and its protocol written down byte for byte
//! - [`keepers`]: SoftHSM2, OpenBao, moto's KMS behind a proxy that fails as told
//! - [`fixtures`] and [`records`]: real e-mail records, and a generator of any number of that shape
//!
//! Knows the product by its command line, its files and its wire only: it does not depend on the geoseal library.

#![allow(clippy::disallowed_methods, reason = "drives real processes in real time: there is no clock to inject")]

pub mod clients;
pub mod daemon;
pub mod fixtures;
pub mod keepers;
pub mod key_service;
pub mod records;
pub mod server;
pub mod signer;
pub mod tools;
pub mod wire;
