//! Requests over HTTP/2 and TLS, several at once on a connection.

use super::Window;
use super::http1::{connect_tls, elapsed};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;
use tokio_rustls::TlsConnector;

/// A request without its body, and the body.
pub struct Call {
    pub head: Request<()>,
    pub body: Bytes,
}

/// A connection; what it needs to go on runs beside.
pub async fn connect(address: SocketAddr, connector: &TlsConnector, name: &str) -> Result<SendRequest<Bytes>, String> {
    let stream = connect_tls(address, connector, name).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("HTTP/2 was not agreed on".to_owned());
    }
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 24).initial_window_size(1 << 20).enable_push(false);
    let (client, connection) = builder.handshake(stream).await.map_err(|error| format!("HTTP/2: {error}"))?;
    tokio::task::spawn_local(connection);
    Ok(client)
}

/// Repeats one request on a shared connection until the time is over.
pub async fn repeat(client: SendRequest<Bytes>, call: Rc<Call>, window: Rc<Window>) -> Result<(), String> {
    let mut client = once(client, &call).await.map_err(|error| format!("HTTP/2: {error}"))??;
    window.ready();
    while !window.over() {
        let sent = Instant::now();
        client = once(client, &call).await.map_err(|error| format!("HTTP/2: {error}"))??;
        window.record(elapsed(sent));
    }
    Ok(())
}

async fn once(client: SendRequest<Bytes>, call: &Call) -> Result<Result<SendRequest<Bytes>, String>, h2::Error> {
    let mut client = client.ready().await?;
    let (answer, mut body) = client.send_request(call.head.clone(), false)?;
    body.send_data(call.body.clone(), true)?;
    let answer = answer.await?;
    if answer.status() != http::StatusCode::OK {
        return Ok(Err(format!("answered {}", answer.status())));
    }
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(Ok(client))
}
