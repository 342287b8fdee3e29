//! HTTP/2 over TLS: calls only.

use super::{Bearers, answer};
use bytes::Bytes;
use http::{HeaderMap, Response, header};
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};

pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, bearers: Rc<Bearers>) {
    let body = Bytes::from(answer());
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1024).initial_connection_window_size(1 << 24).initial_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        bearers.count(authorization(request.headers()));
        tokio::task::spawn_local(call(request.into_body(), respond, body.clone()));
    }
}

async fn call(mut request: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>, body: Bytes) {
    while let Some(Ok(data)) = request.data().await {
        let _ = request.flow_control().release_capacity(data.len());
    }
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    fields.insert(header::CONTENT_LENGTH, http::HeaderValue::from(body.len()));
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(body, true);
    }
}

fn authorization(fields: &HeaderMap) -> Option<&[u8]> {
    fields.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes)
}
