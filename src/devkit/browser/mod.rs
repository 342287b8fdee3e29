//! A scripted browser that plays the person in front of the screen: it keeps cookies per origin, follows redirects,
//! fills forms in and presses buttons. Every name resolves to 127.0.0.1, so it never leaves the machine.

mod cookies;
mod flow;
mod forms;

#[cfg(test)]
mod tests;

pub use flow::{Callback, Credentials};
pub use forms::{Field, Form};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use cookies::Jar;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::{Origin, Url};

/// Longest time for one page.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest chain of redirects.
const MAX_REDIRECTS: usize = 20;

/// A browser with its own cookies.
pub struct Browser {
    client: reqwest::Client,
    jar: Mutex<Jar>,
}

/// What the browser shows after following redirects.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
    /// Every address on the way here, this one last.
    pub visited: Vec<Url>,
}

/// Where a navigation ended.
#[derive(Debug)]
pub enum Arrived {
    /// On a page.
    Page(Page),
    /// Before an address that was to be left alone: a client's redirect URI.
    Stopped(Url),
}

impl Browser {
    /// A browser that trusts these certificate authorities (DER) and no others.
    ///
    /// # Errors
    /// When a certificate is not one.
    pub fn trusting(authorities: &[CertificateDer<'static>]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone()).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Plays the outside world, and must reach addresses that the gateway's own client refuses.
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Here))
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, jar: Mutex::default() })
    }

    /// A browser for plain HTTP.
    ///
    /// # Errors
    /// When there is no TLS to be had even so.
    pub fn new() -> Result<Self, String> {
        Self::trusting(&[])
    }

    /// Opens an address as if typed in, following redirects until one begins with `stop` (when that is not empty).
    ///
    /// # Errors
    /// When an address cannot be reached, or redirects do not end.
    pub async fn open(&self, url: &str, stop: &str) -> Result<Arrived, String> {
        let url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        self.navigate(Method::GET, url, None, None, stop).await
    }

    /// Sends a form of `page`, with `changes` to its fields (a button's name and value among them).
    ///
    /// # Errors
    /// When its address cannot be reached, or redirects do not end.
    pub async fn submit(
        &self,
        page: &Page,
        form: &Form,
        changes: &[(&str, &str)],
        stop: &str,
    ) -> Result<Arrived, String> {
        let mut url = page.url.join(&form.action).map_err(|error| format!("{}: {error}", form.action))?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.filled(changes)).finish();
        let from = Some(page.url.origin());
        if form.post {
            return self.navigate(Method::POST, url, Some(body), from, stop).await;
        }
        url.set_query(Some(&body));
        self.navigate(Method::GET, url, None, from, stop).await
    }

    /// The value of a cookie that would be sent to `url`.
    pub fn cookie(&self, url: &str, name: &str) -> Option<String> {
        self.jar.lock().get(&Url::parse(url).ok()?, name)
    }

    /// Forgets all cookies.
    pub fn forget_cookies(&self) {
        *self.jar.lock() = Jar::default();
    }

    /// One request with this browser's cookies, redirects not followed: for what pages do in scripts.
    ///
    /// # Errors
    /// When the address cannot be reached.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Page, String> {
        let url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        self.send(method, url, headers, body).await
    }

    async fn navigate(
        &self,
        mut method: Method,
        mut url: Url,
        mut body: Option<String>,
        mut from: Option<Origin>,
        stop: &str,
    ) -> Result<Arrived, String> {
        let mut visited = Vec::new();
        for _ in 0..MAX_REDIRECTS {
            if !stop.is_empty() && url.as_str().starts_with(stop) {
                return Ok(Arrived::Stopped(url));
            }
            visited.push(url.clone());
            let headers = navigation_headers(&method, &url, from.as_ref());
            let mut page = self.send(method.clone(), url.clone(), headers, body.clone()).await?;
            let Some(next) = redirect(&page)? else {
                page.visited = visited;
                return Ok(Arrived::Page(page));
            };
            // 307 and 308 keep method and body; browsers turn everything else into GET.
            if !matches!(page.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                (method, body) = (Method::GET, None);
            }
            if from.as_ref().is_some_and(|from| *from != url.origin()) {
                // A redirect across origins taints the origin (Fetch §4.4); it is sent as null.
                from = Some(Origin::new_opaque());
            }
            url = next;
        }
        Err(format!("more than {MAX_REDIRECTS} redirects, the last one to {url}"))
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Page, String> {
        if let Some(cookies) = self.jar.lock().header(&url).and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::COOKIE, cookies);
        }
        if body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let mut request = self.client.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(|error| format!("{url}: {}", causes(&error)))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        for value in headers.get_all(header::SET_COOKIE) {
            self.jar.lock().set(&url, &String::from_utf8_lossy(value.as_bytes()));
        }
        let body = answer.text().await.map_err(|error| format!("{url}: {}", causes(&error)))?;
        Ok(Page { visited: vec![url.clone()], url, status, headers, body })
    }
}

impl Page {
    /// Its forms.
    pub fn forms(&self) -> Vec<Form> {
        forms::scan(&self.body)
    }

    /// The form with a field or a button of that name.
    pub fn form_with(&self, name: &str) -> Option<Form> {
        self.forms().into_iter().find(|form| form.has(name))
    }

    /// Its title.
    pub fn title(&self) -> String {
        forms::title(&self.body)
    }

    /// What a person reads on it: its text without tags, shortened.
    pub fn text(&self) -> String {
        forms::text(&self.body)
    }
}

fn redirect(page: &Page) -> Result<Option<Url>, String> {
    let location = page.headers.get(header::LOCATION).filter(|_| page.status.is_redirection());
    let Some(location) = location else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    page.url.join(&location).map(Some).map_err(|error| format!("{} redirects to {location}: {error}", page.url))
}

/// What Chromium says about a navigation: `Origin` with a form's POST, and whose page it came from.
fn navigation_headers(method: &Method, url: &Url, from: Option<&Origin>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let site = match from {
        None => "none",
        Some(from) if *from == url.origin() => "same-origin",
        Some(from) if same_site(from, &url.origin()) => "same-site",
        Some(_) => "cross-site",
    };
    headers.insert("sec-fetch-site", HeaderValue::from_static(site));
    headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
    headers.insert("sec-fetch-dest", HeaderValue::from_static("document"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"));
    if let Some(from) = from.filter(|_| *method == Method::POST)
        && let Ok(value) = HeaderValue::from_str(&from.ascii_serialization())
    {
        headers.insert(header::ORIGIN, value);
    }
    headers
}

/// Good enough for the names that tests use: the last two labels are the site. So `a.localhost` and `b.localhost` are
/// two sites, as in Chromium, and `x.gw.example` and `gw.example` are one.
fn same_site(one: &Origin, other: &Origin) -> bool {
    let site = |origin: &Origin| match origin {
        Origin::Tuple(scheme, url::Host::Domain(host), _) => {
            let mut labels = host.rsplitn(3, '.');
            let (last, before) = (labels.next()?.to_owned(), labels.next().map(str::to_owned));
            Some((scheme.clone(), last, before))
        }
        Origin::Tuple(scheme, host, _) => Some((scheme.clone(), host.to_string(), None)),
        Origin::Opaque(_) => None,
    };
    site(one).is_some_and(|site_of_one| Some(site_of_one) == site(other))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Every name is this machine; the URL's port stays.
struct Here;

impl Resolve for Here {
    fn resolve(&self, _name: Name) -> Resolving {
        let here: Addrs = Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))));
        Box::pin(std::future::ready(Ok(here)))
    }
}
