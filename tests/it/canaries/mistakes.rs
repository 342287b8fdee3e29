//! Mistakes with every secret: in the wrong place, at the wrong time, with something wrong about it. What is answered is kept.

use super::Behind;
use super::life::Life;
use crate::client::send;
use crate::visitors::encoded;
use data_encoding::BASE64;
use http::Method;
use serde_json::json;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

impl Life<'_> {
    pub async fn mistakes(&mut self, behind: &Behind) {
        for (what, secret) in self.held.clone() {
            self.misplaced(&secret).await;
            if what != "an access token" {
                self.as_somebody_else_s(&secret).await;
            }
        }
        let wrong = self.make("something that was typed in the wrong place");
        self.misplaced(&wrong).await;
        self.as_somebody_else_s(&wrong).await;
        self.wrong_sign_in(&wrong).await;
        // An upstream that is gone, with a key on the way to it.
        behind.keyed.control.recorder().clear();
        let (root, keyed) = (self.root.clone(), format!("{}?server=127.0.0.1:1", "/upstreams/credentials"));
        self.ask(Method::GET, &format!("{root}{keyed}"), &[], None).await;
    }

    /// In addresses, paths, headers, cookies and bodies, at every door.
    async fn misplaced(&mut self, secret: &str) {
        let (root, mcp) = (self.root.clone(), self.root.replacen("://", "://notes.", 1));
        let quoted: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let bearer = format!("Bearer {secret}");
        let basic = format!("Basic {}", BASE64.encode(format!("somebody:{secret}").as_bytes()));
        let cookie = format!("portcullis={quoted}; portcullis-visitor={quoted}");
        let key = format!("{}.{secret}", "0".repeat(32));
        for url in [
            format!("{mcp}/mcp?access_token={quoted}"),
            format!("{root}/authorize/notes?client_id={quoted}&redirect_uri={quoted}&state={quoted}"),
            format!("{root}/oauth/callback?code={quoted}&state={quoted}&error_description={quoted}"),
            format!("{root}/login/company/callback?code={quoted}&state={quoted}"),
            format!("{root}/callback/forge?code={quoted}&state={quoted}"),
            format!("{root}/setup?token={quoted}"),
            format!("{root}/device?user_code={quoted}"),
            format!("{mcp}/register/nobody"),
        ] {
            for field in [("authorization", bearer.as_str()), ("authorization", &basic), ("cookie", &cookie)] {
                self.ask(Method::GET, &url, &[field], None).await;
            }
        }
        let form = encoded(&[
            ("grant_type", "authorization_code"),
            ("client_id", secret),
            ("client_secret", secret),
            ("code", secret),
            ("code_verifier", secret),
            ("refresh_token", secret),
            ("token", secret),
            ("device_code", secret),
            ("assertion", secret),
        ]);
        for endpoint in ["token", "revoke", "introspect", "device_authorization", "register"] {
            for field in [("authorization", basic.as_str()), ("x-api-key", &key), ("dpop", secret)] {
                self.ask(Method::POST, &format!("{mcp}/{endpoint}"), &[FORM, field], Some(form.clone())).await;
            }
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": secret, "client_secret": secret}).to_string();
        for url in
            [format!("{mcp}/mcp"), format!("{root}/mcp"), format!("{root}/token/forge"), format!("{root}/api/v1/users")]
        {
            for field in [("authorization", bearer.as_str()), ("x-api-key", &key)] {
                self.ask(Method::POST, &url, &[("content-type", "application/json"), field], Some(body.clone())).await;
            }
        }
    }

    /// With a client of one's own, which has nothing to do with it.
    async fn as_somebody_else_s(&mut self, secret: &str) {
        let client = crate::client::Client::ready(&format!("{}/mcp", self.root.replacen("://", "://notes.", 1))).await;
        for (grant_type, name) in [
            ("authorization_code", "code"),
            ("refresh_token", "refresh_token"),
            ("urn:ietf:params:oauth:grant-type:device_code", "device_code"),
            ("urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion"),
        ] {
            let form = encoded(&[
                ("grant_type", grant_type),
                ("client_id", &client.client_id),
                (name, secret),
                ("code_verifier", &"v".repeat(50)),
                ("redirect_uri", secret),
            ]);
            self.ask(Method::POST, &client.endpoint("token_endpoint"), &[FORM], Some(form)).await;
        }
    }

    /// As a name, as a password, as the token of a form.
    async fn wrong_sign_in(&mut self, secret: &str) {
        let (root, origin) = (self.root.clone(), self.root.clone());
        let fields = [FORM, ("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
        for form in [
            [("username", "alice"), ("password", secret), ("csrf_token", secret), ("totp_code", secret)],
            [("username", "nobody"), ("password", secret), ("csrf_token", ""), ("return_to", "/")],
        ] {
            for path in ["/login", "/login/totp", "/setup", "/account/password", "/account/services/pat"] {
                self.ask(Method::POST, &format!("{root}{path}"), &fields, Some(encoded(&form))).await;
            }
        }
    }

    /// Whatever is answered, as long as it is an answer and no success.
    async fn ask(&mut self, method: Method, url: &str, fields: &[(&str, &str)], body: Option<String>) {
        self.stranger.forget_cookies();
        let answer = send(&self.stranger, method, url, fields, body).await;
        assert!(answer.status.as_u16() < 500 || answer.status == 503, "{url}: {} {}", answer.status, answer.body);
        let head: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
        self.errors.push(format!("{head}{}", answer.body));
    }
}
