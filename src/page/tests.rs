//! Every page with hostile data in it.

mod activity;
mod programs;

use super::*;
use crate::clock::Timestamp;
use crate::factors::{Enrolment, QrImage};
use crate::secret::Secret;
use axum::response::Response;
use http::StatusCode;

const HOSTILE: &str = "<script>alert(1)</script>\" onload='x' {{7*7}} \u{202e}moc.live";

pub(super) async fn text(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn moment() -> Moment {
    Moment::new(Timestamp(0), Timestamp(3_600))
}

fn consent_by(name: &'static str, uri: &'static str) -> Response {
    consent(&ConsentPage {
        client_name: name,
        client_id: name,
        client_uri: Some(uri),
        verified_host: None,
        destination: Destination::Address { host: name, warning: Some(name) },
        resource: name,
        upstream_name: name,
        account: Some(name),
        scopes: vec![name],
        can_remember: true,
        user: name,
        action: "/authorize",
        flow: name,
        csrf_token: name,
    })
}

fn account_page() -> AccountPage<'static> {
    let hostile = || HOSTILE.to_owned();
    let session = || SessionRow {
        id: hostile(),
        device: hostile(),
        address: Some(hostile()),
        means: hostile(),
        since: moment(),
        last_seen: moment(),
        this_one: false,
    };
    AccountPage {
        status: StatusCode::OK,
        account: Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: Some(HOSTILE) },
        notice: Some(HOSTILE),
        administrator: true,
        email: Some(HOSTILE),
        since: hostile(),
        has_password: true,
        authenticator: true,
        recovery_codes: Some(1),
        identities: IdentitiesSection {
            rows: vec![IdentityRow {
                issuer: hostile(),
                subject: hostile(),
                provider: hostile(),
                name: hostile(),
                email: Some(hostile()),
                used: moment(),
            }],
            providers: vec![(hostile(), hostile())],
        },
        passkeys: vec![PasskeyRow { id: hostile(), name: hostile(), since: moment(), last_used: Some(moment()) }],
        passkey_after_password: true,
        sessions: vec![session()],
        grants: vec![GrantRow {
            id: hostile(),
            client: hostile(),
            resource: hostile(),
            scopes: vec![hostile()],
            since: moment(),
        }],
        services: vec![ServiceRow {
            name: hostile(),
            label: hostile(),
            can_connect: true,
            connection: Some(connection_row()),
            pat: Some(moment()),
            has_shared_pat: true,
        }],
        endpoint: Some(EndpointSection {
            url: hostile(),
            members: vec![MemberRow {
                value: hostile(),
                name: hostile(),
                domain: Some(hostile()),
                account: hostile(),
                shown: true,
                tone: "good",
                state: "Connected",
                given: vec![hostile()],
                connect: Some(("Change", hostile())),
            }],
        }),
    }
}

fn connection_row() -> ConnectionRow {
    let hostile = || HOSTILE.to_owned();
    ConnectionRow {
        id: hostile(),
        name: hostile(),
        authority: hostile(),
        account: hostile(),
        tone: "good",
        state: "Connected",
        scopes: vec![hostile()],
        expiry: Some(hostile()),
        last_error: Some(hostile()),
        given: vec![hostile()],
        reconnect: Some(hostile()),
    }
}

fn held_row() -> HeldRow {
    let hostile = || HOSTILE.to_owned();
    HeldRow {
        id: hostile(),
        title: Some(hostile()),
        account: hostile(),
        tone: "good",
        state: "Connected",
        scopes: vec![hostile()],
        given: vec![hostile()],
        connected: moment(),
        used: Some(moment()),
        renewed: moment(),
        next: Some(NextRefresh::At(moment())),
        last_error: Some(hostile()),
        url: Some(hostile()),
        reconnect: Some(hostile()),
    }
}

fn upstream_row() -> UpstreamRow {
    let hostile = || HOSTILE.to_owned();
    UpstreamRow {
        name: hostile(),
        authority: hostile(),
        address: hostile(),
        tone: "bad",
        standing: "Denied",
        limits: vec!["not all tools"],
        trouble: Some(hostile()),
    }
}

fn servers_pages() -> Vec<Response> {
    let account = || Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: Some(HOSTILE) };
    let hostile = || HOSTILE.to_owned();
    let when = || Moment::new(Timestamp(0), Timestamp(7_200));
    let asked = || vec![AskedRow { user: Some(hostile()), client: Some(hostile()), when: when() }];
    let status = StatusCode::OK;
    let waiting = vec![WaitingRow { authority: hostile(), address: hostile(), asked: asked() }];
    let deeds = ServerDeeds { approve: true, deny: true, remove: true, look: true };
    let permission = |configured| PermissionSection {
        configured,
        everybody: false,
        users: vec![hostile()],
        groups: vec![(hostile(), 2)],
        known_groups: vec![hostile()],
    };
    let one = |deeds, configured| {
        server(&ServerPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            row: upstream_row(),
            id: HOSTILE,
            deeds,
            urls: vec![hostile()],
            given_name: HOSTILE,
            alias: HOSTILE,
            asked: asked(),
            decided: Some(when()),
            found: None,
            permission: permission(configured),
            tools: hostile(),
            extent: UpstreamExtent::default(),
        })
    };
    let tool = ToolRow {
        name: hostile(),
        title: Some(hostile()),
        description: hostile(),
        hints: vec!["says it only reads"],
        ticked: true,
        fixed: true,
        why: Some(hostile()),
    };
    vec![
        servers(&ServersPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            typed: HOSTILE,
            waiting,
            upstreams: vec![upstream_row()],
        }),
        one(deeds, false),
        one(ServerDeeds::default(), true),
        tools(&ToolsPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            name: HOSTILE,
            address: HOSTILE,
            read: Some(when()),
            trouble: Some((hostile(), Some(hostile()))),
            tools: vec![tool],
            total: 1,
            parts: (Some(hostile()), Some(hostile())),
            only_ticked: true,
            allowed: hostile(),
            denied: hostile(),
            configured: Some(hostile()),
        }),
    ]
}

fn people_pages() -> Vec<Response> {
    let account = || Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: Some(HOSTILE) };
    let (hostile, status) = (|| HOSTILE.to_owned(), StatusCode::OK);
    let row = |administrator, disabled| PersonRow {
        address: hostile(),
        name: hostile(),
        administrator,
        disabled,
        email: Some(hostile()),
        groups: vec![hostile()],
        since: moment(),
    };
    let groups = |by_administrator| GroupRow { name: hostile(), by_administrator, providers: vec![hostile()] };
    let one = |administrator, oneself| {
        person(&PersonPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            row: row(administrator, false),
            oneself,
            has_password: true,
            authenticator: true,
            recovery_codes: 3,
            passkeys: vec![KeyRow { id: hostile(), name: hostile(), since: moment(), used: Some(moment()) }],
            identities: vec![ElsewhereRow { provider: hostile(), name: hostile(), used: moment() }],
            sessions: vec![BrowserRow {
                id: hostile(),
                device: hostile(),
                address: Some(hostile()),
                means: hostile(),
                since: moment(),
                seen: moment(),
            }],
            groups: vec![groups(true), groups(false)],
            connections: vec![LinkRow {
                id: hostile(),
                name: hostile(),
                authority: hostile(),
                account: hostile(),
                tone: "good",
                state: "Connected",
                since: moment(),
            }],
            grants: vec![GrantRow {
                id: hostile(),
                client: hostile(),
                resource: hostile(),
                scopes: vec![hostile()],
                since: moment(),
            }],
            more: (Some(hostile()), Some(hostile())),
            extent: PersonExtent { sessions: 1, connections: 1, grants: 1, streams: 1 },
        })
    };
    vec![
        people(&PeoplePage {
            status,
            account: account(),
            error: Some(HOSTILE),
            searched: HOSTILE,
            typed: (HOSTILE, HOSTILE),
            people: vec![row(true, true)],
            more: Some(hostile()),
        }),
        one(true, false),
        one(false, true),
        sure(&SurePage {
            status,
            account: account(),
            error: Some(HOSTILE),
            title: HOSTILE,
            oneself: true,
            consequences: vec![hostile()],
            choice: Some((HOSTILE, HOSTILE, HOSTILE)),
            action: HOSTILE,
            button: HOSTILE,
            back: HOSTILE,
        }),
    ]
}

fn every_page() -> Vec<Response> {
    let rooms = [decisions_and_rooms(), servers_pages(), people_pages(), activity::pages()];
    rooms.into_iter().flatten().collect()
}

fn decisions_and_rooms() -> Vec<Response> {
    let account = || Account { name: HOSTILE, csrf_token: HOSTILE, administrator: true, notice: Some(HOSTILE) };
    let hostile = || HOSTILE.to_owned();
    let encoded_page = |error: bool, url| EncodedPage {
        status: StatusCode::OK,
        account: Some(account()),
        typed: HOSTILE,
        error: error.then(hostile),
        domain: HOSTILE,
        url,
        alias: Some(HOSTILE),
        commands: vec![Command { client: "Cursor", link: Some(("Add", hostile())), how: "Paste", text: hostile() }],
        connect: Some(hostile()),
        server: HOSTILE,
        qr: QrImage::of(HOSTILE),
    };
    let status = StatusCode::OK;
    let mut pages = vec![
        consent_by(HOSTILE, "javascript:alert(1)"),
        approval(&ApprovalPage {
            domain: HOSTILE,
            label: HOSTILE,
            client_name: HOSTILE,
            redirect_host: HOSTILE,
            user: HOSTILE,
            action: HOSTILE,
            flow: HOSTILE,
            csrf_token: HOSTILE,
        }),
        connect(&ConnectPage {
            service: HOSTILE,
            host: HOSTILE,
            program: Some(HOSTILE),
            scopes: vec![HOSTILE],
            user: HOSTILE,
            return_host: Some(HOSTILE),
            action: HOSTILE,
            csrf_token: HOSTILE,
        }),
        credential(&CredentialPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            name: HOSTILE,
            domain: Some(HOSTILE),
            account_name: HOSTILE,
            environment: true,
            fields: vec![CredentialField { name: HOSTILE, given: true }],
            action: HOSTILE,
        }),
        device(&DevicePage { status, error: Some(HOSTILE), user_code: HOSTILE, user: HOSTILE, csrf_token: HOSTILE }),
        message(&MessagePage {
            status,
            title: HOSTILE,
            text: HOSTILE,
            hint: Some(HOSTILE),
            actions: vec![(HOSTILE, HOSTILE)],
        }),
        login(&LoginPage {
            status,
            passwords: true,
            providers: vec![(HOSTILE, HOSTILE)],
            error: Some(HOSTILE),
            username: HOSTILE,
            return_to: HOSTILE,
            csrf_token: HOSTILE,
        }),
        setup(&SetupPage { status, error: Some(HOSTILE), username: HOSTILE, token: HOSTILE, csrf_token: HOSTILE }),
        landing(&LandingPage { domain: HOSTILE, unclaimed: true }),
        home(&HomePage {
            account: account(),
            alerts: vec![hostile()],
            checklist: Some(vec![ChecklistItem {
                title: "Names",
                done: false,
                tone: "bad",
                word: hostile(),
                texts: vec![hostile()],
                way: Some(("There", hostile())),
            }]),
            connections: 1,
            troubled: 1,
        }),
        outlook(&OutlookPage {
            account: account(),
            domain: HOSTILE,
            steps: vec![OutlookStep { title: "Its name", tone: "bad", word: "fails", text: hostile() }],
            connect: Some(hostile()),
            back: hostile(),
        }),
        connections(&ConnectionsPage {
            status,
            account: account(),
            error: Some(HOSTILE),
            upstreams: vec![HeldUpstream {
                name: hostile(),
                authority: hostile(),
                can_add: true,
                connections: vec![held_row()],
            }],
        }),
        super::account(&account_page()),
        code(&CodePage {
            status,
            error: Some(HOSTILE),
            csrf_token: HOSTILE,
            authenticator: true,
            passkey: true,
            recovery: true,
            return_to: HOSTILE,
        }),
        enrol(&EnrolPage {
            status,
            error: Some(HOSTILE),
            account: Some(account()),
            csrf_token: HOSTILE,
            action: HOSTILE,
            enrolment: &Enrolment {
                secret: Secret::new(hostile()),
                image: QrImage { size: 21, path: "M4 4h1v1h-1z".to_owned() },
            },
        }),
        codes(&CodesPage { account: Some(account()), codes: &[Secret::new(hostile())], go_on: HOSTILE }),
        encoded(&encoded_page(false, Some(HOSTILE))),
        encoded(&encoded_page(false, None)),
        encoded(&encoded_page(true, None)),
    ];
    pages.extend(programs::pages());
    pages
}

#[tokio::test]
async fn nothing_that_strangers_write_becomes_markup() {
    for response in every_page() {
        let html = text(response).await;
        for forbidden in ["<script>", "' {{", "onload='", "\" onload", "href=\"javascript:", " style=", "<style"] {
            assert!(!html.contains(forbidden), "{forbidden:?} in {html}");
        }
        assert!(html.contains("&#60;script&#62;"), "{html}");
    }
}

#[test]
fn every_page_carries_every_header() {
    for response in every_page() {
        let headers = response.headers();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(headers[name], value);
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("form-action"), "{policy}");
    }
}

#[tokio::test]
async fn a_decision_is_two_buttons_a_token_and_a_flow() {
    for response in every_page().into_iter().take(2) {
        let html = text(response).await;
        for part in [
            "name=\"decision\" value=\"approve\"",
            "name=\"decision\" value=\"deny\"",
            "name=\"csrf_token\"",
            "name=\"flow\"",
        ] {
            assert_eq!(html.matches(part).count(), 1, "{part} in {html}");
        }
    }
}

#[tokio::test]
async fn a_name_cannot_turn_the_writing_around() {
    let html = text(consent_by("Claude\u{202e}\u{200b}\n", "https://client.example/")).await;
    assert!(html.contains("Claude\u{fffd}\u{fffd}\u{fffd}"), "{html}");
    assert!(html.contains("href=\"https://client.example/\""));
    assert!(text(consent_by("x", "http://client.example/")).await.matches("client.example").count() == 0);
}

#[test]
fn assets_are_kept_for_good_and_unknown_ones_do_not_exist() {
    let named = ["portcullis.css", "portcullis.js", "passkeys.js", "start.js", "activity.js"].map(assets::address);
    let addresses = named.into_iter().chain(["/assets/icon.svg"]);
    for address in addresses {
        let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
        let response = asset(path.trim_start_matches("/assets/"), query).unwrap();
        assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
    assert!(asset("../mod.rs", None).is_none());
    // A page of another version, at another node, asks for another content.
    let other = asset("portcullis.css", Some("v=0123456789abcdef")).unwrap();
    assert_eq!(other.headers()["cache-control"], "no-cache");
}
