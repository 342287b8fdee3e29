//! Logging: text or JSON lines on standard error. Pingora's `log` records arrive here too.

use std::io::IsTerminal;
use tracing_subscriber::filter::EnvFilter;

/// Pingora reports what its peers do as if it were our news; whoever wants that asks for it by name.
const QUIET: &str =
    "pingora=warn,pingora_core=warn,pingora_pool=warn,pingora_runtime=warn,hickory_proto=warn,hickory_resolver=warn";

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Starts logging for this process. `level` is what [`check_level`] accepts; it wins over our default of keeping Pingora
/// quiet. A second call changes nothing.
pub fn init(json: bool, level: &str) {
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{level}"));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let _ = if json { builder.json().with_ansi(false).try_init() } else { builder.try_init() };
}

/// A level (`info`) or directives for parts of the program (`info,portcullis::connect=debug`). The text as it was given.
///
/// # Errors
/// When a part is neither; the text says what to write.
pub fn check_level(text: &str) -> Result<String, String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    // The filter itself takes a misspelt level for the name of a module.
    let good = |directive: &str| is_level(directive.rsplit_once('=').map_or(directive, |(_, level)| level));
    if text.split(',').any(tells_secrets) {
        return Err(format!(
            "{text:?}: Pingora logs whole requests at debug and trace, tokens included: leave it at info"
        ));
    }
    let parses = EnvFilter::builder().parse(text).is_ok();
    if parses && text.split(',').map(str::trim).all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a log level: write {}, or \"info,portcullis=debug\"", LEVELS.join(", ")))
}

/// Whether a directive makes Pingora trace what passes through it.
fn tells_secrets(directive: &str) -> bool {
    let (target, level) = directive.trim().rsplit_once('=').unwrap_or((directive.trim(), "trace"));
    target.to_ascii_lowercase().starts_with("pingora")
        && ["debug", "trace"].iter().any(|l| level.eq_ignore_ascii_case(l))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives() {
        for text in ["info", "WARN", "info,portcullis=debug", "portcullis::connect=trace", "pingora_core=info"] {
            assert_eq!(check_level(text), Ok(text.to_owned()));
        }
        for text in ["pingora_core=trace", "info,pingora_core::protocols=DEBUG", "pingora_core"] {
            assert!(check_level(text).is_err(), "{text}");
        }
        for text in ["", "inof", "portcullis=", "portcullis=loud", "info,,warn"] {
            assert!(check_level(text).is_err(), "{text}");
        }
    }
}
