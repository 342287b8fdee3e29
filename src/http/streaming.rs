//! Answers that are read as they come: streams of events, and bodies that the caller bounds.

use super::FetchError;
use super::client::{HttpClient, Reuse, check_url, failure};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

/// The head of an answer, and its body as it comes. Dropping it closes the connection (HTTP/2: the stream), unless the body
/// was read to its end.
pub struct Streamed {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    host: String,
    answer: reqwest::Response,
}

impl HttpClient {
    /// Sends a request and waits for the head of the answer, as long as the caller likes: there is no deadline but the one
    /// for connecting. Redirects come back as they are.
    ///
    /// # Errors
    /// When there is no head.
    pub async fn stream(
        &self,
        request: http::Request<Bytes>,
        allow_private: bool,
        reuse: Reuse,
    ) -> Result<Streamed, FetchError> {
        let host = check_url(&request.uri().to_string(), allow_private)?.host_str().unwrap_or_default().to_owned();
        let answer = self.begin_with(request, allow_private, &host, reuse).await?;
        Ok(Streamed { status: answer.status(), headers: answer.headers().clone(), host, answer })
    }
}

impl Streamed {
    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection is lost before.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        self.answer.chunk().await.map_err(|error| failure(&self.host, &error))
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, or is not complete.
    pub async fn whole(mut self, limit: usize) -> Result<Bytes, FetchError> {
        let announced = self.answer.content_length().unwrap_or(0);
        if announced > limit as u64 {
            return Err(FetchError::TooLarge(self.host));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(FetchError::TooLarge(self.host));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(super) fn into_answer(self) -> reqwest::Response {
        self.answer
    }
}
