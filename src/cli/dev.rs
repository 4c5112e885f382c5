//! `geoseal dev`: a directory with everything a first try needs, made on first use and found again after.
//!
//! What a crash leaves behind: the marker `dev.json` is written first, so a directory half made is known as ours and is
//! completed by the next start. A key file is only made while there is no data, so lost keys are never replaced quietly.

use super::args::{Common, Dev};
use super::authority::Certificates;
use super::client::Address;
use super::failure::Failure;
use super::files::{Readers, failed, make_dir, read_if_there, replace, write_new};
use super::first_upload::{self, Target, first_upload};
use super::init::{self, Layout, Secret};
use super::print::Output;
use super::{RolledBack, Wiring};
use crate::model::clock::{Source, SystemSource};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The geo that `dev` serves.
pub const GEO: &str = "europe";
/// The region of the demo bucket, and the demo tenant's home.
pub const REGION: &str = "westeurope";
/// The demo tenant.
pub const TENANT: &str = "demo";
/// Its bucket.
pub const BUCKET: &str = "interactions";

/// A directory that is ready to be served.
pub struct Prepared {
    /// Where everything lies, absolute.
    pub dir: PathBuf,
    /// Its configuration; the two addresses below go before what it says.
    pub config: PathBuf,
    /// Where S3 clients connect.
    pub listen: SocketAddr,
    /// Where administrators connect.
    pub admin: SocketAddr,
    /// Whether its clock can be moved.
    pub simulated_clock: bool,
    /// A key store that was restored, as with `serve`.
    pub accepted: Option<RolledBack>,
    /// Whether this start created it.
    pub fresh: bool,
    /// The login that the last start wrote down, to be kept if it still works.
    pub login: Option<Login>,
}

/// A login of the demo tenant.
#[derive(Clone)]
pub struct Login {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: Zeroizing<String>,
}

/// What the server says once it accepts connections.
pub struct Ready {
    /// The S3 listener's address, port chosen.
    pub listen: SocketAddr,
    /// The admin listener's address, port chosen.
    pub admin: SocketAddr,
    /// A login that works.
    pub login: Login,
}

/// To be called once, while the server serves; an error is a reason to stop.
pub type OnReady = Box<dyn FnOnce(Ready) -> BoxFuture<'static, Result<(), String>> + Send>;

/// What kind of directory this is; `dev.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    simulated_clock: bool,
}

pub(super) fn serve(wiring: &dyn Wiring, output: Output, args: &Dev) -> Result<(), Failure> {
    let prepared = prepare(args)?;
    if prepared.fresh {
        wiring.found(&prepared.config).map_err(Failure::Failed)?;
        replace(&prepared.dir.join(FOUNDED), b"", Readers::Everybody)?;
    }
    let story = Story::of(&prepared, output);
    let ready: OnReady =
        Box::new(move |ready| Box::pin(async move { story.tell(&ready).await.map_err(|failure| failure.to_string()) }));
    wiring.serve_dev(&prepared, ready).map_err(Failure::Failed)
}

/// Makes what is missing in the directory.
pub fn prepare(args: &Dev) -> Result<Prepared, Failure> {
    let now = SystemSource::new().sample().wall;
    let (dir, simulated_clock) = mark(args)?;
    let layout = layout(&dir);
    // Most clients refuse a wildcard right under the top, so the demo bucket's own name stands there too.
    let names = [init::with_buckets(&layout.hosts), vec![format!("{BUCKET}.localhost")]].concat();
    Certificates::under(&dir).ensure(&names, now)?;
    layout.write_token()?;
    let fresh = !dir.join(FOUNDED).exists();
    if fresh {
        layout.write_key_file()?;
    }
    if read_if_there(&layout.config())?.is_none() {
        let toml = layout.toml() + ALONE + EPOCHS;
        write_new(&layout.config(), toml.as_bytes(), Readers::Everybody)?;
    }
    let login = last_login(&dir)?;
    let (listen, admin) = (args.listen, args.admin);
    let accepted =
        RolledBack::of(args.accept_rollback.as_deref(), args.accept_restore.as_deref(), args.reason.as_deref())?;
    Ok(Prepared { config: layout.config(), listen, admin, simulated_clock, accepted, fresh, login, dir })
}

/// One person tries things out here.
const ALONE: &str =
    "# One administrator may destroy a key alone: a production server demands two.\ntwo_person = false\n";

/// A demonstration need not wait for two days.
const EPOCHS: &str = "\n# Closing epochs: a production server demands the soak.\n[epoch]\nallow_no_soak = true\n";

/// Written when the keyrings stand: from then on a lost key file is a loss, not a first use.
const FOUNDED: &str = "founded";

/// Makes the directory ours, or finds that it is: its absolute path, and whether its clock is simulated.
fn mark(args: &Dev) -> Result<(PathBuf, bool), Failure> {
    make_dir(&args.dir)?;
    let dir = args.dir.canonicalize().map_err(|e| failed(&args.dir, &e))?;
    let path = dir.join("dev.json");
    if let Some(text) = read_if_there(&path)? {
        let marker: Marker = serde_json::from_slice(&text)
            .map_err(|_| Failure::Failed(format!("{}: not written by `geoseal dev`", path.display())))?;
        if args.simulated_clock && !marker.simulated_clock {
            return Err(Failure::Usage(format!(
                "{} was made with a real clock, and keeps it: take another --dir for --simulated-clock",
                dir.display()
            )));
        }
        return Ok((dir, marker.simulated_clock));
    }
    init::must_be_empty(&dir)?;
    let marker = Marker { simulated_clock: args.simulated_clock };
    let text = serde_json::to_vec(&marker).expect("a marker is plain JSON");
    write_new(&path, &text, Readers::Everybody)?;
    Ok((dir, args.simulated_clock))
}

fn layout(dir: &Path) -> Layout {
    Layout {
        dir: dir.to_owned(),
        regions: vec![REGION.into(), "northeurope".into()],
        hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        listen: "127.0.0.1:9000".parse().expect("an address"),
        admin: "127.0.0.1:9001".parse().expect("an address"),
        secret: Secret::KeyFile(dir.join(init::KEY_FILE)),
        rotation: "",
    }
}

/// The login of the last start: `dev.env` is set aside until the new one is complete.
fn last_login(dir: &Path) -> Result<Option<Login>, Failure> {
    let (now, last) = (dir.join("dev.env"), dir.join("dev.env.last"));
    if now.exists() {
        std::fs::rename(&now, &last).map_err(|e| failed(&now, &e))?;
    }
    let text = Zeroizing::new(read_if_there(&last)?.unwrap_or_default());
    let env = variables(&String::from_utf8_lossy(&text));
    let variable = |name: &str| env.get(name).cloned();
    Ok(variable("AWS_ACCESS_KEY_ID")
        .zip(variable("AWS_SECRET_ACCESS_KEY"))
        .map(|(access_id, secret)| Login { access_id, secret: Zeroizing::new(secret) }))
}

/// The assignments of a `dev.env`, as [`assign`] writes them.
fn variables(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        let bare = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).map(|v| v.replace("'\\''", "'"));
        Some((name.to_owned(), bare.unwrap_or_else(|| value.to_owned())))
    };
    text.lines().filter_map(line).collect()
}

/// One assignment that any shell reads back as it was.
fn assign(name: &str, value: &str) -> String {
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@%+".contains(c));
    if plain {
        format!("export {name}={value}\n")
    } else {
        format!("export {name}='{}'\n", value.replace('\'', "'\\''"))
    }
}

/// Where `dev clock advance` finds its server: `--dir` if its `dev.env` is there, else flags and environment.
pub(super) fn address(args: &Dev, common: &Common) -> Result<Address, Failure> {
    if common.admin_url.is_some() {
        return Address::of(common);
    }
    let path = args.dir.join("dev.env");
    let text = read_if_there(&path)?
        .ok_or_else(|| Failure::Unreachable(format!("{} is not there: is `geoseal dev` running?", path.display())))?;
    let env = variables(&String::from_utf8_lossy(&text));
    let variable =
        |name: &str| env.get(name).cloned().ok_or_else(|| Failure::Failed(format!("{} lacks {name}", path.display())));
    Ok(Address {
        url: variable("GEOSEAL_ADMIN_URL")?,
        token_file: variable("GEOSEAL_ADMIN_TOKEN_FILE")?.into(),
        ca: Some(variable("GEOSEAL_CA")?.into()),
    })
}

/// What is done, written and said once the server accepts connections.
struct Story {
    dir: PathBuf,
    ca: PathBuf,
    token_file: PathBuf,
    fresh: bool,
    output: Output,
}

impl Story {
    fn of(prepared: &Prepared, output: Output) -> Self {
        let dir = prepared.dir.clone();
        let (ca, token_file) = (Certificates::under(&dir).ca, dir.join(init::TOKEN_FILE));
        Self { ca, token_file, dir, fresh: prepared.fresh, output }
    }

    async fn tell(&self, ready: &Ready) -> Result<(), Failure> {
        let path = self.dir.join("dev.env");
        let (endpoint, admin) = (url(ready.listen), url(ready.admin));
        let first = if self.fresh { Some(self.upload(&ready.login, &endpoint).await) } else { None };
        replace(&path, self.env(ready, &endpoint, &admin).as_bytes(), Readers::Owner)?;
        let shown = serde_json::json!({
            "endpoint": endpoint, "admin": admin, "region": REGION, "env": path, "first_upload": first,
        });
        self.output.result(&shown, |_| {
            let first = first.map_or_else(String::new, |first| format!("{first}\n\n"));
            format!("geoseal serves {GEO} on {endpoint} (S3) and {admin} (admin)\n\n{first}{}", next(&path))
        })
    }

    /// The first upload in a sentence. A failure is told, too, and is no reason not to serve.
    async fn upload(&self, login: &Login, endpoint: &str) -> String {
        let data = self.dir.join("data");
        let target = Target { endpoint, ca: &self.ca, login, data: &data };
        match first_upload(&target, SystemSource::new().sample().wall).await {
            Ok(seen) => format!(
                "First upload: {} bytes to s3://{BUCKET}/{}, sealed under {}; read back: identical.\n\
                 On disk: no trace of its content, name or metadata in {} files.",
                seen.bytes,
                first_upload::NAME,
                seen.key,
                seen.files
            ),
            Err(failure) => format!("First upload: FAILED: {failure}"),
        }
    }

    fn env(&self, ready: &Ready, endpoint: &str, admin: &str) -> Zeroizing<String> {
        let ca = self.ca.display().to_string();
        let token_file = self.token_file.display().to_string();
        let lines = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", REGION),
            // boto3 reads only this name.
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &ready.login.access_id),
            ("AWS_SECRET_ACCESS_KEY", &ready.login.secret),
            ("AWS_CA_BUNDLE", &ca),
            ("GEOSEAL_ADMIN_URL", admin),
            ("GEOSEAL_ADMIN_TOKEN_FILE", &token_file),
            ("GEOSEAL_CA", &ca),
            // rclone takes the login from the variables above, the rest under names of its own.
            ("RCLONE_CA_CERT", &ca),
            ("RCLONE_S3_PROVIDER", "Other"),
            ("RCLONE_S3_ENV_AUTH", "true"),
            ("RCLONE_S3_ENDPOINT", endpoint),
            ("RCLONE_S3_REGION", REGION),
        ];
        let mut env: Zeroizing<String> =
            Zeroizing::new(lines.iter().map(|(name, value)| assign(name, value)).collect());
        env.push_str(RCLONE);
        env
    }
}

/// Debian's rclone 1.60 (AWS SDK 1) refuses to start while `AWS_CA_BUNDLE` names a file. It verifies TLS by
/// `RCLONE_CA_CERT` all the same.
const RCLONE: &str = "rclone() { AWS_CA_BUNDLE= command rclone \"$@\"; }\n";

fn next(env: &Path) -> String {
    let env = assign("ENV", &env.display().to_string());
    let env = env.trim_start_matches("export ENV=").trim_end();
    format!(
        "In another terminal, your own:

  . {env}
  echo '{{\"eventType\":\"Click\"}}' > record.json
  aws s3api put-object --bucket {BUCKET} --key mine/record.json --body record.json \\
    --metadata geoseal-subject=contact:4711
  aws s3api get-object --bucket {BUCKET} --key mine/record.json back.json
  cmp record.json back.json && aws s3 ls s3://{BUCKET} --recursive

Stop with Ctrl-C."
    )
}

/// An address to connect to: one that listens everywhere is reached here.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    };
    format!("https://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn args(dir: PathBuf, simulated_clock: bool) -> Dev {
        let [listen, admin] = ["127.0.0.1:0", "[::]:0"].map(|a| a.parse().unwrap());
        Dev {
            dir,
            listen,
            admin,
            simulated_clock,
            accept_rollback: None,
            accept_restore: None,
            reason: None,
            command: None,
        }
    }

    fn ready(secret: &str) -> Ready {
        let login = Login { access_id: "GSAAAA".into(), secret: Zeroizing::new(secret.into()) };
        Ready { listen: "0.0.0.0:1234".parse().unwrap(), admin: "[::]:99".parse().unwrap(), login }
    }

    /// Nothing serves in these tests, so nothing is uploaded.
    async fn tell(prepared: &Prepared, secret: &str) {
        let mut story = Story::of(prepared, Output::Programs);
        story.fresh = false;
        story.tell(&ready(secret)).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_is_made_once_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("it's new");
        let first = prepare(&args(dir.clone(), true)).unwrap();
        assert!(first.fresh && first.simulated_clock && first.login.is_none() && first.config.is_file());
        let secrets = [init::TOKEN_FILE, init::KEY_FILE, "tls/ca-key.pem", "tls/server-key.pem"];
        for secret in secrets {
            assert_eq!(dir.join(secret).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
        }
        let content = || secrets.map(|s| std::fs::read(dir.join(s)).unwrap());
        let before = content();
        std::fs::write(dir.join(FOUNDED), "").unwrap();
        tell(&first, "it's+/secret=").await;
        let second = prepare(&args(dir.clone(), false)).unwrap();
        assert_eq!(content(), before, "nothing is made twice");
        assert!(!second.fresh && second.simulated_clock, "the directory remembers its clock");
        assert_eq!(second.login.unwrap().secret.as_str(), "it's+/secret=");
        assert!(!dir.join("dev.env").exists(), "an old dev.env does not pass for a running server");
        assert!(prepare(&args(dir, false)).unwrap().login.is_some(), "also when no server came up in between");
    }

    #[tokio::test]
    async fn dev_env_is_complete_private_and_read_back_by_a_shell() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("it's $HOME");
        let prepared = prepare(&args(dir, false)).unwrap();
        tell(&prepared, "a'b c").await;
        let env = prepared.dir.join("dev.env");
        assert_eq!(env.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let script = ". \"$0\"; printf '%s|%s|%s|%s|%s' \"$AWS_SECRET_ACCESS_KEY\" $AWS_ENDPOINT_URL $GEOSEAL_ADMIN_URL $AWS_REGION \"$GEOSEAL_CA\"";
        let shell = std::process::Command::new("sh").args(["-c", script]).arg(&env).output().unwrap();
        let ca = prepared.dir.join("tls/ca.pem");
        let said = format!("a'b c|https://127.0.0.1:1234|https://[::1]:99|westeurope|{}", ca.display());
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), said);
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(prepare(&args(home.path().to_owned(), false)), Err(Failure::Usage(_))));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_real_clock_stays_real_and_a_lost_key_file_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("d");
        prepare(&args(dir.clone(), false)).unwrap();
        assert!(matches!(prepare(&args(dir.clone(), true)), Err(Failure::Usage(_))));
        std::fs::write(dir.join(FOUNDED), "").unwrap();
        std::fs::remove_file(dir.join(init::KEY_FILE)).unwrap();
        prepare(&args(dir.clone(), false)).unwrap();
        assert!(!dir.join(init::KEY_FILE).exists());
    }
}
