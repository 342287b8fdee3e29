//! Our account at an authority: made once for all nodes, and anew when the authority does not know it any more.

use super::transport::Outbound;
use super::{Authority, CertificatesParts};
use crate::config::ExternalAccount;
use crate::error::Fault;
use crate::vault::Place;
use data_encoding::BASE64URL_NOPAD;
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use zeroize::Zeroizing;

/// An account, and its row.
pub(super) struct Opened {
    pub(super) account: Account,
    sealed: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAccount {
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("{0}")]
    Refused(#[from] Error),
}

/// The account of all nodes. `connection` makes a way to the authority for each attempt.
pub(super) async fn open(
    parts: &CertificatesParts,
    authority: &Authority,
    connection: impl Fn() -> Outbound,
) -> Result<Opened, NoAccount> {
    let directory = &authority.config.directory;
    if let Some(sealed) = stored(parts, directory).await? {
        let account = Account::builder_with_http(Box::new(connection()));
        let account = account.from_credentials(credentials(parts, directory, &sealed)?).await?;
        return Ok(Opened { account, sealed });
    }
    let contact = authority.config.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = authority.config.external_account.as_ref().map(external_key).transpose()?;
    let builder = Account::builder_with_http(Box::new(connection()));
    let (_, made) = builder.create(&new, directory.clone(), external.as_ref()).await?;
    let text = Zeroizing::new(serde_json::to_vec(&made).map_err(Fault::gateway)?);
    let sealed = parts.vault.seal(&place(directory), &text);
    parts.store.put_acme_account(directory, &sealed, parts.clock.now()).await.map_err(Fault::from)?;
    // Another node may have been as fast: then that one's account is everybody's.
    let kept = stored(parts, directory).await?.unwrap_or(sealed);
    let account = Account::builder_with_http(Box::new(connection()));
    let account = account.from_credentials(credentials(parts, directory, &kept)?).await?;
    tracing::info!(directory, "an account was made at the certificate authority");
    Ok(Opened { account, sealed: kept })
}

/// Forgets an account that the authority does not take any more.
pub(super) async fn forget(parts: &CertificatesParts, authority: &Authority, opened: &Opened) -> Result<(), Fault> {
    Ok(parts.store.delete_acme_account(&authority.config.directory, &opened.sealed).await?)
}

async fn stored(parts: &CertificatesParts, directory: &str) -> Result<Option<Vec<u8>>, Fault> {
    Ok(parts.store.acme_account(directory).await?)
}

fn credentials(parts: &CertificatesParts, directory: &str, sealed: &[u8]) -> Result<AccountCredentials, Fault> {
    let text = parts.vault.open(&place(directory), sealed).map_err(Fault::gateway)?;
    serde_json::from_slice(&text).map_err(|_| Fault::gateway("the database holds a damaged ACME account"))
}

fn place(directory: &str) -> Place<'_> {
    Place { table: "acme_accounts", row: directory, column: "sealed", person: "", upstream: "" }
}

fn external_key(external: &ExternalAccount) -> Result<ExternalAccountKey, Fault> {
    let key = BASE64URL_NOPAD.decode(external.hmac_key.expose().as_bytes()).map(Zeroizing::new);
    Ok(ExternalAccountKey::new(external.key_id.clone(), &key.map_err(Fault::gateway)?))
}
