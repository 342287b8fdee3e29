//! The admin API of a running gateway, asked by the command line.

use super::credentials::{self, Server};
use super::remote::Remote;
use crate::error::Fault;
use crate::http::Fetched;
use crate::paths::API;
use crate::secret::Secret;
use http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;

/// The variable that holds an API key.
const KEY_VARIABLE: &str = "PORTCULLIS_API_KEY";

/// A gateway and what it is shown.
pub(super) struct Api {
    remote: Remote,
    server: String,
    credential: Secret,
}

/// A problem (RFC 9457), as far as people want to know it.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Api {
    /// The API of the gateway at this address, with the key of a file or of the environment, else with what
    /// `portcullis login` got.
    ///
    /// # Errors
    /// When the address is none, or there are no credentials.
    pub(super) async fn at(
        server: &str,
        key_file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Fault> {
        let parsed = Server::parse(server)?;
        if !parsed.is_gateway {
            return Err(Fault::caller(format!(
                "--server {server}: name the gateway itself, such as https://gw.example"
            )));
        }
        let credential = match (key_file, environment.get(KEY_VARIABLE)) {
            (Some(file), _) => key_of(file)?,
            (None, Some(key)) if !key.trim().is_empty() => Secret::new(key.trim().to_owned()),
            (None, _) => credentials::access_token(environment, server).await?,
        };
        Ok(Self { remote: Remote::new()?, server: parsed.address, credential })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Fault> {
        self.get_some(path, query, &()).await
    }

    /// The same with two sets of parameters.
    pub(super) async fn get_some<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &impl Serialize,
        page: &impl Serialize,
    ) -> Result<T, Fault> {
        let mut url = self.url(&path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>())?;
        for pairs in [parameters(filter)?, parameters(page)?] {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        self.ask(Method::GET, &url, String::new()).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Fault> {
        self.ask(Method::POST, &self.url(&[path.trim_start_matches('/')])?, json(body)?).await
    }

    pub(super) async fn put<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Fault> {
        self.ask(Method::PUT, &self.url(path)?, json(body)?).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Fault> {
        self.ask(Method::PATCH, &self.url(path)?, json(body)?).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Fault> {
        self.ask(Method::DELETE, &self.url(path)?, String::new()).await
    }

    /// The same with parameters.
    pub(super) async fn delete_some<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, Fault> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(parameters(query)?);
        self.ask(Method::DELETE, &url, String::new()).await
    }

    /// Every part of the path is encoded: an id may be a URL.
    fn url(&self, path: &[&str]) -> Result<Url, Fault> {
        let wrong = || Fault::caller(format!("{} is no address of a gateway", self.server));
        let mut url = Url::parse(&format!("{}{API}", self.server)).map_err(|_| wrong())?;
        url.path_segments_mut().map_err(|()| wrong())?.extend(path);
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, url: &Url, body: String) -> Result<T, Fault> {
        let authorization = format!("Bearer {}", self.credential.expose());
        let mut headers = vec![(header::AUTHORIZATION, authorization.as_str())];
        if !body.is_empty() {
            headers.push((header::CONTENT_TYPE, "application/json"));
        }
        let fetched = self.remote.send(method, url.as_str(), &headers, body).await?;
        if !fetched.status.is_success() {
            return Err(self.refusal(&fetched));
        }
        // 204 has no words, and is read as nothing.
        let body = if fetched.status == StatusCode::NO_CONTENT { &b"null"[..] } else { &fetched.body };
        serde_json::from_slice(body).map_err(|_| self.misunderstood())
    }

    fn refusal(&self, fetched: &Fetched) -> Fault {
        let server = &self.server;
        let problem: Option<Problem> = serde_json::from_slice(&fetched.body).ok();
        // It goes to a terminal, and a server wrote it.
        let detail =
            problem.map(|problem| problem.detail.chars().filter(|c| !c.is_control()).take(500).collect::<String>());
        match (fetched.status, detail) {
            (StatusCode::UNAUTHORIZED, _) => Fault::caller(format!(
                "{server} does not accept these credentials: run `portcullis login {server}`, or give the key of \
                 `portcullis apikey create NAME --scope admin` in --api-key-file or {KEY_VARIABLE}"
            )),
            (_, Some(detail)) => Fault::caller(detail),
            (_, None) => self.misunderstood(),
        }
    }

    fn misunderstood(&self) -> Fault {
        let version = env!("CARGO_PKG_VERSION");
        Fault::caller(format!(
            "{} does not answer like the API that this portcullis ({version}) knows: name the gateway's own address, and \
             use the gateway's own version",
            self.server
        ))
    }
}

fn key_of(file: &Path) -> Result<Secret, Fault> {
    let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new);
    let text = text.map_err(|why| Fault::caller(format!("--api-key-file {}: {why}", file.display())))?;
    match text.trim() {
        "" => Err(Fault::caller(format!("--api-key-file {}: the file is empty", file.display()))),
        key => Ok(Secret::new(key.to_owned())),
    }
}

fn json(body: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(body).map_err(Fault::gateway)
}

/// The fields of a filter as parameters.
fn parameters(filter: &impl Serialize) -> Result<Vec<(String, String)>, Fault> {
    let pairs: Vec<(String, serde_json::Value)> = match serde_json::to_value(filter).map_err(Fault::gateway)? {
        serde_json::Value::Object(fields) => fields.into_iter().collect(),
        serde_json::Value::Array(pairs) => {
            pairs.into_iter().filter_map(|pair| serde_json::from_value(pair).ok()).collect()
        }
        _ => Vec::new(),
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(pairs.into_iter().map(|(name, value)| (name, text(value))).collect())
}
