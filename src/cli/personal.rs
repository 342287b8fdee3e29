//! `upstream credential …`: what people give MCP servers by hand.

use super::Failure;
use super::arguments::CredentialCommand;
use super::gateway::Gateway;
use super::output::Output;
use crate::administration::CredentialChoice;
use crate::administration::records::Connection;
use crate::error::Fault;
use crate::secret::Secret;
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// More than any value may have, in bytes.
const LONGEST: u64 = 64 * 1024;

/// A connection with its names in a column.
#[derive(Serialize)]
struct Shown {
    names: String,
    #[serde(flatten)]
    connection: Connection,
}

/// `portcullis upstream credential set|list|remove`
pub(super) async fn credential(
    command: CredentialCommand,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        CredentialCommand::Set { upstream, user, account, name, value_file } => {
            let user = gateway.user(&user).await?;
            let value = match value_file {
                None => value(stdin, "standard input")?,
                Some(path) => from_file(&path)?,
            };
            gateway.put_credential(&upstream, &user, &account, name.as_deref(), &value).await?;
            Ok(output.line(format_args!("{} has given a value for {upstream}", user.name))?)
        }
        CredentialCommand::List { upstream } => {
            let mut all: Vec<_> =
                gateway.connections().await?.into_iter().filter(|one| !one.personal.is_empty()).collect();
            if let Some(upstream) = upstream {
                let wanted = gateway.domain_of(&upstream).await?;
                all.retain(|one| one.domain == wanted);
            }
            all.sort_by(|a, b| (&a.domain, &a.account, &a.user).cmp(&(&b.domain, &b.account, &b.user)));
            let shown: Vec<_> =
                all.into_iter().map(|connection| Shown { names: connection.personal.join(" "), connection }).collect();
            output.records(["domain", "account", "user", "names", "state", "created_at"], &shown)
        }
        CredentialCommand::Remove { upstream, user, account, name } => {
            let user = gateway.user(&user).await?;
            let account = account.unwrap_or_default();
            gateway.delete_credentials(&upstream, &user, &CredentialChoice { account, name }).await?;
            Ok(output.line(format_args!("removed what {} gave for {upstream}", user.name))?)
        }
    }
}

fn from_file(path: &Path) -> Result<Secret, Fault> {
    let mut file =
        std::fs::File::open(path).map_err(|why| Fault::caller(format!("--value-file {}: {why}", path.display())))?;
    value(&mut file, &path.display().to_string())
}

/// Everything, since a key may have lines; but not the line break at the end.
fn value(from: &mut dyn Read, place: &str) -> Result<Secret, Fault> {
    let mut text = Zeroizing::new(String::with_capacity(8192));
    from.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|why| Fault::caller(format!("the value cannot be read from {place}: {why}")))?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    match value {
        "" => Err(Fault::caller(format!("{place} holds no value"))),
        value => Ok(Secret::new(value.to_owned())),
    }
}
