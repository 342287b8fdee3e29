//! One order, from the names to the chain (RFC 8555 §7.4).

use super::account::{self, NoAccount, Opened};
use super::challenge::Answers;
use super::transport::Outbound;
use super::{Authority, CertificatesParts, Wanted};
use crate::error::Fault;
use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, Error, Identifier, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the authority may take to see our answers, and to issue, each.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(180)).backoff(1.5);

/// What came of it.
pub(super) struct Ordered {
    /// In PEM.
    pub(super) chain: String,
    /// In PKCS#8.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In words, for administrators.
    pub(super) text: String,
    /// How long the authority asked to be left alone.
    pub(super) wait: Option<Duration>,
    /// Whether that is about all orders, not only this one.
    pub(super) limited: bool,
}

/// Orders a certificate. `replaced` is the renewal id of the one before, if the authority is to know (RFC 9773 §5).
pub(super) async fn order(
    parts: &CertificatesParts,
    authority: &Arc<Authority>,
    wanted: &Wanted,
    replaced: Option<&str>,
) -> Result<Ordered, Trouble> {
    let wait = Arc::new(Mutex::new(None));
    let ordered = attempt(parts, authority, wanted, replaced, &wait).await;
    ordered.map_err(|failure| failure.into_trouble(wait.lock().take()))
}

async fn attempt(
    parts: &CertificatesParts,
    authority: &Arc<Authority>,
    wanted: &Wanted,
    replaced: Option<&str>,
    wait: &Arc<Mutex<Option<Duration>>>,
) -> Result<Ordered, Failure> {
    let connection = || Outbound::new(authority.clone(), wait.clone());
    let opened = account::open(parts, authority, connection).await?;
    let mut order = match begin(&opened, wanted, replaced).await {
        Err(error) if is_gone(&error) => {
            account::forget(parts, authority, &opened).await?;
            tracing::warn!(%error, "the certificate authority does not take our account any more: making another one");
            let opened = account::open(parts, authority, connection).await?;
            begin(&opened, wanted, replaced).await?
        }
        begun => begun?,
    };
    let mut answers = Answers::new(parts, &authority.config.challenge, &wanted.name);
    let proven = prove(&mut order, &mut answers).await;
    answers.remove().await;
    proven?;
    finalize(&mut order, wanted).await
}

async fn begin(opened: &Opened, wanted: &Wanted, replaced: Option<&str>) -> Result<Order, Error> {
    let identifiers: Vec<_> = wanted.names.iter().cloned().map(Identifier::Dns).collect();
    let new = NewOrder::new(&identifiers);
    let Some((authority, serial)) = replaced.and_then(|id| id.split_once('.')) else {
        return opened.account.new_order(&new).await;
    };
    let id = CertificateIdentifier { authority_key_identifier: authority.into(), serial: serial.into() };
    match opened.account.new_order(&new.replaces(id)).await {
        // It does not know such things, or not this certificate, or it was replaced by another node.
        Err(Error::Unsupported(_) | Error::Other(_)) => opened.account.new_order(&NewOrder::new(&identifiers)).await,
        Err(Error::Api(problem)) if !is_problem(&problem, &["rateLimited"]) && !is_gone_problem(&problem) => {
            opened.account.new_order(&NewOrder::new(&identifiers)).await
        }
        ordered => ordered,
    }
}

/// Shows that all names are ours.
async fn prove(order: &mut Order, answers: &mut Answers<'_>) -> Result<(), Failure> {
    let kind = answers.kind();
    let mut pending = false;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            other => return Err(Failure::Text(format!("the authority has an authorization that is {other:?}"))),
        }
        let Some(challenge) = authorization.challenge(kind.clone()) else {
            return Err(Failure::Text(
                "the authority does not offer tls.acme.challenge: choose another one".to_owned(),
            ));
        };
        let Identifier::Dns(domain) = challenge.identifier().identifier else { continue };
        answers.add(domain, &challenge.token, &challenge.key_authorization()).await?;
        pending = true;
    }
    if pending {
        answers.visible().await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = authorization.challenge(kind.clone())
            {
                challenge.set_ready().await?;
            }
        }
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
        Ok(_) => Err(Failure::Text(explain(order).await)),
        // The order's own error says less than those of its names.
        Err(Error::Api(_)) => Err(Failure::Text(explain(order).await)),
        Err(error) => Err(error.into()),
    }
}

/// Why names were not proven, as the authority says.
async fn explain(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
            reasons.push(format!("{name}: {}", describe(problem)));
        }
    }
    match reasons.is_empty() {
        true => "the authority refused the order and does not say why".to_owned(),
        false => reasons.join("; "),
    }
}

async fn finalize(order: &mut Order, wanted: &Wanted) -> Result<Ordered, Failure> {
    let key = KeyPair::generate().map_err(Fault::gateway)?;
    let mut parameters = CertificateParams::new(wanted.names.clone()).map_err(Fault::gateway)?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&key).map_err(Fault::gateway)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Ordered { chain, key: Zeroizing::new(key.serialize_der()) })
}

/// Where an order can fail.
enum Failure {
    Refused(Error),
    Ours(Fault),
    Text(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Ours(fault)
    }
}

impl From<NoAccount> for Failure {
    fn from(none: NoAccount) -> Self {
        match none {
            NoAccount::Fault(fault) => Self::Ours(fault),
            NoAccount::Refused(error) => Self::Refused(error),
        }
    }
}

impl Failure {
    fn into_trouble(self, wait: Option<Duration>) -> Trouble {
        let limited = matches!(&self, Self::Refused(Error::Api(problem)) if is_problem(problem, &["rateLimited"]));
        let text = match self {
            Self::Refused(Error::Api(problem)) => describe(&problem),
            Self::Refused(error) => error.to_string(),
            Self::Ours(fault) => fault.private,
            Self::Text(text) => text,
        };
        // It comes from elsewhere and is shown to people.
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
        Trouble { text, wait, limited }
    }
}

fn describe(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or("error");
    match &problem.detail {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_owned(),
    }
}

/// Whether the account is the reason (RFC 8555 §7.3.1, §7.3.6).
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if is_gone_problem(problem))
}

fn is_gone_problem(problem: &Problem) -> bool {
    is_problem(problem, &["accountDoesNotExist", "unauthorized"])
}

fn is_problem(problem: &Problem, kinds: &[&str]) -> bool {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
    kind.is_some_and(|kind| kinds.contains(&kind))
}
