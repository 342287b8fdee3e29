//! What a person does in an authorization flow: sign in, allow, until the browser is back at the client.

use super::{Arrived, Browser, Page};
use url::Url;

/// Most pages that a flow may show.
const MAX_STEPS: usize = 20;

/// What the person knows.
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// What the client's redirect URI was called with (RFC 6749 §4.1.2, RFC 9207).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the registered ones
pub struct Callback {
    /// The whole address.
    pub url: String,
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

impl Callback {
    fn of(url: &Url) -> Self {
        let get = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        Self {
            url: url.to_string(),
            code: get("code"),
            state: get("state"),
            iss: get("iss"),
            error: get("error"),
            error_description: get("error_description"),
        }
    }
}

impl Browser {
    /// Goes from `start` to `stop` (the beginning of the client's redirect URI): signs in where a page asks for a
    /// password, allows where one asks for a decision.
    ///
    /// # Errors
    /// When a page has neither, asks for the password twice, or after 20 pages; the text holds title and text of the
    /// last page.
    pub async fn authorize(&self, start: &str, credentials: &Credentials, stop: &str) -> Result<Callback, String> {
        self.walk(start, credentials, "approve", stop).await
    }

    /// The same, but refuses at the first page that asks for a decision.
    ///
    /// # Errors
    /// As [`Browser::authorize`].
    pub async fn refuse(&self, start: &str, credentials: &Credentials, stop: &str) -> Result<Callback, String> {
        self.walk(start, credentials, "deny", stop).await
    }

    /// Lets a device in (RFC 8628): opens `start`, signs in, sends the code that the page has, allows, until there is
    /// nothing more to press. The last page.
    ///
    /// # Errors
    /// When the password is asked for twice, or after 20 pages.
    pub async fn let_device_in(&self, start: &str, credentials: &Credentials) -> Result<Page, String> {
        self.walk_to_end(start, credentials, "approve").await
    }

    /// The same, but keeps the device out.
    ///
    /// # Errors
    /// As [`Browser::let_device_in`].
    pub async fn keep_device_out(&self, start: &str, credentials: &Credentials) -> Result<Page, String> {
        self.walk_to_end(start, credentials, "deny").await
    }

    /// Fills in the login form of a page.
    ///
    /// # Errors
    /// When there is none, or sending it fails.
    pub async fn fill_login(&self, page: &Page, who: &Credentials, stop: &str) -> Result<Arrived, String> {
        let form = page.form_with("password").ok_or_else(|| stuck(page, "there is no login form"))?;
        self.submit(page, &form, &[("username", &who.user), ("password", &who.password)], stop).await
    }

    /// Presses the approving control of a page.
    ///
    /// # Errors
    /// When there is none, or sending the form fails.
    pub async fn approve(&self, page: &Page, stop: &str) -> Result<Arrived, String> {
        self.decide(page, "approve", stop).await
    }

    /// Presses the refusing control of a page.
    ///
    /// # Errors
    /// When there is none, or sending the form fails.
    pub async fn deny(&self, page: &Page, stop: &str) -> Result<Arrived, String> {
        self.decide(page, "deny", stop).await
    }

    async fn decide(&self, page: &Page, decision: &str, stop: &str) -> Result<Arrived, String> {
        let form = page.forms().into_iter().find(|form| {
            form.buttons.iter().chain(&form.fields).any(|field| field.name == "decision" && field.value == decision)
        });
        let form = form.ok_or_else(|| stuck(page, &format!("there is no control to {decision}")))?;
        self.submit(page, &form, &[("decision", decision)], stop).await
    }

    async fn walk(&self, start: &str, who: &Credentials, decision: &str, stop: &str) -> Result<Callback, String> {
        let mut arrived = self.open(start, stop).await?;
        let mut signed_in = false;
        for _ in 0..MAX_STEPS {
            let page = match arrived {
                Arrived::Stopped(url) => return Ok(Callback::of(&url)),
                Arrived::Page(page) => page,
            };
            arrived = if page.form_with("password").is_some() {
                if std::mem::replace(&mut signed_in, true) {
                    return Err(stuck(&page, "the password is asked for again"));
                }
                self.fill_login(&page, who, stop).await?
            } else if page.form_with("decision").is_some() {
                self.decide(&page, decision, stop).await?
            } else {
                return Err(stuck(&page, "there is nothing to press"));
            };
        }
        Err(format!("after {MAX_STEPS} pages there is no end"))
    }

    async fn walk_to_end(&self, start: &str, who: &Credentials, decision: &str) -> Result<Page, String> {
        let mut arrived = self.open(start, "").await?;
        let mut signed_in = false;
        for _ in 0..MAX_STEPS {
            let Arrived::Page(page) = arrived else { return Err("nothing was to stop it".to_owned()) };
            arrived = if page.form_with("password").is_some() {
                if std::mem::replace(&mut signed_in, true) {
                    return Err(stuck(&page, "the password is asked for again"));
                }
                self.fill_login(&page, who, "").await?
            } else if let Some(form) = page.form_with("user_code") {
                self.submit(&page, &form, &[], "").await?
            } else if page.form_with("decision").is_some() {
                self.decide(&page, decision, "").await?
            } else {
                return Ok(page);
            };
        }
        Err(format!("after {MAX_STEPS} pages there is no end"))
    }
}

fn stuck(page: &Page, why: &str) -> String {
    format!("{why}: {} at {}: {:?}: {}", page.status, page.url, page.title(), page.text())
}
