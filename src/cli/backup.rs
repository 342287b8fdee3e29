//! `backup` and `restore`.

use super::output::{Output, counted};
use super::vault::keys;
use super::{Failure, load};
use crate::audit::Audit;
use crate::backup::{self, Choices, Header};
use crate::clock::{Clock, Timestamp};
use crate::config::{AuditedRequests, Source};
use crate::error::Fault;
use crate::ids::Random;
use crate::store::Store;
use crate::telemetry::Metrics;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// `portcullis backup FILE`
pub(super) async fn backup(file: &Path, source: &Source, output: &mut Output<'_>) -> Result<(), Failure> {
    let config = load(source)?;
    let (store, random) =
        (Store::open_with(config.store.url.expose(), config.store.connections).await?, Random::default());
    let vault = keys(&config)?;
    vault.check(&store).await?;
    // Whoever finds a file of this name finds all of it.
    let aside = file.with_extension(format!("{}.part", &*random.token()));
    let unwritable = |error: io::Error| {
        Fault::caller(format!(
            "{} cannot be written ({error}): name a new file in a directory of yours",
            file.display()
        ))
    };
    if file.exists() {
        return Err(unwritable(io::ErrorKind::AlreadyExists.into()).into());
    }
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(unwritable)?;
    let mut progress = output.progress();
    let now = Clock::system().now();
    let mut told = |table: &str, done, of| progress.show(table, done, of);
    let written = backup::write((&store, &vault), now, &random, &out, &mut told).await;
    progress.end();
    let placed = || out.sync_all().and_then(|()| std::fs::hard_link(&aside, file)).and_then(|()| sync_directory(file));
    let done = written.and_then(|header| placed().map(|()| header).map_err(unwritable));
    let _ = std::fs::remove_file(&aside);
    let header = done?;
    record(&store, "backup.written", &file.display().to_string()).await;
    tell("wrote", file, &header, output)
}

/// `portcullis backup --check FILE`
pub(super) fn check(file: &Path, source: &Source, output: &mut Output<'_>) -> Result<(), Failure> {
    let vault = keys(&load(source)?)?;
    let input = open(file)?;
    let mut progress = output.progress();
    let checked = backup::check(&vault, BufReader::new(input), &mut |table, done, of| progress.show(table, done, of));
    progress.end();
    tell("checked", file, &checked?.0, output)
}

/// `portcullis restore FILE`
pub(super) async fn restore(
    file: &Path,
    choices: Choices,
    source: &Source,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let config = load(source)?;
    let input = BufReader::new(open(file)?);
    let vault = keys(&config)?;
    // A gateway would go on with what it remembers.
    if Store::is_in_use(config.store.url.expose()).await? {
        let why = "the database is in use: stop every gateway (and whatever else has it open), then try again";
        return Err(Fault::caller(why).into());
    }
    let store = Store::open_with(config.store.url.expose(), config.store.connections).await?;
    let mut progress = output.progress();
    let now = Clock::system().now();
    let mut told = |table: &str, done, of| progress.show(table, done, of);
    let restored = backup::restore((&store, &vault), input, choices, now, &mut told).await;
    progress.end();
    let restored = restored?;
    vault.check(&store).await?;
    record(&store, "backup.restored", &file.display().to_string()).await;
    tell("restored", file, &restored.header, output)?;
    if output.json {
        return Ok(());
    }
    let since = Timestamp(restored.header.created_at).to_rfc3339();
    let said = match restored.signed_out {
        true => format!(
            "everybody is signed out, and every token has ended. What was taken away after {since} and is no token is back: \
             people, roles, groups, permissions, API keys; look through them"
        ),
        false => format!(
            "what was ended after {since} lives again, tokens and sessions too: where that matters, restore once more with \
             --force --sign-everybody-out, and look through people, roles, permissions and API keys"
        ),
    };
    output.line(format_args!("{said}"))?;
    output.line(format_args!(
        "an upstream that has given out new refresh tokens since then may refuse the old ones: people connect there again"
    ))?;
    Ok(())
}

fn tell(what: &str, file: &Path, header: &Header, output: &mut Output<'_>) -> Result<(), Failure> {
    let at = Timestamp(header.created_at).to_rfc3339();
    if output.json {
        let tables = header.tables.iter().map(|table| (table.name.clone(), json!(table.rows))).collect();
        let told = json!({ "file": file, "created_at": at, "version": header.version, "schema": header.schema,
            "vault_keys": header.vault_keys, "rows": header.rows(), "tables": serde_json::Value::Object(tables) });
        return Ok(output.line(format_args!("{told}"))?);
    }
    let rows = usize::try_from(header.rows()).unwrap_or(usize::MAX);
    let keys = header.vault_keys.join(" and ");
    output.line(format_args!("{what} {}: {} as of {at}", file.display(), counted(rows, "row")))?;
    Ok(output.line(format_args!("it is worth nothing without the vault key {keys}: keep that elsewhere"))?)
}

async fn record(store: &Store, action: &'static str, subject: &str) {
    let audit = Audit::new(store.clone(), Clock::system(), Arc::new(Metrics::default()), AuditedRequests::None);
    audit.record("system", action, subject, None);
    audit.flush().await;
}

fn open(file: &Path) -> Result<File, Fault> {
    File::open(file)
        .map_err(|error| Fault::caller(format!("{} cannot be read ({error}): name a backup", file.display())))
}

fn sync_directory(file: &Path) -> io::Result<()> {
    match file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
