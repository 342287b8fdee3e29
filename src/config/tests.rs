mod command;
mod in_force;
mod login;
mod provider;
mod service;
mod telemetry;
mod tls;

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A configuration file in a directory of its own.
struct Trial {
    directory: TempDir,
    source: Source,
}

impl Trial {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        fs::write(&file, text).unwrap();
        Self { directory, source: Source { file: Some(file), environment: BTreeMap::new() } }
    }

    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        self.source.environment.extend(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        self
    }

    fn write(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn load(&self) -> Config {
        load(&self.source).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The errors without the directory.
    fn errors(&self) -> Vec<String> {
        let here = format!("{}/", self.directory.path().display());
        load(&self.source).err().expect("errors were expected").0.iter().map(|e| e.replace(&here, "")).collect()
    }
}

fn environment(variables: &[(&str, &str)]) -> Source {
    let environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Source { file: None, environment }
}

/// `errors` are exactly these, each by how it begins.
#[track_caller]
fn assert_errors(errors: &[String], expected: &[&str]) {
    let fits = errors.len() == expected.len() && errors.iter().zip(expected).all(|(e, start)| e.starts_with(start));
    assert!(fits, "expected\n  {}\ngot\n  {}", expected.join("\n  "), errors.join("\n  "));
}

#[track_caller]
fn assert_same(a: &Config, b: &Config) {
    assert_eq!(a.server, b.server);
    assert_eq!(a.tls, b.tls);
    assert_eq!((a.store.url.expose(), a.store.connections), (b.store.url.expose(), b.store.connections));
    assert_eq!(a.vault.key_file, b.vault.key_file);
    assert_eq!((a.vault.key.is_some(), a.vault.previous.len()), (b.vault.key.is_some(), b.vault.previous.len()));
    assert_eq!((a.login.password, a.login.local.is_some()), (b.login.password, b.login.local.is_some()));
    assert_eq!((a.login.sessions, a.login.second_factor), (b.login.sessions, b.login.second_factor));
    assert_eq!((a.login.github.is_some(), a.login.oidc.len()), (b.login.github.is_some(), b.login.oidc.len()));
    assert_eq!(a.tokens, b.tokens);
    assert_eq!(a.limits, b.limits);
    assert_eq!(a.streams, b.streams);
    assert_eq!(a.upstreams, b.upstreams);
    assert_eq!(a.unified, b.unified);
    assert_eq!(a.upstream.len(), b.upstream.len());
    assert_eq!(a.audit, b.audit);
    assert_eq!(a.telemetry, b.telemetry);
}

fn conf() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/conf"))
}

#[test]
fn the_reference_is_the_defaults() {
    let reference = load(&Source { file: Some(conf().join("portcullis.toml")), environment: BTreeMap::new() }).unwrap();
    assert_same(&reference, &load(&environment(&[])).unwrap());
}

#[test]
fn the_reference_names_every_key() {
    // With every commented key switched on, nothing in it may be unknown.
    let text = fs::read_to_string(conf().join("portcullis.toml")).unwrap();
    let key = |line: &str| {
        line.starts_with("# [")
            || line.split_once(" = ").is_some_and(|(k, _)| {
                k.strip_prefix("# ").is_some_and(|k| {
                    k.trim_start_matches("# ").bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b))
                })
            })
    };
    let all: Vec<&str> =
        text.lines().map(|line| if key(line) { line.trim_start_matches("# ") } else { line }).collect();
    let errors = Trial::new(&all.join("\n")).errors();
    assert!(errors.len() > 5, "{errors:?}");
    assert!(!errors.iter().any(|error| error.contains("unknown key") || error.contains("not TOML")), "{errors:?}");
}

#[test]
fn every_example_loads() {
    let mut count = 0;
    for entry in fs::read_dir(conf().join("examples")).unwrap() {
        let file = Some(entry.unwrap().path());
        load(&Source { file, environment: BTreeMap::new() }).unwrap_or_else(|errors| panic!("{errors}"));
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn one_s_own_machine_needs_no_configuration() {
    let config = load(&environment(&[("HOME", "/home/alice")])).unwrap();
    assert_eq!(config.server.domain, "localhost");
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.tls, Tls::Off);
    assert_eq!(config.store.url.expose(), "sqlite:///home/alice/.local/state/portcullis/portcullis.db");
    assert_eq!(config.vault.key_file.as_deref(), Some(Path::new("/home/alice/.local/state/portcullis/vault.key")));
    let url = |variables| load(&environment(variables)).unwrap().store.url.expose().to_owned();
    assert_eq!(url(&[("XDG_STATE_HOME", "/state"), ("HOME", "/h")]), "sqlite:///state/portcullis/portcullis.db");
    assert_eq!(url(&[("XDG_STATE_HOME", "relative")]), "sqlite:///var/lib/portcullis/portcullis.db");
    let spool = |variables: &[_]| load(&environment(variables)).map(|config| config.spool);
    let (home, url, own) = (("HOME", "/h"), "PORTCULLIS__STORE__URL", "PORTCULLIS__STORE__SPOOL");
    let of = |path| Some(std::path::PathBuf::from(path));
    assert_eq!(spool(&[home]).unwrap(), of("/h/.local/state/portcullis/portcullis.db-spool"));
    assert_eq!(spool(&[home, (url, "sqlite::memory:")]).unwrap(), None);
    assert_eq!(spool(&[home, (own, "/spool")]).unwrap(), of("/spool"));
    assert!(spool(&[home, (own, "spool")]).is_err());
}

#[test]
fn a_public_domain_has_other_defaults() {
    let files = "[server]\ndomain = \"GW.example\"\n[tls]\nmode = \"files\"\ncert = \"c.pem\"\nkey = \"/k.pem\"\n";
    let trial = Trial::new(files).with(&[("HOME", "/home/alice")]);
    let config = trial.load();
    assert_eq!(config.server.domain, "gw.example");
    assert_eq!(config.server.listen, ["0.0.0.0:443".parse().unwrap()]);
    assert_eq!(config.tls, Tls::Files { cert: trial.path("c.pem").into(), key: "/k.pem".into() });
    assert_eq!(config.store.url.expose(), "sqlite:///var/lib/portcullis/portcullis.db");
    let proxied =
        Trial::new("server.domain = \"gw.example\"\ntls.mode = \"off\"\nserver.public_url = \"https://gw.example/\"");
    assert_eq!(proxied.load().server.public, Some((Scheme::Https, 443)));
    assert_errors(
        &Trial::new("\n[server]\ndomain = \"gw.example\"").errors(),
        &["portcullis.toml:3: tls.mode: must be given for a public domain"],
    );
}

#[test]
fn a_proxy_header_needs_somebody_who_may_send_it() {
    assert!(!Trial::new("").load().server.proxy_protocol);
    let text = "server.trusted_proxies = [\"10.0.0.1\"]\nserver.proxy_protocol = true\n";
    assert!(Trial::new(text).load().server.proxy_protocol);
    assert_errors(
        &Trial::new("[server]\nproxy_protocol = true\n").errors(),
        &["portcullis.toml:2: server.proxy_protocol: needs the load balancer's address in server.trusted_proxies"],
    );
}

#[test]
fn who_may_register_is_said_completely() {
    let default = Trial::new("").load().registration;
    assert!(matches!(default.mode, RegistrationMode::Open));
    assert_eq!((default.unused_ttl, default.client_ttl), (Duration::from_secs(24 * 3600), None));
    let text =
        "[registration]\nmode = \"token\"\ninitial_access_token = \"hunter2 hunter2 hunter2\"\nclient_ttl = \"30d\"\n";
    let with_token = Trial::new(text).load().registration;
    assert!(matches!(&with_token.mode, RegistrationMode::Token(token) if token.matches("hunter2 hunter2 hunter2")));
    assert_eq!(with_token.client_ttl, Some(Duration::from_secs(30 * 86_400)));
    for (text, error) in [
        ("mode = \"closed\"", "2: registration.mode: \"closed\" is not a mode"),
        ("mode = \"token\"", "2: registration.mode: \"token\" needs initial_access_token"),
        ("initial_access_token = \"hunter2 hunter2 hunter2\"", "2: registration.initial_access_token: is for mode"),
        ("mode = \"off\"\ninitial_access_token_file = \"/dev/null\"", "3: registration.initial_access_token_file: "),
        ("unused_ttl = \"0s\"", "2: registration.unused_ttl: must be longer than nothing"),
        ("max_clients = 0", "2: registration.max_clients: must be a whole number from 1"),
    ] {
        let errors = Trial::new(&format!("[registration]\n{text}\n")).errors();
        assert_errors(&errors, &[&format!("portcullis.toml:{error}")]);
        assert!(!errors[0].contains("hunter2"));
    }
    let short = Trial::new("[registration]\nmode = \"token\"\ninitial_access_token = \"hunter2\"\n").errors();
    assert_errors(&short, &["portcullis.toml:3: registration.initial_access_token: must have 16 characters"]);
    assert!(!short[0].contains("hunter2"));
}

#[test]
fn limits_are_shared_by_nodes_and_so_not_on_a_file() {
    let alone = Trial::new("[limits]\nshared = true\n").errors();
    assert_errors(
        &alone,
        &["portcullis.toml:2: limits.shared: is for several nodes on one PostgreSQL: name it in store.url"],
    );
}

#[test]
fn memory_is_a_size_that_a_gateway_can_live_with() {
    let memory = |text| load(&environment(&[("PORTCULLIS__LIMITS__MEMORY", text)])).map(|config| config.limits.memory);
    assert_eq!(memory("400 MiB").unwrap(), Some(400 << 20));
    assert_eq!(load(&environment(&[])).unwrap().limits.memory, None);
    for (text, why) in [("31 MiB", "must not be smaller than 32 MiB"), ("400", "\"400\" is not a size")] {
        let errors = memory(text).err().unwrap().0;
        assert_errors(&errors, &[&format!("PORTCULLIS__LIMITS__MEMORY: limits.memory: {why}")]);
    }
}

#[test]
fn counts_are_numbers_and_have_bounds() {
    let text = "[limits]\nconnections = 5\nconnections_per_ip = \"many\"\nbody_min_rate = -1\nhead_timeout = 10\n";
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:2: limits.connections: must be a whole number from 16 to 1048576",
            "portcullis.toml:3: limits.connections_per_ip: must be a whole number without quotes, and is a text",
            "portcullis.toml:4: limits.body_min_rate: must be a whole number from 0 to 1048576",
            "portcullis.toml:5: limits.head_timeout: must be a text in quotes",
        ],
    );
    let few = load(&environment(&[("PORTCULLIS__LIMITS__CONNECTIONS_PER_IP", "5")])).unwrap();
    assert_eq!((few.limits.connections.per_address, few.limits.connections.total), (5, None));
    let wrong = load(&environment(&[("PORTCULLIS__LIMITS__CONNECTIONS", "5k")])).err().unwrap().0;
    assert_errors(&wrong, &["PORTCULLIS__LIMITS__CONNECTIONS: limits.connections: must be a whole number from 16"]);
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = r#"[server]
domain = "gw.example:8443"
listen = ["127.0.0.1:8080", "localhost:80"]
admin_listen = 9464
public_url = "https://other.example"
trusted_proxies = ["10.0.0.0/8", "10.0.0.0/40"]
allowed_origins = ["https://claude.ai/x"]
max_body = "32"
listne = []
kept_body = "1 MiB"
kept_total = "64 KiB"

[tls]
mode = "file"

[store]
url = "mysql://user:hunter2@host/db"

[login]
password = "yes"

[tokens]
access_ttl = "1 day"
refresh_ttl = 30

[limits]
per_ip = "fast"

[streams]
heartbeat = "none"
write_timeout = "0s"

[upstreams]
unknown = "maybe"

[unified]
prefix = "never"
meta_tools = true

[telemetry]
level = "inof"
log_format = "xml"

[serverr]
x = 1
"#;
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:2: server.domain: must have no port",
            "portcullis.toml:3: server.listen: \"localhost:80\" is not an address with a port",
            "portcullis.toml:4: server.admin_listen: must be a text in quotes, and is a whole number",
            "portcullis.toml:5: server.public_url: \"https://other.example\" must be the origin of server.domain",
            "portcullis.toml:6: server.trusted_proxies: \"10.0.0.0/40\" is neither",
            "portcullis.toml:7: server.allowed_origins: \"https://claude.ai/x\" is not an origin",
            "portcullis.toml:8: server.max_body: \"32\" is not a size",
            "portcullis.toml:9: server.listne: unknown key; did you mean \"server.listen\"?",
            "portcullis.toml:11: server.kept_total: must not be smaller than server.kept_body",
            "portcullis.toml:14: tls.mode: \"file\" is not a mode",
            "portcullis.toml:17: store.url: must be a URL like",
            "portcullis.toml:20: login.password: must be true or false, and is a text",
            "portcullis.toml:23: tokens.access_ttl: \"1 day\" is not a duration",
            "portcullis.toml:24: tokens.refresh_ttl: must be a text in quotes",
            "portcullis.toml:27: limits.per_ip: \"fast\" is not a rate",
            "portcullis.toml:30: streams.heartbeat: \"none\" is not a duration: write one like \"15s\" or \"24h\", or \"off\"",
            "portcullis.toml:31: streams.write_timeout: must be longer than nothing",
            "portcullis.toml:34: upstreams.unknown: \"maybe\" is not a policy",
            "portcullis.toml:37: unified.prefix: \"never\" is not a choice: write \"when_several\" or \"always\"",
            "portcullis.toml:38: unified.meta_tools: must be a text in quotes, and is true or false",
            "portcullis.toml:41: telemetry.level: \"inof\" is not a log level",
            "portcullis.toml:42: telemetry.log_format: \"xml\" is not a format",
            "portcullis.toml:44: serverr: unknown key; did you mean \"server\"?",
        ],
    );
}

#[test]
fn broken_files_are_told_with_their_line() {
    let errors = Trial::new("[server]\ndomain = \"gw.example\"\n[vault]\nkey = \"hunter2 \\q\"\n").errors();
    assert_errors(&errors, &["portcullis.toml:4: this is not TOML: "]);
    assert!(!errors[0].contains("hunter2"), "{errors:?}");
    assert_errors(&Trial::new("[server]\n[tls]\n[server]\n").errors(), &["portcullis.toml:3: this is not TOML: "]);
    let missing = Source { file: Some("/nowhere/p.toml".into()), environment: BTreeMap::new() };
    assert_errors(&load(&missing).err().unwrap().0, &["/nowhere/p.toml: cannot be read ("]);
}

#[test]
fn an_error_is_one_line_whatever_a_value_has() {
    let errors = Trial::new(
        r#"[server]
domain = "gw.example"
listen = ["a\nb"]
"c\rd\u001b[2J" = 1
"#,
    )
    .errors();
    for shown in ["a\\nb", "c\\rd\\u{1b}[2J"] {
        assert!(errors.iter().any(|error| error.contains(shown)), "{errors:?}");
    }
    assert!(errors.iter().all(|error| !error.contains(char::is_control)), "{errors:?}");
}

#[test]
fn sessions_have_lives_and_passwords_a_rule() {
    let login = |text: &str| Trial::new(&format!("[login]\n{text}\n")).load().login;
    let (usual, other) =
        (login(""), login("second_factor = \"required\"\nsession_idle = \"1h\"\nsession_ttl = \"1d\""));
    assert_eq!((usual.sessions, usual.second_factor), (SessionLives::default(), SecondFactor::Optional));
    assert_eq!((usual.sessions.idle, usual.sessions.ttl), (7 * DAY, 30 * DAY));
    assert_eq!((other.sessions.idle, other.sessions.ttl), (DAY / 24, DAY));
    assert_eq!(other.second_factor, SecondFactor::Required);
    assert_errors(
        &Trial::new("[login]\nsecond_factor = \"always\"\nsession_idle = \"0s\"\nsession_ttl = \"long\"\n").errors(),
        &[
            "portcullis.toml:2: login.second_factor: \"always\" is not a policy: write \"optional\" or \"required\"",
            "portcullis.toml:3: login.session_idle: must be longer than nothing",
            "portcullis.toml:4: login.session_ttl: \"long\" is not a duration",
        ],
    );
}

#[test]
fn signing_keys_have_an_algorithm_and_a_schedule() {
    let tokens = |text: &str| Trial::new(&format!("[tokens]\n{text}\n")).load().tokens;
    let (usual, other) = (tokens(""), tokens("signing_algorithm = \"EdDSA\"\nkey_rotation = \"off\""));
    assert_eq!((usual.signing_algorithm, usual.key_rotation), (SigningAlgorithm::Es256, Some(90 * DAY)));
    assert_eq!((other.signing_algorithm, other.key_rotation), (SigningAlgorithm::EdDsa, None));
    assert_eq!(tokens("key_rotation = \"48h\"").key_rotation, Some(2 * DAY));
    assert_errors(
        &Trial::new("[tokens]\nsigning_algorithm = \"HS256\"\nkey_rotation = \"47h\"\n").errors(),
        &[
            "portcullis.toml:2: tokens.signing_algorithm: \"HS256\" is not an algorithm that we sign with: write \"ES256\" or \"EdDSA\"",
            "portcullis.toml:3: tokens.key_rotation: \"47h\" is too short: every key is published for a day before it signs",
        ],
    );
}

#[test]
fn who_may_use_an_upstream() {
    let upstream = "[[upstream]]\ndomain = \"mcp.example\"\n";
    let allowed = |text: &str| Trial::new(&format!("{upstream}{text}")).load().upstream.remove(0).allowed;
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(allowed(""), None);
    assert_eq!(allowed("allow_users = []\n"), Some(Permitted::default()), "nobody");
    let users = Permitted { users: texts(&["alice"]), groups: Vec::new() };
    assert_eq!(allowed("allow_users = [\"alice\"]\n"), Some(users));
    let groups = Permitted { users: Vec::new(), groups: texts(&["dev", "R&D, Köln"]) };
    assert_eq!(allowed("allow_groups = [\"dev\", \"R&D, Köln\"]\n"), Some(groups));
    let wrong = Trial::new(&format!("{upstream}allow_users = \"alice\"\nallow_groups = [\" \"]\nallow_user = []\n"));
    let errors = wrong.errors();
    assert!(errors.iter().any(|error| error.starts_with("portcullis.toml:4: upstream[0].allow_groups")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("did you mean \"upstream[0].allow_users\"")), "{errors:?}");
}

#[test]
fn tools_and_their_audit() {
    let upstream = "[[upstream]]\ndomain = \"a.example\"\n";
    let tools = |text: &str| Trial::new(&format!("{upstream}{text}")).load().upstream.remove(0).tools;
    assert!(tools("").is_none());
    let both = tools("tools.allow = [\"get_*\"]\ntools.deny = [\"get_x\"]\n").unwrap();
    assert!(both.permits("get_y") && !both.permits("get_x") && !both.permits("put"));
    assert!(!tools("[upstream.tools]\nallow = []\n").unwrap().permits("anything"));
    let variable = Trial::new(upstream).with(&[("PORTCULLIS__UPSTREAM__0__TOOLS__DENY", "a,b*")]).load();
    assert!(!variable.upstream[0].tools.as_ref().unwrap().permits("b2"));
    let audit = Trial::new("[audit]\nrequests = \"all\"\nkeep = \"1d\"\n").load().audit;
    assert_eq!(audit, Audit { requests: AuditedRequests::All, keep: Duration::from_secs(86_400), file: None });
    let text = format!(
        "{upstream}tools.alow = [\"x\"]\ntools.deny = [\"a[b]\"]\n[audit]\nrequests = \"some\"\nkeep = \"0d\"\n"
    );
    assert_errors(
        &Trial::new(&text).errors(),
        &[
            "portcullis.toml:3: upstream[0].tools.alow: unknown key; did you mean \"upstream[0].tools.allow\"?",
            "portcullis.toml:4: upstream[0].tools.deny: \"a[b]\": only * and ? have a meaning here",
            "portcullis.toml:6: audit.requests: \"some\" is not a choice",
            "portcullis.toml:7: audit.keep: must be longer than nothing",
        ],
    );
}

#[test]
fn people_give_the_value_of_a_header_themselves() {
    let personal =
        |more: &str| format!("[[upstream]]\ndomain = \"a.example\"\nauth = \"header\"\npersonal = true\n{more}");
    let config = Trial::new(&personal("header = \"Authorization\"\nprefix = \"Bearer \"\n")).load();
    let UpstreamAuth::Personal(header) = &config.upstream[0].auth else { panic!("not personal") };
    assert_eq!((header.name.as_str(), header.prefix.as_str()), ("authorization", "Bearer "));
    for (text, error) in [
        (personal(""), "portcullis.toml:1: upstream[0].header: is missing"),
        (personal("header = \"x-api-key\"\nvalue = \"hunter2\"\n"), "portcullis.toml:1: upstream[0].value: must go"),
        (personal("header = \"x-api-key\"\nprefix = \"a\\nb\"\n"), "portcullis.toml:6: upstream[0].prefix: must be"),
        (
            "[[upstream]]\ndomain = \"a.example\"\npersonal = true\n".to_owned(),
            "portcullis.toml:1: upstream[0].personal: is used only with auth",
        ),
        (
            "[[upstream]]\ndomain = \"a.example\"\nauth = \"header\"\nheader = \"x\"\nvalue = \"y\"\nprefix = \"z\"\n"
                .to_owned(),
            "portcullis.toml:6: upstream[0].prefix: is used only with personal",
        ),
    ] {
        assert_errors(&Trial::new(&text).errors(), &[error]);
    }
}

#[test]
fn companions_and_repetitions() {
    let files = "[tls]\nmode = \"files\"\ncert = \"c.pem\"\n";
    assert_errors(&Trial::new(files).errors(), &["portcullis.toml:3: tls.mode: tls.mode = \"files\" needs both"]);
    let off = "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
    assert_errors(&Trial::new(off).errors(), &["portcullis.toml:2: tls.mode: a certificate is used only with"]);
    let text = r#"[[upstream]]
domain = "a.example"
alias = "notes"
client_secret = "hunter2"
[[upstream]]
domain = "A.example:443"
[[upstream]]
domain = "b.example"
alias = "notes"
auth = "header"
header = "x-api-key"
[[upstream]]
name = "nowhere"
[[upstream]]
domain = "127.0.0.1:9000"
value = "hunter2"
"#;
    let errors = Trial::new(text).errors();
    assert_errors(
        &errors,
        &[
            "portcullis.toml:4: upstream[0].client_secret: needs client_id",
            "portcullis.toml:5: upstream[1].domain: a.example is configured twice, first at line 1",
            "portcullis.toml:7: upstream[2].alias: \"notes\" is the alias of the upstream at line 1 already",
            "portcullis.toml:11: upstream[2].auth: auth = \"header\" needs header, and value (or value_file) or personal",
            "portcullis.toml:12: upstream[3].domain: is missing",
            "portcullis.toml:15: upstream[4].domain: 127.0.0.1:9000 is on this machine",
            "portcullis.toml:16: upstream[4].auth: header and value are used only with",
        ],
    );
    assert!(!errors.concat().contains("hunter2"));
}

#[test]
fn bad_upstreams() {
    let text = r#"[server]
domain = "gw.example"
[tls]
mode = "off"
[[upstream]]
domain = "x.gw.example"
[[upstream]]
domain = "https://a.example"
[[upstream]]
domain = "a.example"
alias = "Notes"
path = "mcp"
auth = "basic"
token_endpoint = "http://a.example/token"
issuer = "auth.example"
scopes = ["a\"b"]
resource = "x#y"
colour = "red"
[[upstream]]
domain = "b.example"
auth = "header"
header = "Cookie"
value = "x"
"#;
    assert_errors(
        &Trial::new(text).errors(),
        &[
            "portcullis.toml:6: upstream[0].domain: x.gw.example is this gateway itself",
            "portcullis.toml:8: upstream[1].domain: \"https://a.example\" is not a domain",
            "portcullis.toml:11: upstream[2].alias: \"Notes\" is not an alias",
            "portcullis.toml:12: upstream[2].path: \"mcp\" is not a path",
            "portcullis.toml:13: upstream[2].auth: \"basic\" is not a way in",
            "portcullis.toml:14: upstream[2].token_endpoint: must be an absolute https URL",
            "portcullis.toml:15: upstream[2].issuer: must be an absolute https URL",
            "portcullis.toml:16: upstream[2].scopes: '\"' cannot be part of a scope",
            "portcullis.toml:17: upstream[2].resource: must be an absolute URL",
            "portcullis.toml:18: upstream[2].colour: unknown key",
            "portcullis.toml:22: upstream[3].header: \"Cookie\" cannot be set",
        ],
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "[server]\ndomain = \"localhost\"\nlisten = [\"127.0.0.1:1\"]\n[[upstream]]\ndomain = \"a.example\"\n";
    let config = Trial::new(text)
        .with(&[
            ("PORTCULLIS__SERVER__LISTEN", "127.0.0.1:0, [::1]:0"),
            ("PORTCULLIS__SERVER__ADMIN_LISTEN", ""),
            ("PORTCULLIS__SERVER__TRUSTED_PROXIES", "[\"10.0.0.1\", \"fd00::/8\"]"),
            ("PORTCULLIS__UPSTREAMS__ALLOW_PRIVATE", "true"),
            ("PORTCULLIS__TOKENS__ACCESS_TTL", "5m"),
            ("PORTCULLIS__UPSTREAM__0__ALIAS", "notes"),
            ("PORTCULLIS__UPSTREAM__1__DOMAIN", "127.0.0.1:9000"),
            ("PORTCULLIS__UPSTREAM__1__AUTH", "none"),
        ])
        .load();
    assert_eq!(config.server.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(config.server.admin_listen, None);
    assert_eq!(config.server.trusted_proxies, ["10.0.0.1/32".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert!(config.upstreams.allow_private);
    assert_eq!(config.tokens.access_ttl, Duration::from_secs(300));
    assert_eq!(config.upstream[0].alias.as_deref(), Some("notes"));
    assert_eq!(config.upstream[1].authority.as_str(), "127.0.0.1:9000");
    let whole = environment(&[("PORTCULLIS__UPSTREAM", "[{ domain = \"b.example\", scopes = [\"x\", \"y\"] }]")]);
    let UpstreamAuth::OAuth(settings) = &load(&whole).unwrap().upstream[0].auth else { panic!("not OAuth") };
    assert_eq!(settings.scopes.as_deref(), Some("x y"));
}

#[test]
fn wrong_variables_are_named() {
    let errors = load(&environment(&[
        ("PORTCULLIS__SERVER__DOMIAN", "x"),
        ("PORTCULLIS__SERVER__LISTEN", "[\"x\""),
        ("PORTCULLIS__TOKENS", "x"),
        ("PORTCULLIS__UPSTREAM__3__DOMAIN", "x"),
        ("PORTCULLIS__VAULT__KEY", "hunter2"),
        ("PORTCULLIS__", "x"),
    ]));
    let errors = errors.err().unwrap().0;
    assert_errors(
        &errors,
        &[
            "PORTCULLIS__: unknown key",
            "PORTCULLIS__SERVER__DOMIAN: server.domian: unknown key; did you mean \"server.domain\"?",
            "PORTCULLIS__SERVER__LISTEN: server.listen: this is not a list in TOML",
            "PORTCULLIS__TOKENS: tokens: must be a table of keys",
            "PORTCULLIS__UPSTREAM__3__DOMAIN: upstream has only 0 elements",
            "PORTCULLIS__VAULT__KEY: vault.key: is not 32 bytes in base64: `portcullis vault keygen`",
        ],
    );
    assert!(!errors.concat().contains("hunter2"));
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let text = "[vault]\nprevious_key_files = [\"old.key\"]\n[[upstream]]\ndomain = \"a.example\"\nclient_id = \"x\"\n\
                client_secret_file = \"a.secret\"\n[[upstream]]\ndomain = \"b.example\"\nauth = \"header\"\nheader = \"x-key\"\n";
    let trial = Trial::new(text)
        .write("old.key", &format!("{KEY}\n"))
        .write("a.secret", "open sesame\r\nsecond line\n")
        .write("vault.key", KEY)
        .write("upstream.b.example.value", "b's\n");
    let directory = trial.directory.path().display().to_string();
    let trial = trial.with(&[("CREDENTIALS_DIRECTORY", &directory)]);
    let config = trial.load();
    assert!(config.vault.key.is_some_and(|key| key.matches(KEY)));
    assert_eq!(config.vault.key_file, None);
    assert!(config.vault.previous[0].matches(KEY));
    let UpstreamAuth::OAuth(settings) = &config.upstream[0].auth else { panic!("not OAuth") };
    assert!(settings.client_secret.as_ref().is_some_and(|secret| secret.matches("open sesame")));
    let UpstreamAuth::Header { value, .. } = &config.upstream[1].auth else { panic!("not a header") };
    assert!(value.matches("b's"));
}

#[test]
fn vault_keys_come_from_everywhere_and_tokens_are_given_whole() {
    let wrapped = "{\"wrapped\":\"pkcs11\"}";
    let text = "[vault]\nkey_file = \"vault.key\"\nprevious_key_files = [\"old.key\"]\n[vault.pkcs11]\n\
                module = \"libtoken.so\"\ntoken = \"t\"\nkey = \"k\"\n";
    let trial =
        Trial::new(text).write("old.key", wrapped).write("vault.pkcs11.pin", "1234\n").write("vault.previous_key", KEY);
    let directory = trial.directory.path().display().to_string();
    let trial = trial.with(&[("CREDENTIALS_DIRECTORY", &directory), ("PORTCULLIS__VAULT__PREVIOUS_KEY", KEY)]);
    let vault = trial.load().vault;
    let previous: Vec<&str> = vault.previous.iter().map(Secret::expose).collect();
    assert_eq!(previous, [KEY, KEY, wrapped]);
    let token = vault.pkcs11.unwrap();
    assert_eq!((token.token.as_str(), token.key.as_str(), token.pin.expose()), ("t", "k", "1234"));
    assert_eq!(token.module, trial.directory.path().join("libtoken.so"));
    let half = Trial::new("[vault.pkcs11]\ntoken = \"t\"\nkey = \"k\"\n").errors();
    assert_errors(&half, &["portcullis.toml:1: vault.pkcs11.module: vault.pkcs11 needs all of"]);
}

#[test]
fn secrets_given_twice_or_not_to_be_read() {
    let text = format!(
        "[vault]\nkey = \"{KEY}\"\nkey_file = \"vault.key\"\nprevious_key_files = [\"gone\", \"bad\"]\n\
                [[upstream]]\ndomain = \"a.example\"\nclient_id = \"x\"\nclient_secret = \"hunter2\"\nclient_secret_file = \"empty\"\n\
                [[upstream]]\ndomain = \"b.example\"\nclient_id = \"x\"\nclient_secret_file = \"empty\"\n"
    );
    let trial = Trial::new(&text).write("empty", "\nhunter2").write("bad", "hunter2");
    let errors = trial.errors();
    assert_errors(
        &errors,
        &[
            "portcullis.toml:3: vault.key: is given more than once",
            "portcullis.toml:4: vault.previous_key_files: is not 32 bytes in base64",
            "portcullis.toml:4: vault.previous_key_files: there is no file gone",
            "portcullis.toml:9: upstream[0].client_secret: is given more than once",
            "portcullis.toml:13: upstream[1].client_secret_file: the first line of empty is empty",
        ],
    );
    assert!(!errors.concat().contains("hunter2") && !errors.concat().contains(KEY));
}

const SERVERS: &str = r#"[
    {"domain": "a.example", "name": "A", "authzEndpoint": "https://a.example/authorize", "tokenEndpoint": "https://a.example/token",
     "clientId": "id", "clientSecret": "hunter2", "scopes": "read write"},
    {"domain": "b.example", "name": "B", "clientId": "", "clientSecret": null, "scopes": ["x"]}]"#;

#[test]
fn the_worker_s_variables_work_as_they_are() {
    let variables = [
        ("MCP_SERVERS", SERVERS),
        ("LOCAL_USER", "alice"),
        ("LOCAL_PASSWORD", "open sesame"),
        ("SESSION_SECRET", "whatever"),
        ("TOKEN_ENCRYPTION_KEY", "000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
        ("DOMAIN_ROOT", "gw.example"),
        ("LOG_LEVEL", "DEBUG"),
        ("PORTCULLIS__TLS__MODE", "off"),
    ];
    let config = load(&environment(&variables)).unwrap();
    assert_eq!(config.server.domain, "gw.example");
    assert_eq!(config.telemetry.level, "debug");
    assert!(config.vault.key.is_some_and(|key| key.matches(KEY)));
    let (user, password) = config.login.local.unwrap();
    assert!(user == "alice" && password.matches("open sesame"));
    assert_eq!(config.upstream.len(), 2);
    assert_eq!(config.upstream[0].name.as_deref(), Some("A"));
    let UpstreamAuth::OAuth(settings) = &config.upstream[0].auth else { panic!("not OAuth") };
    assert_eq!(settings.token_endpoint.as_deref(), Some("https://a.example/token"));
    assert_eq!(settings.scopes.as_deref(), Some("read write"));
    assert!(settings.client_secret.as_ref().is_some_and(|secret| secret.matches("hunter2")));
}

#[test]
fn the_configuration_wins_over_the_worker_s_variables() {
    let text = "[server]\ndomain = \"localhost\"\n[vault]\nkey_file = \"own.key\"\n[[upstream]]\ndomain = \"a.example\"\nname = \"Mine\"\n";
    let trial = Trial::new(text).with(&[
        ("MCP_SERVERS", SERVERS),
        ("DOMAIN_ROOT", "gw.example"),
        ("TOKEN_ENCRYPTION_KEY", KEY),
        ("LOG_LEVEL", "debug"),
        ("PORTCULLIS__TELEMETRY__LEVEL", "warn"),
    ]);
    let config = trial.load();
    assert_eq!(config.server.domain, "localhost");
    assert_eq!(config.telemetry.level, "warn");
    assert!(config.vault.key.is_none());
    let names: Vec<_> = config.upstream.iter().filter_map(|upstream| upstream.name.as_deref()).collect();
    assert_eq!(names, ["Mine", "B"]);
}

#[test]
fn wrong_worker_s_variables() {
    let errors = |variables| load(&environment(variables)).err().unwrap().0;
    assert_errors(&errors(&[("LOCAL_USER", "alice")]), &["LOCAL_USER: needs LOCAL_PASSWORD beside it"]);
    assert_errors(
        &errors(&[("TOKEN_ENCRYPTION_KEY", "hunter2")]),
        &["TOKEN_ENCRYPTION_KEY: vault.key: is not 32 bytes in base64: `portcullis vault keygen`"],
    );
    assert_errors(&errors(&[("MCP_SERVERS", "[{\"clientSecret\": hunter2}]")]), &["MCP_SERVERS: is not JSON (line 1"]);
    assert_errors(&errors(&[("MCP_SERVERS", "{}")]), &["MCP_SERVERS: must be a JSON list"]);
    let wrong = "[1, {\"domain\": \"a.example\", \"color\": 1}, {\"domain\": 7, \"clientId\": \"x\"}, {\"domain\": \"a.example\"}]";
    assert_errors(
        &errors(&[("MCP_SERVERS", wrong)]),
        &[
            "MCP_SERVERS: MCP_SERVERS[0]: must be a table",
            "MCP_SERVERS: MCP_SERVERS[1].color: unknown key; the known ones are domain, name",
            "MCP_SERVERS: MCP_SERVERS[2].domain: must be a text",
            "MCP_SERVERS: MCP_SERVERS[3].domain: a.example is configured twice",
        ],
    );
}
