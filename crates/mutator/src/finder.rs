//! Finds what can be mutated in a file.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprCall, ExprIf, ExprMatch, ExprRepeat,
    ExprUnary, ExprWhile, GenericArgument, Generics, ImplItemFn, Item, ItemFn, ItemImpl, ItemTrait,
    Macro, Pat, PathArguments, ReturnType, Signature, Stmt, TraitItemFn, Type, UnOp,
};

use crate::site::{Mutant, Piece, Site};

/// What asks in the copy whether a mutant is on.
const SWITCH: &str = "crate::mutant::is";

/// The sites of one file after another: mutants are numbered from 1 through all files.
pub struct Finder<'a> {
    pub source: &'a str,
    pub sites: Vec<Site>,
    pub next_site: usize,
    pub next_mutant: usize,
    /// The names around the place that is looked at: of a type, of a function.
    names: Vec<String>,
}

/// All sites of a file, in the order in which they begin, those outside before those inside.
pub fn find(source: &str, next_site: usize, next_mutant: usize) -> syn::Result<Finder<'_>> {
    let file = syn::parse_file(source)?;
    let mut finder =
        Finder { source, sites: Vec::new(), next_site, next_mutant, names: Vec::new() };
    if !is_for_tests(&file.attrs) {
        finder.visit_file(&file);
    }
    Ok(finder)
}

fn range(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

impl Finder<'_> {
    fn text(&self, range: &Range<usize>) -> String {
        self.source[range.clone()].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Mutates this place: to each of `mutated`, by what `pieces` makes of their switches.
    fn mutate(
        &mut self,
        range: Range<usize>,
        original: &str,
        mutated: &[String],
        pieces: impl FnOnce(&[String]) -> Vec<Piece>,
    ) {
        let first = self.next_mutant;
        let line = self.source[..range.start].matches('\n').count() + 1;
        let mutants = mutated.iter().enumerate().map(|(index, mutated)| Mutant {
            number: first + index,
            line,
            function: self.names.join("::"),
            original: original.to_owned(),
            mutated: mutated.clone(),
        });
        let mutants: Vec<_> = mutants.collect();
        let switches: Vec<_> =
            mutants.iter().map(|mutant| format!("{SWITCH}({})", mutant.number)).collect();
        self.next_mutant += mutants.len();
        let pieces = pieces(&switches);
        self.sites.push(Site { number: self.next_site, range, pieces, mutants });
        self.next_site += 1;
    }

    /// A condition that is always true, or never.
    fn mutate_condition(&mut self, condition: &Expr) {
        let range = range(condition);
        let original = self.text(&range);
        self.mutate(range.clone(), &original, &["true".into(), "false".into()], |is| {
            let before = format!("({} || !{} && (", is[0], is[1]);
            vec![Piece::Text(before), Piece::Source(range.clone()), Piece::Text("))".into())]
        });
    }

    /// The condition of an `if` or a `while`: what stands between its `let`s, if it has some.
    fn mutate_conditions(&mut self, condition: &Expr) {
        match condition {
            Expr::Let(_) => {}
            Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. })
                if has_let(condition) =>
            {
                self.mutate_conditions(left);
                self.mutate_conditions(right);
            }
            _ => self.mutate_condition(condition),
        }
    }

    fn mutate_binary(&mut self, binary: &ExprBinary) {
        let (left, right, whole) = (range(&*binary.left), range(&*binary.right), range(binary));
        let operator = self.text(&range(&binary.op));
        let others: &[&str] = match &operator[..] {
            "<" => &["<=", ">="],
            "<=" => &["<", ">"],
            ">" => &[">=", "<="],
            ">=" => &[">", "<"],
            "==" => &["!="],
            "!=" => &["=="],
            "&&" => &["||"],
            "||" => &["&&"],
            "+" => &["-"],
            "*" | "%" => &["/"],
            "-" => &["+"],
            "/" => &["*"],
            "+=" => &["-="],
            "-=" => &["+="],
            "*=" => &["/="],
            "/=" => &["*="],
            _ => return,
        };
        let (a, b) = (self.text(&left), self.text(&right));
        let mutated: Vec<_> = others.iter().map(|other| format!("{a} {other} {b}")).collect();
        let original = format!("{a} {operator} {b}");
        let is_comparison = matches!(&operator[..], "<" | "<=" | ">" | ">=" | "==" | "!=");
        let text = |text: String| Piece::Text(text);
        self.mutate(whole, &original, &mutated, |is| match &operator[..] {
            // The second operand is looked at only if need be, also with the other operator.
            "&&" | "||" => {
                let (equals, otherwise) = if operator == "&&" { ("!=", "") } else { ("==", "!") };
                vec![
                    text("(if (".into()),
                    Piece::Source(left),
                    text(format!(") {equals} {} {{ ", is[0])),
                    Piece::Source(right),
                    text(format!(" }} else {{ {otherwise}{} }})", is[0])),
                ]
            }
            _ if operator.ends_with('=') && !is_comparison => vec![
                text("(match ".into()),
                Piece::Source(right),
                text(format!(" {{ r => if {} {{ ", is[0])),
                Piece::Source(left.clone()),
                text(format!(" {} r }} else {{ ", others[0])),
                Piece::Source(left),
                text(format!(" {operator} r }} }})")),
            ],
            _ => {
                let reference = if is_comparison { "&" } else { "" };
                let cases = is.iter().zip(others);
                let cases: String =
                    cases.map(|(is, other)| format!("if {is} {{ l {other} r }} else ")).collect();
                vec![
                    text(format!("(match ({reference}(")),
                    Piece::Source(left),
                    text(format!("), {reference}(")),
                    Piece::Source(right),
                    text(format!(")) {{ (l, r) => {cases}{{ l {operator} r }} }})")),
                ]
            }
        });
    }

    fn mutate_unary(&mut self, unary: &ExprUnary) {
        let (whole, operand) = (range(unary), range(&*unary.expr));
        let (original, mutated) = (self.text(&whole), [self.text(&operand)]);
        let source = Piece::Source(operand);
        match unary.op {
            UnOp::Not(_) => self.mutate(whole, &original, &mutated, |is| {
                vec![Piece::Text("((".into()), source, Piece::Text(format!(") == {})", is[0]))]
            }),
            UnOp::Neg(_) => self.mutate(whole, &original, &mutated, |is| {
                let after = format!(" {{ it => if {} {{ it }} else {{ -it }} }})", is[0]);
                vec![Piece::Text("(match ".into()), source, Piece::Text(after)]
            }),
            _ => {}
        }
    }

    /// A pattern that is passed over, if all is caught behind it.
    fn mutate_arm(&mut self, arm: &Arm, is_caught: bool) {
        if let Pat::Guard(guard) = &arm.pat {
            return self.mutate_conditions(&guard.guard);
        }
        if is_caught {
            let pattern = range(&arm.pat);
            let (end, original) = (pattern.end, format!("{} =>", self.text(&pattern)));
            self.mutate(end..end, &original, &["no such arm".into()], |is| {
                vec![Piece::Text(format!(" if !{} ", is[0]))]
            });
        }
    }

    /// A function that does nothing but return something.
    fn mutate_body(&mut self, signature: &Signature, block: &Block) {
        let body = self.text(&range(block));
        let name = signature.ident.to_string();
        let values = match &signature.output {
            _ if block.stmts.iter().all(is_nothing) || name == "default" => return,
            ReturnType::Default => vec!["()".to_owned()],
            ReturnType::Type(_, of) => values(of),
        };
        let start = block.brace_token.span.open().byte_range().end;
        for value in values {
            if body != format!("{{ {value} }}") {
                let original = format!("what {name} does");
                self.mutate(start..start, &original, std::slice::from_ref(&value), |is| {
                    vec![Piece::Text(format!(" if {} {{ return {value}; }} ", is[0]))]
                });
            }
        }
    }

    fn mutate_function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if signature.constness.is_some() || is_for_tests(attributes) {
            return;
        }
        self.names.push(signature.ident.to_string());
        self.mutate_body(signature, block);
        self.visit_block(block);
        self.names.pop();
    }
}

fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. }) => {
            has_let(left) || has_let(right)
        }
        _ => false,
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}

/// Does a pattern without a guard catch all?
fn catches_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(name) => name.ident.to_string().starts_with(char::is_lowercase),
        _ => false,
    }
}

/// Is it done for what it does?
fn is_act(expression: &Expr) -> bool {
    match expression {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Await(of) => is_act(&of.base),
        Expr::Try(of) => is_act(&of.expr),
        Expr::Binary(binary) => is_assignment(&binary.op),
        _ => false,
    }
}

fn is_assignment(operator: &BinOp) -> bool {
    use BinOp::*;
    matches!(operator, AddAssign(_) | SubAssign(_) | MulAssign(_) | DivAssign(_) | RemAssign(_))
}

/// Does it only tell the compiler that something is not used?
fn is_nothing(statement: &Stmt) -> bool {
    fn is_name(expression: &Expr) -> bool {
        match expression {
            Expr::Path(_) => true,
            Expr::Tuple(tuple) => tuple.elems.iter().all(is_name),
            _ => false,
        }
    }
    let Stmt::Local(local) = statement else { return false };
    let init = local.init.as_ref();
    matches!(local.pat, Pat::Wild(_)) && init.is_some_and(|init| is_name(&init.expr))
}

/// What a function may return instead.
fn values(of: &Type) -> Vec<String> {
    let default = || vec!["Default::default()".to_owned()];
    let path = match of {
        Type::Path(path) => path,
        Type::Tuple(tuple) if tuple.elems.is_empty() => return vec!["()".to_owned()],
        Type::Tuple(_) | Type::Reference(_) => return default(),
        _ => return Vec::new(),
    };
    let Some(last) = path.path.segments.last() else { return Vec::new() };
    let first_argument = match &last.arguments {
        PathArguments::AngleBracketed(list) => {
            list.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(of) => Some(values(of)),
                _ => None,
            })
        }
        _ => None,
    };
    let within = |around: &str| {
        let inner = first_argument.unwrap_or_else(default).into_iter();
        inner.map(|value| format!("{around}({value})")).collect::<Vec<_>>()
    };
    match &last.ident.to_string()[..] {
        "bool" => vec!["true".into(), "false".into()],
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => vec!["0".into(), "1".into()],
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            vec!["0".into(), "1".into(), "-1".into()]
        }
        "Option" => [vec!["None".into()], within("Some")].concat(),
        "Result" => within("Ok"),
        _ => default(),
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Fn(_) | Item::Impl(_) | Item::Trait(_) => visit::visit_item(self, item),
            // A module of the same file; tests are one.
            Item::Mod(module) if !is_for_tests(&module.attrs) => visit::visit_item(self, item),
            _ => {}
        }
    }

    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        self.mutate_function(&function.attrs, &function.sig, &function.block);
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let of = range(&*item.self_ty);
        self.names.push(self.text(&of));
        visit::visit_item_impl(self, item);
        self.names.pop();
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        self.mutate_function(&function.attrs, &function.sig, &function.block);
    }

    fn visit_item_trait(&mut self, item: &'a ItemTrait) {
        self.names.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.names.pop();
    }

    fn visit_trait_item_fn(&mut self, function: &'a TraitItemFn) {
        if let Some(block) = &function.default {
            self.mutate_function(&function.attrs, &function.sig, block);
        }
    }

    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let is_act = match statement {
            Stmt::Expr(expression, Some(_)) => is_act(expression),
            Stmt::Local(local) => matches!(local.pat, Pat::Wild(_)) && !is_nothing(statement),
            _ => false,
        };
        if is_act {
            let range = range(statement);
            let original = self.text(&range);
            self.mutate(range.clone(), &original, &["nothing".into()], |is| {
                let before = format!("if !{} {{ ", is[0]);
                vec![Piece::Text(before), Piece::Source(range.clone()), Piece::Text(" }".into())]
            });
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_if(&mut self, expression: &'a ExprIf) {
        self.mutate_conditions(&expression.cond);
        visit::visit_expr_if(self, expression);
    }

    fn visit_expr_while(&mut self, expression: &'a ExprWhile) {
        self.mutate_conditions(&expression.cond);
        visit::visit_expr_while(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'a ExprMatch) {
        self.visit_expr(&expression.expr);
        let last = expression.arms.iter().position(|arm| catches_all(&arm.pat));
        for (index, arm) in expression.arms.iter().enumerate() {
            self.mutate_arm(arm, last.is_some_and(|last| index < last));
            if let Pat::Guard(guard) = &arm.pat {
                self.visit_expr(&guard.guard);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr_binary(&mut self, binary: &'a ExprBinary) {
        if !has_let(&binary.left) && !has_let(&binary.right) {
            self.mutate_binary(binary);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'a ExprUnary) {
        self.mutate_unary(unary);
        visit::visit_expr_unary(self, unary);
    }

    /// How much room there is for a text changes nothing.
    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        if !self.source[range(&*call.func)].ends_with("with_capacity") {
            visit::visit_expr_call(self, call);
        }
    }

    // What has to be constant, and what is no expression.
    fn visit_expr_repeat(&mut self, repeat: &'a ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }
    fn visit_expr_const(&mut self, _: &'a syn::ExprConst) {}
    fn visit_attribute(&mut self, _: &'a Attribute) {}
    fn visit_generics(&mut self, _: &'a Generics) {}
    fn visit_macro(&mut self, _: &'a Macro) {}
    fn visit_pat(&mut self, _: &'a Pat) {}
    fn visit_type(&mut self, _: &'a Type) {}
    fn visit_impl_item_const(&mut self, _: &'a syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'a syn::TraitItemConst) {}
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::site::Copy;

    const SOURCE: &str = "
        const LIMIT: u32 = 2 + 3;
        fn act(a: &mut u32, b: u32) -> bool {
            if b > 0 && let Some(c) = b.checked_sub(1) {
                *a += c;
            }
            match b {
                1 if !true => false,
                2 => true,
                _ => *a <= LIMIT,
            }
        }
        #[cfg(test)]
        mod tests {
            fn test() -> u8 {
                1 + 1
            }
        }
    ";

    #[test]
    fn each_small_mistake_of_a_function_is_made() {
        let found = find(SOURCE, 1, 1).expect("Rust");
        let mutants = found.sites.iter().flat_map(|site| &site.mutants);
        let told: Vec<_> = mutants.map(|it| format!("{} -> {}", it.original, it.mutated)).collect();
        let expected = [
            "what act does -> true",
            "what act does -> false",
            "b > 0 -> true",
            "b > 0 -> false",
            "b > 0 -> b >= 0",
            "b > 0 -> b <= 0",
            "*a += c; -> nothing",
            "*a += c -> *a -= c",
            "!true -> true",
            "!true -> false",
            "!true -> true",
            "2 => -> no such arm",
            "*a <= LIMIT -> *a < LIMIT",
            "*a <= LIMIT -> *a > LIMIT",
        ];
        assert_eq!(told, expected);
        assert_eq!((found.next_site, found.next_mutant), (11, 15));
    }

    #[test]
    fn what_is_left_out_is_as_it_was_and_the_rest_has_its_switches() {
        let found = find(SOURCE, 1, 1).expect("Rust");
        let copy = |is_left_out: &dyn Fn(usize) -> bool| {
            let copy = Copy::of(SOURCE, &found.sites, is_left_out);
            for (_, range) in &copy.ranges {
                assert!(
                    copy.text.get(range.clone()).is_some_and(|text| text.contains("mutant::is"))
                );
            }
            copy.text
        };
        assert_eq!(copy(&|_| true), SOURCE);
        let all = copy(&|_| false);
        assert!(syn::parse_file(&all).is_ok(), "{all}");
        for number in 1..=14 {
            assert!(all.contains(&format!("crate::mutant::is({number})")), "{number}");
        }
        assert!(all.contains("const LIMIT: u32 = 2 + 3;") && all.contains("1 + 1"));
    }
}
