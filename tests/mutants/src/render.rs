//! The source with its switches. `crate::mutant(n)` says whether the mutant is on; `run.py` adds it to the crate.

use crate::places::{Kind, Site};
use std::fmt::Write as _;
use std::ops::Range;

/// All of it; `sites` in the order of their beginnings, whatever contains another first.
pub fn render(source: &str, sites: &[Site]) -> String {
    piece(source, sites, 0..source.len())
}

/// A part of it, with all that lies within.
fn piece(source: &str, sites: &[Site], range: Range<usize>) -> String {
    let mut out = String::new();
    let mut at = range.start;
    for (index, site) in sites.iter().enumerate() {
        let is_inside = site.range.start >= at && site.range.end <= range.end;
        if !is_inside {
            continue;
        }
        out.push_str(&source[at..site.range.start]);
        out.push_str(&switched(source, &sites[index + 1..], site));
        at = site.range.end;
    }
    out.push_str(&source[at..range.end]);
    out
}

fn switched(source: &str, inner: &[Site], site: &Site) -> String {
    let within = |range: &Range<usize>| piece(source, inner, range.clone());
    let mut out = String::new();
    match &site.kind {
        Kind::Body(others) => {
            for (number, value) in others {
                let _ = write!(out, "/*M{number}*/ if crate::mutant({number}) {{ return {value}; }} /*E{number}*/ ");
            }
        }
        Kind::Binary { left, op, right, is_assignment, others } => {
            let (left, right) = (within(left), within(right));
            let (open, close) = if *is_assignment { ("", "") } else { ("(", ")") };
            out.push_str(open);
            for (number, other) in others {
                let _ = write!(
                    out,
                    "/*M{number}*/ if crate::mutant({number}) {{ {open}{left}{close} {other} {open}{right}{close} }} /*E{number}*/ else "
                );
            }
            let op = &source[op.clone()];
            let _ = write!(out, "{{ {open}{left}{close} {op} {open}{right}{close} }}{close}");
        }
        Kind::Unary { operand, number } => {
            let (operand, op) = (within(operand), &source[site.range.start..operand.start]);
            let _ = write!(
                out,
                "(/*M{number}*/ if crate::mutant({number}) {{ {operand} }} /*E{number}*/ else {{ {op}{operand} }})"
            );
        }
        Kind::Guard(others) => {
            let guard = within(&site.range);
            for (number, value) in others {
                // On and true: passes; on and false: does not.
                let _ = match value.as_str() {
                    "true" => write!(out, "/*M{number}*/ crate::mutant({number}) || /*E{number}*/ "),
                    _ => write!(out, "/*M{number}*/ !crate::mutant({number}) && /*E{number}*/ "),
                };
            }
            let _ = write!(out, "({guard})");
        }
        Kind::Arm(number) => {
            let _ = write!(out, " if /*M{number}*/ !crate::mutant({number}) /*E{number}*/ ");
        }
        Kind::Field { base, number } => {
            let value = within(&site.range);
            let _ =
                write!(out, "/*M{number}*/ if crate::mutant({number}) {{ {base} }} /*E{number}*/ else {{ {value} }}");
        }
    }
    out
}
