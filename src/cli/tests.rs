use super::*;
use serde_json::json;
use tempfile::TempDir;

/// What a command said and how it ended.
struct Ended {
    status: u8,
    stdout: String,
    stderr: String,
}

/// A machine of one's own.
struct Machine {
    state: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap() }
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "").await
    }

    async fn run_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        let database = format!("sqlite://{}/portcullis.db", self.state.path().display());
        let environment = [("PORTCULLIS__STORE__URL".to_owned(), database)];
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = run(Process {
            arguments: ["portcullis"].iter().chain(arguments).map(OsString::from).collect(),
            environment: environment.into(),
            stdin: &mut stdin.as_bytes(),
            stdout: &mut stdout,
            stderr: &mut stderr,
        })
        .await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { status, stdout: text(stdout), stderr: text(stderr) }
    }

    async fn good(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended.stdout
    }

    async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.good(&[arguments, &["--json"]].concat()).await).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.state.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

const LABEL: &str = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";

#[tokio::test]
async fn encode_and_decode() {
    let machine = Machine::new();
    assert_eq!(machine.good(&["encode", "mcp.atlassian.com"]).await, format!("{LABEL}\n"));
    assert_eq!(machine.good(&["encode", "MCP.Atlassian.com:443"]).await, format!("{LABEL}\n"));
    for (domain, root, url) in [
        ("https://mcp.atlassian.com/v1/mcp", "gw.example", format!("https://{LABEL}.gw.example/v1/mcp\n")),
        ("mcp.atlassian.com/mcp", "localhost:8080", format!("http://{LABEL}.localhost:8080/mcp\n")),
        ("mcp.atlassian.com/mcp", "https://gw.example:8443/", format!("https://{LABEL}.gw.example:8443/mcp\n")),
        ("mcp.atlassian.com/mcp", "http://gw.example", format!("http://{LABEL}.gw.example/mcp\n")),
    ] {
        assert_eq!(machine.good(&["encode", domain, "--root", root]).await, url);
    }
    for text in [LABEL, &format!("work--{LABEL}.gw.example"), &format!("https://{LABEL}.gw.example:8443/mcp?x")] {
        assert_eq!(machine.good(&["decode", text]).await, "mcp.atlassian.com\n");
    }
    let json = machine.json(&["encode", "mcp.atlassian.com/mcp", "--root", "gw.example"]).await;
    let hostname = format!("{LABEL}.gw.example");
    let url = format!("https://{hostname}/mcp");
    let expected = serde_json::json!({
        "domain": "mcp.atlassian.com", "label": LABEL, "hostname": hostname, "url": url, "alias": null
    });
    assert_eq!(json, expected);
    assert_eq!(machine.json(&["decode", LABEL]).await["domain"], "mcp.atlassian.com");
}

#[tokio::test]
async fn what_cannot_be_encoded_or_decoded() {
    let machine = Machine::new();
    let long = machine.run(&["encode", "mcp.a-very-long-name.department.example.com"]).await;
    assert_eq!((long.status, long.stdout.as_str()), (1, ""));
    assert!(long.stderr.contains("alias"), "{}", long.stderr);
    for (arguments, why) in [
        (["encode", "a_b.example"], "cannot be part of a host name"),
        (["encode", "127.1"], "four decimal numbers"),
        (["decode", "notes.gw.example"], "not an encoded label"),
        (["decode", "a-enc"], "base32"),
    ] {
        let ended = machine.run(&arguments).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn check_says_everything_that_is_wrong() {
    let machine = Machine::new();
    let good = machine.file("good.toml", "[tokens]\naccess_ttl = \"1h\"\n");
    assert_eq!(machine.good(&["check", "-c", &good]).await, format!("{good} is valid\n"));
    assert_eq!(machine.good(&["-c", &good, "check"]).await, format!("{good} is valid\n"));
    let rules = "allowed_users = [\"x\"]\n[[login.oidc]]\nname = \"company\"\nissuer = \"https://id.example\"\nclient_id = \"y\"\n\
                 allowed_domains = [\"*\"]\n";
    let providers = format!("[login.github]\nclient_id = \"x\"\nclient_secret = \"y\"\n{rules}");
    let elsewhere = machine.file("elsewhere.toml", &providers);
    let told = machine.good(&["check", "-c", &elsewhere]).await;
    for (name, path) in [("github", "/login/github/callback"), ("company", "/login/company/callback")] {
        let line = format!("redirect URI to register at {name}: http://localhost:8080{path}\n");
        assert!(told.contains(&line), "{told}");
    }
    let bad = machine.file("bad.toml", "[tokens]\naccess_ttl = 1\nx = 2\n");
    let ended = machine.run(&["check", "-c", &bad]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with(&format!("{bad}:2: tokens.access_ttl: ")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{bad}:3: tokens.x: ")), "{lines:?}");
    assert_eq!(machine.run(&["user", "list", "-c", &bad]).await.status, 2);
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_help_with_0() {
    let machine = Machine::new();
    for arguments in [&["frobnicate"][..], &[], &["encode"], &["user", "add", "alice"]] {
        let ended = machine.run(arguments).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!ended.stderr.is_empty());
    }
    assert!(machine.good(&["--help"]).await.contains("Usage: portcullis"));
    assert!(machine.good(&["completions", "bash"]).await.contains("portcullis"));
    assert!(machine.good(&["man"]).await.contains(".TH portcullis"));
}

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_system_s_file_is_used_when_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let system = directory.path().join("portcullis.toml");
    assert_eq!(source(None, BTreeMap::new(), &system).file, None);
    std::fs::write(&system, "").unwrap();
    assert_eq!(source(None, BTreeMap::new(), &system).file, Some(system.clone()));
    assert_eq!(source(Some("own.toml".into()), BTreeMap::new(), &system).file, Some("own.toml".into()));
}

#[tokio::test]
async fn vault_keygen_prints_a_key_that_check_accepts() {
    let machine = Machine::new();
    let key = machine.good(&["vault", "keygen"]).await;
    let file = machine.file("p.toml", &format!("[vault]\nkey = \"{}\"\n", key.trim()));
    machine.good(&["check", "-c", &file]).await;
}

#[tokio::test]
async fn people_are_added_listed_given_passwords_and_removed() {
    let machine = Machine::new();
    let added = machine.run_with(&["user", "add", "alice", "--admin", "--password-stdin"], "open sesame\n").await;
    assert_eq!((added.status, added.stdout.as_str(), added.stderr.as_str()), (0, "added alice\n", ""));
    assert_eq!(machine.run_with(&["user", "add", "Alice", "--password-stdin"], "open sesame\n").await.status, 1);
    for (name, password) in [("bob", ""), ("bob", "short\n"), ("b b", "open sesame\n")] {
        let refused = machine.run_with(&["user", "add", name, "--password-stdin"], password).await;
        assert_eq!(refused.status, 1, "{name} {password}");
        assert!(!refused.stderr.is_empty());
    }
    let list = machine.json(&["user", "list"]).await;
    assert_eq!((&list[0]["name"], &list[0]["role"]), (&"alice".into(), &"administrator".into()));
    assert_eq!(machine.run_with(&["user", "passwd", "alice", "--password-stdin"], "open barley\n").await.status, 0);
    assert_eq!(machine.run_with(&["user", "passwd", "bob", "--password-stdin"], "open barley\n").await.status, 1);
    machine.run_with(&["user", "add", "bob", "--password-stdin"], "open barley\n").await;
    assert_eq!(machine.good(&["user", "remove", "bob"]).await, "removed bob: 0 grants and 0 connections ended\n");
    assert!(machine.run(&["user", "remove", "bob"]).await.stderr.contains("user list"));
    assert_eq!(machine.json(&["user", "list"]).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn people_have_roles_and_groups_and_are_disabled() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--admin", "--password-stdin"], "open sesame\n").await;
    machine.run_with(&["user", "add", "bob", "--password-stdin"], "open barley\n").await;
    for attempt in
        [&["user", "disable", "alice"][..], &["user", "role", "alice", "member"], &["user", "remove", "alice"]]
    {
        let refused = machine.run(attempt).await;
        assert_eq!(refused.status, 1, "{attempt:?}");
        assert!(refused.stderr.contains("administrator"), "{}", refused.stderr);
    }
    assert_eq!(machine.good(&["user", "role", "bob", "administrator"]).await, "bob is an administrator now\n");
    assert_eq!(machine.good(&["user", "role", "alice", "member"]).await, "alice is a member now\n");
    assert_eq!(
        machine.good(&["user", "disable", "alice"]).await,
        "disabled alice: sessions and grants ended, connections stay\n"
    );
    assert_eq!(machine.good(&["user", "group", "add", "alice", "dev"]).await, "alice is in dev\n");
    machine.good(&["user", "group", "add", "alice", "ops"]).await;
    machine.good(&["user", "group", "add", "bob", "dev"]).await;
    let list = machine.json(&["user", "list"]).await;
    assert_eq!(list[0]["groups"], serde_json::json!(["dev", "ops"]));
    assert_eq!((&list[0]["role"], &list[0]["disabled"]), (&"member".into(), &true.into()));
    assert!(machine.good(&["user", "list"]).await.contains("alice  member         dev, ops  "));
    assert_eq!(machine.good(&["user", "enable", "alice"]).await, "alice may sign in again\n");
    assert_eq!(machine.good(&["user", "group", "remove", "alice", "dev"]).await, "took alice out of dev\n");
    let groups = machine.json(&["user", "group", "list"]).await;
    assert_eq!(groups[0], serde_json::json!({"group": "dev", "members": 1}));
    for wrong in [
        &["user", "group", "remove", "alice", "dev"][..],
        &["user", "group", "add", "carol", "dev"],
        &["user", "group", "add", "alice", " "],
        &["user", "enable", "carol"],
    ] {
        let refused = machine.run(wrong).await;
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{wrong:?}");
    }
    assert_eq!(machine.run(&["user", "role", "alice", "king"]).await.status, 2);
}

#[tokio::test]
async fn upstreams_are_permitted_to_people_and_groups() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--admin", "--password-stdin"], "open sesame\n").await;
    let first = ["upstream", "allow", "mcp.example.com", "--user", "ALICE", "--group", "dev"];
    for _ in 0..2 {
        assert_eq!(machine.good(&first).await, "mcp.example.com is for alice, group dev\n");
    }
    machine.good(&["upstream", "add", "mcp.example.com"]).await;
    let list = machine.json(&["upstream", "list"]).await;
    assert_eq!((&list[0]["standing"], &list[0]["permitted"]), (&"approved".into(), &"alice, group dev".into()));
    let deny = ["upstream", "deny", "mcp.example.com", "--user", "alice", "--group", "dev"];
    assert_eq!(machine.good(&deny).await, "mcp.example.com is for nobody\n");
    assert_eq!(machine.good(&["upstream", "reset", "mcp.example.com"]).await, "mcp.example.com is for everybody\n");
    assert!(machine.run(&deny).await.stderr.contains("everybody may use mcp.example.com"));
    assert!(machine.run(&["upstream", "allow", "mcp.example.com"]).await.stderr.contains("--user NAME"));
    assert!(machine.run(&["upstream", "allow", "mcp.example.com", "--user", "bob"]).await.stderr.contains("user list"));
    let configured = machine.file(
        "p.toml",
        "[[upstream]]\ndomain = \"mcp.example.com\"\nallow_users = [\"bob\"]\nallow_groups = [\"ops\"]\n",
    );
    let refused = machine.run(&[&first[..], &["-c", &configured]].concat()).await;
    assert!(refused.stderr.contains("in the configuration"), "{}", refused.stderr);
    let list = machine.json(&["upstream", "list", "-c", &configured]).await;
    assert_eq!(list[0]["permitted"], "bob, group ops");
}

#[tokio::test]
async fn a_person_who_is_locked_out_gets_in_with_the_password_again() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--password-stdin"], "open sesame\n").await;
    assert_eq!(machine.good(&["user", "reset-factors", "alice"]).await, "alice had no second factor\n");
    let database = format!("sqlite://{}/portcullis.db", machine.state.path().display());
    let store = crate::store::Store::open(&database).await.unwrap();
    let alice = store.user_by_name("alice").await.unwrap().unwrap().id;
    store.put_recovery_codes(alice, &[crate::ids::Digest::of("code")]).await.unwrap();
    let told = machine.good(&["user", "reset-factors", "ALICE"]).await;
    assert_eq!(told, "alice has a password only, and is signed out\n");
    assert_eq!(store.recovery_codes_left(alice).await.unwrap(), 0);
    let audited = store.audit(1).await.unwrap().remove(0);
    assert_eq!((audited.actor.as_str(), audited.action.as_str()), ("system", "user.factors_reset"));
    assert!(machine.run(&["user", "reset-factors", "bob"]).await.stderr.contains("user list"));
}

#[tokio::test]
async fn upstreams_are_added_approved_and_removed() {
    let machine = Machine::new();
    machine.good(&["upstream", "add", "https://mcp.example.com/mcp", "--alias", "notes", "--name", "Notes"]).await;
    machine.good(&["upstream", "approve", "mcp.example.com"]).await;
    let list = machine.json(&["upstream", "list"]).await;
    assert_eq!((&list[0]["domain"], &list[0]["alias"]), (&"mcp.example.com".into(), &"notes".into()));
    assert_eq!(list[0]["standing"], "approved");
    for arguments in [
        &["upstream", "add", "other.example", "--alias", "notes"][..],
        &["upstream", "add", "other.example", "--alias", "x-enc"],
        &["upstream", "add", "a_b"],
        &["upstream", "remove", "other.example"],
    ] {
        assert_eq!(machine.run(arguments).await.status, 1, "{arguments:?}");
    }
    machine.good(&["upstream", "remove", "mcp.example.com"]).await;
}

#[tokio::test]
async fn api_keys_are_made_listed_and_revoked() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--password-stdin"], "open sesame\n").await;
    let create = ["apikey", "create", "ci", "--user", "Alice", "--expires", "90d"];
    let made = machine.json(&create).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.strip_prefix(id).unwrap().starts_with('.') && key.len() == id.len() + 44, "{made}");
    let server = ["apikey", "create", "server", "--scope", "introspect", "--resource", "https://notes.gw.example/mcp"];
    let second = machine.good(&server).await;
    let list = machine.json(&["apikey", "list"]).await;
    assert_eq!((&list[0]["scopes"], &list[0]["users"]), (&json!(["broker"]), &json!(["alice"])));
    assert_eq!((&list[1]["scopes"], &list[1]["expires_at"]), (&json!(["introspect"]), &json!(null)));
    assert!(second.starts_with(list[1]["id"].as_str().unwrap()) && !list.to_string().contains(&key[33..]));
    assert_eq!(machine.good(&["apikey", "revoke", id]).await, format!("revoked {id}\n"));
    for (arguments, status) in [
        (&["apikey", "revoke", id][..], 1),
        (&["apikey", "create", "x", "--user", "bob"], 1),
        (&["apikey", "create", "x", "--service", "github"], 1),
        (&["apikey", "create", "x", "--scope", "introspect"], 1),
        (&["apikey", "create", "x", "--scope", "root"], 2),
        (&["apikey", "create", "x", "--expires", "0d"], 2),
    ] {
        let ended = machine.run(arguments).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (status, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn services_are_listed_and_their_tokens_kept() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--password-stdin"], "open sesame\n").await;
    let config = "[[service]]
name = \"forge\"
label = \"Forge\"
authorization_endpoint = \"https://forge.example/authorize\"
token_endpoint = \"https://forge.example/token\"
client_id = \"gateway\"
client_secret = \"hidden\"
scopes = \"repo user\"
";
    let (config, pat) = (machine.file("portcullis.toml", config), machine.file("pat", "ghp_1\n"));
    let with = |arguments: &[&'static str]| [&["-c", &config][..], arguments].concat().join(" ");
    let run = async |arguments: &[&'static str], stdin: &str| {
        let line = with(arguments);
        machine.run_with(&line.split(' ').collect::<Vec<_>>(), stdin).await
    };
    let list = run(&["service", "list"], "").await;
    assert!(list.stdout.contains("forge") && list.stdout.contains("repo, user"), "{}{}", list.stdout, list.stderr);
    assert!(!list.stdout.contains("hidden"));
    let made = run(&["apikey", "create", "ci", "--service", "forge"], "").await;
    assert_eq!((made.status, made.stderr.as_str()), (0, ""));
    let refused = run(&["apikey", "create", "ci", "--service", "forgery"], "").await;
    assert!(refused.status == 1 && refused.stderr.contains("there is no service forgery"), "{}", refused.stderr);

    let set = run(&["service", "pat", "set", "forge", "--user", "Alice"], "ghp_1\n").await;
    assert_eq!((set.status, set.stdout.as_str()), (0, "alice has a token for forge\n"), "{}", set.stderr);
    let by_file = format!("{} --pat-file {pat}", with(&["service", "pat", "set", "forge", "--user", "alice"]));
    assert_eq!(machine.run(&by_file.split(' ').collect::<Vec<_>>()).await.status, 0);
    let pats = run(&["service", "pat", "list", "--json"], "").await.stdout;
    assert!(pats.contains("\"user\":\"alice\"") && !pats.contains("ghp_1"), "{pats}");
    for (arguments, stdin, why) in [
        (&["service", "pat", "set", "forge", "--user", "alice"][..], "", "standard input"),
        (&["service", "pat", "set", "forge", "--user", "alice"], "two words\n", "no spaces"),
        (&["service", "pat", "set", "forge", "--user", "bob"], "ghp_1\n", "no user bob"),
        (&["service", "pat", "set", "other", "--user", "alice"], "ghp_1\n", "no service other"),
        (&["service", "disconnect", "forge", "--user", "alice"], "", "has not connected forge"),
        (&["service", "connections", "--user", "bob"], "", "no user bob"),
    ] {
        let refused = run(arguments, stdin).await;
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(refused.stderr.contains(why), "{arguments:?}: {}", refused.stderr);
    }
    assert_eq!(run(&["service", "connections", "--json"], "").await.stdout, "[]\n");
    assert_eq!(run(&["service", "pat", "remove", "forge", "--user", "alice"], "").await.status, 0);
    assert_eq!(run(&["service", "pat", "remove", "forge", "--user", "alice"], "").await.status, 1);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_listed_or_revoked() {
    let machine = Machine::new();
    for listing in [["connection", "list"], ["client", "list"], ["keys", "list"], ["apikey", "list"]] {
        assert_eq!(machine.json(&listing).await, serde_json::json!([]), "{listing:?}");
    }
    for arguments in [&["connection", "revoke", "x"][..], &["client", "revoke", "x"], &["client", "revoke", "-", "x"]] {
        let ended = machine.run(arguments).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ended.stderr.contains("shows all"));
    }
}

#[tokio::test]
async fn signing_keys_are_rotated_and_listed() {
    let machine = Machine::new();
    let first = machine.good(&["keys", "rotate"]).await;
    let list = machine.json(&["keys", "list"]).await;
    assert!(first.starts_with(list[0]["kid"].as_str().unwrap()), "{first}");
    assert_eq!((&list[0]["state"], &list[0]["algorithm"]), (&"signing".into(), &"ES256".into()));
    let second = machine.good(&["keys", "rotate", "--algorithm", "EdDSA"]).await;
    assert!(second.contains("is published and signs from"), "{second}");
    let list = machine.json(&["keys", "list"]).await;
    assert_eq!((&list[0]["state"], &list[1]["state"]), (&"signing".into(), &"published".into()));
    assert!(list[1]["signs_from"].as_str() > list[1]["published_at"].as_str());
    let ended = machine.run(&["keys", "rotate"]).await;
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("--now"), "{}", ended.stderr);
    machine.good(&["keys", "rotate", "--now"]).await;
    let after = machine.json(&["keys", "list"]).await;
    assert_eq!((after.as_array().unwrap().len(), &after[0]["state"]), (1, &"signing".into()));
    assert_ne!(after[0]["kid"], list[0]["kid"]);
    assert_eq!(machine.run(&["keys", "rotate", "--algorithm", "HS256"]).await.status, 2);
}

#[tokio::test]
async fn machine_clients_are_made_listed_and_revoked() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--password-stdin"], "open sesame\n").await;
    machine.good(&["upstream", "add", "mcp.example.com", "--alias", "notes"]).await;
    let add = ["client", "add", "Nightly", "--user", "alice"];
    let made = machine.json(&[&add[..], &["--upstream", "mcp.example.com", "--scope", "read"]].concat()).await;
    assert_eq!(made["secret"].as_str().unwrap().len(), 43);
    assert_eq!(machine.json(&[&add[..], &["--upstream", "notes"]].concat()).await["realm"], "notes");
    let told = machine.good(&[&add[..], &["--root", "--grant", "token_exchange"]].concat()).await;
    assert!(told.contains("client id") && told.contains("client secret"), "{told}");
    let keys = machine.file(
        "jwks.json",
        r#"{"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let signing = machine.json(&[&add[..], &["--root", "--jwks", &keys]].concat()).await;
    assert_eq!((&signing["secret"], &signing["realm"]), (&serde_json::Value::Null, &"-".into()));
    let bad = machine.file("bad.json", r#"{"keys": []}"#);
    for (arguments, status, why) in [
        (&["--root", "--jwks", bad.as_str()][..], 1, "jwks"),
        (&["--root", "--jwks", "/no/such/file"], 1, "/no/such/file"),
        (&["--upstream", "other"], 1, "list of upstreams"),
        (&["--upstream", "a_b.example"], 1, "a_b.example"),
        (&["--root", "--scope", "a\"b"], 1, "scope"),
        (&[], 2, "--upstream"),
        (&["--root", "--upstream", "mcp.example.com"], 2, "--upstream"),
        (&["--root", "--jwks", keys.as_str(), "--secret"], 2, "--jwks"),
        (&["--root", "--grant", "password"], 2, "client_credentials"),
    ] {
        let ended = machine.run(&[&add[..], arguments].concat()).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (status, ""), "{arguments:?}");
        assert!(ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
    }
    let nobody = machine.run(&["client", "add", "Nightly", "--user", "bob", "--root"]).await;
    assert!(nobody.status == 1 && nobody.stderr.contains("no user bob"), "{}", nobody.stderr);
    let list = machine.json(&["client", "list"]).await;
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["owner"], &list[0]["name"]),
        (4, &"alice".into(), &"Nightly".into())
    );
    let id = made["id"].as_str().unwrap();
    assert_eq!(machine.good(&["client", "revoke", id]).await, format!("revoked {id}: 0 grants ended\n"));
}

#[tokio::test]
async fn a_client_that_only_has_a_document_is_listed_and_revoked_everywhere() {
    const CLIENT: &str = "https://client.example/metadata.json";
    let machine = Machine::new();
    let database = format!("sqlite://{}/portcullis.db", machine.state.path().display());
    let store = crate::store::Store::open(&database).await.unwrap();
    for (number, realm) in [(1, "notes"), (2, "notes"), (3, "")] {
        store.insert_grant(&grant(number, realm, CLIENT), Some(&code(number))).await.unwrap();
    }
    let list = machine.json(&["client", "list"]).await;
    let row = |realm: &str, grants: u32| {
        serde_json::json!({
            "realm": realm, "id": CLIENT, "name": "Client", "owner": null, "grants": grants, "created_at": null,
            "last_used_at": null
        })
    };
    assert_eq!(list, serde_json::json!([row("-", 1), row("notes", 2)]));
    let said = machine.good(&["client", "revoke", "-", CLIENT]).await;
    assert_eq!(said, format!("revoked {CLIENT}: 1 grant ended\n"));
    let said = machine.good(&["client", "revoke", CLIENT]).await;
    assert_eq!(said, format!("revoked {CLIENT}: 2 grants ended\n"));
    assert_eq!(machine.json(&["client", "list"]).await, serde_json::json!([]));
}

fn grant(number: u8, realm: &str, client_id: &str) -> crate::store::Grant {
    crate::store::Grant {
        id: crate::ids::GrantId([number; 16]),
        user: crate::ids::UserId([0; 16]),
        client_id: client_id.to_owned(),
        client_name: "Client".to_owned(),
        realm: realm.to_owned(),
        resource: String::new(),
        scope: String::new(),
        created_at: crate::clock::Timestamp(0),
        revoked_at: None,
    }
}

fn code(number: u8) -> crate::store::AuthorizationCode {
    crate::store::AuthorizationCode {
        code: crate::ids::Digest::of([number]),
        grant: crate::ids::GrantId([number; 16]),
        redirect_uri: String::new(),
        code_challenge: String::new(),
        expires_at: crate::clock::Timestamp(0),
        used_at: None,
        dpop_jkt: None,
    }
}

#[tokio::test]
async fn the_audit_log_is_verified_and_exported() {
    let machine = Machine::new();
    machine.run_with(&["user", "add", "alice", "--password-stdin"], "open sesame\n").await;
    machine.good(&["upstream", "add", "mcp.example.com"]).await;
    let said = machine.good(&["audit", "verify"]).await;
    let head = said.lines().find_map(|line| line.strip_prefix("head ")).unwrap_or_else(|| panic!("{said}"));
    machine.good(&["audit", "verify", "--anchor", head]).await;
    let exported = machine.good(&["audit", "export"]).await;
    let lines: Vec<serde_json::Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["hash"], head.split_once(':').unwrap().1);
    assert_eq!(lines[0]["action"], "user.created");
    assert_eq!(machine.json(&["audit", "verify"]).await["lines"], lines.len());
    assert_eq!(machine.good(&["audit", "export", "--until", "2020-01-01T00:00:00Z"]).await, "");
    let other = format!("1:{}", "0".repeat(64));
    let ended = machine.run(&["audit", "verify", "--anchor", &other]).await;
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("the audit log does not hold at line 1 (id 1"), "{}", ended.stderr);
    assert_eq!(machine.run(&["audit", "verify", "--anchor", "1"]).await.status, 2);
}
