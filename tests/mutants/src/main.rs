//! Puts all the mutants of cargo-mutants into one program, each behind a switch, so that it is compiled once and not once per
//! mutant: `switches <mutants.json> <tree>`, where the first is what `cargo mutants --list --json` prints, edits the sources
//! of `<tree>` and prints the numbers (indices in the list) of those that it found no place for.
//!
//! What a mutant adds stands between `/*M<number>*/` and `/*E<number>*/`, so that whoever compiles it can tell by the place of
//! an error which mutant is none.

mod places;
mod render;

use places::Site;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// A line of the list; lines and columns begin with 1.
#[derive(Deserialize)]
struct Mutant {
    file: String,
    genre: String,
    replacement: String,
    span: Span,
    /// Whether to leave it out; `run.py` adds that.
    #[serde(default)]
    skip: bool,
}

#[derive(Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

#[derive(Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

/// The same, with places as offsets in bytes.
pub struct Change {
    number: usize,
    genre: String,
    replacement: String,
    start: usize,
    end: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, tree] = arguments.as_slice() else {
        eprintln!("usage: switches <mutants.json> <tree>");
        return ExitCode::FAILURE;
    };
    match run(Path::new(list), Path::new(tree)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(list: &Path, tree: &Path) -> Result<(), String> {
    let text = fs::read_to_string(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let mutants: Vec<Mutant> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", list.display()))?;
    let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in mutants.iter().enumerate().filter(|(_, mutant)| !mutant.skip) {
        files.entry(&mutant.file).or_default().push((number, mutant));
    }
    for (file, mutants) in files {
        let path = tree.join(file);
        let source = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = line_starts(&source);
        let changes: Vec<Change> = mutants
            .into_iter()
            .map(|(number, mutant)| Change {
                number,
                genre: mutant.genre.clone(),
                replacement: mutant.replacement.clone(),
                start: offset(&source, &lines, &mutant.span.start),
                end: offset(&source, &lines, &mutant.span.end),
            })
            .collect();
        let sites = places::find(&source, &changes).map_err(|error| format!("{file}: {error}"))?;
        let placed: Vec<usize> = sites.iter().flat_map(Site::numbers).collect();
        for change in changes.iter().filter(|change| !placed.contains(&change.number)) {
            println!("{}", change.number);
        }
        fs::write(&path, render::render(&source, &sites)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn line_starts(source: &str) -> Vec<usize> {
    std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Columns count characters.
fn offset(source: &str, lines: &[usize], position: &Position) -> usize {
    let start = lines[position.line - 1];
    let rest = source[start..].char_indices().nth(position.column - 1).map_or(source.len() - start, |(at, _)| at);
    start + rest
}
