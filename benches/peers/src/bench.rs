//! A run: who is started, who shares which core, and rounds in which everybody gets a turn.

use crate::certificate::Files;
use crate::load::Measured;
use crate::mock::Mock;
use crate::options::Options;
use crate::peers::{Fleet, Front, Ground, Target};
use crate::process::{cores, pin};
use crate::rows::{CPU, MEMORY, P50, P99, RATE, Row, Rows, Values};
use crate::usage;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

/// Who shares a core with whom. The proxy is always alone with its core or with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Load, proxy and mock take turns on one core: CPU for each request repeats best.
    OneCore,
    /// The proxy has a core to itself, load and mock share the other: capacity and latency.
    Split,
}

impl Placement {
    pub fn name(self) -> &'static str {
        match self {
            Self::OneCore => "one core",
            Self::Split => "split",
        }
    }
}

pub struct Bench {
    pub options: Options,
    pub rows: Rows,
    pub mock: Mock,
    pub files: Files,
    pub directory: PathBuf,
    pub cores: Vec<usize>,
    /// Names of those that could not be measured, and why.
    pub missing: Vec<(String, String)>,
    /// What a scenario wants to say besides its rows, as Markdown.
    pub remarks: Vec<(&'static str, String)>,
    /// Whether a gateway handed a caller's token to the upstream.
    pub leaked: bool,
    fleets: HashMap<&'static str, Rc<Fleet>>,
    random: u64,
}

impl Bench {
    /// # Errors
    ///
    /// When the output directory cannot be made, or the mock does not start.
    pub fn new(options: Options) -> Result<Self, String> {
        let directory = options.out.join("run");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let directory = directory.canonicalize().map_err(|error| error.to_string())?;
        let rows = Rows::create(&options.out.join("rows.jsonl"))?;
        let files = Files::make(&directory)?;
        let cores = cores();
        let proxy = *cores.last().ok_or("there is no core to run on")?;
        let mock = Mock::start(&directory, proxy, &files)?;
        Ok(Self {
            options,
            rows,
            mock,
            files,
            directory,
            cores,
            missing: Vec::new(),
            remarks: Vec::new(),
            leaked: false,
            fleets: HashMap::new(),
            random: crate::clock::nanoseconds() | 1,
        })
    }

    /// The core of the proxy.
    pub fn proxy_core(&self) -> usize {
        self.cores.last().copied().unwrap_or(0)
    }

    pub fn ground<'a>(&'a self, directory: &'a std::path::Path, cores: &'a [usize]) -> Ground<'a> {
        Ground { options: &self.options, mock: &self.mock, files: &self.files, directory, cores }
    }

    /// Those who stand in front of the mock in this way. They are started once, and run until the harness ends.
    pub fn fleet(&mut self, front: Front, names: &[&'static str]) -> Result<Rc<Fleet>, String> {
        let key = match front {
            Front::Plain => "plain",
            Front::Tls => "tls",
            Front::H2Upstream => "h2-upstream",
        };
        if let Some(fleet) = self.fleets.get(key) {
            return Ok(fleet.clone());
        }
        let cores = [self.proxy_core()];
        let fleet = Rc::new(Fleet::start(&self.ground(&self.directory, &cores), front, names)?);
        self.note_missing(&fleet);
        self.fleets.insert(key, fleet.clone());
        Ok(fleet)
    }

    /// The same, but started for one scenario alone; they end with the returned value.
    pub fn fresh(&mut self, name: &str, names: &[&'static str], cores: &[usize]) -> Result<Fleet, String> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let fleet = Fleet::start(&self.ground(&directory, cores), Front::Plain, names)?;
        self.note_missing(&fleet);
        Ok(fleet)
    }

    fn note_missing(&mut self, fleet: &Fleet) {
        for missing in &fleet.missing {
            if !self.missing.contains(missing) {
                eprintln!("missing: {}: {}", missing.0, missing.1);
                self.missing.push(missing.clone());
            }
        }
    }

    /// Puts load and mock where they belong. False: this machine has too few cores for it.
    pub fn place(&self, placement: Placement) -> Result<bool, String> {
        let core = match (placement, self.cores.as_slice()) {
            (Placement::OneCore, _) => self.proxy_core(),
            (Placement::Split, [first, _, ..]) => *first,
            (Placement::Split, _) => return Ok(false),
        };
        pin(None, &[core])?;
        pin(Some(self.mock.program.pid()), &[core])?;
        Ok(true)
    }

    /// Gives every target of `names` its turn in every round, each round in another order. A failure is a row too, and the run
    /// goes on.
    pub fn rounds(
        &mut self,
        (scenario, case): (&'static str, &str),
        fleet: &Fleet,
        names: &[&str],
        measure: impl Fn(&Target) -> Result<Values, String>,
    ) {
        let mut targets: Vec<&Target> = fleet.targets.iter().filter(|target| names.contains(&target.name)).collect();
        for round in 0..self.options.rounds {
            self.shuffle(&mut targets);
            for target in &targets {
                let outcome = self.once(target, &measure);
                report_progress(scenario, case, target.name, &outcome);
                let (case, target) = (case.to_owned(), target.name.to_owned());
                self.rows.push(Row { scenario, case, target, round, outcome });
            }
        }
    }

    fn once(
        &mut self,
        target: &Target,
        measure: &impl Fn(&Target) -> Result<Values, String>,
    ) -> Result<Values, String> {
        self.mock.bearers()?;
        let values = measure(target)?;
        let [_, others, none] = self.mock.bearers()?;
        if target.swaps && others + none > 0 {
            self.leaked |= others > 0;
            return Err(format!("{others} requests reached the upstream with the caller's token, {none} with none"));
        }
        Ok(values)
    }

    /// Fisher and Yates, with a xorshift generator: every order must be possible, and none be foreseeable by a proxy.
    fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            values.swap(index, usize::try_from(self.random % (index as u64 + 1)).unwrap_or(0));
        }
    }
}

/// What a closed loop of requests has to say.
pub fn values(measured: &Measured, target: &Target) -> Values {
    let mut values = vec![
        (RATE, measured.count() / measured.seconds),
        (P50, measured.quantile(0.5)),
        (P99, measured.quantile(0.99)),
    ];
    if let Some(program) = &target.program {
        values.push((CPU, measured.cpu_per_100k()));
        values.push((MEMORY, usage::memory_kib(program.pid()) / 1024.0));
    }
    values
}

fn report_progress(scenario: &str, case: &str, target: &str, outcome: &Result<Values, String>) {
    let text = match outcome {
        Ok(values) => values.iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>().join(", "),
        Err(error) => format!("FAILED: {error}"),
    };
    eprintln!("{scenario}, {case}: {target}: {text}");
}
