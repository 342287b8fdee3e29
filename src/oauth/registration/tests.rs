//! Metadata as clients send it, and as it must not be.

use super::*;
use crate::jose::party::Party;
use crate::oauth::error::Code;
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
    assert!(metadata.allows(GrantType::RefreshToken));
    assert_eq!(metadata.to_json()["grant_types"], json!(["authorization_code", "refresh_token"]));
}

#[test]
fn unsupported_grants_are_ignored_and_missing_ones_refused() {
    let with = |grants: Value| register(json!({"redirect_uris": ["https://a.example/cb"], "grant_types": grants}));
    let jwt = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let lenient = with(json!(["authorization_code", jwt])).unwrap();
    assert!(!lenient.allows(GrantType::RefreshToken) && !lenient.allows(GrantType::JwtBearer));
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
fn b36_a_document_names_its_own_url_and_holds_no_secret() {
    assert_eq!(document(json!({})).unwrap().auth_method, AuthMethod::None);
    assert!(document(json!({"client_id": "https://app.example/client.json/"})).is_err());
    assert!(document(json!({"client_secret": "x"})).is_err());
    assert!(document(json!({"token_endpoint_auth_method": "client_secret_post"})).is_err());
}

#[test]
fn b21_a_document_decides_whether_its_client_is_public_or_signs_or_either() {
    let keys = "https://app.example/jwks.json";
    for (members, methods) in [
        (json!({"token_endpoint_auth_method": "none", "jwks_uri": keys}), [true, false]),
        (json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys}), [false, true]),
        (json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"], "jwks_uri": keys}), [false, true]),
        (
            json!({
                "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys,
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            }),
            [true, true],
        ),
        // What it needs for signing is wrong, but it can do without.
        (
            json!({
                "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys,
                "token_endpoint_auth_methods_supported": ["none"], "token_endpoint_auth_signing_alg": "RS512",
            }),
            [true, false],
        ),
        (json!({"token_endpoint_auth_method": "tls_client_auth"}), [true, false]),
    ] {
        let metadata = document(members.clone()).unwrap();
        let accepted = [AuthMethod::None, AuthMethod::PrivateKeyJwt].map(|method| metadata.accepts(method));
        assert_eq!(accepted, methods, "{members}");
        assert!(!metadata.accepts(AuthMethod::ClientSecretBasic) && !metadata.accepts(AuthMethod::ClientSecretPost));
    }
    assert!(document(json!({"token_endpoint_auth_method": "private_key_jwt"})).is_err());
}

#[test]
fn keys_come_inline_or_by_address_and_are_public() {
    let jwk = Party::new().jwk();
    let with = |members: Value| {
        let mut all =
            json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "private_key_jwt"});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        register(all)
    };
    let inline = with(json!({"jwks": {"keys": [jwk]}, "token_endpoint_auth_signing_alg": "ES256"})).unwrap();
    assert_eq!((inline.signing_alg.as_deref(), inline.accepts(AuthMethod::None)), (Some("ES256"), false));
    let stored = Value::Object(inline.to_json()).to_string();
    assert_eq!(ClientMetadata::from_stored(stored.as_bytes()).unwrap(), inline);
    let remote = with(json!({"jwks_uri": "https://a.example/jwks"})).unwrap();
    assert_eq!(remote.keys, Some(ClientKeys::Remote("https://a.example/jwks".into())));
    let mut private = jwk.clone();
    private["d"] = json!("AAAA");
    for bad in [
        json!({}),
        json!({"jwks": {"keys": []}}),
        json!({"jwks": {"keys": [private]}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
        json!({"jwks": {"keys": [jwk]}, "jwks_uri": "https://a.example/jwks"}),
        json!({"jwks_uri": "http://a.example/jwks"}),
        json!({"jwks_uri": "https://u@a.example/jwks"}),
        json!({"jwks_uri": "/jwks"}),
        json!({"jwks": {"keys": [jwk]}, "token_endpoint_auth_signing_alg": "HS256"}),
        json!({"jwks": {"keys": [jwk]}, "token_endpoint_auth_signing_alg": "none"}),
    ] {
        assert_eq!(with(bad.clone()).unwrap_err().error, Code::InvalidClientMetadata, "{bad}");
    }
    // Whose keys nobody needs, their client keeps; but one set, not two.
    let public = json!({"token_endpoint_auth_method": "none", "jwks": {"keys": [jwk]}});
    assert_eq!(with(public).unwrap().keys, None);
}

#[test]
fn grant_types_for_machines_are_an_administrator_s_to_give() {
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let only_device = register(json!({"grant_types": [device], "token_endpoint_auth_method": "none"})).unwrap();
    assert!(only_device.allows(GrantType::DeviceCode) && !only_device.allows(GrantType::AuthorizationCode));
    assert_eq!(only_device.to_json()["response_types"], json!([]));
    for machine in GrantType::ALL.into_iter().filter(|one| one.is_for_machines()) {
        let error = register(json!({"grant_types": [machine.as_str()]})).unwrap_err();
        assert_eq!(error.error, Code::InvalidClientMetadata);
        assert!(error.error_description.contains("administrator"));
        // Beside others it is passed over: hosted clients list whatever they know.
        let kept = register(json!({"grant_types": [device, machine.as_str()]})).unwrap();
        assert_eq!(kept.grant_types.iter().collect::<Vec<_>>(), [GrantType::DeviceCode]);
        let stored = json!({"grant_types": [machine.as_str()]}).to_string();
        assert!(ClientMetadata::from_stored(stored.as_bytes()).unwrap().allows(machine));
    }
    for bad in [json!([]), json!(["refresh_token"]), json!(["password"])] {
        assert_eq!(register(json!({ "grant_types": bad })).unwrap_err().error, Code::InvalidClientMetadata);
    }
}

fn document(members: Value) -> Result<ClientMetadata, OauthError> {
    let url = "https://app.example/client.json";
    let mut all = json!({"client_id": url, "redirect_uris": ["https://app.example/cb"]});
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    ClientMetadata::from_document(all.to_string().as_bytes(), url)
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
        prop_assert_eq!(ClientMetadata::from_stored(stored.as_bytes()).unwrap(), metadata);
    }
}
