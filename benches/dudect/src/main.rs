//! Whether the time that a comparison takes tells where a guess differs from the secret (`make dudect`): Reparaz, Balasch,
//! Verbauwhede, "dude, is my code constant time?". Two classes of guesses, one drawn at random before each measurement, and
//! Welch's t of the two. Beyond 4.5 in either direction a difference is there. What a leak does it does always, what another
//! program on the machine does it does now and then: a comparison fails when every round says so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

mod welch;

// The gateway's own files. Not all that is in them is used here.
#[path = "../../../src/csrf.rs"]
#[allow(dead_code)]
mod csrf;
#[path = "../../../src/hostname/mod.rs"]
#[allow(dead_code, unused_imports)]
mod hostname;
#[path = "../../../src/ids.rs"]
#[allow(dead_code)]
mod ids;
#[path = "../../../src/session/notice.rs"]
#[allow(dead_code)]
mod notice;
#[path = "../../../src/oauth/pkce.rs"]
#[allow(dead_code)]
mod pkce;
#[path = "../../../src/secret.rs"]
#[allow(dead_code)]
mod secret;

use hostname::{Scheme, Site};
use http::{HeaderMap, HeaderValue};
use ids::{Digest, Random};
use ring::hmac;
use secret::Secret;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use welch::{Class, Measured};

/// The bound of the method.
const LEAK: f64 = 4.5;
const ROUNDS: usize = 3;
const SAMPLES: usize = 400_000;
/// Calls in one measurement: one alone is near the resolution of the clock.
const CALLS: usize = 16;

/// The guesses of a class, as the caller sends them.
type Guess = dyn Fn(Class, &Random) -> Vec<u8>;
type Compare = dyn Fn(&[u8]) -> bool;

fn main() -> ExitCode {
    let samples = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(SAMPLES);
    println!("| comparison | guesses | \\|t\\| of {ROUNDS} rounds of {samples} | |\n|---|---|---|---|");
    let mut good = true;
    for (name, secret, compare) in comparisons() {
        let (first_or_last, right_or_random) = guesses(&secret);
        good &= row(name, "wrong in the first or in the last byte", (&first_or_last, &*compare), samples, false);
        // That a verifier is well-formed is found out character by character, and a processor learns those that come again and
        // again: a difference, but none that the challenge has to do with.
        if !name.contains("PKCE") {
            good &= row(name, "right or random", (&right_or_random, &*compare), samples, false);
        }
    }
    // What compares byte by byte has to be found, or nothing that is not found means anything.
    let secret = Random::default().token();
    let (first_or_last, _) = guesses(secret.as_bytes());
    let naive = move |guess: &[u8]| {
        guess.len() == secret.len() && guess.iter().zip(secret.as_bytes()).all(|(a, b)| black_box(*a) == black_box(*b))
    };
    good &= row(
        "byte by byte, as nothing here does",
        "wrong in the first or in the last byte",
        (&first_or_last, &naive),
        samples,
        true,
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every way in which the gateway compares something with a secret; where the outcome decides what is done next, the guess is
/// always wrong in the end.
fn comparisons() -> Vec<(&'static str, Vec<u8>, Box<Compare>)> {
    let random = Random::default();
    // What begins and ends with a small letter: where it is replaced by another one, no class of characters changes.
    let fits = |token: &Vec<u8>| token[0].is_ascii_lowercase() && token[token.len() - 1].is_ascii_lowercase();
    let token = || std::iter::repeat_with(|| random.token().as_bytes().to_vec()).find(fits).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (of_text, of_digest, of_pkce, of_form) = (token(), Digest::of(token()).0.to_vec(), token(), token());
    let secret = Secret::new(text(&of_text));
    let digest = Digest::from_slice(&of_digest).unwrap();
    let stored = Digest::of(&of_text);
    let challenge = pkce::Challenge::of(&text(&of_pkce));
    let site = Site::new("gw.example", Scheme::Https, 443);
    let mut headers = HeaderMap::new();
    headers.insert("origin", HeaderValue::from_static("https://gw.example"));
    let (expected, key) = (text(&of_form), hmac::Key::new(hmac::HMAC_SHA256, &random.bytes::<32>()));
    let tag = hmac::sign(&key, b"a mark of the vault").as_ref().to_vec();
    vec![
        ("Secret::matches (client secrets, initial access token)", of_text.clone(), {
            Box::new(move |guess: &[u8]| secret.matches(std::str::from_utf8(guess).unwrap_or_default()))
        }),
        ("Digest::matches (keys, cookies, registration tokens)", of_digest, {
            Box::new(move |guess: &[u8]| digest.matches(&Digest::from_slice(guess).unwrap()))
        }),
        ("Digest::of and matches (what a caller shows)", of_text, {
            Box::new(move |guess: &[u8]| stored.matches(&Digest::of(guess)))
        }),
        ("Challenge::is_answered_by (PKCE)", of_pkce, {
            Box::new(move |guess: &[u8]| challenge.is_answered_by(std::str::from_utf8(guess).unwrap_or_default()))
        }),
        ("csrf::check (tokens of forms)", of_form, {
            Box::new(move |guess: &[u8]| {
                csrf::check(&site, &headers, &expected, std::str::from_utf8(guess).ok()).is_ok()
            })
        }),
        ("hmac::verify (marks of the vault, notices)", tag, {
            Box::new(move |guess: &[u8]| hmac::verify(&key, b"a mark of the vault", guess).is_ok())
        }),
    ]
}

/// Two pairs of classes. A wrong byte stays one of base64url where the secret is text.
fn guesses(secret: &[u8]) -> (Box<Guess>, Box<Guess>) {
    let (wrong, right) = (secret.to_vec(), secret.to_vec());
    let is_text = secret.is_ascii() && secret.len() == 43;
    let other = |byte: u8| if byte == b'a' { b'b' } else { b'a' };
    let first_or_last = move |class: Class, _: &Random| {
        let mut guess = wrong.clone();
        let at = if class == Class::A { 0 } else { guess.len() - 1 };
        guess[at] = other(guess[at]);
        guess
    };
    let right_or_random = move |class: Class, random: &Random| match class {
        Class::A => right.clone(),
        Class::B if is_text => random.token().as_bytes().to_vec(),
        Class::B => random.bytes::<32>().to_vec(),
    };
    (Box::new(first_or_last), Box::new(right_or_random))
}

/// Measures a comparison and prints it; whether it is as it should be.
fn row(name: &str, classes: &str, what: (&Guess, &Compare), samples: usize, leaks: bool) -> bool {
    let found: Vec<f64> = (0..ROUNDS).map(|_| round(what, samples).t().abs()).collect();
    let leaked = found.iter().all(|t| *t >= LEAK);
    let figures: Vec<String> = found.iter().map(|t| format!("{t:.2}")).collect();
    let verdict = match (leaked, leaks) {
        (false, false) => "constant",
        (true, true) => "found, as it must be",
        (true, false) => "LEAKS",
        (false, true) => "NOT FOUND",
    };
    println!("| {name} | {classes} | {} | {verdict} |", figures.join(", "));
    leaked == leaks
}

fn round((guess, compare): (&Guess, &Compare), samples: usize) -> Measured {
    let (random, mut measured) = (Random::default(), Measured::default());
    // All are made before the clock runs, and copied to one place, so that the classes differ in nothing but their bytes.
    let classes = (0..samples.div_ceil(8)).flat_map(|_| Class::eight(random.bytes::<1>()[0])).take(samples);
    let guesses: Vec<(Class, Vec<u8>)> = classes.map(|class| (class, guess(class, &random))).collect();
    let mut place = guess(Class::A, &random);
    for (class, next) in guesses {
        place.copy_from_slice(&next);
        let began = Instant::now();
        for _ in 0..CALLS {
            black_box(compare(black_box(&place)));
        }
        measured.add(class, began.elapsed().as_nanos() as f64);
    }
    measured
}
