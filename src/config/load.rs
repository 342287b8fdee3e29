//! From text to a checked configuration: every error at once, each with the place it comes from.

use super::Config;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a configuration comes from. The environment is an argument, so that tests need not change the process's.
pub struct Source {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// `PORTCULLIS__…`, the Worker's variables, `XDG_STATE_HOME`, `HOME`, `CREDENTIALS_DIRECTORY`.
    pub environment: BTreeMap<String, String>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads and checks.
///
/// # Errors
/// Every error found, in the order of the file, as `file:line: key: what is wrong and how to mend it`.
pub fn load(source: &Source) -> Result<Config, ConfigErrors> {
    let _ = source;
    todo!()
}
