//! The command and the page.

use crate::gateway::{Gateway, PASSWORD, upstream};
use crate::upstreams::Notes;
use crate::visitors::{call, encoded, setup, signed_in, without_limits};
use http::StatusCode;
use portcullis::cli::{Process, run};
use portcullis::config::UpstreamAuth;
use portcullis::devkit::browser::{Arrived, Browser, Credentials};
use serde_json::Value;
use std::collections::BTreeMap;

/// Exit status, standard output, standard error.
async fn command(arguments: &[&str]) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = run(Process {
        arguments: ["portcullis", "doctor"].iter().chain(arguments).map(Into::into).collect(),
        environment: BTreeMap::new(),
        stdin: &mut std::io::empty(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    })
    .await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(stdout), text(stderr))
}

#[tokio::test]
async fn a_gateway_on_one_s_own_machine_is_for_clients_there() {
    let authority = "mcp.example";
    let gateway = Gateway::with(move |config| {
        without_limits(config);
        config.upstream.push(upstream(authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let url = format!("{}/mcp", gateway.url_of(authority));
    let (status, said, _) = command(&[&url, "--client", "cursor"]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Cursor") && !said.contains('\u{1b}'), "{said}");
    assert!(gateway.app().store.clients().await.unwrap().is_empty(), "what was registered is deleted");

    let (status, said, complaint) = command(&[&url, "--client", "claude"]).await;
    assert_eq!((status, complaint.as_str()), (1, ""), "{said}");
    assert!(said.contains("fails at dns-public") && said.contains("docs/doctor.md#dns-public"), "{said}");

    let (status, said, _) = command(&[&url, "--json"]).await;
    assert_eq!(status, 1);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["gateway"], gateway.root());
    let clients: Vec<_> = report["clients"].as_array().unwrap().iter().map(|one| one["client"].clone()).collect();
    assert_eq!(clients, ["claude", "claude-code", "chatgpt", "cursor", "vscode"]);
    assert_eq!(report["clients"][0]["first_failure"], "dns-public");
    assert_eq!(report["clients"][3]["outcome"], "warned");
    let step = &report["clients"][3]["steps"][0];
    for member in ["id", "title", "outcome", "evidence", "cause", "explanation", "fix", "source", "help"] {
        assert!(step.get(member).is_some(), "{member}");
    }
}

#[tokio::test]
async fn an_upstream_is_examined_as_a_gateway_would_meet_it() {
    let notes = Notes::start().await;
    let url = format!("http://{}/mcp", notes.authority());
    let (status, said, _) = command(&[&url, "--client", "claude-code", "--register", "--json"]).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &report["gateway"]), (1, &Value::Null));
    let clients = report["clients"].as_array().unwrap();
    assert_eq!(clients[1]["client"], "portcullis", "the gateway is one more client");
    assert_eq!(clients[0]["outcome"], "warned", "{said}");
}

#[tokio::test]
async fn what_is_no_target_is_wrong_usage() {
    for bad in
        ["", "ftp://gw.example", "https://user@gw.example", "https://gw.example/#x", "gw_example", "[::1]", "a b"]
    {
        let (status, _, complaint) = command(&[bad]).await;
        assert_eq!(status, 2, "{bad}: {complaint}");
        assert!(complaint.contains("error: "), "{bad}: {complaint}");
    }
    assert_eq!(command(&["gw.example", "--client", "netscape"]).await.0, 2);
    let (status, said, _) = command(&["http://127.0.0.1:1/mcp", "--client", "cursor"]).await;
    assert_eq!(status, 1);
    assert!(said.contains("fails at reachable"), "{said}");
}

#[tokio::test]
async fn the_page_is_for_administrators_and_asks_nobody_private() {
    let (notes, gateway) = setup().await;
    let (browser, _) = signed_in(&gateway).await;
    let page = |query: &str| format!("{}/doctor{query}", gateway.root());
    let form = call(&browser, "GET", &page(""), &[]).await;
    assert!(form.status == StatusCode::OK && form.text().contains("Why does a client not connect?"));

    let own = encoded(&[("target", &format!("{}/mcp", gateway.url_of(&notes.authority())))]);
    let examined = call(&browser, "GET", &page(&format!("?{own}")), &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(examined.status, StatusCode::OK);
    assert!(examined.body.contains("Claude Code") && examined.body.contains("dns-public"), "{}", examined.body);
    // A link elsewhere fills the form in, and that is all.
    let linked = call(&browser, "GET", &page(&format!("?{own}")), &[("sec-fetch-site", "cross-site")]).await;
    assert!(linked.status == StatusCode::OK && !linked.body.contains("dns-public"), "{}", linked.body);

    let seen = notes.mcp.control.recorder().requests().len();
    let private = encoded(&[("target", &format!("http://{}/mcp", notes.authority()))]);
    let refused = call(&browser, "GET", &page(&format!("?{private}")), &[]).await;
    assert!(refused.body.contains("private, local or reserved"), "{}", refused.body);
    assert_eq!(notes.mcp.control.recorder().requests().len(), seen, "nobody was asked");
    let wrong = call(&browser, "GET", &page("?target=ftp%3A%2F%2Fx"), &[]).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.body.contains("ftp:// is not examined"));

    gateway.add("bob").await;
    let bob = Browser::new().unwrap();
    let Arrived::Page(login) = bob.open(&format!("{}/login", gateway.root()), "").await.unwrap() else { panic!() };
    let credentials = Credentials { user: "bob".to_owned(), password: PASSWORD.to_owned() };
    bob.fill_login(&login, &credentials, "").await.unwrap();
    assert_eq!(call(&bob, "GET", &page(""), &[]).await.status, StatusCode::FORBIDDEN);
}
