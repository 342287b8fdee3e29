//! What people and clients do at a gateway, with every secret that comes of it noted.

use super::Behind;
use super::search::Canaries;
use crate::client::{Client, Tokens, send, tokens};
use crate::factors::code;
use crate::process::{Machine, Server};
use http::{Method, StatusCode, header};
use portcullis::clock::Clock;
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use serde_json::{Value, json};

pub const ALICE: &str = "alice";
pub const BOB: &str = "bob";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CALLBACK: &str = "http://127.0.0.1:33333/callback";

pub struct Life<'a> {
    machine: &'a Machine,
    server: Server,
    canaries: Canaries,
    /// The configuration file.
    file: String,
    pub root: String,
    alice: Credentials,
    bob: Credentials,
    /// Alice's.
    browser: Browser,
    /// What was answered to mistakes.
    pub errors: Vec<String>,
    /// What mistakes are made with.
    pub held: Vec<(&'static str, String)>,
    /// The browser of somebody who has nothing.
    pub stranger: Browser,
}

fn page(arrived: Result<Arrived, String>) -> Page {
    match arrived.unwrap() {
        Arrived::Page(page) => page,
        Arrived::Stopped(url) => panic!("stopped at {url}"),
    }
}

impl<'a> Life<'a> {
    /// The gateway is claimed, and somebody else gets an account.
    pub async fn begin(machine: &'a Machine, mut server: Server, mut canaries: Canaries, file: String) -> Self {
        let claim = server.wait_for("/setup?token=").await;
        let link = claim.split_whitespace().last().unwrap().to_owned();
        // Where it is told, once, to whoever started the gateway.
        canaries.know("the link that claims", link.split("token=").nth(1).unwrap(), &["standard output"]);
        let credentials = |user: &str, password| Credentials { user: user.to_owned(), password };
        let alice = credentials(ALICE, canaries.make("the administrator's password"));
        let bob = credentials(BOB, canaries.make("somebody else's password"));
        let (browser, root) = (Browser::new().unwrap(), server.root());
        let setup = page(browser.open(&link, "").await);
        let form = setup.form_with("password_again").unwrap();
        let fields = [("username", ALICE), ("password", &alice.password), ("password_again", &alice.password)];
        let home = page(browser.submit(&setup, &form, &fields, "").await);
        assert!(home.status.is_success(), "{}", home.text());
        let (errors, held, stranger) = (Vec::new(), Vec::new(), Browser::new().unwrap());
        let mut life = Self { machine, server, canaries, file, root, alice, bob, browser, errors, held, stranger };
        life.command(&["user", "add", BOB, "--password-stdin"], &format!("{}\n", life.bob.password)).await;
        let key = std::fs::read_to_string(machine.path("portcullis/vault.key")).unwrap();
        life.canaries.know("the vault key", key.trim(), &["vault.key"]);
        life
    }

    fn know(&mut self, what: &'static str, text: &str) {
        self.canaries.know(what, text, &[]);
    }

    fn hold(&mut self, what: &'static str, text: &str) {
        self.know(what, text);
        // One of each kind is enough for mistakes.
        if !self.held.iter().any(|(known, _)| *known == what) {
            self.held.push((what, text.to_owned()));
        }
    }

    pub fn make(&mut self, what: &'static str) -> String {
        self.canaries.make(what)
    }

    /// What a command prints, which is an account of its own.
    pub async fn command(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [&["-c", &self.file][..], arguments].concat();
        let output = self.machine.run_with_input(&arguments, input).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    fn url(&self, alias: &str) -> String {
        format!("{}/mcp", self.root.replacen("://", &format!("://{alias}."), 1))
    }

    pub async fn everything(&mut self, behind: &Behind) {
        self.an_upstream_with_oauth(behind).await;
        self.a_confidential_client().await;
        self.a_device().await;
        self.keys_given_by_hand(behind).await;
        self.a_program_with_a_key().await;
        self.sign_in_at_a_provider().await;
        self.a_second_factor().await;
    }

    /// Sign-in, consent here and there, code, tokens, a call, refreshes on both sides.
    async fn an_upstream_with_oauth(&mut self, behind: &Behind) {
        let client = Client::ready(&self.url("notes")).await;
        let callback = client.browser.authorize(&client.authorization_url(&[]), &self.alice, CALLBACK).await.unwrap();
        let granted = callback.code.unwrap_or_else(|| panic!("{:?}", callback.error_description));
        self.hold("an authorization code", &granted);
        let verifier =
            client.code_parameters(&granted).into_iter().find(|(name, _)| *name == "code_verifier").unwrap().1;
        self.know("a code verifier", &verifier);
        let first = client.exchange(&granted).await;
        self.keep(&first);
        self.cookie(&client.browser);
        assert_eq!(client.call(&first.access, "whoami").await.0, StatusCode::OK);
        // A token that the upstream accepts no longer is refreshed, once with trouble.
        behind.authorization.tokens().end_access();
        behind.authorization.misbehave(portcullis::devkit::authorization_server::Misbehaviour::TokenServerError);
        let (_, trouble) = client.call(&first.access, "whoami").await;
        self.errors.push(trouble);
        behind.authorization.behave();
        self.until_it_works(&client, &first.access).await;
        let (status, renewed) = client.refresh(&first.refresh).await;
        assert_eq!(status, StatusCode::OK, "{renewed}");
        self.keep(&tokens(renewed));
        for seen in behind.authorization.seen() {
            for name in ["code", "code_verifier", "refresh_token", "client_secret", "state"] {
                if let Some(value) = seen.parameter(name) {
                    self.know("what the upstream's authorization server is shown", value);
                }
            }
        }
        for token in behind.notes.control.recorder().bearers().into_iter().chain(behind.authorization.tokens().live()) {
            self.know("an upstream's token", &token);
        }
        // The code once more: its grant ends.
        let (status, error) = client.token_request(&client.code_parameters(&granted)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        self.errors.push(error.to_string());
    }

    /// The gateway leaves an authorization server in peace for a moment after trouble.
    async fn until_it_works(&mut self, client: &Client, token: &str) {
        let works = async {
            while client.call(token, "whoami").await.0 != StatusCode::OK {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(4 * crate::raw::PATIENCE, works).await.expect("it does not recover");
    }

    fn keep(&mut self, tokens: &Tokens) {
        self.hold("an access token", &tokens.access);
        self.hold("a refresh token", &tokens.refresh);
    }

    fn cookie(&mut self, browser: &Browser) {
        let cookie = browser.cookie(&self.root, "portcullis").expect("nobody is signed in");
        self.hold("a session cookie", &cookie);
    }

    /// Registration with a secret and a token to manage it.
    async fn a_confidential_client(&mut self) {
        let client = Client::discover(&self.url("notes"), CALLBACK).await;
        let metadata = json!({"client_name": "Confidential", "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "client_secret_basic"});
        let headers = [("content-type", "application/json")];
        let endpoint = client.endpoint("registration_endpoint");
        let answer = send(&client.browser, Method::POST, &endpoint, &headers, Some(metadata.to_string())).await;
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        for (what, name) in
            [("a client secret", "client_secret"), ("a registration access token", "registration_access_token")]
        {
            self.hold(what, answer[name].as_str().unwrap());
        }
        let bearer = format!("Bearer {}", answer["registration_access_token"].as_str().unwrap());
        let address = answer["registration_client_uri"].as_str().unwrap();
        let read = send(&client.browser, Method::GET, address, &[("authorization", &bearer)], None).await;
        assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    }

    async fn a_device(&mut self) {
        let metadata = json!({"client_name": "Television", "token_endpoint_auth_method": "none",
            "grant_types": [DEVICE_CODE, "refresh_token"]});
        let client = Client::discover(&self.url("notes"), "").await.register(metadata).await;
        let asked = format!("client_id={}", client.client_id);
        let endpoint = client.endpoint("device_authorization_endpoint");
        let codes = send(&client.browser, Method::POST, &endpoint, &[], Some(asked)).await;
        let codes: Value = serde_json::from_str(&codes.body).unwrap();
        let device_code = codes["device_code"].as_str().unwrap().to_owned();
        self.hold("a device code", &device_code);
        // It stands on a screen, and in the flow of the person who types it, until that is over.
        let kept = &["portcullis.db", "portcullis.db-wal"];
        self.canaries.know("a user code", codes["user_code"].as_str().unwrap(), kept);
        let complete = codes["verification_uri_complete"].as_str().unwrap();
        let done = client.browser.let_device_in(complete, &self.alice).await.unwrap();
        assert!(done.status.is_success(), "{}", done.text());
        let question = [
            ("grant_type", DEVICE_CODE.to_owned()),
            ("device_code", device_code),
            ("client_id", client.client_id.clone()),
        ];
        let (status, given) = client.token_request(&question).await;
        assert_eq!(status, StatusCode::OK, "{given}");
        self.keep(&tokens(given));
    }

    /// A key for a header, a secret for a program's environment, a personal access token for a service.
    async fn keys_given_by_hand(&mut self, behind: &Behind) {
        let home = page(self.browser.open(&format!("{}/account", self.root), "").await);
        assert!(home.status.is_success(), "{}", home.text());
        let environment = self.make("what a person gives a program");
        for (server, name, value) in [
            (behind.keyed.address().to_string(), "value.x-api-key", behind.keys[0].clone()),
            ("program".to_owned(), "value.MY_TOKEN", environment),
        ] {
            let alias = if server == "program" { "program" } else { "keyed" };
            let client = Client::ready(&self.url(alias)).await;
            let mut shown = page(client.browser.open(&client.authorization_url(&[]), CALLBACK).await);
            let granted = loop {
                let arrived = if shown.form_with("password").is_some() && shown.form_with(name).is_none() {
                    client.browser.fill_login(&shown, &self.alice, CALLBACK).await
                } else if let Some(form) = shown.form_with(name) {
                    client
                        .browser
                        .submit(&shown, &form, &[(name, value.as_str()), ("decision", "approve")], CALLBACK)
                        .await
                } else {
                    client.browser.approve(&shown, CALLBACK).await
                };
                match arrived.unwrap() {
                    Arrived::Page(next) => shown = next,
                    Arrived::Stopped(url) => {
                        break url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
                    }
                }
            };
            let given = client.exchange(&granted).await;
            self.keep(&given);
            let (status, answer) = client.call(&given.access, "whoami").await;
            assert_eq!(status, StatusCode::OK, "{alias}: {answer}");
        }
        let form = home.forms().into_iter().find(|form| form.has("pat")).expect("no service wants a token");
        let pat = self.make("a personal access token");
        let kept = page(self.browser.submit(&home, &form, &[("pat", &pat)], "").await);
        assert!(kept.status.is_success(), "{}", kept.text());
        let shared = Client::ready(&self.url("shared")).await;
        let callback = shared.browser.authorize(&shared.authorization_url(&[]), &self.alice, CALLBACK).await.unwrap();
        let given = shared.exchange(&callback.code.unwrap()).await;
        self.keep(&given);
        assert_eq!(shared.call(&given.access, "whoami").await.0, StatusCode::OK);
    }

    /// What a program gets by its key.
    async fn a_program_with_a_key(&mut self) {
        let made = self.command(&["apikey", "create", "tools", "--scope", "broker"], "").await;
        let is_key =
            |word: &&str| word.split_once('.').is_some_and(|(id, secret)| id.len() == 32 && secret.len() == 43);
        let key = made.split_whitespace().find(is_key).unwrap_or_else(|| panic!("{made}")).to_owned();
        self.hold("an API key", key.split_once('.').unwrap().1);
        let fields = [("x-api-key", key.as_str()), ("content-type", "application/json")];
        let url = format!("{}/token/forge", self.root);
        let asked = json!({ "user_id": ALICE }).to_string();
        let given = send(&Browser::new().unwrap(), Method::POST, &url, &fields, Some(asked)).await;
        assert_eq!(given.status, StatusCode::OK, "{}", given.body);
    }

    async fn sign_in_at_a_provider(&mut self) {
        let browser = Browser::new().unwrap();
        let login = page(browser.open(&format!("{}/login", self.root), "").await);
        let button = login.forms().into_iter().find(|form| form.action == "/login/company").expect("no button");
        let provider = page(browser.submit(&login, &button, &[], "").await);
        let home = page(browser.approve(&provider, "").await);
        assert!(home.status.is_success(), "{}", home.text());
        self.cookie(&browser);
    }

    async fn a_second_factor(&mut self) {
        let account = page(self.browser.open(&format!("{}/account", self.root), "").await);
        let form = account.forms().into_iter().find(|form| form.action == "/account/totp/begin").unwrap();
        let enrol = page(self.browser.submit(&account, &form, &[], "").await);
        let secret = enrol.body.split("<code>").nth(1).unwrap().split("</code>").next().unwrap().to_owned();
        self.know("the secret of an authenticator app", &secret);
        self.know("the secret of an authenticator app, as one word", &secret.replace(' ', ""));
        let form = enrol.form_with("totp_code").unwrap();
        let now = code(&secret, Clock::system().now());
        let codes = page(self.browser.submit(&enrol, &form, &[("totp_code", &now)], "").await);
        let codes = codes.body.split("<code>").nth(1).unwrap_or_else(|| panic!("{}", codes.text()));
        let codes: Vec<String> = codes.split("</code>").next().unwrap().split_whitespace().map(str::to_owned).collect();
        codes.iter().for_each(|code| self.know("a recovery code", code));
        // One of them signs in.
        let browser = Browser::new().unwrap();
        let login = page(browser.open(&format!("{}/login", self.root), "").await);
        let asked = page(browser.fill_login(&login, &self.alice, "").await);
        let form = asked.form_with("totp_code").unwrap();
        let wrong = page(browser.submit(&asked, &form, &[("totp_code", "000000")], "").await);
        self.errors.push(wrong.body.clone());
        let form = wrong.form_with("totp_code").unwrap();
        let home = page(browser.submit(&wrong, &form, &[("totp_code", &codes[0])], "").await);
        assert!(home.status.is_success() && home.form_with("totp_code").is_none(), "{}", home.text());
        self.cookie(&browser);
    }

    pub fn exports(&self) -> [(&'static str, Vec<&'static str>); 4] {
        [
            ("the exported audit log", vec!["audit", "export"]),
            ("the listed people", vec!["user", "list", "--json"]),
            ("the listed grants", vec!["grant", "list", "--json"]),
            ("the listed connections", vec!["connection", "list", "--json"]),
        ]
    }

    pub async fn metrics(&self, port: u16) -> String {
        let answer =
            send(&Browser::new().unwrap(), Method::GET, &format!("http://127.0.0.1:{port}/metrics"), &[], None).await;
        assert!(answer.body.contains("portcullis_"), "{}", answer.body);
        answer.body
    }

    /// Everything that Bob is shown, by his pages and his export.
    pub async fn pages_of_bob(&self) -> String {
        let browser = Browser::new().unwrap();
        let login = page(browser.open(&format!("{}/login", self.root), "").await);
        let mut all = page(browser.fill_login(&login, &self.bob, "").await).body;
        for path in
            ["/", "/connections", "/activity", "/activity/log", "/activity/export", "/account", "/people", "/system"]
        {
            let answer = send(&browser, Method::GET, &format!("{}{path}", self.root), &[], None).await;
            let set = answer
                .headers
                .get_all(header::SET_COOKIE)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect::<String>();
            all += &format!("{}{set}", answer.body);
        }
        assert!(all.contains(BOB));
        all
    }

    /// The gateway stops; the secrets, and what else it had to say.
    pub async fn end(mut self) -> (Canaries, String) {
        self.server.tell("-TERM").await;
        let ended = tokio::time::timeout(crate::raw::PATIENCE, self.server.child.wait()).await;
        assert_eq!(ended.expect("it does not stop").unwrap().code(), Some(0));
        let said = self.server.rest().await;
        (self.canaries, said)
    }
}
