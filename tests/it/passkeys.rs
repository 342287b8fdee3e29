//! Passkeys in a real browser, with an authenticator of the browser's own making.

use crate::chromium::Chromium;
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::visitors::without_limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Types into a form as a person would, and sends it.
async fn send(browser: &mut Chromium, action: &str, fields: &[(&str, &str)]) {
    let (action, fields) = (json!(action), json!(fields));
    let script = format!(
        "const form = [...document.forms].find((form) => form.getAttribute('action') === {action}); \
         for (const [name, value] of {fields}) form.elements[name].value = value; \
         form.querySelector('button').click()"
    );
    browser.evaluate(&format!("(() => {{ {script} }})()")).await;
}

async fn text(browser: &mut Chromium) -> String {
    browser.evaluate("document.body.innerText").await.as_str().unwrap().to_owned()
}

async fn sign_in_with_password(browser: &mut Chromium, gateway: &Gateway, return_to: &str) {
    browser.open(&format!("{}/login?return_to={return_to}", gateway.root())).await;
    send(browser, "/login", &[("username", USER), ("password", PASSWORD)]).await;
    browser.until(&format!("location.pathname === '{return_to}' && document.readyState === 'complete'")).await;
}

async fn add_authenticator(browser: &mut Chromium) -> Value {
    browser.call("WebAuthn.enable", json!({})).await;
    let options = json!({
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
        "isUserVerified": true, "automaticPresenceSimulation": true,
    });
    browser.call("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await["authenticatorId"].take()
}

/// The passkey button works only once the script has run.
async fn wait_for_script(browser: &mut Chromium) {
    browser.until("document.querySelector('form[data-passkey] button')?.disabled === false").await;
}

/// A page of nobody's, on another port of this machine: for passkeys it is the same domain, and another origin.
async fn foreign_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = connection.read(&mut head).await;
            let page =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\nforged";
            let _ = connection.write_all(page.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
#[ignore = "needs a browser: make test-chromium"]
async fn chromium_registers_a_passkey_signs_in_with_it_and_forgets_it() {
    let gateway = Gateway::with(without_limits).await;
    let mut browser = Chromium::start().await;
    let authenticator = add_authenticator(&mut browser).await;
    sign_in_with_password(&mut browser, &gateway, "/account").await;
    wait_for_script(&mut browser).await;
    send(&mut browser, "/account/passkeys", &[("label", "My laptop")]).await;
    browser.until("document.body.innerText.includes('My laptop')").await;
    let asked = json!({ "authenticatorId": authenticator });
    let held = browser.call("WebAuthn.getCredentials", asked.clone()).await["credentials"].take();
    let held = held.as_array().unwrap();
    assert_eq!(
        (held.len(), &held[0]["isResidentCredential"], &held[0]["rpId"]),
        (1, &json!(true), &json!("localhost"))
    );

    // Twice on one device is once too often, and the page says so.
    send(&mut browser, "/account/passkeys", &[("label", "Again")]).await;
    browser.until("document.body.innerText.includes('has a passkey for this account already')").await;

    send(&mut browser, "/logout", &[]).await;
    browser.until("location.pathname === '/' && document.readyState === 'complete'").await;
    browser.open(&format!("{}/login?return_to=/account", gateway.root())).await;
    wait_for_script(&mut browser).await;
    send(&mut browser, "/login/passkey", &[]).await;
    browser.until("location.pathname === '/account' && document.readyState === 'complete'").await;
    let account = text(&mut browser).await;
    assert!(account.contains("with passkey") && account.contains("last used just now"), "{account}");
    assert!(account.contains("Chrome on Linux"), "{account}");

    send(&mut browser, "/account/passkeys/remove", &[]).await;
    browser.until("!document.body.innerText.includes('My laptop') && document.readyState === 'complete'").await;
    send(&mut browser, "/logout", &[]).await;
    browser.until("location.pathname === '/' && document.readyState === 'complete'").await;
    browser.open(&format!("{}/login", gateway.root())).await;
    wait_for_script(&mut browser).await;
    send(&mut browser, "/login/passkey", &[]).await;
    browser.until("document.body.innerText.includes('That passkey is not known here')").await;
    gateway.stop().await;
}

#[tokio::test]
#[ignore = "needs a browser: make test-chromium"]
async fn chromium_signs_on_a_foreign_page_and_it_is_worth_nothing() {
    let gateway = Gateway::with(without_limits).await;
    let mut browser = Chromium::start().await;
    add_authenticator(&mut browser).await;
    sign_in_with_password(&mut browser, &gateway, "/account").await;
    wait_for_script(&mut browser).await;
    send(&mut browser, "/account/passkeys", &[("label", "My laptop")]).await;
    browser.until("document.body.innerText.includes('My laptop')").await;
    send(&mut browser, "/logout", &[]).await;
    browser.until("location.pathname === '/' && document.readyState === 'complete'").await;

    for foreign in [true, false] {
        browser.open(&format!("{}/login?return_to=/account", gateway.root())).await;
        let challenge = browser
            .evaluate(
                "(async () => { const token = document.querySelector('[name=csrf_token]').value; \
                 const body = new URLSearchParams({ csrf_token: token }); \
                 return (await (await fetch('/login/passkey/challenge', { method: 'POST', body })).json()).challenge })()",
            )
            .await;
        let page = if foreign { foreign_page().await } else { format!("{}/health", gateway.root()) };
        browser.open(&page).await;
        let script = "(async () => { \
            const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0)); \
            const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-') \
              .replaceAll('/', '_').replaceAll('=', ''); \
            const { rawId, response } = await navigator.credentials.get({ publicKey: { challenge: bytes(CHALLENGE), \
              rpId: 'localhost', userVerification: 'required' } }); \
            return JSON.stringify({ id: text(rawId), clientDataJSON: text(response.clientDataJSON), \
              authenticatorData: text(response.authenticatorData), signature: text(response.signature), \
              userHandle: text(response.userHandle) }) })()";
        let credential = browser.evaluate(&script.replace("CHALLENGE", &challenge.to_string())).await;
        browser.open(&format!("{}/login?return_to=/account", gateway.root())).await;
        let fill = format!(
            "(() => {{ const form = document.querySelector('form[data-passkey]'); \
             form.elements.credential.value = {credential}; form.submit() }})()"
        );
        browser.evaluate(&fill).await;
        let outcome =
            if foreign { "innerText.includes('is not known here')" } else { "innerText.includes('with passkey')" };
        browser.until(&format!("document.body?.{outcome} ?? false")).await;
    }
    gateway.stop().await;
}
