//! Logging: text or JSON lines on standard error. Pingora's `log` records arrive here too.

use std::io::IsTerminal;
use tracing_subscriber::filter::EnvFilter;

/// Pingora reports what its peers do as if it were our news; whoever wants that asks for it by name.
const QUIET: &str =
    "pingora=warn,pingora_core=warn,pingora_pool=warn,pingora_runtime=warn,hickory_proto=warn,hickory_resolver=warn";

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// The log of this process.
pub struct Log {
    replace: Box<dyn Fn(EnvFilter) + Send + Sync>,
    verbosity: u8,
}

impl Log {
    /// Starts logging. `level` is what [`check_level`] accepts; it wins over our default of keeping Pingora quiet, and
    /// `verbosity`, 1 for debug and more for everything, over both. A second call changes nothing.
    pub fn start(json: bool, level: &str, verbosity: u8) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(terminal && !json);
        let builder = builder.with_env_filter(filter(level, verbosity));
        // A handle whose log was not the first has nothing to change.
        if json {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Self { replace: Box::new(move |filter| drop(handle.reload(filter))), verbosity }
        } else {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Self { replace: Box::new(move |filter| drop(handle.reload(filter))), verbosity }
        }
    }

    /// Logs more or less from now on, but not less than was asked for at the start.
    pub fn set_level(&self, level: &str) {
        (self.replace)(filter(level, self.verbosity));
    }
}

fn filter(level: &str, verbosity: u8) -> EnvFilter {
    let level = match verbosity {
        0 => level,
        1 => "debug",
        _ => "trace",
    };
    EnvFilter::builder().parse_lossy(format!("{QUIET},{level}"))
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
