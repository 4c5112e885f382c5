//! The front door: arguments, then the command line or the server.

fn main() {
    println!("geoseal {}", env!("CARGO_PKG_VERSION"));
}
