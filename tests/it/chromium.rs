//! A real browser, driven over the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/).

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// For anything that a page does.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one tab; killed when this is dropped.
pub struct Chromium {
    _child: Child,
    _profile: TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    sent: u64,
}

impl Chromium {
    /// Starts one without a window and without a network beyond this machine.
    pub async fn start() -> Self {
        let profile = TempDir::new().unwrap();
        let mut child = Command::new(program())
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
            }
            panic!("chromium ended before it listened")
        };
        let address = timeout(PATIENCE, address).await.expect("chromium listens");
        // Whatever else it says must go somewhere.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let mut browser = Self { _child: child, _profile: profile, socket, session: None, sent: 0 };
        let tab = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({})).await;
        browser
    }

    /// Opens an address and waits until it has loaded.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.until(&format!("document.readyState === 'complete' && location.href.startsWith({})", json!(url))).await;
    }

    /// What an expression comes to, promises awaited.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true, on whatever page there is by then.
    pub async fn until(&mut self, condition: &str) {
        let arrived = async {
            // A page that is being left has no answer.
            while self.try_evaluate(condition).await != Ok(Value::Bool(true)) {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        if timeout(PATIENCE, arrived).await.is_err() {
            let text = self.evaluate("location.href + ': ' + document.body.innerText").await;
            panic!("never came true: {condition}; at {text}");
        }
    }

    /// One command; its result.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.try_call("Runtime.evaluate", parameters).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.clone()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    async fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.sent += 1;
        let mut command = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("chromium goes on").unwrap();
                let Ok(text) = message.to_text() else { continue };
                let Ok(mut answer) = serde_json::from_str::<Value>(text) else { continue };
                if answer["id"] == self.sent {
                    return match answer.get_mut("error") {
                        Some(error) => Err(error.take()),
                        None => Ok(answer["result"].take()),
                    };
                }
            }
        };
        timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("{method}: no answer"))
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut places = std::env::split_paths(&path).flat_map(|place| names.map(|name| place.join(name)));
    places.find(|program| program.is_file()).expect("a browser: install chromium")
}
