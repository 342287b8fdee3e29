//! What `portcullis login` got, in `credentials.json` below `$XDG_CONFIG_HOME/portcullis`: one entry for each address, for
//! its owner's eyes only. A refresh token of ours works once, so whoever refreshes holds the lock of the file meanwhile.

#[cfg(test)]
mod tests;

use super::remote::{Answer, Remote};
use crate::clock::{Clock, Timestamp};
use crate::error::Fault;
use crate::hostname::Authority;
use crate::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The variables of a process.
type Environment = BTreeMap<String, String>;

/// A token that would end while its request is on the way is renewed before.
const MARGIN: Duration = Duration::from_secs(60);

/// A good access token for a server that `portcullis login` was run for, renewed when it is about to end. For the admin
/// API of a gateway `server` is the gateway's own address, otherwise the address of an MCP endpoint.
///
/// # Errors
/// When nobody logged in there, the authorization has ended, or the server cannot be reached; the text names the command
/// to run.
pub(super) async fn access_token(environment: &Environment, server: &str) -> Result<Secret, Fault> {
    let (server, file) = (Server::parse(server)?, Credentials::of(environment)?);
    let entry = file.entry(&server)?;
    if entry.is_fresh() {
        return Ok(entry.access_token);
    }
    let locked = file.lock().await?;
    let mut entry = locked.entry(&server)?;
    // Somebody else may have renewed it while we waited for the lock.
    if !entry.is_fresh() {
        match renew(&entry, &server).await {
            Ok(issued) => entry.take(issued),
            Err(NotRenewed::Failed(fault)) => return Err(fault),
            Err(NotRenewed::Ended(fault)) => {
                locked.forget(&server)?;
                return Err(fault);
            }
        }
        locked.put(&server, entry.clone())?;
    }
    Ok(entry.access_token)
}

/// A server as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Canonical, without a slash at its end: the key of its entry.
    pub(super) address: String,
    /// Whether it is a gateway, and so its admin API that is meant.
    pub(super) is_gateway: bool,
}

/// What was issued for a server, and what is needed to renew and to revoke it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) resource: String,
    pub(super) client_id: String,
    pub(super) token_endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revocation_endpoint: Option<String>,
    /// Where the registration of this client can be deleted, and the token for it (RFC 7592 §3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registration: Option<Registration>,
    #[serde(with = "text")]
    pub(super) access_token: Secret,
    /// Seconds since the Unix epoch.
    pub(super) expires_at: i64,
    #[serde(default, with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Secret>,
}

/// A registration that this machine made.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) uri: String,
    #[serde(with = "text")]
    pub(super) token: Secret,
}

/// What a token endpoint issues (RFC 6749 §5.1).
#[derive(Deserialize)]
pub(super) struct Issued {
    #[serde(with = "text")]
    access_token: Secret,
    /// An hour is the usual life where the server says nothing.
    #[serde(default = "an_hour")]
    expires_in: u64,
    #[serde(default, with = "text::optional")]
    refresh_token: Option<Secret>,
}

/// The file, not locked: good for reading, since it is only ever replaced as a whole.
pub(super) struct Credentials {
    path: PathBuf,
}

/// The file while nobody else may change it.
pub(super) struct Locked {
    file: Credentials,
    _lock: File,
}

enum NotRenewed {
    /// The authorization is no more.
    Ended(Fault),
    /// It may work later.
    Failed(Fault),
}

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    servers: BTreeMap<String, Entry>,
}

impl Server {
    /// Parses an address. Without a scheme it is https, or http on one's own machine.
    ///
    /// # Errors
    /// When it is no web address.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::caller(format!(
                "{text:?} is not the address of a gateway (https://gw.example) or of an MCP server behind one \
                 (https://<label>.gw.example/mcp)"
            ))
        };
        let text = text.trim();
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => {
                let host = text.split(['/', '?']).next().unwrap_or_default();
                let own_machine = Authority::from_input(host).is_ok_and(|authority| authority.is_loopback());
                format!("{}://{text}", if own_machine { "http" } else { "https" })
            }
        };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(wrong)?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong());
        }
        let is_gateway = url.path() == "/" && url.query().is_none();
        Ok(Self { address: url.as_str().trim_end_matches('/').to_owned(), is_gateway })
    }
}

impl Entry {
    /// Puts what was just issued in the place of what was there before (RFC 6749 §6: a refresh token that is not mentioned
    /// stays).
    pub(super) fn take(&mut self, issued: Issued) {
        self.expires_at = Clock::system().now().after(Duration::from_secs(issued.expires_in)).seconds();
        self.access_token = issued.access_token;
        if issued.refresh_token.is_some() {
            self.refresh_token = issued.refresh_token;
        }
    }

    fn is_fresh(&self) -> bool {
        Timestamp(self.expires_at) > Clock::system().now().after(MARGIN)
    }
}

impl Credentials {
    /// The file of the person whose environment this is.
    ///
    /// # Errors
    /// When neither `XDG_CONFIG_HOME` nor `HOME` is set.
    pub(super) fn of(environment: &Environment) -> Result<Self, Fault> {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| {
            Fault::caller("there is no place for credentials: set HOME or XDG_CONFIG_HOME to a directory of yours")
        })?;
        Ok(Self { path: config.join("portcullis").join("credentials.json") })
    }

    /// What is kept for a server.
    ///
    /// # Errors
    /// When there is nothing, or the file cannot be read.
    pub(super) fn entry(&self, server: &Server) -> Result<Entry, Fault> {
        let Server { address, .. } = server;
        let missing = || Fault::caller(format!("not logged in at {address}: run `portcullis login {address}`"));
        self.find(server)?.ok_or_else(missing)
    }

    /// The same, where nothing is no error.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn find(&self, server: &Server) -> Result<Option<Entry>, Fault> {
        Ok(self.read()?.servers.remove(&server.address))
    }

    /// Waits until nobody else holds the lock. It goes with the process, however that ends.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub(super) async fn lock(self) -> Result<Locked, Fault> {
        let directory = self.path.parent().map(PathBuf::from).unwrap_or_default();
        let path = self.path.with_extension("lock");
        let locking = tokio::task::spawn_blocking(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            file.lock().map(|()| file)
        });
        let lock = locking.await.map_err(Fault::task)?.map_err(|why| self.unusable(&why))?;
        Ok(Locked { file: self, _lock: lock })
    }

    fn read(&self) -> Result<Contents, Fault> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(self.unusable(&error)),
        };
        serde_json::from_slice(&text).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> Fault {
        Fault::caller(format!("{}: {why}; mend or remove the file, then log in again", self.path.display()))
    }
}

impl Locked {
    /// What is kept for a server.
    ///
    /// # Errors
    /// As [`Credentials::entry`].
    pub(super) fn entry(&self, server: &Server) -> Result<Entry, Fault> {
        self.file.entry(server)
    }

    /// Keeps what was issued for a server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn put(&self, server: &Server, entry: Entry) -> Result<(), Fault> {
        let mut contents = self.file.read()?;
        contents.servers.insert(server.address.clone(), entry);
        self.write(&contents)
    }

    /// Forgets a server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn forget(&self, server: &Server) -> Result<(), Fault> {
        let mut contents = self.file.read()?;
        contents.servers.remove(&server.address);
        self.write(&contents)
    }

    /// Written beside it and renamed, so that there is a whole file at every moment.
    fn write(&self, contents: &Contents) -> Result<(), Fault> {
        let path = &self.file.path;
        let beside = path.with_extension("new");
        let text = zeroize::Zeroizing::new(serde_json::to_vec_pretty(contents).map_err(Fault::gateway)?);
        let written = (|| {
            // Left behind by a process that was killed, perhaps with another mode.
            match std::fs::remove_file(&beside) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        })();
        written.map_err(|why| self.file.unusable(&why))
    }
}

async fn renew(entry: &Entry, server: &Server) -> Result<Issued, NotRenewed> {
    let address = &server.address;
    let again = format!("run `portcullis login {address}` again");
    let Some(token) = &entry.refresh_token else {
        return Err(NotRenewed::Ended(Fault::caller(format!("the token for {address} has expired: {again}"))));
    };
    let remote = Remote::new().map_err(NotRenewed::Failed)?;
    let form = [("grant_type", "refresh_token"), ("client_id", &entry.client_id), ("refresh_token", token.expose())];
    match remote.form(&entry.token_endpoint, &form).await.map_err(NotRenewed::Failed)? {
        Answer::Good(issued) => Ok(issued),
        Answer::Refused(error) if matches!(error.error.as_str(), "invalid_grant" | "invalid_client") => {
            Err(NotRenewed::Ended(Fault::caller(format!("the authorization at {address} has ended: {again}"))))
        }
        Answer::Refused(error) => {
            Err(NotRenewed::Failed(Fault::caller(format!("{address} does not renew the token: {error}"))))
        }
    }
}

fn an_hour() -> u64 {
    3600
}

/// A secret as JSON text: nothing but this file is made of such.
mod text {
    use super::{Deserialize, Deserializer, Secret, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Secret, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
            match secret {
                Some(secret) => to.serialize_str(secret.expose()),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
            Ok(Option::<String>::deserialize(from)?.map(Secret::new))
        }
    }
}
