//! The protocol's library speaks through our own outbound client: its time limits, its resolver, its authorities.

use super::Authority;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient as Transport};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// One order's way to the authority.
pub(super) struct Outbound {
    authority: Arc<Authority>,
    /// How long the authority asked to be left alone, when it last refused something.
    wait: Arc<Mutex<Option<Duration>>>,
}

impl Outbound {
    pub(super) fn new(authority: Arc<Authority>, wait: Arc<Mutex<Option<Duration>>>) -> Self {
        Self { authority, wait }
    }
}

impl Authority {
    /// Whoever names an authority of their own may have it on their own network.
    pub(super) fn is_private(&self) -> bool {
        !self.config.directory.contains(".letsencrypt.org/")
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl Transport for Outbound {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answering {
        let (authority, wait) = (self.authority.clone(), self.wait.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
            let sent = authority.http.send(Request::from_parts(parts, body), authority.is_private()).await;
            let answer = sent.map_err(|error| Error::Other(Box::new(error)))?;
            if answer.status.as_u16() >= 400 {
                *wait.lock() = retry_after(&answer.headers);
                if !is_json(&answer.headers) {
                    return Err(Error::Other(format!("the authority answered {}", answer.status).into()));
                }
            }
            let mut response = Response::new(http_body_util::Full::new(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(BytesResponse::from(response))
        })
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); dates are not understood.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}
