//! Cookies (RFC 6265) as far as the gateway's need them: by host, with path, `Secure`, `Max-Age=0` and the `__Host-`
//! prefix. `Domain` widens to subdomains, so that a test sees it when a server sets it by mistake.

use url::Url;

#[derive(Default)]
pub(super) struct Jar(Vec<Cookie>);

struct Cookie {
    name: String,
    value: String,
    host: String,
    with_subdomains: bool,
    path: String,
    secure: bool,
}

impl Jar {
    /// Takes a `Set-Cookie` header that came from `url`.
    pub(super) fn set(&mut self, url: &Url, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let own = host(url);
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            host: own.clone(),
            with_subdomains: false,
            path: default_path(url.path()),
            secure: false,
        };
        let (mut dead, mut path_given) = (false, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => (cookie.path, path_given) = (value.to_owned(), true),
                "secure" => cookie.secure = true,
                "max-age" => dead = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "domain" => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    if !is_or_below(&own, &domain) {
                        return;
                    }
                    (cookie.host, cookie.with_subdomains) = (domain, true);
                }
                _ => {}
            }
        }
        let prefixed = name.starts_with("__Host-");
        if prefixed && !(cookie.secure && !cookie.with_subdomains && path_given && cookie.path == "/") {
            return;
        }
        self.0.retain(|old| !(old.name == cookie.name && old.host == cookie.host && old.path == cookie.path));
        if !dead {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` header for a request to `url`.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let pairs: Vec<String> = self.fitting(url).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    pub(super) fn get(&self, url: &Url, name: &str) -> Option<String> {
        self.fitting(url).find(|cookie| cookie.name == name).map(|cookie| cookie.value.clone())
    }

    fn fitting<'a>(&'a self, url: &Url) -> impl Iterator<Item = &'a Cookie> {
        let (host, path, secure) = (host(url), url.path().to_owned(), url.scheme() == "https");
        self.0.iter().filter(move |cookie| {
            let home = cookie.host == host || (cookie.with_subdomains && is_or_below(&host, &cookie.host));
            home && (secure || !cookie.secure) && path_matches(&path, &cookie.path)
        })
    }
}

/// Host and port: browsers share cookies between ports, but "per origin" is what a test can rely on, as two servers on
/// 127.0.0.1 stand for two sites.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

fn is_or_below(host: &str, domain: &str) -> bool {
    let bare = |text: &str| text.split_once(':').map_or_else(|| text.to_owned(), |(name, _)| name.to_owned());
    let (host, domain) = (bare(host), bare(domain));
    host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

fn default_path(path: &str) -> String {
    match path.rfind('/') {
        Some(0) | None => "/".to_owned(),
        Some(last) => path[..last].to_owned(),
    }
}

fn path_matches(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.ends_with('/'))
}
