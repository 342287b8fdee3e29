//! What can be told of a sign-in at an upstream before there is one.

use super::*;
use serde_json::json;

const AS_OAUTH: &str = "GET /.well-known/oauth-authorization-server/tenant";

/// What is told beforehand is what happens then, and nothing is registered for it.
#[tokio::test]
async fn an_outlook_registers_nothing() {
    let world = World::new().await;
    let outlook = async || {
        let Target::Upstream(authority) = &world.key.target else { panic!("an upstream's key") };
        let upstream = world.registry.by_authority(authority).unwrap();
        let (watch, mut sights) = tokio::sync::mpsc::unbounded_channel();
        let outlook = world.connections.outlook(&upstream, Some("/mcp"), &watch).await.unwrap();
        let mut seen = Vec::new();
        while let Ok(sight) = sights.try_recv() {
            seen.push(sight);
        }
        let Outlook::OAuth(sign_in) = outlook else { panic!("{outlook:?}") };
        (seen, *sign_in)
    };
    let (seen, sign_in) = outlook().await;
    assert_eq!(sign_in.registering, Registering::Itself);
    assert!(seen.first() == Some(&Sight::Answered { challenged: true }) && seen.len() == 3, "{seen:?}");
    assert!(matches!(&seen[1], Sight::Described(Some(url)) if url.ends_with("/mcp")), "{seen:?}");
    assert_eq!(world.stranger.count("POST /tenant/register"), 0);

    world.redirect("").await;
    assert_eq!(outlook().await.1.registering, Registering::Kept);

    let mut metadata = world.stranger.server_metadata();
    metadata["client_id_metadata_document_supported"] = json!(true);
    world.stranger.answers(AS_OAUTH, Reply::Json(200, metadata));
    assert_eq!(outlook().await.1.registering, Registering::Document);

    let other = World::new().await;
    let mut metadata = other.stranger.server_metadata();
    metadata["registration_endpoint"] = json!(null);
    other.stranger.answers(AS_OAUTH, Reply::Json(200, metadata));
    let Target::Upstream(authority) = &other.key.target else { panic!("an upstream's key") };
    let upstream = other.registry.by_authority(authority).unwrap();
    let (watch, _sights) = tokio::sync::mpsc::unbounded_channel();
    let Ok(Outlook::OAuth(sign_in)) = other.connections.outlook(&upstream, Some("/mcp"), &watch).await else {
        panic!("an outlook")
    };
    assert!(matches!(sign_in.registering, Registering::Impossible(why) if why.contains("Register a client")));
}

/// What is configured needs nobody to be asked.
#[tokio::test]
async fn an_outlook_on_what_is_configured_contacts_nobody() {
    let outlook = async |auth| {
        let world = World::beside(Stranger::start().await, auth).await;
        let Target::Upstream(authority) = &world.key.target else { panic!("an upstream's key") };
        let upstream = world.registry.by_authority(authority).unwrap();
        let (watch, _sights) = tokio::sync::mpsc::unbounded_channel();
        let outlook = world.connections.outlook(&upstream, Some("/mcp"), &watch).await.unwrap();
        assert_eq!(world.stranger.lines(), Vec::<String>::new(), "{outlook:?}");
        outlook
    };
    let name = http::HeaderName::from_static("x-api-key");
    assert!(matches!(outlook(UpstreamAuth::None).await, Outlook::Open));
    let header = UpstreamAuth::Header { name: name.clone(), value: Secret::new("k".to_owned()) };
    assert!(matches!(outlook(header).await, Outlook::Shared));
    let personal = UpstreamAuth::Personal(crate::config::PersonalHeader { name, prefix: String::new() });
    assert!(matches!(outlook(personal).await, Outlook::Personal(names) if names.len() == 1));

    let settings = OAuthSettings { client_id: Some("by-hand".to_owned()), ..OAuthSettings::default() };
    let world = World::with(settings).await;
    let Target::Upstream(authority) = &world.key.target else { panic!("an upstream's key") };
    let upstream = world.registry.by_authority(authority).unwrap();
    let (watch, _sights) = tokio::sync::mpsc::unbounded_channel();
    let Ok(Outlook::OAuth(sign_in)) = world.connections.outlook(&upstream, Some("/mcp"), &watch).await else {
        panic!("an outlook")
    };
    assert_eq!(sign_in.registering, Registering::ByHand);
}
