//! Whoever may not use a server, or has not consented at it, gets no token for it at any door.

use super::introspection::inactive;
use super::*;
use crate::config::{OAuthSettings, Permitted};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl World {
    /// The configuration says something else of `notes`.
    async fn notes_become(&self, change: impl FnOnce(&mut UpstreamConfig)) {
        let mut notes = upstream("notes");
        change(&mut notes);
        let policy = Upstreams { unknown: Unknown::Ask, allow_private: false, ca_file: None, max_requests: 1024 };
        assert!(self.issuer.registry.reconfigure(&policy, vec![notes, upstream("files")]).await.unwrap());
        self.issuer.connections.forget_all();
    }

    async fn post_basic(&self, basic: &str, form: &[(&str, &str)]) -> Reply {
        self.post_with(&format!("{NOTES}/token"), form, Some(basic)).await
    }
}

#[tokio::test]
async fn a_permission_that_is_taken_away_closes_every_door_and_revokes_nothing() {
    let world = World::new().await;
    let (client, basic) = world.confidential().await;
    let service = world.service("agent", &[EXCHANGE]).await;
    let tokens = world.tokens_of(&client, &basic).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let code = world.code(&client, "read").await;
    let refreshing = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let exchanging = [("grant_type", EXCHANGE), ("subject_token", access), ("subject_token_type", ACCESS_TOKEN)];

    world.notes_become(|notes| notes.allowed = Some(Permitted::default())).await;
    let page = world.browse(&authorize("notes", &client, &[])).await;
    assert!(page.status == StatusCode::FORBIDDEN && page.body.contains("You may not use this server"), "{}", page.body);
    let redeeming = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(world.post_basic(&basic, &redeeming).await.error(), "invalid_grant");
    assert_eq!(world.post_basic(&basic, &refreshing).await.error(), "invalid_grant");
    assert_eq!(world.post_basic(&service, &exchanging).await.status, StatusCode::BAD_REQUEST);
    for token in [access, refresh] {
        assert_eq!(world.introspect(token, &basic).await, inactive());
    }

    world.notes_become(|notes| notes.allowed = None).await;
    assert_eq!(world.post_basic(&service, &exchanging).await.status, StatusCode::OK);
    assert_eq!(world.post_basic(&basic, &refreshing).await.status, StatusCode::OK, "nothing was revoked");
}

#[tokio::test]
async fn without_the_person_s_consent_at_the_upstream_nobody_gets_a_token() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let tokens = world.signed_in(&client, "").await;
    let agent = world.service("agent", &["client_credentials"]).await;
    let on_its_own = [("grant_type", "client_credentials")];
    assert_eq!(world.post_basic(&agent, &on_its_own).await.status, StatusCode::OK);

    let settings = OAuthSettings {
        authorization_endpoint: Some("https://as.example/authorize".to_owned()),
        token_endpoint: Some("https://as.example/token".to_owned()),
        client_id: Some("us".to_owned()),
        ..OAuthSettings::default()
    };
    world.notes_become(|notes| notes.auth = UpstreamAuth::OAuth(Box::new(settings))).await;
    assert_eq!(world.refresh(&client, text(&tokens, "refresh_token"), &[]).await.error(), "invalid_grant");
    assert_eq!(world.post_basic(&agent, &on_its_own).await.error(), "invalid_grant");
    // The client is consented to first; then the person is sent on to the upstream, and no code to the client.
    let page = world.browse(&authorize("notes", &client, &[])).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let decided = world.decide("client", &page, "approve").await;
    let sent_on = world.browse(decided.location()).await;
    assert!(sent_on.location().starts_with("https://as.example/authorize?"), "{}", sent_on.location());
    assert_eq!(sent_on.answer()["client_id"], "us");
}
