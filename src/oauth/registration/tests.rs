//! Metadata as clients send it, and as it must not be.

use super::*;
use proptest::prelude::*;

fn register(value: Value) -> Result<ClientMetadata, OauthError> {
    ClientMetadata::from_registration(value.to_string().as_bytes())
}

#[test]
fn cursor_registers_all_its_redirects_at_once() {
    let metadata = register(json!({
        "client_name": "Cursor",
        "redirect_uris": [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
        "unknown": {"member": 1},
    }))
    .unwrap();
    assert_eq!(metadata.redirect_uris.len(), 3);
    assert!(metadata.redirect_uri("http://localhost:9999/callback").is_some());
    assert_eq!(metadata.to_json()["application_type"], "web");
    assert!(!metadata.to_json().contains_key("unknown"));
}

#[test]
fn what_is_left_out_gets_a_value() {
    let metadata = register(json!({"redirect_uris": ["https://a.example/cb"], "client_name": null})).unwrap();
    assert_eq!(metadata.auth_method, AuthMethod::ClientSecretBasic);
    assert!(metadata.refresh);
    assert_eq!(metadata.to_json()["grant_types"], json!(["authorization_code", "refresh_token"]));
}

#[test]
fn unsupported_grants_are_ignored_and_missing_ones_refused() {
    let with = |grants: Value| register(json!({"redirect_uris": ["https://a.example/cb"], "grant_types": grants}));
    let jwt = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert!(!with(json!(["authorization_code", jwt])).unwrap().refresh);
    assert_eq!(with(json!(["client_credentials"])).unwrap_err().error, Code::InvalidClientMetadata);
}

#[test]
fn b33_bad_metadata_is_refused_with_the_registered_code() {
    let many: Vec<_> = (0..21).map(|n| format!("https://a.example/{n}")).collect();
    for (value, code) in [
        (json!([]), Code::InvalidClientMetadata),
        (json!({}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": []}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": "https://a.example/cb"}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": many}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": ["https://a.example/cb", "javascript:alert(1)"]}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": ["http://a.example/cb"]}), Code::InvalidRedirectUri),
        (json!({"redirect_uris": ["https://a.example/cb#f"]}), Code::InvalidRedirectUri),
        (
            json!({"redirect_uris": ["https://a.example/cb"], "client_name": "x".repeat(201)}),
            Code::InvalidClientMetadata,
        ),
        (json!({"redirect_uris": ["https://a.example/cb"], "client_name": 1}), Code::InvalidClientMetadata),
        (json!({"redirect_uris": ["https://a.example/cb"], "scope": "a\"b"}), Code::InvalidClientMetadata),
        (json!({"redirect_uris": ["https://a.example/cb"], "response_types": ["token"]}), Code::InvalidClientMetadata),
        (
            json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "private_key_jwt"}),
            Code::InvalidClientMetadata,
        ),
    ] {
        let error = register(value.clone()).unwrap_err();
        assert_eq!(error.error, code, "{value}");
        assert!(error.error_description.is_ascii());
    }
}

#[test]
fn names_cannot_hide_characters() {
    let value = json!({"redirect_uris": ["https://a.example/cb"], "client_name": " A\u{202e}b\u{0}\u{200b} "});
    assert_eq!(register(value).unwrap().client_name.as_deref(), Some("Ab"));
}

#[test]
fn b36_a_document_names_its_own_url_and_is_public() {
    let url = "https://app.example/client.json";
    let document = |members: Value| {
        let mut all = json!({"client_id": url, "redirect_uris": ["https://app.example/cb"]});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        ClientMetadata::from_document(all.to_string().as_bytes(), url)
    };
    assert_eq!(document(json!({})).unwrap().auth_method, AuthMethod::None);
    assert!(document(json!({"token_endpoint_auth_method": "private_key_jwt"})).is_ok());
    assert!(document(json!({"client_id": "https://app.example/client.json/"})).is_err());
    assert!(document(json!({"client_secret": "x"})).is_err());
    assert!(document(json!({"token_endpoint_auth_method": "client_secret_post"})).is_err());
}

proptest! {
    #[test]
    fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientMetadata::from_registration(&body);
    }

    #[test]
    fn what_is_stored_is_read_back(name in proptest::option::of("\\PC{0,40}"), refresh: bool, scope in "[a-z ]{0,20}") {
        let grants = if refresh { json!(["authorization_code", "refresh_token"]) } else { json!(["authorization_code"]) };
        let metadata = register(json!({
            "redirect_uris": ["https://a.example/cb"], "client_name": name, "grant_types": grants, "scope": scope,
            "client_uri": "https://a.example", "software_id": "x",
        })).unwrap();
        let stored = Value::Object(metadata.to_json()).to_string();
        prop_assert_eq!(ClientMetadata::from_registration(stored.as_bytes()).unwrap(), metadata);
    }
}
