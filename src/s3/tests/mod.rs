//! The whole S3 face over the real store, in one process: engine and blobs in memory, keys in a directory of their own,
//! requests signed as clients sign them. Only sockets and TLS are missing.

mod authentication;
mod chunked;
mod ingest;
mod input;
mod isolation;
mod listing;
mod multipart;
mod objects;
mod panics;
mod world;
