//! Proofs for another request, of another key, or of nobody.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

use super::{DPOP, Proofs, Purpose, Unproven};
use crate::clock::{Clock, Timestamp};
use crate::devkit::prover::Prover;
use crate::fuzzing::Input;
use crate::ids::Random;
use crate::oauth::error::Code;
use crate::store::Store;
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

const METHODS: [&str; 4] = ["GET", "POST", "get", ""];
const TOKENS: [&str; 3] = ["the.access.token", "another.access.token", ""];

/// The address of requests comes first; each has a number for where it leads, and one that leads nowhere has none.
const ADDRESSES: [(&str, Option<u8>); 22] = [
    ("https://notes.gw.example/mcp", Some(0)),
    ("https://notes.gw.example/token", Some(1)),
    ("https://gw.example:8443/token", Some(2)),
    ("http://localhost:8080/", Some(3)),
    ("HTTPS://Notes.GW.example:443/mcp", Some(0)),
    ("https://notes.gw.example/mcp?a=b#c", Some(0)),
    ("wss://notes.gw.example/mcp", Some(0)),
    ("https://notes.gw.example/%6dcp", Some(0)),
    ("https://notes.gw.example/x/../mcp", Some(0)),
    ("http://localhost:8080", Some(3)),
    ("ws://localhost:8080/", Some(3)),
    ("http://notes.gw.example/mcp", Some(10)),
    ("https://notes.gw.example:8443/mcp", Some(11)),
    ("https://files.gw.example/mcp", Some(12)),
    ("https://notes.gw.example/mcp/", Some(13)),
    ("https://notes.gw.example/MCP", Some(14)),
    ("https://notes.gw.example/mcp%2f", Some(15)),
    ("https://notes.gw.example//mcp", Some(16)),
    ("https://notes.gw.example.evil.example/mcp", Some(17)),
    ("https://user@notes.gw.example/mcp", None),
    ("/mcp", None),
    ("", None),
];
/// How many of them are addresses of requests.
const REQUESTED: usize = 4;

/// How far the maker's clock is off, in seconds, and whether that is too much. None is so near to the limit that a slow machine
/// makes it another one.
const SKEWS: [(i64, bool); 6] = [(0, true), (-25, true), (25, true), (-200, false), (200, false), (-1_000_000, false)];

/// How often proofs are made anew that are used for many inputs: they stay fresh, also on a slow machine.
const REMADE: Duration = Duration::from_secs(20);

struct World {
    proofs: Proofs,
    /// Of a deployment that has nothing to do with ours.
    theirs: Proofs,
    prover: Prover,
    /// To whose key the token is bound.
    thumbprint: String,
    stranger: Prover,
    runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let proofs = || async {
        let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
        Proofs::new(Store::open("sqlite::memory:").await.unwrap(), vault, Clock::system())
    };
    let (ours, theirs) = runtime.block_on(async { (proofs().await, proofs().await) });
    let (prover, stranger) = (Prover::new().unwrap(), Prover::new().unwrap());
    World { proofs: ours, theirs, thumbprint: prover.thumbprint(), prover, stranger, runtime }
});

/// The request that a proof comes with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Asked {
    method: &'static str,
    url: usize,
    token: Option<&'static str>,
}

impl Asked {
    fn of(input: &mut Input<'_>) -> Self {
        let (method, url) = (input.pick(&METHODS[..2]), input.below(REQUESTED));
        Self { method, url, token: input.coin().then(|| input.pick(&TOKENS[..2])) }
    }

    fn url(&self) -> &'static str {
        ADDRESSES[self.url].0
    }

    fn purpose(&self) -> Purpose<'_> {
        let token = self.token.map(|token| (token, WORLD.thumbprint.as_str()));
        Purpose { method: self.method, url: self.url(), token }
    }

    /// Header and claims of a proof of ours for this request.
    fn right(&self) -> (Value, Value) {
        let now = WORLD.proofs.clock.now();
        (WORLD.prover.header(), WORLD.prover.claims(self.method, self.url(), self.token, now))
    }
}

/// Only a proof of the key to which the token is bound, for this method, address and token, of these minutes, is believed.
pub(crate) fn proof(data: &[u8]) {
    let mut input = Input::new(data);
    let asked = Asked::of(&mut input);
    match input.below(6) {
        0 => well_formed(&mut input, &asked),
        1 => with_other_members(&mut input, &asked),
        2 => in_other_words(&mut input, &asked),
        3 => with_a_nonce(&mut input, &asked),
        4 => of_parts(&mut input, &asked),
        _ => assert_eq!(judged(&[input.rest()], &asked), None, "nobody made this"),
    }
}

fn headers(texts: &[&[u8]]) -> HeaderMap {
    texts.iter().filter_map(|text| Some((DPOP, HeaderValue::from_bytes(text).ok()?))).collect()
}

/// Whose key is believed.
fn judged(texts: &[&[u8]], asked: &Asked) -> Option<String> {
    match WORLD.proofs.judge(&headers(texts), &asked.purpose()) {
        Ok(proved) => proved.map(|(thumbprint, claims)| {
            assert!(!claims.jti.is_empty());
            thumbprint
        }),
        Err(Unproven::Refused { code, nonce, .. }) => {
            assert!(matches!(code, Code::InvalidDpopProof | Code::UseDpopNonce));
            assert!(nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{nonce:?}");
            None
        }
        Err(Unproven::Failed(fault)) => panic!("{fault}"),
    }
}

/// What any client library makes, for this request or another.
fn well_formed(input: &mut Input<'_>, asked: &Asked) {
    let other = |input: &mut Input<'_>| input.below(4) == 1;
    let method = if other(input) { input.pick(&METHODS) } else { asked.method };
    let (url, leads_to) = if other(input) { input.pick(&ADDRESSES) } else { ADDRESSES[asked.url] };
    let token = if other(input) { input.coin().then(|| input.pick(&TOKENS)) } else { asked.token };
    let (skew, is_now) = if other(input) { input.pick(&SKEWS) } else { SKEWS[0] };
    let (is_stranger, borrows) = (other(input), other(input));
    let count = if other(input) { input.below(3) } else { 1 };
    let (signer, somebody) =
        if is_stranger { (&WORLD.stranger, &WORLD.prover) } else { (&WORLD.prover, &WORLD.stranger) };
    let mut claims = signer.claims(method, url, token, WORLD.proofs.clock.now());
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() + skew);
    let text = signer.sign(&if borrows { somebody.header() } else { signer.header() }, &claims);
    let expected = count == 1
        && !borrows
        && method == asked.method
        && leads_to == ADDRESSES[asked.url].1
        && is_now
        && (asked.token.is_none() || token == asked.token && !is_stranger);
    let texts = vec![text.as_bytes(); count];
    assert_eq!(judged(&texts, asked), expected.then(|| signer.thumbprint()), "{claims}");
    // Which costs a database's time.
    if expected && input.below(64) == 1 {
        let (headers, purpose) = (headers(&texts), asked.purpose());
        let twice = || WORLD.runtime.block_on(WORLD.proofs.check(&headers, &purpose)).is_ok();
        assert!(twice() && !twice(), "a proof is for one request");
    }
}

/// Rightly signed, but with something else in it.
fn with_other_members(input: &mut Input<'_>, asked: &Asked) {
    let (mut header, mut claims) = asked.right();
    let (own, stranger) = (header["jwk"].clone(), WORLD.stranger.jwk());
    for _ in 0..input.below(3) {
        let name = input.pick(&["alg", "typ", "crit", "kid", "jku", "x5c", "b64"]);
        let text = input.pick(&["none", "HS256", "es256", "ES384", "EdDSA", "DPoP+JWT", "JWT", "at+jwt", "ES256", ""]);
        header[name] = match input.below(5) {
            0 => Value::Null,
            1 => json!(["b64"]),
            2 => json!(1),
            3 => own.clone(),
            _ => json!(text),
        };
    }
    match input.below(6) {
        1 => header["jwk"] = stranger,
        2 => header["jwk"][input.pick(&["d", "k", "p", "q"])] = json!("AA"),
        3 => header["jwk"][input.pick(&["kty", "crv", "x", "y", "alg", "use", "key_ops"])] = json!(input.text(12)),
        4 => header["jwk"] = json!({"kty": "oct", "k": BASE64URL_NOPAD.encode(input.bytes(32))}),
        5 => header["jwk"] = json!([own]),
        _ => {}
    }
    let now = claims["iat"].as_i64().unwrap();
    for _ in 0..input.below(3) {
        let name = input.pick(&["jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf", "aud"]);
        claims[name] = match input.below(8) {
            0 => Value::Null,
            1 => json!(input.pick(&METHODS)),
            2 => json!(input.pick(&ADDRESSES).0),
            3 => json!(input.pick(&[0, -1, i64::MIN, i64::MAX, now - 200, now + 200])),
            4 => json!(input.pick(&[now as f64 + 0.5, 1e300, -0.0, 1e-300])),
            5 => json!([claims[name].clone()]),
            6 => json!(BASE64URL_NOPAD.encode(input.bytes(32))),
            _ => json!(input.text(30)),
        };
    }
    if judged(&[WORLD.prover.sign(&header, &claims).as_bytes()], asked).is_some() {
        check_said(&header, &claims, asked);
    }
}

/// Rightly signed, with something that was put into its text.
fn in_other_words(input: &mut Input<'_>, asked: &Asked) {
    const PUT_IN: [&str; 10] = [
        "\"htm\":\"GET\",",
        "\"htu\":\"https://notes.gw.example/mcp\",",
        "\"iat\":1,",
        "\"alg\":\"none\",",
        "\"typ\":\"dpop+jwt\",",
        "\"jwk\":{},",
        "\"d\":\"AA\",",
        "\"crit\":[\"b64\"],",
        "\"\\u0068tm\":\"GET\",",
        "[",
    ];
    let (header, claims) = asked.right();
    let mut texts = [header.to_string(), claims.to_string()];
    for _ in 0..input.below(4) {
        let text = &mut texts[input.below(2)];
        let at = input.below(256) % (text.len() + 1);
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        // Where a member may stand, more often than not.
        let at = if input.coin() { text[..at].rfind(['{', ',']).map_or(0, |at| at + 1) } else { at };
        let put_in = if input.coin() { input.text(20) } else { input.pick(&PUT_IN).to_owned() };
        text.insert_str(at, &put_in);
    }
    if judged(&[WORLD.prover.sign_text(&texts[0], &texts[1]).as_bytes()], asked).is_some() {
        let [header, claims] = texts.map(|text| serde_json::from_str(&text).unwrap());
        check_said(&header, &claims, asked);
    }
}

/// A nonce counts when it is one of ours, and then the clock does not.
fn with_a_nonce(input: &mut Input<'_>, asked: &Asked) {
    let (header, mut claims) = asked.right();
    let ours = WORLD.proofs.nonce();
    let nonce = match input.below(4) {
        0 => ours.clone(),
        1 => WORLD.theirs.nonce(),
        2 => {
            let mut nonce = ours.clone().into_bytes();
            let at = input.below(nonce.len());
            nonce[at] = input.pick(b"ABab01-_=");
            String::from_utf8(nonce).unwrap()
        }
        _ => BASE64URL_NOPAD.encode(input.bytes(48)),
    };
    claims["nonce"] = json!(nonce);
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() + input.pick(&SKEWS).0);
    let believed = judged(&[WORLD.prover.sign(&header, &claims).as_bytes()], asked).is_some();
    assert_eq!(believed, nonce == ours, "{nonce}");
}

/// Proofs that others are put together of.
#[derive(Clone)]
struct Whole {
    right: String,
    /// Of another key.
    stranger: String,
    /// For another method.
    other: String,
}

/// Those for a request. Signatures take longer than all else, so they are made a few times a minute and not for every input.
fn whole(asked: &Asked) -> Whole {
    static MADE: LazyLock<Mutex<HashMap<Asked, (Timestamp, Whole)>>> = LazyLock::new(Mutex::default);
    let now = WORLD.proofs.clock.now();
    let mut made = MADE.lock();
    if let Some((_, whole)) = made.get(asked).filter(|(at, _)| now.since(*at) < REMADE && *at <= now) {
        return whole.clone();
    }
    let (header, mut claims) = asked.right();
    let right = WORLD.prover.sign(&header, &claims);
    let stranger = WORLD.stranger.sign(&WORLD.stranger.header(), &claims);
    claims["htm"] = json!("DELETE");
    let whole = Whole { right, stranger, other: WORLD.prover.sign(&header, &claims) };
    made.insert(*asked, (now, whole.clone()));
    whole
}

/// Pieces of proofs that are right each for itself.
fn of_parts(input: &mut Input<'_>, asked: &Asked) {
    let Whole { right, stranger, other } = whole(asked);
    let mut parts: Vec<String> = (0..3)
        .map(|position| match input.below(8) {
            0 => stranger.split('.').nth(position).unwrap().to_owned(),
            1 => other.split('.').nth(position).unwrap().to_owned(),
            2 => BASE64URL_NOPAD.encode(input.bytes(64)),
            _ => right.split('.').nth(position).unwrap().to_owned(),
        })
        .collect();
    let part = &mut parts[input.below(3)];
    match input.below(6) {
        1 => part.push(char::from(input.pick(b"A=. \n.,~"))),
        2 => drop(part.pop()),
        3 => {
            // The bits of the last character that mean nothing, or others.
            part.pop();
            part.push(char::from(input.pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")));
        }
        4 => part.insert(0, char::from(input.pick(b" A=."))),
        _ => {}
    }
    let text = parts.join(".");
    let genuine = text == right || text == stranger && asked.token.is_none();
    assert_eq!(judged(&[text.as_bytes()], asked).is_some(), genuine, "{text}");
}

/// What must stand in a proof that is believed.
fn check_said(header: &Value, claims: &Value, asked: &Asked) {
    assert!(header["typ"].as_str().unwrap().eq_ignore_ascii_case("dpop+jwt") && header["alg"] == "ES256");
    assert!(header["crit"].is_null(), "something critical that we do not know");
    let (jwk, own) = (&header["jwk"], WORLD.prover.jwk());
    assert!(["kty", "crv", "x", "y"].iter().all(|member| jwk[member] == own[member]));
    assert!(["d", "k", "p", "q"].iter().all(|member| jwk.get(member).is_none()), "a private key is believed");
    assert!(claims["jti"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(claims["htm"], asked.method);
    assert_eq!(place(claims["htu"].as_str().unwrap()), place(asked.url()));
    // None of the nonces that get in here is ours.
    assert!(claims["nonce"].is_null());
    let off = claims["iat"].as_f64().unwrap() - WORLD.proofs.clock.now().seconds() as f64;
    assert!(off.abs() < 150.0, "{off} s off");
    if let Some(token) = asked.token {
        assert_eq!(claims["ath"], BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref()));
    }
}

/// Where an address leads, as a URL library sees it.
fn place(address: &str) -> (bool, String, Option<u16>, Vec<u8>) {
    let url = Url::parse(address).unwrap();
    assert!(url.username().is_empty() && url.password().is_none());
    let is_secure = match url.scheme() {
        "https" | "wss" => true,
        "http" | "ws" => false,
        scheme => panic!("a proof for {scheme}"),
    };
    let (mut path, mut rest) = (Vec::new(), url.path().as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%') {
            Some(octet) => {
                path.push(octet);
                rest = &after[2..];
            }
            None => {
                path.push(*byte);
                rest = after;
            }
        }
    }
    (is_secure, url.host_str().unwrap().to_owned(), url.port_or_known_default(), path)
}
