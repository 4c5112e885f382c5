//! A server under measurement: where it listens, who asks, and which process pays.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use geoseal_support::{
    server::{BUCKET, Server},
    signer::{Body, Credentials, Request, object_path},
    wire::client_config,
};
use rustls::ClientConfig;

use crate::{
    loader::{Loader, Measured, Until, Work},
    peer::Nginx,
    process::cpu,
};

/// How many names a listing asks for.
pub(crate) const PAGE: usize = 1000;

/// Ours or nginx.
pub(crate) struct Target<'a> {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// The process whose CPU and memory count.
    pub(crate) pid: u32,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    who: Credentials,
    peer: Option<&'a Nginx>,
}

impl<'a> Target<'a> {
    /// The shipped binary.
    pub(crate) fn ours(server: &Server) -> Self {
        Self::of(server, server.credentials())
    }

    /// The shipped binary, asked by somebody.
    pub(crate) fn of(server: &Server, who: Credentials) -> Self {
        Self {
            name: "geoseal",
            pid: server.pid(),
            address: server.s3(),
            tls: client_config(&server.authority(), &[&rustls::version::TLS13]),
            who,
            peer: None,
        }
    }

    /// nginx, which gets the very same requests and takes no notice of the signature.
    pub(crate) fn nginx(nginx: &'a Nginx, who: Credentials) -> Self {
        let (pid, address, tls) = (nginx.worker(), nginx.address, nginx.tls.clone());
        Self { name: "nginx", pid, address, tls, who, peer: Some(nginx) }
    }

    /// PUTs of `length` bytes, signed now and good for fifteen minutes. The body is left to TLS, as the stock clients do.
    pub(crate) fn puts(&self, names: impl Iterator<Item = String>, length: usize) -> Vec<Vec<u8>> {
        let put = |name: String| {
            let request = Request::new("PUT", &object_path(BUCKET, &name));
            self.head(request.header("content-length", &length.to_string()))
        };
        names.map(put).collect()
    }

    /// GETs.
    pub(crate) fn gets(&self, names: impl Iterator<Item = String>) -> Vec<Vec<u8>> {
        names.map(|name| self.head(Request::new("GET", &object_path(BUCKET, &name)))).collect()
    }

    /// Listings of a page after each name.
    pub(crate) fn lists(&self, names: impl Iterator<Item = String>) -> Vec<Vec<u8>> {
        let list = |name: String| {
            let request = Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2");
            self.head(request.query("start-after", &name).query("max-keys", &PAGE.to_string()))
        };
        names.map(list).collect()
    }

    /// Files have no listing in S3's form.
    pub(crate) fn lists_names(&self) -> bool {
        self.peer.is_none()
    }

    /// Stores objects to be asked for later.
    pub(crate) fn fill(&self, names: impl Iterator<Item = String>, body: &[u8]) -> io::Result<()> {
        match self.peer {
            Some(nginx) => names.for_each(|name| nginx.store(&object_path(BUCKET, &name), body)),
            None => {
                let heads = self.puts(names, body.len());
                self.run(16, &Work { heads, body: body.to_vec(), until: Until::AllSent })?;
            }
        }
        Ok(())
    }

    /// Runs `work` over so many connections; also says what CPU time the server spent.
    pub(crate) fn run(&self, connections: usize, work: &Work) -> io::Result<(Measured, Duration)> {
        let loader = Loader::connect(self.address, &self.tls, connections)?;
        let before = cpu(self.pid);
        let measured = loader.run(work)?;
        Ok((measured, cpu(self.pid) - before))
    }

    /// A request of any kind, signed now with the hash of its body, as it goes on the wire.
    pub(crate) fn whole(&self, request: Request) -> Vec<u8> {
        request.signed(&self.who, &self.address.to_string(), Body::Hashed).bytes()
    }

    fn head(&self, request: Request) -> Vec<u8> {
        request.signed(&self.who, &self.address.to_string(), Body::Unsigned).head()
    }
}
