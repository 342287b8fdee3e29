//! The whole gateway on PostgreSQL.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, upstream};
use crate::postgres::Cluster;
use crate::upstreams::Notes;
use http::StatusCode;
use portcullis::config::UpstreamAuth;
use portcullis::secret::Secret;

#[tokio::test]
async fn from_nothing_to_a_tool_call_and_over_a_restart() {
    let notes = Notes::start().await;
    let (url, authority) = (Cluster::shared().empty().await, notes.authority());
    let gateway = Gateway::with(move |config| {
        config.store.url = Secret::new(url.clone());
        config.store.connections = 5;
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, renewed) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{renewed}");

    let gateway = gateway.restart().await;
    let other = gateway.beside().await;
    let access = renewed["access_token"].as_str().unwrap();
    assert_eq!(client.call(access, "whoami").await.0, StatusCode::OK);
    let elsewhere = Client::ready(&mcp_url(&other, &notes.authority())).await;
    assert_eq!(elsewhere.call(access, "whoami").await.0, StatusCode::OK, "another node knows the token");
}
