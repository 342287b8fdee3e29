use super::*;
use std::os::unix::fs::PermissionsExt;

fn entry(expires_at: i64) -> Entry {
    Entry {
        resource: "https://gw.example/api/v1".to_owned(),
        client_id: "client".to_owned(),
        token_endpoint: "https://gw.example/token".to_owned(),
        revocation_endpoint: None,
        registration: None,
        access_token: Secret::new("access".to_owned()),
        expires_at,
        refresh_token: None,
    }
}

#[test]
fn addresses_as_people_write_them() {
    for (text, address, is_gateway) in [
        ("https://gw.example", "https://gw.example", true),
        ("gw.example/", "https://gw.example", true),
        ("GW.example:8443", "https://gw.example:8443", true),
        ("localhost:8080", "http://localhost:8080", true),
        ("http://x-enc.localhost:8080/mcp/", "http://x-enc.localhost:8080/mcp", false),
        ("x-enc.gw.example/mcp", "https://x-enc.gw.example/mcp", false),
    ] {
        assert_eq!(Server::parse(text).unwrap(), Server { address: address.to_owned(), is_gateway }, "{text}");
    }
    for bad in ["", "ftp://gw.example", "https://", "https://a@gw.example", "https://gw.example/#x"] {
        assert!(Server::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone_and_keeps_what_is_fresh() {
    let home = tempfile::TempDir::new().unwrap();
    let environment = Environment::from([("XDG_CONFIG_HOME".to_owned(), home.path().display().to_string())]);
    let server = Server::parse("https://gw.example").unwrap();
    let missing = access_token(&environment, "gw.example").await.err().unwrap();
    assert!(missing.public.contains("portcullis login https://gw.example"), "{missing}");

    let locked = Credentials::of(&environment).unwrap().lock().await.unwrap();
    locked.put(&server, entry(Clock::standing().now().after(Duration::from_secs(3600)).seconds())).unwrap();
    assert_eq!(access_token(&environment, "gw.example").await.unwrap().expose(), "access");
    let file = home.path().join("portcullis/credentials.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    locked.put(&server, entry(0)).unwrap();
    drop(locked);
    let ended = access_token(&environment, "gw.example").await.err().unwrap();
    assert!(ended.public.contains("expired") && ended.public.contains("login"), "{ended}");
    assert!(Credentials::of(&environment).unwrap().find(&server).unwrap().is_none(), "what has ended is forgotten");
    std::fs::write(&file, "{").unwrap();
    let damaged = access_token(&environment, "gw.example").await.err().unwrap();
    assert!(damaged.public.contains("credentials.json"), "{damaged}");
}
