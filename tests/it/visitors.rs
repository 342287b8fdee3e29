//! Browsers at the root domain, and a gateway that does not count how often they call.

use crate::client::{alice, send};
use crate::gateway::{Gateway, upstream};
use crate::upstreams::Notes;
use http::Method;
use portcullis::config::{Config, Rate, Service, Source, UpstreamAuth, load};
use portcullis::devkit::browser::{Arrived, Browser, Page};
use std::time::Duration;

pub async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let authority = notes.authority();
    let gateway = Gateway::with(move |config| {
        without_limits(config);
        config.service = forge();
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    });
    (notes, gateway.await)
}

/// The services of a configuration.
pub fn services(text: &str) -> Vec<Service> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    let state = directory.path().display().to_string();
    let environment = [("XDG_STATE_HOME".to_owned(), state)].into();
    load(&Source { file: Some(file), environment }).unwrap().service
}

/// A service that nobody gets to.
pub fn forge() -> Vec<Service> {
    services(
        "[[service]]\nname = \"forge\"\nlabel = \"Forge\"\nclient_id = \"gateway\"\nscopes = \"repo\"\n\
         authorization_endpoint = \"https://forge.example/authorize\"\ntoken_endpoint = \"https://forge.example/token\"\n",
    )
}

pub fn without_limits(config: &mut Config) {
    let rate = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
    let limits = &mut config.limits;
    for limit in [&mut limits.per_ip, &mut limits.token_endpoint, &mut limits.registration, &mut limits.login] {
        *limit = rate;
    }
}

pub async fn call(browser: &Browser, method: &str, url: &str, fields: &[(&str, &str)]) -> Page {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = (method == Method::POST).then(String::new);
    send(browser, method, url, fields, body).await
}

pub async fn signed_in(gateway: &Gateway) -> (Browser, String) {
    let browser = Browser::new().unwrap();
    let Arrived::Page(login) = browser.open(&format!("{}/login", gateway.root()), "").await.unwrap() else { panic!() };
    let Arrived::Page(home) = browser.fill_login(&login, &alice(), "").await.unwrap() else { panic!() };
    (browser, csrf_token(&home))
}

pub fn csrf_token(page: &Page) -> String {
    let form = page.form_with("csrf_token").unwrap_or_else(|| panic!("no form: {}", page.text()));
    form.fields.into_iter().find(|field| field.name == "csrf_token").unwrap().value
}

pub fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
