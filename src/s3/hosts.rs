//! Which hosts this endpoint answers to, and whether a request names its bucket in the host or in the path.
//!
//! Asked twice per request, by the pre-check and by `s3s`, so that both see the same bucket. Promises that only a
//! configured domain is ever taken for the parent of a bucket: any other host is path style, never a bucket's name.

use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};

/// What a request's path addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// The endpoint itself.
    Root,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

/// The domains of virtual-hosted-style addressing: `BUCKET.DOMAIN`.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    domains: Vec<String>,
}

impl Hosts {
    /// Lower-cases the domains; the longest match wins, so they may overlap.
    pub fn new<D: AsRef<str>>(domains: impl IntoIterator<Item = D>) -> Self {
        let mut domains: Vec<_> = domains.into_iter().map(|d| d.as_ref().to_ascii_lowercase()).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self { domains }
    }

    /// The bucket that the host names, and the domain below it.
    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = without_port(host);
        if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
            return None;
        }
        let cut = |domain: &String| {
            let end = name.len().checked_sub(domain.len() + 1)?;
            let (bucket, rest) = name.split_at_checked(end)?;
            let fits = rest.starts_with('.') && rest[1..].eq_ignore_ascii_case(domain) && !bucket.is_empty();
            fits.then_some(bucket)
        };
        if self.domains.iter().any(|domain| name.eq_ignore_ascii_case(domain)) {
            return None;
        }
        self.domains.iter().find_map(cut)
    }

    /// Whether the host names a bucket.
    pub fn names_bucket(&self, host: &str) -> bool {
        self.bucket(host).is_some()
    }

    /// What `path` (percent-decoded, as `s3s` splits it) addresses under this host.
    pub fn level(&self, host: &str, path: &str) -> Level {
        let path = path.strip_prefix('/').unwrap_or(path);
        let key = match (self.bucket(host), path.split_once('/')) {
            (Some(_), _) => path,
            (None, Some((_, key))) => key,
            (None, None) if path.is_empty() => return Level::Root,
            (None, None) => "",
        };
        if key.is_empty() { Level::Bucket } else { Level::Object }
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        if !well_formed(host) {
            return Err(s3_error!(InvalidRequest, "Invalid host header"));
        }
        Ok(match self.bucket(host) {
            Some(bucket) => VirtualHost::new(host).with_bucket(bucket.to_ascii_lowercase()),
            None => VirtualHost::new(host),
        })
    }
}

/// Whether this is a host that HTTP allows: a name or an address, perhaps a port; no user, no path.
pub fn well_formed(host: &str) -> bool {
    let name = without_port(host);
    if let Some(address) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    name.len() <= 253 && name.split('.').all(label)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_domains_carry_buckets() {
        let hosts = Hosts::new(["S3.example.com", "example.com"]);
        for (host, bucket) in [
            ("b.s3.example.com", Some("b")),
            ("b.S3.EXAMPLE.com:9000", Some("b")),
            ("a.b.s3.example.com", Some("a.b")),
            ("s3.example.com", None),
            ("example.com:9000", None),
            ("x.example.com", Some("x")),
            (".example.com", None),
            ("xexample.com", None),
            ("evil.org", None),
            ("localhost:9000", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
        ] {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
    }

    #[test]
    fn levels() {
        let hosts = Hosts::new(["s3.test"]);
        for (host, path, level) in [
            ("localhost", "/", Level::Root),
            ("localhost", "/b", Level::Bucket),
            ("localhost", "/b/", Level::Bucket),
            ("localhost", "/b/k", Level::Object),
            ("localhost", "/b//", Level::Object),
            ("b.s3.test", "/", Level::Bucket),
            ("b.s3.test", "/k", Level::Object),
        ] {
            assert_eq!(hosts.level(host, path), level, "{host}{path}");
        }
    }

    #[test]
    fn hosts_that_are_none() {
        for bad in ["", "a b", "user@host", "host/path", "[::1", "a..b", "host:99999", "host:x", "-\u{fc}"] {
            assert!(!well_formed(bad), "{bad}");
        }
        assert!(well_formed("[::1]:9000") && well_formed("my-host.local:1"));
    }
}
