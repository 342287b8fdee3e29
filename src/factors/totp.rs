//! Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 s, which is all that every app
//! understands.

use crate::clock::Timestamp;
use data_encoding::BASE32_NOPAD;
use ring::hmac;
use subtle::ConstantTimeEq;

/// Of a secret, in bytes (RFC 4226 §4, R6).
pub(super) const SECRET_LEN: usize = 20;
const DIGITS: usize = 6;
const STEP: i64 = 30;

/// The step whose code this is: the present one, the one before or the one after (RFC 6238 §5.2), since clocks differ.
/// `None` when it is no code of those.
pub(super) fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let present = now.seconds().div_euclid(STEP);
    // All three are computed whatever the first says, so that the time tells nothing.
    let fits = |step: i64| bool::from(self::code(secret, step).as_bytes().ct_eq(code.as_bytes()));
    let found = [present - 1, present, present + 1].map(|step| (fits(step), step));
    found.into_iter().find_map(|(fits, step)| fits.then_some(step))
}

/// What an app reads from the QR code, the format that Google Authenticator began with.
pub(super) fn uri(secret: &[u8], issuer: &str, name: &str) -> String {
    let escaped =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (issuer, name) = (escaped(issuer), escaped(name));
    let secret = BASE32_NOPAD.encode(secret);
    format!(
        "otpauth://totp/{issuer}:{name}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP}"
    )
}

/// The secret for people who cannot scan it, in groups of four.
pub(super) fn spelled(secret: &[u8]) -> String {
    super::grouped(&BASE32_NOPAD.encode(secret), ' ')
}

/// RFC 4226 §5.3 with the step as counter.
fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0xf);
    let word = tag[offset..offset + 4].iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0DIGITS$}", word % 10u32.pow(DIGITS as u32))
}

#[cfg(test)]
pub(crate) fn code_at(spelled: &str, now: Timestamp) -> String {
    let secret = BASE32_NOPAD.decode(spelled.replace(' ', "").as_bytes()).unwrap();
    code(&secret, now.seconds().div_euclid(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_vectors_of_rfc_6238_appendix_b() {
        for (seconds, expected) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code(SECRET, seconds / STEP), expected[2..], "{seconds}");
        }
    }

    #[test]
    fn the_step_before_and_the_step_after_count_and_no_other() {
        let now = Timestamp(2_000_000_000);
        let present = now.seconds() / STEP;
        for (step, expected) in [(-2, None), (-1, Some(-1)), (0, Some(0)), (1, Some(1)), (2, None)] {
            let found = step_of(SECRET, &code(SECRET, present + step), now);
            assert_eq!(found, expected.map(|step| present + step), "{step}");
        }
        assert_eq!(step_of(SECRET, " 279 037\n", now), Some(present));
        for wrong in ["", "279", "2790370", "27903x", "٢٧٩٠٣٧"] {
            assert_eq!(step_of(SECRET, wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn the_uri_says_everything() {
        assert_eq!(
            uri(SECRET, "Portcullis (gw.example)", "alice@x"),
            "otpauth://totp/Portcullis%20%28gw.example%29:alice%40x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Portcullis%20%28gw.example%29&algorithm=SHA1&digits=6&period=30"
        );
        assert!(spelled(SECRET).starts_with("GEZD GNBV "));
    }
}
