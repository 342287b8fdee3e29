use super::*;
use crate::jose::party::Party;
use crate::store::{Role, User};

async fn world() -> (Store, UserId) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let owner = UserId::random(&Random::default());
    let user = User {
        id: owner,
        name: "ada".into(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: Clock::standing().now(),
    };
    store.create_user(&user).await.unwrap();
    (store, owner)
}

fn new(owner: UserId) -> NewMachineClient {
    NewMachineClient {
        name: "Nightly".into(),
        owner,
        realm: realm("mcp.example.com").unwrap(),
        scope: Some(Scopes::parse("read").unwrap()),
        grant_types: [GrantType::ClientCredentials].into_iter().collect(),
        proof: MachineProof::Secret,
    }
}

async fn made(store: &Store, new: &NewMachineClient) -> Result<CreatedMachineClient, Fault> {
    create(store, &Clock::standing(), &Random::default(), new).await
}

#[tokio::test]
async fn a_client_is_made_with_a_secret_or_with_keys() {
    let (store, owner) = world().await;
    let with_secret = made(&store, &new(owner)).await.unwrap();
    let row = store.clients().await.unwrap().remove(0);
    assert_eq!((&row.id, row.owner, row.expires_at), (&with_secret.id, Some(owner), None));
    assert!(row.secret.unwrap().matches(&Digest::of(with_secret.secret.unwrap().expose())));
    let metadata = ClientMetadata::from_stored(row.metadata.as_bytes()).unwrap();
    assert!(metadata.allows(GrantType::ClientCredentials) && !metadata.allows(GrantType::JwtBearer));
    assert_eq!(metadata.scope.unwrap().to_string(), "read");

    let keys = ClientKeys::Inline(json!({"keys": [Party::new().jwk()]}));
    let with_keys = NewMachineClient { proof: MachineProof::Keys(keys), ..new(owner) };
    assert!(made(&store, &with_keys).await.unwrap().secret.is_none());
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let (store, owner) = world().await;
    let no_keys = ClientKeys::Inline(json!({"keys": []}));
    for (wrong, why) in [
        (NewMachineClient { name: " \u{200b} ".into(), ..new(owner) }, "needs a name"),
        (NewMachineClient { grant_types: GrantTypes::default(), ..new(owner) }, "at least one grant type"),
        (
            NewMachineClient { grant_types: [GrantType::RefreshToken].into_iter().collect(), ..new(owner) },
            "client_credentials",
        ),
        (NewMachineClient { proof: MachineProof::Keys(no_keys), ..new(owner) }, "jwks"),
    ] {
        let refused = made(&store, &wrong).await.err().unwrap();
        assert!(refused.public.contains(why), "{refused}");
    }
    assert!(store.clients().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_client_goes_with_its_owner() {
    let (store, owner) = world().await;
    made(&store, &new(owner)).await.unwrap();
    store.delete_user(owner, Clock::standing().now()).await.unwrap();
    assert!(store.clients().await.unwrap().is_empty());
}

#[test]
fn a_server_is_named_by_its_domain_or_its_label() {
    for text in ["mcp.example.com", "https://mcp.example.com/mcp", "nvrxaltborwgc43tnfqw4ltdn5wq-enc", "work--notes"] {
        assert!(matches!(realm(text), Ok(Realm::Mcp(_))), "{text}");
    }
    assert_eq!(realm("notes").unwrap().key(), "notes");
    assert!(realm("mcp.a-very-long-name.department.example.com").unwrap_err().public.contains("alias"));
    for text in ["", "a_b.example", "x-enc", "-"] {
        assert!(realm(text).is_err(), "{text}");
    }
}
