use super::*;
use crate::oauth::challenge::BearerChallenge;
use serde_json::json;

impl World {
    async fn demand(&self, credential: &Credential, scope: &str) -> StepUp {
        let challenge = BearerChallenge { scope: Some(scope.to_owned()), ..BearerChallenge::default() };
        self.connections.step_up(&self.key, credential, &challenge).await.unwrap()
    }

    /// The person comes back from a step-up that waits.
    async fn answer(&self, change: impl Fn(&mut CallbackQuery)) -> Result<String, ConnectError> {
        let (url, _) = self.redirect("").await;
        let mut back = self.stranger.consent(&url);
        change(&mut back);
        self.connections.finish(&self.session, back).await
    }
}

fn ask(scopes: &str) -> StepUp {
    StepUp::Ask(Scopes::parse(scopes).unwrap())
}

#[tokio::test]
async fn what_is_asked_for_is_added_to_what_there_is() {
    let mut world = World::new().await;
    let (url, _) = world.redirect("read").await;
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    let old = world.credential().await.unwrap();
    assert_eq!(world.connections.stepped_up(&world.key).await.unwrap(), None);
    assert_eq!(world.demand(&old, "admin").await, ask("admin read"));
    assert_eq!(world.demand(&old, "audit").await, ask("admin audit read"));

    world.restart();
    let (_, query) = world.redirect("").await;
    assert_eq!(query["scope"], "admin audit offline_access read write");
    let (_, query) = world.redirect("read").await;
    assert_eq!(query["scope"], "admin audit offline_access read");
    world.answer(|_| {}).await.unwrap();
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    // One that was under way meanwhile.
    assert_eq!(world.demand(&old, "admin").await, ask("admin audit read write"));
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
}

#[tokio::test]
async fn learnt_scopes_are_supported_but_not_usual() {
    let world = World::new().await;
    world.connect().await;
    let credential = world.credential().await.unwrap();
    world.demand(&credential, "admin").await;
    world.clock.advance(Duration::from_secs(3600)); // what was found is out of date, what was learnt is not
    world.redirect("").await;
    let authority = world.authority();
    assert_eq!(world.connections.usual_scopes(authority).await.to_string(), "read write");
    assert_eq!(world.connections.supported_scopes(authority).await.to_string(), "admin read write");
}

#[tokio::test]
async fn what_is_learnt_has_a_size() {
    let world = World::new().await;
    world.connect().await;
    let credential = world.credential().await.unwrap();
    let (long, longer) = ("x".repeat(1500), "y".repeat(1000));
    for scope in [&long, &longer, "admin"] {
        world.demand(&credential, scope).await;
    }
    let supported = world.connections.supported_scopes(world.authority()).await.to_string();
    assert_eq!(supported, format!("admin read write {long}"), "what has no room is not remembered");
}

#[tokio::test]
async fn a_challenge_that_names_no_scope_means_the_usual_ones() {
    let world = World::new().await;
    let (url, _) = world.redirect("read").await;
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    let credential = world.credential().await.unwrap();
    let step = world.connections.step_up(&world.key, &credential, &BearerChallenge::default()).await.unwrap();
    assert_eq!(step, ask("read write"));
}

#[tokio::test]
async fn without_usual_scopes_learnt_ones_are_kept_to_ourselves() {
    let world = World::new().await;
    let mut metadata = world.stranger.resource_metadata();
    metadata["scopes_supported"] = json!([]);
    world.stranger.answers("GET /.well-known/oauth-protected-resource/mcp", Reply::Json(200, metadata));
    world.connect().await;
    let credential = world.credential().await.unwrap();
    assert_eq!(world.demand(&credential, "admin").await, ask("admin"));
    assert!(world.connections.supported_scopes(world.authority()).await.is_empty());
}

#[tokio::test]
async fn a_refusal_settles_it_and_trouble_does_not() {
    let world = World::new().await;
    world.connect().await;
    let credential = world.credential().await.unwrap();
    for (error, waits) in [("temporarily_unavailable", true), ("invalid_scope", false)] {
        assert_eq!(world.demand(&credential, "admin").await, ask("admin read write"));
        let refused = world.answer(|back| (back.code, back.error) = (None, Some(error.to_owned()))).await;
        assert!(refused.is_err());
        assert_eq!(world.connections.stepped_up(&world.key).await.unwrap().is_some(), waits, "{error}");
    }
    assert_eq!(world.demand(&credential, "admin").await, StepUp::Final);
    assert_eq!(world.demand(&credential, "audit").await, ask("audit read write"), "another matter");
    assert_eq!(world.demand(&credential, &"x".repeat(3000)).await, StepUp::Final);
}

#[tokio::test]
async fn a_connection_that_is_gone_asks_for_nothing_in_the_name_of_the_next_one() {
    let world = World::new().await;
    world.connect().await;
    let former = world.credential().await.unwrap();
    assert!(world.store.delete_connection(world.row().await.id).await.unwrap());
    world.connect().await;
    assert_eq!(world.demand(&former, "admin").await, StepUp::Final);
    assert_eq!(world.connections.stepped_up(&world.key).await.unwrap(), None);
}

#[tokio::test]
async fn an_open_server_may_begin_with_it() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Endless);
    world.stranger.missing("GET /.well-known/oauth-protected-resource/mcp");
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    let open = world.credential().await.unwrap();
    world.stranger.answers("GET /late", Reply::Json(200, world.stranger.resource_metadata()));
    let challenge = BearerChallenge {
        resource_metadata: Some(format!("{}/late", world.stranger.origin)),
        scope: Some("late".to_owned()),
        ..BearerChallenge::default()
    };
    assert_eq!(world.connections.step_up(&world.key, &open, &challenge).await.unwrap(), ask("late"));
    assert!(world.credential().await.unwrap().header().is_none(), "what needs no authorization goes on");
    let (_, query) = world.redirect("").await;
    assert_eq!(query["scope"], "late offline_access");
    world.answer(|_| {}).await.unwrap();
    assert!(world.credential().await.unwrap().header().is_some());
}
