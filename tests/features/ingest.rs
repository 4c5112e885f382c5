//! Batches of events: each is taken or refused like an upload of it, and an event has one name whichever way it comes.

use super::{BUCKET, call, feature, said, text};
use crate::life::tenant;
use geoseal_support::clients::{example, python};
use geoseal_support::server::{self, Server};
use geoseal_support::signer::{Body, Credentials, Request};
use geoseal_support::wire::{Response, Wire};
use serde_json::{Value, json};
use std::path::Path;

const BATCH: &str = "application/cloudevents-batch+json";
/// Known to nobody else: what the answers and the log are searched for.
const SHY: &str = "shy-4711-Q7hW";

/// Long after now: a message that is followed by then was followed before.
fn event(id: &str, kind: &str, message: &str, contact: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "urn:crm", "type": format!("email.interaction.{kind}"),
        "time": "2999-01-01T10:30:00Z", "subject": "ada@example.com",
        "data": { "message_id": message, "contact_kind": "contact", "contact_id": contact, "provider": "crm" }
    })
}

fn post(server: &Server, who: &Credentials, query: &str, events: &Value) -> Response {
    let request = Request::new("POST", "/ingest/v1/events").header("content-type", BATCH).body(events.to_string());
    call(server, who, if query.is_empty() { request } else { request.query("bucket", query) })
}

fn json_of(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.text()))
}

/// The answer to a batch that was read.
fn told(answer: &Response) -> (u64, u64, Vec<(u64, String)>) {
    assert_eq!(answer.status, 207, "{}", answer.text());
    let told = json_of(answer);
    let rejected = told["rejected"].as_array().expect("a list").iter();
    let rejected = rejected.map(|one| {
        assert!(one["message"].as_str().is_some_and(|message| !message.is_empty()), "{one}");
        (one["i"].as_u64().expect("a place"), one["code"].as_str().expect("a code").to_owned())
    });
    (told["accepted"].as_u64().expect("a count"), told["duplicate"].as_u64().expect("a count"), rejected.collect())
}

/// Status and code of a problem.
fn problem(answer: &Response) -> (u16, String) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    (answer.status, json_of(answer)["code"].as_str().unwrap_or_default().to_owned())
}

fn stored(server: &Server, who: &Credentials) -> usize {
    call(server, who, Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2"))
        .text()
        .matches("<Key>")
        .count()
}

#[test]
fn d2_r24_r28_r31_r44_a_batch_of_events_is_taken_event_by_event() {
    let mut server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let (sent, opened) = (event("1", "sent", "m-1", "1"), event("2", "opened", "m-1", "1"));

    // Never enabled: nothing of it is taken.
    let some = json!([sent, opened]);
    assert_eq!(problem(&post(&server, &who, BUCKET, &some)), (409, "FeatureDisabled".into()));
    assert_eq!(stored(&server, &who), 0);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent, "--follow-only", "true"]);

    // Which bucket: the only one for interactions, once it is told to be that.
    assert_eq!(problem(&post(&server, &who, "", &some)), (400, "BucketRequired".into()));
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "contoso", "--default-class", "interaction"]).ok();

    let shy = text(&server, "shy", SHY);
    server.geoseal(&["contact", "opt-out", "--tenant", "contoso", "--contact-file", &shy]).ok();
    let gone = text(&server, "gone", "contact:gone");
    let erase = ["dsr", "erase", "--tenant", "contoso", "--subject-file", &gone, "--basis", "art17"];
    server.geoseal(&[&erase[..], &["--confirm", "contoso"]].concat()).ok();

    let mut follows = sent.clone();
    follows["geosealfollow"] = json!(true);
    let mut early = event("3", "opened", "m-1", "1");
    early["time"] = json!("2020-01-01T00:00:00Z");
    let batch = json!([
        opened,
        follows,
        opened,
        event("4", "opened", "never-followed", "1"),
        early,
        event("5", "opened", "m-1", SHY),
        event("6", "opened", "m-1", "gone"),
        event("7", "forwarded", "m-1", "1"),
        { "subject": SHY },
        event("8", "clicked", "m-1", "2"),
    ]);
    let answer = post(&server, &who, "", &batch);
    let rejected = [
        (3, "NotFollowed"),
        (4, "NotFollowed"),
        (5, "OptedOut"),
        (6, "SubjectErased"),
        (7, "UnknownEventType"),
        (8, "MalformedEvent"),
    ];
    let rejected: Vec<_> = rejected.map(|(i, code)| (i, code.to_owned())).to_vec();
    assert_eq!(told(&answer), (3, 1, rejected), "what follows a message is taken before what happened to it");
    assert!(!answer.text().contains(SHY) && !answer.text().contains("never-followed"), "{}", answer.text());
    assert_eq!(stored(&server, &who), 3, "nothing of what was refused");

    // What was acknowledged is there after the power went, and is not stored again.
    server.kill();
    server.restart();
    assert_eq!(stored(&server, &who), 3);
    assert_eq!(told(&post(&server, &who, BUCKET, &json!([opened, follows]))), (0, 2, vec![]));

    // A subject's erasure finds what came in a batch.
    let one = text(&server, "one", "contact:1");
    let erase = ["dsr", "erase", "--tenant", "contoso", "--subject-file", &one, "--basis", "art17"];
    let erased = server.geoseal(&[&erase[..], &["--confirm", "contoso", "--json"]].concat()).json();
    assert_eq!(erased["result"]["subject_erasure"]["objects"], json!(2), "{erased}");
    let again = told(&post(&server, &who, BUCKET, &json!([opened, event("9", "opened", "m-1", "2")])));
    assert_eq!(again, (1, 0, vec![(0, "SubjectErased".into())]));
    assert_eq!(stored(&server, &who), 2);

    // Disabled: late events are dropped, and counted.
    feature(&server, "disable", &["--reason", "uninstalled"]);
    let before = feature(&server, "show", &[])["dropped"].as_u64().expect("a count");
    let late = json!([event("10", "opened", "m-1", "2"), event("11", "opened", "m-1", "2")]);
    assert_eq!(problem(&post(&server, &who, BUCKET, &late)), (409, "FeatureDisabled".into()));
    let off = feature(&server, "show", &[]);
    assert_eq!((&off["objects"], &off["dropped"]), (&json!(2), &json!(before + 2)), "{off}");

    // Terminated: nobody's any more.
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "r", "--confirm", "contoso"]).ok();
    assert_eq!(problem(&post(&server, &who, BUCKET, &late)), (403, "TenantTerminated".into()));
    assert!(!server.log().contains(SHY) && !server.log().contains("never-followed"), "the log names them");
}

/// Signed by botocore: the same events as an uploader of the examples stores, and the other way round.
const SCRIPT: &str = r#"
import json, os, sys
import boto3, urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import adapters

provider, text = sys.argv[2], open(sys.argv[3], encoding="utf-8").read()
try:
    payloads = json.loads(text)
except ValueError:
    payloads = [json.loads(line) for line in text.splitlines() if line.strip()]
events = []
for payload in payloads:
    try:
        events += adapters.events(provider, payload)
    except adapters.Malformed:
        pass
url = os.environ["AWS_ENDPOINT_URL"] + "/ingest/v1/events?bucket=" + sys.argv[4]
request = AWSRequest("POST", url, data=json.dumps(events), headers={"Content-Type": "application/cloudevents-batch+json"})
S3SigV4Auth(boto3.Session().get_credentials(), "s3", os.environ["AWS_REGION"]).add_auth(request)
pool = urllib3.PoolManager(ca_certs=os.environ["AWS_CA_BUNDLE"], retries=False)
answer = pool.request("POST", url, body=request.body, headers=dict(request.headers.items()))
print(json.dumps({"status": answer.status, "events": len(events), **json.loads(answer.data)}))
"#;

#[test]
fn d2_a_batch_and_the_uploads_of_the_example_know_each_others_events() {
    let server = Server::start();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/email-interactions");
    let golden = |name: &str| examples.join("golden").join(name).to_str().expect("our own path").to_owned();
    let batch = |provider: &str, name: &str| {
        let folder = examples.to_str().expect("our own path");
        python(&server, SCRIPT, &[folder, provider, &golden(name), server::BUCKET]).json()
    };
    let upload = |provider: &str, name: &str| {
        let file = golden(name);
        example(&server, "ingest.py", &["--bucket", server::BUCKET, "--provider", provider, &file]).json()
    };
    // Uploaded first: each is a duplicate. Posted first: each upload is.
    let uploaded = upload("mailgun", "mailgun.ndjson")["stored"].as_u64().expect("a count");
    let posted = batch("mailgun", "mailgun.ndjson");
    assert_eq!((&posted["status"], &posted["accepted"]), (&json!(207), &json!(0)), "{posted}");
    assert!(uploaded > 0 && posted["duplicate"].as_u64() >= Some(uploaded), "{posted}");
    let posted = batch("sendgrid", "sendgrid.json");
    let accepted = posted["accepted"].as_u64().expect("a count");
    assert!(accepted > 0 && posted["rejected"] == json!([]), "{posted}");
    assert_eq!(posted["duplicate"].as_u64(), posted["events"].as_u64().map(|all| all - accepted), "{posted}");
    let uploaded = upload("sendgrid", "sendgrid.json");
    assert_eq!((uploaded.get("stored"), uploaded["duplicate"].as_u64() >= Some(accepted)), (None, true), "{uploaded}");

    // On the wire: a signature that is nobody's, a digest that is wrong, a body that is cut off.
    let body = json!([event("1", "opened", "m", "1")]).to_string();
    let request =
        Request::new("POST", "/ingest/v1/events").query("bucket", server::BUCKET).header("content-type", BATCH);
    let mut wire = Wire::to(&server);
    let host = wire.host().to_owned();
    let stranger = Credentials { secret: "x".repeat(43), ..server.credentials() };
    let bad = request.clone().body(body.clone()).signed(&stranger, &host, Body::Hashed);
    assert_eq!(problem(&wire.exchange(&bad).expect("an answer")), (403, "SignatureDoesNotMatch".into()));
    let digest = request.clone().body(body.clone()).header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    let answer = Wire::to(&server).call(&server, digest);
    assert_eq!(problem(&answer), (400, "BadDigest".into()));
    let mut wire = Wire::to(&server);
    let cut = request.clone().body(body.clone()).signed(&server.credentials(), &host, Body::Hashed).bytes();
    wire.send(&cut[..cut.len() - 10]).expect("the server reads");
    wire.socket().shutdown(std::net::Shutdown::Write).expect("half of it closes");
    drop(wire);
    let answer = Wire::to(&server).call(&server, request.body(body));
    assert_eq!(told(&answer), (1, 0, vec![]), "none of the three was stored");
}
