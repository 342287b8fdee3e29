//! Signing in at a real OpenID provider (`oidc-provider`) and at a server with the shape of GitHub: who is let in, who that
//! is here, and what strangers can do with an answer that is not theirs.

mod by_github;
mod by_openid;
mod people;
mod strangers;

use crate::client::{Client, send};
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::github::{GitHub, Membership, Trouble};
use crate::openid::OpenId;
use crate::upstreams::Notes;
use crate::visitors::{csrf_token, encoded, signed_in};
use http::{Method, StatusCode, header};
use portcullis::config::{Allowed, GitHubLogin, OidcLogin, Rate, UpstreamAuth};
use portcullis::devkit::browser::{Arrived, Browser, Page};
use portcullis::secret::Secret;
use portcullis::store::{Role, User};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

/// A gateway with these ways in, and no limit on attempts.
async fn gateway(passwords: bool, github: Option<GitHubLogin>, oidc: Vec<OidcLogin>) -> Gateway {
    Gateway::with(move |config| {
        let often = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
        (config.limits.login, config.limits.per_ip) = (often, often);
        config.login.password = passwords;
        config.login.github.clone_from(&github);
        config.login.oidc.clone_from(&oidc);
    })
    .await
}

/// A GitHub, and a gateway that lets in whom `edit` says.
async fn with_github(edit: impl FnOnce(&mut GitHubLogin)) -> (GitHub, Gateway) {
    let github = GitHub::start().await;
    let mut settings = github.settings();
    edit(&mut settings);
    let gateway = gateway(true, Some(settings), Vec::new()).await;
    let callback = format!("{}/login/github/callback", gateway.root());
    github.change(|world| world.callback = callback);
    (github, gateway)
}

/// A company, and a gateway that lets in whom `edit` says.
async fn with_company(method: &str, others: Value, edit: impl FnOnce(&mut OidcLogin)) -> (OpenId, Gateway) {
    let mut company = OpenId::start().await;
    let mut settings = company.settings();
    edit(&mut settings);
    let gateway = gateway(true, None, vec![settings]).await;
    company.serve(&gateway.root(), method, others).await;
    company.account(ada()).await;
    (company, gateway)
}

fn ada() -> Value {
    json!({"sub": "ada", "preferred_username": "ada", "email": "ada@corp.com", "email_verified": true,
        "groups": ["staff", "gateway-admins"]})
}

fn everybody(settings: &mut OidcLogin) {
    settings.allowed_domains = Some(Allowed::Everybody);
}

fn logins(names: &[&str]) -> Allowed {
    Allowed::These(names.iter().map(|name| (*name).to_owned()).collect())
}

fn shown(arrived: Arrived) -> Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

async fn open(browser: &Browser, url: &str) -> Page {
    shown(browser.open(url, "").await.unwrap())
}

/// Presses the button of a provider on a login page.
async fn press(browser: &Browser, login: &Page, provider: &str, stop: &str) -> Arrived {
    let action = format!("/login/{provider}");
    let form = login.forms().into_iter().find(|form| form.action == action);
    browser.submit(login, &form.unwrap_or_else(|| panic!("no button: {}", login.text())), &[], stop).await.unwrap()
}

/// Signs in at the company's own page, if it asks.
async fn at_company(browser: &Browser, page: Page, account: &str, stop: &str) -> Arrived {
    let Some(form) = page.form_with("account") else { return Arrived::Page(page) };
    browser.submit(&page, &form, &[("account", account), ("decision", "approve")], stop).await.unwrap()
}

/// The whole way, from the login page of the gateway to whatever comes after GitHub.
async fn by_github(browser: &Browser, gateway: &Gateway) -> Page {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let page = shown(press(browser, &login, "github", "").await);
    shown(browser.approve(&page, "").await.unwrap())
}

/// The same by way of the company.
async fn by_company(browser: &Browser, gateway: &Gateway, account: &str) -> Page {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let page = shown(press(browser, &login, "company", "").await);
    shown(at_company(browser, page, account, "").await)
}

/// Up to the answer of a provider, which is caught before it reaches the gateway.
async fn caught(browser: &Browser, gateway: &Gateway, provider: &str) -> Url {
    let login = open(browser, &format!("{}/login", gateway.root())).await;
    let stop = format!("{}/login/{provider}/callback", gateway.root());
    let arrived = match press(browser, &login, provider, &stop).await {
        Arrived::Page(page) if provider == "github" => browser.approve(&page, &stop).await.unwrap(),
        Arrived::Page(page) => at_company(browser, page, "ada", &stop).await,
        stopped => stopped,
    };
    match arrived {
        Arrived::Stopped(url) => url,
        Arrived::Page(page) => panic!("{}", page.text()),
    }
}

fn browser() -> Browser {
    Browser::new().unwrap()
}

fn is_home(page: &Page) -> bool {
    page.status == StatusCode::OK && page.url.path() == "/" && page.body.contains("Sign out")
}

async fn user(gateway: &Gateway, name: &str) -> User {
    gateway.app().store.user_by_name(name).await.unwrap().unwrap_or_else(|| panic!("there is no {name}"))
}
