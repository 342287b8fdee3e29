//! Metadata, keys, CORS, and what is not there.

use super::*;
use http::Method;

fn grant_types() -> Value {
    let extension = |name| format!("urn:ietf:params:oauth:grant-type:{name}");
    let (device, exchange) = (extension("device_code"), extension("token-exchange"));
    json!(["authorization_code", "refresh_token", device, "client_credentials", exchange])
}

#[tokio::test]
async fn b13_b14_b15_metadata_of_every_realm_in_every_form() {
    let world = World::new().await;
    for (path, issuer, authorize) in [
        (
            "https://notes.gw.example/.well-known/oauth-authorization-server",
            NOTES,
            "https://gw.example/authorize/notes",
        ),
        (
            "https://notes.gw.example/.well-known/oauth-authorization-server/mcp",
            NOTES,
            "https://gw.example/authorize/notes",
        ),
        ("https://notes.gw.example/.well-known/openid-configuration", NOTES, "https://gw.example/authorize/notes"),
        ("https://notes.gw.example/mcp/.well-known/openid-configuration", NOTES, "https://gw.example/authorize/notes"),
        ("https://gw.example/.well-known/oauth-authorization-server", ROOT, "https://gw.example/authorize"),
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        let document = reply.json();
        assert_eq!((&document["issuer"], &document["authorization_endpoint"]), (&json!(issuer), &json!(authorize)));
        assert_eq!(document["token_endpoint"], json!(format!("{issuer}/token")));
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["grant_types_supported"], grant_types());
        assert_eq!(document["device_authorization_endpoint"], json!(format!("{issuer}/device_authorization")));
        let methods = json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
        assert_eq!(document["token_endpoint_auth_methods_supported"], methods);
        assert_eq!(document["authorization_response_iss_parameter_supported"], json!(true));
        assert_eq!(document["client_id_metadata_document_supported"], json!(true));
        assert!(document["scopes_supported"].as_array().unwrap().contains(&json!("offline_access")));
        assert_eq!(document["introspection_endpoint"], json!(format!("{issuer}/introspect")));
        let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "Bearer"]);
        assert_eq!(document["introspection_endpoint_auth_methods_supported"], methods);
    }
}

#[tokio::test]
async fn b14_the_document_names_every_endpoint_and_ability_and_nothing_else() {
    let world = World::new().await;
    let url = format!("{NOTES}/.well-known/oauth-authorization-server");
    let document = world.get(&url).await.json();
    let at = |path: &str| json!(format!("{NOTES}{path}"));
    let methods = json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let algorithms = json!(crate::jose::ALGORITHMS);
    let expected = json!({
        "issuer": NOTES,
        "authorization_endpoint": "https://gw.example/authorize/notes",
        "token_endpoint": at("/token"),
        "registration_endpoint": at("/register"),
        "revocation_endpoint": at("/revoke"),
        "device_authorization_endpoint": at("/device_authorization"),
        "introspection_endpoint": at("/introspect"),
        "jwks_uri": at("/jwks"),
        "scopes_supported": ["offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grant_types(),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt", "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "dpop_signing_alg_values_supported": algorithms,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    assert_eq!(document, expected, "{document:#}");
    for (method, status) in [(Method::HEAD, StatusCode::OK), (Method::POST, StatusCode::METHOD_NOT_ALLOWED)] {
        let request = Request::builder().method(&method).uri(&url).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.status, status, "{method}");
    }
}

#[tokio::test]
async fn b54_b55_the_resource_is_the_address_that_was_asked_about() {
    let world = World::new().await;
    for path in ["", "/mcp", "/mcp/", "/a/b"] {
        let document = world.get(&format!("{NOTES}/.well-known/oauth-protected-resource{path}")).await.json();
        assert_eq!(document["resource"], json!(format!("{NOTES}{path}")));
        assert_eq!(document["authorization_servers"], json!([NOTES]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        assert_eq!(document["resource_name"], json!("The notes server"));
        assert!(!document.to_string().contains("offline_access"));
    }
    let document = world.get(&format!("{ROOT}/.well-known/oauth-protected-resource/mcp")).await.json();
    assert_eq!(
        (&document["resource"], &document["authorization_servers"]),
        (&json!("https://gw.example/mcp"), &json!([ROOT]))
    );
}

#[tokio::test]
async fn b49_browsers_may_call_everything_but_the_authorization_endpoint() {
    let world = World::new().await;
    for path in ["/token", "/register", "/jwks", "/revoke", "/.well-known/oauth-protected-resource/mcp"] {
        let request = Request::builder().method(Method::OPTIONS).uri(format!("{NOTES}{path}"));
        let reply =
            world.send(request.header(header::ORIGIN, "https://any.example").body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        assert!(reply.header(header::ACCESS_CONTROL_ALLOW_HEADERS).contains("mcp-protocol-version"));
        assert!(!reply.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
    for uri in [format!("{NOTES}/authorize?x=1"), format!("{ROOT}/authorize/notes?x=1")] {
        assert!(!world.get(&uri).await.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{uri}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    for path in ["/.well-known/unknown", "/.well-known/other"] {
        let reply = world.get(&format!("{NOTES}{path}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert!(reply.json()["error"].is_string());
    }
}

#[tokio::test]
async fn keys_are_published_and_authorize_leads_to_the_root() {
    let world = World::new().await;
    assert_eq!(world.get(&format!("{NOTES}/jwks")).await.json()["keys"][0]["crv"], json!("P-256"));
    let reply = world.get(&format!("{NOTES}/authorize?client_id=a&state=b%20c")).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.location(), "https://gw.example/authorize/notes?client_id=a&state=b%20c");
}
