//! What to measure, and for how long.

use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
usage: peers --portcullis PROGRAM [--pingora PROGRAM] [--agentgateway PROGRAM] [--clients DIRECTORY]
             [--only SCENARIO,...] [--rounds N] [--seconds N] [--out DIRECTORY]

--portcullis    the gateway under test
--pingora       a bare Pingora proxy (benches/peers/pingora), for mark 1
--agentgateway  an agentgateway
--clients       tests/clients with its packages installed, for the scenario mcp
--only          some scenarios instead of all; `peers --list` names them
--rounds        rounds of each measurement, 5; the median counts
--seconds       how long one measurement lasts, 3
--out           where report, rows and plots go, target/peers";

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    pub portcullis: PathBuf,
    pub pingora: Option<PathBuf>,
    pub agentgateway: Option<PathBuf>,
    pub clients: Option<PathBuf>,
    /// Empty: all.
    pub only: Vec<String>,
    pub rounds: usize,
    pub duration: Duration,
    pub out: PathBuf,
}

impl Options {
    /// # Errors
    ///
    /// When an option is unknown, lacks its value or has one that makes no sense.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            portcullis: PathBuf::new(),
            pingora: None,
            agentgateway: None,
            clients: None,
            only: Vec::new(),
            rounds: 5,
            duration: Duration::from_secs(3),
            out: PathBuf::from("target/peers"),
        };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
            options.set(option, value)?;
        }
        if options.portcullis.as_os_str().is_empty() {
            return Err("--portcullis is needed: the program to measure".to_owned());
        }
        Ok(options)
    }

    /// An empty value is as good as none: `make` hands variables over that nobody has set.
    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let path = (!value.is_empty()).then(|| PathBuf::from(value));
        match option {
            "--portcullis" => self.portcullis = path.unwrap_or_default(),
            "--pingora" => self.pingora = path,
            "--agentgateway" => self.agentgateway = path,
            "--clients" => self.clients = path,
            "--only" => self.only = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            "--rounds" => self.rounds = positive(option, value)?,
            "--seconds" => self.duration = Duration::from_secs(positive(option, value)? as u64),
            "--out" => self.out = path.ok_or("--out needs a directory")?,
            _ => return Err(format!("{option} is no option")),
        }
        Ok(())
    }

    /// One round of one second is for trying whether everything works: what costs time for accuracy alone is left out.
    pub fn quick(&self) -> bool {
        self.rounds == 1 && self.duration <= Duration::from_secs(1)
    }

    /// Whether a scenario was asked for.
    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }
}

fn positive(option: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{option} takes a number above 0, not {value:?}")),
    }
}
