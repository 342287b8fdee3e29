//! Where in a file each mutant goes, found by parsing it.

use crate::Change;
use proc_macro2::LineColumn;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A place that can be switched, with everything that is switched there.
pub struct Site {
    pub range: Range<usize>,
    pub kind: Kind,
}

/// What stands at a place. Numbers are those of mutants, texts are what stands there instead.
pub enum Kind {
    /// The beginning of a body: each returns a value of its own.
    Body(Vec<(usize, String)>),
    /// `left op right`; `is_assignment` for `+=` and its like.
    Binary {
        left: Range<usize>,
        op: Range<usize>,
        right: Range<usize>,
        is_assignment: bool,
        others: Vec<(usize, String)>,
    },
    /// `!operand` or `-operand`, without its operator.
    Unary { operand: Range<usize>, number: usize },
    /// The guard of an arm, always true or always false.
    Guard(Vec<(usize, String)>),
    /// Where the arrow of an arm without a guard begins: the arm is gone.
    Arm(usize),
    /// The value of a field that its base has, too.
    Field { base: String, number: usize },
}

impl Site {
    /// Of all that is switched here.
    pub fn numbers(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Body(others) | Kind::Guard(others) | Kind::Binary { others, .. } => {
                others.iter().map(|(number, _)| *number).collect()
            }
            Kind::Unary { number, .. } | Kind::Arm(number) | Kind::Field { number, .. } => vec![*number],
        }
    }
}

/// Finds the places; no two of them cross each other.
///
/// # Errors
/// The file does not parse.
pub fn find(source: &str, changes: &[Change]) -> Result<Vec<Site>, String> {
    let file = syn::parse_file(source).map_err(|error| error.to_string())?;
    let mut finder = Finder { source, lines: crate::line_starts(source), changes, sites: Vec::new() };
    finder.visit_file(&file);
    let mut sites = finder.sites;
    // Whatever contains another comes first, and before that what a body begins with, which is in none of its expressions.
    sites.sort_by_key(|site| (site.range.start, !site.range.is_empty(), std::cmp::Reverse(site.range.end)));
    Ok(sites)
}

struct Finder<'a> {
    source: &'a str,
    lines: Vec<usize>,
    changes: &'a [Change],
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn at(&self, place: LineColumn) -> usize {
        let start = self.lines[place.line - 1];
        let rest = &self.source[start..];
        start + rest.char_indices().nth(place.column).map_or(rest.len(), |(at, _)| at)
    }

    fn range(&self, of: &impl Spanned) -> Range<usize> {
        let span = of.span();
        self.at(span.start())..self.at(span.end())
    }

    /// Those of a genre that say exactly this place.
    fn changes(&self, genre: &str, range: &Range<usize>) -> Vec<(usize, String)> {
        let is_here =
            |change: &&Change| change.genre == genre && change.start == range.start && change.end == range.end;
        self.changes.iter().filter(is_here).map(|change| (change.number, change.replacement.clone())).collect()
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        if signature.constness.is_some() {
            return;
        }
        let start = self.range(first).start;
        let others = self.changes("FnValue", &(start..self.range(last).end));
        if !others.is_empty() {
            self.sites.push(Site { range: start..start, kind: Kind::Body(others) });
        }
    }
}

/// `let` is no expression, so nothing can be put around it.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
        if item.sig.constness.is_none() {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig, &item.block);
        if item.sig.constness.is_none() {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    // What is computed while it is compiled has no switches.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        let (op, range) = (self.range(&expression.op), self.range(expression));
        let others = self.changes("BinaryOperator", &op);
        if !others.is_empty() && !has_let(&expression.left) && !has_let(&expression.right) {
            let is_assignment = self.source[op.clone()].ends_with('=')
                && !matches!(&self.source[op.clone()], "==" | "!=" | "<=" | ">=");
            let (left, right) = (self.range(&*expression.left), self.range(&*expression.right));
            self.sites.push(Site { range, kind: Kind::Binary { left, op, right, is_assignment, others } });
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        let (op, range) = (self.range(&expression.op), self.range(expression));
        if let Some((number, _)) = self.changes("UnaryOperator", &op).first() {
            let kind = Kind::Unary { operand: self.range(&*expression.expr), number: *number };
            self.sites.push(Site { range, kind });
        }
        visit::visit_expr_unary(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let pattern = self.range(&arm.pat);
        let of_arm = self.changes.iter().find(|change| {
            change.genre == "MatchArm" && (change.start == pattern.start || change.start == self.range(arm).start)
        });
        let of_arm = of_arm.map(|change| change.number);
        match &arm.guard {
            Some((_, guard)) if !has_let(guard) => {
                let range = self.range(&**guard);
                let mut others = self.changes("MatchArmGuard", &range);
                others.extend(of_arm.map(|number| (number, "false".to_owned())));
                if !others.is_empty() {
                    self.sites.push(Site { range, kind: Kind::Guard(others) });
                }
            }
            Some(_) => {}
            None => {
                if let Some(number) = of_arm {
                    self.sites.push(Site { range: pattern.end..pattern.end, kind: Kind::Arm(number) });
                }
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        if let Some(base) = &expression.rest {
            let text = self.source[self.range(&**base)].to_owned();
            let path = self.source[self.range(&expression.path)].to_owned();
            for field in expression.fields.iter().filter(|field| field.colon_token.is_some()) {
                let start = self.range(field).start;
                let change = self.changes.iter().find(|change| change.genre == "StructField" && change.start == start);
                let (Some(change), syn::Member::Named(name)) = (change, &field.member) else { continue };
                // A base without a type of its own takes that of the structure.
                let base = match text.as_str() {
                    "Default::default()" => format!("<{path} as Default>::default().{name}"),
                    _ => format!("({text}).{name}"),
                };
                let kind = Kind::Field { base, number: change.number };
                self.sites.push(Site { range: self.range(&field.expr), kind });
            }
        }
        visit::visit_expr_struct(self, expression);
    }
}
