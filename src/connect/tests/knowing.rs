//! Rules that single providers imply (docs/providers.md): what the table of providers says is heeded.

use super::*;
use crate::providers::{Challenges, Clients, HostPattern, Provider, Providers, Redirects, Registration, Resource};
use crate::upstream::Upstream;
use serde_json::json;

const REGISTER: &str = "POST /tenant/register";
const TOKEN: &str = "POST /tenant/token";
const PRM: &str = "GET /.well-known/oauth-protected-resource/mcp";
const SERVER: &str = "GET /.well-known/oauth-authorization-server/tenant";

/// A provider of the table, moved to the stranger's host and changed.
fn like(id: &str, change: impl FnOnce(&mut Provider)) -> Provider {
    let known = Providers::built_in().find(id).unwrap();
    let mut provider =
        Provider { hosts: vec![HostPattern::parse("127.0.0.1").unwrap()], path: None, ..Provider::clone(known) };
    change(&mut provider);
    provider
}

async fn world_of(provider: Provider) -> World {
    let world = World::new().await;
    assert!(world.connections.providers().reconfigure(&[provider]));
    world
}

/// A registration that is refused so that nobody could know why.
async fn refused_registration(provider: Provider) -> String {
    let world = world_of(provider).await;
    world.stranger.answers(REGISTER, Reply::Json(400, json!({ "error": "invalid_client_metadata" })));
    let (step, text) = failure(world.begin().await);
    assert_eq!(step, "registration", "{text}");
    text
}

#[tokio::test]
async fn nobody_is_asked_who_registers_no_clients() {
    let world = world_of(like("github", |_| ())).await;
    let (step, text) = failure(world.begin().await);
    assert_eq!(step, "registration");
    for part in ["Notes does not let", "https://github.com/settings/developers", "https://gw.example/oauth/callback"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(world.stranger.lines(), Vec::<String>::new(), "it was contacted");
    // Without advice there is the same to do.
    let world = world_of(like("github", |one| one.advice = None)).await;
    let (_, text) = failure(world.begin().await);
    assert!(text.contains("Register a client at https://github.com/settings/developers by hand"), "{text}");
}

#[tokio::test]
async fn an_authorization_server_may_be_known_behind_an_upstream_that_is_not() {
    let host = HostPattern::parse("localhost").unwrap();
    let world = world_of(like("entra", |one| one.hosts = vec![host])).await;
    let mut metadata = world.stranger.server_metadata();
    for key in ["authorization_endpoint", "token_endpoint"] {
        metadata[key] = metadata[key].as_str().unwrap().replace("127.0.0.1", "localhost").into();
    }
    world.stranger.answers(SERVER, Reply::Json(200, metadata));
    let (step, text) = failure(world.begin().await);
    assert!(step == "registration" && text.contains("Microsoft Entra"), "{step}: {text}");
    assert_eq!(world.stranger.count(REGISTER), 0);
}

#[tokio::test]
async fn the_table_explains_a_refusal_that_explains_nothing() {
    let text = refused_registration(like("figma", |_| ())).await;
    assert!(text.contains("whose name it knows") && text.contains("mcp-catalog"), "{text}");
    let text = refused_registration(like("vercel", |_| ())).await;
    assert!(text.contains("loopback redirect URIs") && text.contains("Ask Vercel"), "{text}");
    let text = refused_registration(like("atlassian", |_| ())).await;
    assert!(text.contains("allowlist") && text.contains("https://gw.example/**"), "{text}");
    let any = like("linear", |one| (one.redirects, one.clients) = (Redirects::Any, Clients::Any));
    let text = refused_registration(any).await;
    assert!(text.contains("(invalid_client_metadata)"), "{text}");
}

/// Plane takes every client, and then not its redirect URI.
#[tokio::test]
async fn a_redirect_uri_may_be_refused_after_the_registration() {
    let world = world_of(like("plane", |_| ())).await;
    let (url, _) = world.redirect("").await;
    let refusal =
        CallbackQuery { error: Some("invalid_redirect_uri".to_owned()), code: None, ..world.stranger.consent(&url) };
    let (step, text) = failure(world.connections.finish(&world.session, refusal).await);
    assert!(step == "authorization" && text.contains("Ask Plane to allow https://gw.example/oauth/callback"), "{text}");
}

#[tokio::test]
async fn only_a_refusal_of_our_client_is_explained_by_which_clients_are_taken() {
    for (error, explained) in [("unauthorized_client", true), ("invalid_redirect_uri", true), ("server_error", false)] {
        let world = world_of(like("plane", |_| ())).await;
        let (url, _) = world.redirect("").await;
        let refusal = CallbackQuery { error: Some(error.to_owned()), code: None, ..world.stranger.consent(&url) };
        let (_, text) = failure(world.connections.finish(&world.session, refusal).await);
        assert_eq!(text.contains("takes certain clients only"), explained, "{error}: {text}");
    }
}

#[tokio::test]
async fn an_upstream_is_called_and_asked_as_the_table_has_it_unless_somebody_says_otherwise() {
    let world = World::new().await;
    let here = |name: &str, path: Option<&str>| {
        let mut known = Upstream::clone(&world.registry.by_authority(world.authority()).unwrap());
        (known.name, known.path) = (name.to_owned(), path.map(str::to_owned));
        known
    };
    let (unnamed, named) = (here(world.authority().as_str(), None), here("Our notes", Some("/ours")));
    assert_eq!(world.connections.display_name(&unnamed), world.authority().as_str());
    assert_eq!(world.connections.usual_path(&unnamed), None);
    let table = like("linear", |one| (one.name, one.path) = ("Linear".to_owned(), Some("/theirs".to_owned())));
    assert!(world.connections.providers().reconfigure(&[table]));
    assert_eq!(world.connections.display_name(&unnamed), "Linear");
    assert_eq!(world.connections.usual_path(&unnamed).as_deref(), Some("/theirs"));
    assert_eq!(world.connections.display_name(&named), "Our notes");
    assert_eq!(world.connections.usual_path(&named).as_deref(), Some("/ours"));
}

/// OpenID Connect Core §11: whoever asks for offline access has to ask for consent with it.
#[tokio::test]
async fn offline_access_comes_with_a_prompt_unless_the_provider_has_one_of_its_own() {
    let prompts = async |change: fn(&mut Provider), is_offline: bool| {
        let world = world_of(like("linear", change)).await;
        if !is_offline {
            let mut server = world.stranger.server_metadata();
            server["scopes_supported"] = json!(["read"]);
            world.stranger.answers(SERVER, Reply::Json(200, server));
        }
        let (url, _) = world.redirect("").await;
        let url = url::Url::parse(&url).unwrap();
        let prompts = url.query_pairs().filter(|(name, _)| name == "prompt");
        prompts.map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
    };
    let own: fn(&mut Provider) = |one| one.quirks.authorize = vec![("prompt".to_owned(), "login".to_owned())];
    let another: fn(&mut Provider) = |one| one.quirks.authorize = vec![("access_type".to_owned(), "x".to_owned())];
    assert_eq!(prompts(own, true).await, ["login"]);
    assert_eq!(prompts(another, true).await, ["consent"]);
    assert_eq!(prompts(another, false).await, Vec::<String>::new());
}

#[tokio::test]
async fn resource_is_sent_as_the_provider_wants_it() {
    let world = world_of(like("linear", |one| one.resource = Resource::Never)).await;
    let (_, query) = world.redirect("").await;
    assert!(!query.contains_key("resource"));
    // What the metadata states goes before what is known, and is sent to the letter (Sentry: exact).
    let fixed = || Resource::Fixed("https://mcp.asana.com/v2".to_owned());
    let world = world_of(like("linear", |one| one.resource = fixed())).await;
    let mut metadata = world.stranger.resource_metadata();
    let stated = format!("{}/mcp/", world.stranger.origin);
    metadata["resource"] = stated.clone().into();
    world.stranger.answers(PRM, Reply::Json(200, metadata));
    let (url, query) = world.redirect("").await;
    assert_eq!(query["resource"], stated);
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    assert_eq!(world.stranger.last(TOKEN).form()["resource"], stated);
}

#[tokio::test]
async fn scopes_are_the_provider_s_where_nobody_says() {
    let silent = |world: &World| {
        let mut described = world.stranger.resource_metadata();
        described["scopes_supported"] = json!([]);
        world.stranger.answers(PRM, Reply::Json(200, described));
        let challenge =
            format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", world.stranger.origin);
        world.stranger.answers("POST /mcp", Reply::Challenge(challenge));
    };
    let world = world_of(like("sanity", |one| one.quirks.scope_separator = "+".to_owned())).await;
    silent(&world);
    let (_, query) = world.redirect("").await;
    assert_eq!(query["scope"].split('+').next(), Some("global"), "{query:?}");

    // Slack refuses a request without any.
    let world = world_of(like("slack", |one| one.registration = Registration::Dynamic)).await;
    silent(&world);
    let mut server = world.stranger.server_metadata();
    server["scopes_supported"] = json!([]);
    world.stranger.answers(SERVER, Reply::Json(200, server));
    let (step, text) = failure(world.begin().await);
    assert!(step == "authorization" && text.contains("must write scopes"), "{step}: {text}");
}

#[tokio::test]
async fn offline_access_is_asked_for_where_the_metadata_forgets_it() {
    for (provider, expected) in [("granola", true), ("linear", false)] {
        let world = world_of(like(provider, |_| ())).await;
        let mut server = world.stranger.server_metadata();
        server["scopes_supported"] = json!([]);
        world.stranger.answers(SERVER, Reply::Json(200, server));
        let (_, query) = world.redirect("").await;
        let asked = query["scope"].split(' ').any(|scope| scope == "offline_access");
        assert_eq!(asked, expected, "{provider}: {query:?}");
    }
}

/// Google lets everybody open a session and list tools, and answers 401 to calls.
#[tokio::test]
async fn whoever_asks_on_calls_is_asked_for_a_call() {
    let called = |challenges| async move {
        let world = world_of(like("linear", |one| one.challenges = challenges)).await;
        let challenge = format!("Bearer resource_metadata=\"{}/elsewhere\"", world.stranger.origin);
        world.stranger.answers("GET /elsewhere", Reply::Json(200, world.stranger.resource_metadata()));
        world.stranger.answers("POST /mcp", Reply::ChallengeTo("tools/call", challenge, 200));
        for place in [PRM, "GET /.well-known/oauth-protected-resource"] {
            world.stranger.missing(place);
        }
        matches!(world.begin().await.unwrap(), Begin::Redirect(_))
    };
    assert!(called(Challenges::OnCalls).await);
    assert!(!called(Challenges::AtOnce).await, "nobody else is asked to call anything");
}

/// A life that is only known is used where there is something to renew the token with.
#[tokio::test]
async fn tokens_live_as_long_as_their_provider_s_do() {
    let world = world_of(like("linear", |_| ())).await;
    let answer = |refresh: bool| {
        let mut answer = json!({ "access_token": "a", "token_type": "Bearer", "scope": "read" });
        if refresh {
            answer["refresh_token"] = "r".into();
        }
        Reply::Json(200, answer)
    };
    world.stranger.answers(TOKEN, answer(true));
    world.connect().await;
    let expiry = world.row().await.expires_at.unwrap();
    assert_eq!(expiry.since(world.clock.now()), Duration::from_secs(24 * 3600));
    world.stranger.answers(TOKEN, answer(false));
    let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    assert_eq!(world.row().await.expires_at, None);
}

/// A client is registered for the scopes of its time. When others are refused, the next flow registers anew, for those.
#[tokio::test]
async fn scopes_that_a_registration_does_not_have_are_registered() {
    let world = World::new().await;
    let (url, _) = world.redirect("").await;
    let refusal = CallbackQuery { error: Some("invalid_scope".to_owned()), code: None, ..world.stranger.consent(&url) };
    let (step, _) = failure(world.connections.finish(&world.session, refusal).await);
    assert_eq!(step, "authorization");
    let (_, query) = world.redirect("more").await;
    assert_eq!(world.stranger.count(REGISTER), 2);
    let registered: serde_json::Value = serde_json::from_str(&world.stranger.last(REGISTER).body).unwrap();
    assert_eq!(registered["scope"].as_str(), Some(query["scope"].as_str()));
}

/// The issuer is spelt with a slash at its end in one place and without in another; the metadata is behind a redirect.
#[tokio::test]
async fn a_slash_more_and_a_redirect_are_no_lies() {
    let world = World::new().await;
    let mut described = world.stranger.resource_metadata();
    described["authorization_servers"] = json!([format!("{}/", world.stranger.issuer())]);
    world.stranger.answers("GET /moved", Reply::Json(200, described));
    world.stranger.answers(PRM, Reply::Redirect("/moved".to_owned()));
    world.connect().await;
    assert!(world.credential().await.is_ok());
}
