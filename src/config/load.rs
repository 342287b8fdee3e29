//! From text to a checked configuration: every error at once, each with the place it comes from.

use super::reader::{Errors, Reader};
use super::secrets::Directories;
use super::{
    Config, Origins, database, document, ground, program, provider, registration, sections, service, telemetry, tls,
    upstream, worker,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a configuration comes from. The environment is an argument, so that tests need not change the process's.
#[derive(Clone)]
pub struct Source {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// `PORTCULLIS__…`, the Worker's variables, `XDG_STATE_HOME`, `HOME`, `CREDENTIALS_DIRECTORY`.
    pub environment: BTreeMap<String, String>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads and checks. Files that secrets are kept in are read too, but for the vault key, which
/// [`keyring`](super::keyring()) reads or makes.
///
/// # Errors
/// Every error found, in the order of the file, as `file:line: key: what is wrong and how to mend it`; then those of the
/// environment, which begin with the variable's name instead.
pub fn load(source: &Source) -> Result<Config, ConfigErrors> {
    let errors = Errors::new(source.file.as_deref());
    let Some(mut entries) = document::read(source, &errors) else {
        return Err(errors.into_list());
    };
    let directories = Directories {
        configuration: source.file.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default(),
        credentials: source.environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        search_path: source.environment.get("PATH").filter(|path| !path.is_empty()).cloned(),
        found: source.file.iter().cloned().collect::<Vec<_>>().into(),
    };
    let worker = worker::merge(&mut entries, &source.environment, &directories, &errors);
    let mut root = Reader::root(entries, &errors);
    let mut config = check(&mut root, worker, source, &directories);
    root.finish();
    config.files = directories.found.into_inner();
    config.origins = errors.take_origins();
    let wrong = errors.into_list();
    if wrong.0.is_empty() { Ok(config) } else { Err(wrong) }
}

fn check(root: &mut Reader<'_>, worker: worker::Worker<'_>, source: &Source, directories: &Directories) -> Config {
    let mut server = root.table("server");
    let domain = ground::domain(&mut server);
    let tls = tls::read(root.table("tls"), &domain, directories);
    let state = ground::state_directory(&domain.value, &source.environment);
    let (store, spool) = database::read(root.table("store"), directories, &state);
    let vault = ground::vault(root.table("vault"), store.url.expose(), directories);
    let upstreams = sections::upstreams(root.table("upstreams"), directories);
    let upstream = upstream::all(root.tables("upstream"), worker.servers, |reader| {
        upstream::read(reader, &domain.value, upstreams.allow_private, directories)
    });
    let stdio = program::section(root.table("stdio"), store.url.expose(), &state);
    let service = service::all(root.tables("service"), upstreams.allow_private, directories);
    let login = sections::login(root.table("login"), worker.local, upstreams.allow_private, directories);
    let limits = sections::limits(root.table("limits"), store.is_shared());
    Config {
        server: ground::server(server, domain.value, &tls),
        tls,
        store,
        spool,
        vault,
        login,
        tokens: sections::tokens(root.table("tokens")),
        registration: registration::read(root.table("registration"), directories),
        limits,
        streams: sections::streams(root.table("streams")),
        upstreams,
        upstream,
        stdio,
        unified: sections::unified(root.table("unified")),
        service,
        provider: provider::all(root.tables("provider"), root.errors),
        audit: sections::audit(root.table("audit"), directories),
        telemetry: telemetry::read(root.table("telemetry"), directories),
        files: Vec::new(),
        origins: Origins::default(),
    }
}
