//! W3C Trace Context: which trace a request belongs to, in header fields and in `_meta` of MCP messages (SEP-414).

use crate::ids::Random;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// `traceparent`, §3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`, §3.3.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What of the flags goes on: sampled, and that the trace id is random (level 2, §3.2.2.5).
const KNOWN_FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;
/// The longest `tracestate` that goes on, in bytes, and the most members (§3.3.1.5).
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;

/// Of a trace, never all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceId([u8; 16]);

/// Of a span, never all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanId([u8; 8]);

/// A place in a trace. Written, it is a `traceparent`.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    flags: u8,
    /// What tracing systems on the way want to know again; as it came.
    state: Option<Box<str>>,
}

impl TraceContext {
    pub(super) fn begin(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        let sampled = if sampled { SAMPLED } else { 0 };
        Self { trace, span, flags: sampled | (KNOWN_FLAGS & !SAMPLED), state: None }
    }

    /// Another span of this trace, sampled like this one.
    pub(super) fn below(&self, span: SpanId) -> Self {
        Self { span, ..self.clone() }
    }

    /// What a request says; `None` when it says nothing, or nothing that is valid: then a new trace begins (§4.3).
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let states: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()).collect();
        // Several fields are one list (§3.3.1).
        Self::parse(parent.to_str().ok()?, Some(states.unwrap_or_default().join(",").as_str()))
    }

    /// The same out of two texts.
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let (trace, span, flags) = parse_parent(parent)?;
        let state = state.filter(|state| is_state(state)).map(Into::into);
        Some(Self { trace, span, flags, state })
    }

    /// Whether somebody wants this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As they are written.
    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    /// The trace's id, in hexadecimal.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// What goes along in `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The two fields of a request.
    pub fn fields(&self) -> (HeaderValue, Option<HeaderValue>) {
        // Hexadecimal is always a value.
        let parent = HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static(""));
        (parent, self.state().and_then(|state| HeaderValue::from_str(state).ok()))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TraceId {
    pub(super) fn random(random: &Random) -> Self {
        loop {
            let id = random.bytes();
            if id != [0; 16] {
                return Self(id);
            }
        }
    }

    /// What sampling goes by.
    pub(super) fn low(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SpanId {
    pub(super) fn random(random: &Random) -> Self {
        loop {
            let id = random.bytes();
            if id != [0; 8] {
                return Self(id);
            }
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`; a version that is not known yet may have more behind a dash (§4.3).
fn parse_parent(text: &str) -> Option<(TraceId, SpanId, u8)> {
    const LENGTH: usize = 55;
    let (known, rest) = text.as_bytes().split_at_checked(LENGTH)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let [version] = hex::<1>(parts.next()?)?;
    let (trace, span) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
    let [flags] = hex::<1>(parts.next()?)?;
    let complete = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|byte| *byte == b'-'),
    };
    let valid = complete && parts.next().is_none() && trace != [0; 16] && span != [0; 8];
    valid.then_some((TraceId(trace), SpanId(span), flags & KNOWN_FLAGS))
}

/// Exactly so many bytes in hexadecimal, in lower case.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (digits.len() == 2 * N).then_some(())?;
    HEXLOWER.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// Whether a `tracestate` may go on: members are `key=value`, no key twice, not too many and not too long (§3.3.1). Of what is
/// wrong nothing goes on (§3.3.1.5).
fn is_state(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_STATE {
        return false;
    }
    let mut keys = Vec::new();
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()) {
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    (1..=MAX_MEMBERS).contains(&keys.len())
}

/// §3.3.1.3.1: a name, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let is_char = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_name = |name: &str, digits_first: bool, longest: usize| {
        let first = name.bytes().next();
        let begins = first.is_some_and(|byte| byte.is_ascii_lowercase() || (digits_first && byte.is_ascii_digit()));
        begins && name.len() <= longest && name.bytes().all(is_char)
    };
    match key.split_once('@') {
        Some((tenant, system)) => is_name(tenant, true, 241) && is_name(system, false, 14),
        None => is_name(key, false, 256),
    }
}

/// §3.3.1.3.2: printable ASCII without comma and equals sign; the last character is no space.
fn is_value(value: &str) -> bool {
    let is_char = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_char) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_parent_is_read_as_the_specification_says() {
        let good = TraceContext::parse(GOOD, None).unwrap();
        assert_eq!((good.to_string().as_str(), good.is_sampled()), (GOOD, true));
        assert_eq!(good.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        for (flags, written) in [("00", "00"), ("02", "02"), ("ff", "03"), ("09", "01")] {
            let text = format!("{}{flags}", &GOOD[..53]);
            assert_eq!(&TraceContext::parse(&text, None).unwrap().to_string()[53..], written, "{text}");
        }
        // Of a later version what is known is taken.
        for text in [GOOD.replacen("00", "cc", 1), format!("cc{}-what the future brings", &GOOD[2..])] {
            assert_eq!(TraceContext::parse(&text, None).unwrap().to_string(), GOOD, "{text}");
        }
        for text in [
            "".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-00"),
            format!(" {GOOD}"),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0", 1),
            GOOD.replacen('-', "_", 1),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            GOOD.replace("0af7", "0ag7"),
            format!("cc{}.x", &GOOD[2..]),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c-", "0af7651916cd43dd-8448eb211c80319c"),
        ] {
            assert!(TraceContext::parse(&text, None).is_none(), "{text}");
        }
    }

    #[test]
    fn a_state_goes_on_or_not_at_all() {
        let state = |text: &str| TraceContext::parse(GOOD, Some(text)).unwrap().state().map(str::to_owned);
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>();
        let long = format!("k={}", "v".repeat(256));
        for text in [
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "a=b, 0tenant@system=x y",
            "a=b,,c=d",
            "a=!\"#$%&'()*+-./:;<>?@[]^_`{|}~",
            &many[..32].join(","),
            &long,
        ] {
            assert_eq!(state(text).as_deref(), Some(text));
        }
        for text in [
            "",
            ",",
            "a",
            "=b",
            "a=",
            "A=b",
            "0a=b",
            "a=b=c",
            "a=é",
            "a=b,a=c",
            "@a=b",
            "a@=b",
            "a@0b=c",
            &many.join(","),
            &format!("{long}v"),
            &format!("{long},l={}", "v".repeat(254)),
        ] {
            assert_eq!(state(text), None, "{text}");
        }
    }

    #[test]
    fn header_fields_are_one_list() {
        let context =
            TraceContext::of_headers(&headers(&[("tracestate", "a=b"), ("traceparent", GOOD), ("tracestate", "c=d")]));
        let context = context.unwrap();
        let (parent, state) = context.fields();
        assert_eq!((parent.to_str().unwrap(), state.unwrap().to_str().unwrap()), (GOOD, "a=b,c=d"));
        assert_eq!(TraceContext::of_headers(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])), None);
        assert_eq!(TraceContext::of_headers(&headers(&[("tracestate", "a=b")])), None);
        let alone = TraceContext::of_headers(&headers(&[("traceparent", GOOD), ("tracestate", "A=b")])).unwrap();
        assert_eq!(alone.fields().1, None);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written(parent in ".{0,70}", state in ".{0,80}") {
            let _ = TraceContext::parse(&parent, Some(&state));
        }

        #[test]
        fn near_misses(at in 0usize..55, byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes)
                && let Some(context) = TraceContext::parse(&text, None)
            {
                // What was understood is written again, under the version that we speak and with the flags that we know.
                prop_assert_eq!(&context.to_string()[2..53], &text[2..53]);
                prop_assert_eq!(TraceContext::parse(&context.to_string(), None), Some(context));
            }
        }

        #[test]
        fn whatever_has_the_form_is_read(trace in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]", flags in 0u8..4) {
            let text = format!("00-{trace}-{span}-{flags:02x}");
            prop_assert_eq!(TraceContext::parse(&text, None).unwrap().to_string(), text);
        }
    }
}
