//! Signing in elsewhere: GitHub and OpenID providers. From the button to a [`Profile`]: who somebody is there, let in by the
//! rules of the configuration. Who that is here is [`crate::identity::Identity`]'s to say.

mod assertion;
mod departure;
mod email;
mod exchange;
mod github;
mod oidc;
#[cfg(test)]
mod tests;

pub use assertion::{IdentityAssertion, NotAsserted, OneOrMore};

use crate::clock::Clock;
use crate::config::{GITHUB, Login};
use crate::error::Fault;
use crate::hostname::Site;
use crate::http::HttpClient;
use crate::ids::{Digest, Random, UserId};
use crate::jwks::RemoteKeys;
use crate::oauth::pkce;
use crate::store::Store;
use crate::vault::Vault;
use departure::Departure;
use exchange::{Code, printable};
use github::GitHub;
use oidc::Oidc;
use serde::Deserialize;
use std::sync::Arc;

/// The providers of a configuration. Shared behind an `Arc`.
pub struct Providers {
    tools: Tools,
    list: Vec<Provider>,
}

/// What they work with.
#[derive(Clone)]
#[allow(missing_docs)] // each is documented where it is defined
pub struct Tools {
    pub http: HttpClient,
    pub keys: Arc<RemoteKeys>,
    pub store: Store,
    pub vault: Vault,
    pub site: Site,
    pub clock: Clock,
    pub random: Random,
}

/// One provider, and the address to which it answers.
struct Provider {
    name: String,
    label: String,
    redirect_uri: String,
    kind: Kind,
}

enum Kind {
    GitHub(GitHub),
    Oidc(Box<Oidc>),
}

/// What a provider vouches for, once the rules have let it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The issuer, or the address of a GitHub.
    pub issuer: String,
    /// What the issuer calls the person for good.
    pub subject: String,
    /// What the person is called there: for people, and for a new user name. Changes, and may be somebody else's tomorrow.
    pub name: String,
    /// Only one that the provider has verified.
    pub email: Option<String>,
    /// As the provider says.
    pub groups: Vec<String>,
    /// Whether a rule makes the person an administrator.
    pub administrator: bool,
}

/// Whose browser leaves, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To sign in.
    SignIn,
    /// To link an identity to this person, who is signed in.
    Link(UserId),
}

/// A browser that came back: what its two cookies say.
#[derive(Clone, Copy, Debug)]
pub struct Returning {
    /// Digest of the visitor's cookie.
    pub visitor: Option<Digest>,
    /// The signed-in person, and the digest of the session's cookie.
    pub session: Option<(UserId, Digest)>,
}

/// What the provider answered, in the query of the redirect URI (RFC 6749 §4.1.2, RFC 9207).
#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the names are the registered ones
pub struct Answer {
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// Somebody came back.
#[derive(Debug)]
pub struct Arrived {
    /// Who.
    pub profile: Profile,
    /// What for.
    pub purpose: Purpose,
    /// Where to go on.
    pub return_to: String,
}

/// Why nobody came back.
#[derive(Debug)]
pub struct NotArrived {
    /// What happened.
    pub error: SignInError,
    /// What for, and where to go on; unknown when the answer is not this browser's.
    pub departure: Option<(Purpose, String)>,
}

/// What stands in the way of a sign-in.
#[derive(Debug)]
pub enum SignInError {
    /// No provider has that name.
    NoSuchProvider,
    /// The person declined at the provider.
    Declined,
    /// The rules do not let the person in: a sentence for the person, and one for the log.
    Refused {
        /// Why, and what to do.
        public: String,
        /// Who it was.
        private: String,
    },
    /// The answer is not right, the provider is in trouble, or we are.
    Failed(Fault),
}

impl From<Fault> for SignInError {
    fn from(fault: Fault) -> Self {
        SignInError::Failed(fault)
    }
}

impl Providers {
    /// Those of the configuration. None of them is asked anything yet.
    pub fn new(tools: Tools, login: &Login) -> Self {
        let root = tools.site.root_origin();
        let provider = |name: &str, label: &str, kind| Provider {
            name: name.to_owned(),
            label: label.to_owned(),
            redirect_uri: redirect_uri(&root, name),
            kind,
        };
        let github =
            login.github.iter().map(|settings| provider(GITHUB, "GitHub", Kind::GitHub(GitHub::new(settings.clone()))));
        let oidc = login.oidc.iter().map(|settings| {
            provider(&settings.name, &settings.label, Kind::Oidc(Box::new(Oidc::new(settings.clone()))))
        });
        let list = github.chain(oidc).collect();
        Self { tools, list }
    }

    /// Names and labels, in the order of the buttons.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|provider| (provider.name.as_str(), provider.label.as_str()))
    }

    /// Where a browser goes to sign in. `browser` is the digest of the cookie that it must come back with: the visitor's,
    /// or the session's of a person who links.
    ///
    /// # Errors
    /// When there is no such provider, or it does not say where to go.
    pub async fn begin(
        &self,
        name: &str,
        browser: Digest,
        purpose: Purpose,
        return_to: &str,
    ) -> Result<String, SignInError> {
        let provider = self.provider(name)?;
        let random = &self.tools.random;
        let departure = Departure {
            provider: name.to_owned(),
            verifier: pkce::verifier(random).expose().to_owned(),
            nonce: random.token().to_string(),
            linking: match purpose {
                Purpose::SignIn => None,
                Purpose::Link(user) => Some(user.to_string()),
            },
            return_to: return_to.to_owned(),
        };
        let state = random.token();
        let address = provider.authorization_address(&self.tools, &departure, &state).await?;
        departure.keep(&self.tools, &state, browser).await?;
        Ok(address)
    }

    /// Takes an answer at the redirect URI of the provider `name`.
    ///
    /// # Errors
    /// When it is not for this browser, was used, is too late, belongs to another provider or was tampered with; when the
    /// person or the rules said no; when the provider is in trouble.
    pub async fn finish(&self, name: &str, browser: Returning, answer: &Answer) -> Result<Arrived, NotArrived> {
        let lost = |error| NotArrived { error, departure: None };
        let provider = self.provider(name).map_err(lost)?;
        let state = answer.state.as_deref().unwrap_or_default();
        let departure = Departure::claim(&self.tools, state, browser).await.map_err(|fault| lost(fault.into()))?;
        let purpose = departure.purpose().map_err(|fault| lost(fault.into()))?;
        match provider.complete(&self.tools, &departure, answer).await {
            Ok(profile) => Ok(Arrived { profile, purpose, return_to: departure.return_to.clone() }),
            Err(error) => Err(NotArrived { error, departure: Some((purpose, departure.return_to.clone())) }),
        }
    }

    fn provider(&self, name: &str) -> Result<&Provider, SignInError> {
        self.list.iter().find(|provider| provider.name == name).ok_or(SignInError::NoSuchProvider)
    }
}

/// The address to which a provider answers: one for each, so that an answer of one is never taken for another's.
pub fn redirect_uri(root: &str, name: &str) -> String {
    format!("{root}/login/{name}/callback")
}

impl Provider {
    async fn authorization_address(
        &self,
        tools: &Tools,
        departure: &Departure,
        state: &str,
    ) -> Result<String, SignInError> {
        let url = match &self.kind {
            Kind::GitHub(github) => github.authorization_address(&self.redirect_uri, departure, state)?,
            Kind::Oidc(oidc) => oidc.authorization_address(tools, &self.redirect_uri, departure, state).await?,
        };
        Ok(url.into())
    }

    async fn complete(&self, tools: &Tools, departure: &Departure, answer: &Answer) -> Result<Profile, SignInError> {
        if departure.provider != self.name {
            // Mix-up: the code goes to nobody (RFC 9207 §1, RFC 9700 §2.1).
            let text = "This answer belongs to another provider than the one that it came to. Please sign in again.";
            return Err(Fault::caller(text).into());
        }
        if let Kind::Oidc(oidc) = &self.kind {
            // Before anything else in the answer is believed, its error included.
            oidc.check_issuer(tools, answer.iss.as_deref()).await?;
        }
        if let Some(error) = &answer.error {
            return Err(self.refused(error, answer.error_description.as_deref()));
        }
        let code = answer.code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| Fault::caller(format!("{} sent no authorization code.", self.label)))?;
        let code = Code { code, verifier: &departure.verifier, redirect_uri: &self.redirect_uri };
        match &self.kind {
            Kind::GitHub(github) => github.profile(tools, &code).await,
            Kind::Oidc(oidc) => oidc.profile(tools, &code, &departure.nonce).await,
        }
    }

    fn refused(&self, error: &str, description: Option<&str>) -> SignInError {
        let label = &self.label;
        let private = format!("{label}: {}: {}", printable(error), printable(description.unwrap_or_default()));
        tracing::info!(provider = self.name, %private, "a provider answered with an error");
        let public = match error {
            "access_denied" => return SignInError::Declined,
            "temporarily_unavailable" | "server_error" => format!("{label} is not available. Please try again later."),
            "application_suspended" | "unauthorized_client" | "redirect_uri_mismatch" => {
                format!(
                    "{label} does not let this gateway ask: an administrator has to look at its registration there."
                )
            }
            _ => format!("{label} refused the sign-in."),
        };
        SignInError::Failed(Fault::upstream(public, private))
    }
}
