//! Short names for what a module keeps to itself.
//!
//! For: constants, variables, functions and parameters that no other module can see.
//! Not for: what is exported or imported, properties, and what the browser gives: they keep
//! their names.
//!
//! 1. Brackets are paired; a brace is a block, a class, or an object (or a pattern of one).
//! 2. From that each word is a name, a name that is a property too (`{ a }`), or neither.
//! 3. Names are declared at the top of the module, or somewhere in one of its statements. Of
//!    the latter each statement has its own, by how they are written: a name declared twice in
//!    a statement is shortened to the same twice, so what hides what stays as it was.
//! 4. The module's own are `A`, `B`, …; those of a statement `a`, `b`, …; the most used come
//!    first. One letter is short enough.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::tokens::{Kind, Token, is_word};

const KEYWORDS: &str = "as async await break case catch class const continue default delete do else export extends \
    false finally for from function if import in instanceof let new null of return super switch this throw true try \
    typeof void while yield";

fn is_keyword(word: &str) -> bool {
    KEYWORDS.split(' ').any(|keyword| keyword == word)
}

/// Whether a statement at the top of a module begins so. Others are taken for a part of the
/// one before, which costs no more than a letter.
fn begins_statement(word: &str) -> bool {
    matches!(
        word,
        "" | "async" | "class" | "const" | "export" | "function" | "import" | "let"
    )
}

/// What is between two brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Block,
    Class,
    /// Of an object, or of a pattern that takes one apart.
    Object,
    /// Round or square brackets, or a hole in a template.
    Other,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    /// The name and the property of it at once: `{ a }`.
    Both,
    /// A keyword, a property, or no word at all.
    Neither,
}

/// The texts of the tokens, shortened.
pub(super) fn shortened<'a>(tokens: &[Token<'a>]) -> Vec<Cow<'a, str>> {
    let module = Module::of(tokens);
    let shown = module.shown();
    let free = |name: &&str| name.len() > 1 && !shown.contains(name);
    let own = module.statements.iter().flat_map(|s| module.declared_at_top(s));
    let own: HashSet<&str> = own.filter(free).collect();
    let own = assign(module.names(0..tokens.len()), &own, b'A');
    let mut texts: Vec<Cow<'a, str>> = tokens.iter().map(|token| Cow::Borrowed(token.text)).collect();
    for statement in &module.statements {
        let locals = module.declared(statement).filter(free);
        let locals: HashSet<&str> = locals.filter(|name| !own.contains_key(name)).collect();
        let locals = assign(module.names(statement.clone()), &locals, b'a');
        for at in statement.clone() {
            let name = tokens[at].text;
            let Some(short) = own.get(name).or_else(|| locals.get(name)) else {
                continue;
            };
            match module.roles[at] {
                Role::Name => texts[at] = Cow::Owned(short.clone()),
                Role::Both => texts[at] = Cow::Owned(format!("{name}:{short}")),
                Role::Neither => {}
            }
        }
    }
    texts
}

/// A short name for each of `these`, beginning with the letters from `first` on; the more it
/// is used, the shorter. `uses` are all the names they must not be taken for.
fn assign<'a>(uses: impl Iterator<Item = &'a str>, these: &HashSet<&str>, first: u8) -> HashMap<&'a str, String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in uses {
        *counts.entry(name).or_default() += 1;
    }
    let letters = || (first..first + 26).map(char::from);
    let two = letters().flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
    let all = letters().map(String::from).chain(two);
    let free = all.filter(|short| !counts.contains_key(short.as_str()) && !is_keyword(short));
    let mut names: Vec<_> = counts.iter().filter(|(name, _)| these.contains(*name)).collect();
    names.sort_by_key(|(name, count)| (usize::MAX - **count, **name));
    names.into_iter().map(|(name, _)| *name).zip(free).collect()
}

/// A module's tokens, and what is known of each.
struct Module<'t, 'a> {
    tokens: &'t [Token<'a>],
    roles: Vec<Role>,
    /// For each bracket that opens, where it closes.
    closes: HashMap<usize, usize>,
    /// The statements that stand in no other.
    statements: Vec<Range<usize>>,
}

impl<'t, 'a> Module<'t, 'a> {
    fn of(tokens: &'t [Token<'a>]) -> Self {
        let mut module = Self {
            tokens,
            roles: Vec::with_capacity(tokens.len()),
            closes: HashMap::new(),
            statements: Vec::new(),
        };
        let (mut open, mut begin) = (Vec::new(), 0);
        for (at, token) in tokens.iter().enumerate() {
            if token.closes()
                && let Some((bracket, _)) = open.pop()
            {
                module.closes.insert(bracket, at);
            }
            let within = open.last().map_or(Within::Block, |(_, within)| *within);
            module.roles.push(module.role(at, within));
            if token.opens() {
                open.push((at, module.within(at)));
            }
            let ends = match token.text {
                ";" => true,
                "}" => begins_statement(module.text(at, 1)),
                _ => false,
            };
            if ends && open.is_empty() {
                module.statements.push(begin..at + 1);
                begin = at + 1;
            }
        }
        module.statements.push(begin..tokens.len());
        module
    }

    /// The token that many places further.
    fn text(&self, at: usize, further: isize) -> &'a str {
        let at = at.checked_add_signed(further);
        at.and_then(|at| self.tokens.get(at)).map_or("", |token| token.text)
    }

    /// What the bracket at this place opens.
    fn within(&self, at: usize) -> Within {
        if self.tokens[at].text != "{" {
            return Within::Other;
        }
        match (self.text(at, -2), self.text(at, -1)) {
            ("class" | "extends", _) => Within::Class,
            ("=", ">") | (_, "" | ")" | ";" | "{" | "}" | "else" | "try" | "catch" | "finally" | "do") => Within::Block,
            _ => Within::Object,
        }
    }

    fn role(&self, at: usize, within: Within) -> Role {
        let (before, after) = (self.text(at, -1), self.text(at, 1));
        let spread = before == "." && self.text(at, -2) == ".";
        if self.tokens[at].kind != Kind::Word || is_keyword(self.tokens[at].text) || before == "." && !spread {
            return Role::Neither;
        }
        let begins = matches!(before, "{" | ",");
        let accessor = |word| matches!(word, "get" | "set" | "async");
        match within {
            Within::Object if begins && matches!(after, "," | "}" | "=") => Role::Both,
            Within::Object if begins && matches!(after, ":" | "(") => Role::Neither,
            Within::Object | Within::Class if accessor(before) && after == "(" => Role::Neither,
            Within::Object if begins && accessor(self.tokens[at].text) => Role::Neither,
            Within::Class => Role::Neither,
            _ => Role::Name,
        }
    }

    /// Every use of a name in these tokens.
    fn names(&self, range: Range<usize>) -> impl Iterator<Item = &'a str> {
        range
            .filter(|at| self.roles[*at] != Role::Neither)
            .map(|at| self.tokens[at].text)
    }

    /// What other modules see of this one, or this one of others.
    fn shown(&self) -> HashSet<&'a str> {
        let mut shown = HashSet::new();
        for statement in &self.statements {
            match self.text(statement.start, 0) {
                "import" => shown.extend(self.names(statement.clone())),
                "export" => shown.extend(self.declared_at_top(statement)),
                _ => {}
            }
        }
        shown
    }

    /// The names that a statement declares for the whole module.
    fn declared_at_top(&self, statement: &Range<usize>) -> Vec<&'a str> {
        let first = statement.clone().find(|at| {
            let word = self.text(*at, 0);
            !matches!(word, "export" | "default" | "async" | "*")
        });
        match first {
            Some(at) if matches!(self.text(at, 0), "const" | "let") => self.declarators(at),
            Some(at) if matches!(self.text(at, 0), "function" | "class") => {
                let star = usize::from(self.text(at, 1) == "*");
                vec![self.text(at + star, 1)]
            }
            _ => Vec::new(),
        }
    }

    /// All names that are declared in a statement.
    fn declared(&self, statement: &Range<usize>) -> impl Iterator<Item = &'a str> {
        statement.clone().flat_map(|at| match self.text(at, 0) {
            "const" | "let" => self.declarators(at),
            "function" => vec![self.text(at, 1)],
            "(" if self.takes_parameters(at) => self.pattern(at),
            _ if self.text(at, 1) == "=" && self.text(at, 2) == ">" && self.roles[at] == Role::Name => {
                vec![self.text(at, 0)]
            }
            _ => Vec::new(),
        })
    }

    /// Whether what the bracket opens are the parameters of a function or of `catch`.
    fn takes_parameters(&self, open: usize) -> bool {
        let Some(close) = self.closes.get(&open) else {
            return false;
        };
        match (self.text(*close, 1), self.text(*close, 2)) {
            ("=", ">") => true,
            ("{", _) => !matches!(self.text(open, -1), "if" | "for" | "while" | "switch" | "await"),
            _ => false,
        }
    }

    /// The place after this token, or after what it opens.
    fn after(&self, at: usize) -> usize {
        self.closes.get(&at).map_or(at, |close| *close) + 1
    }

    /// The names in a pattern, or in a list of parameters.
    fn pattern(&self, open: usize) -> Vec<&'a str> {
        let close = self.after(open) - 1;
        let (mut found, mut at) = (Vec::new(), open + 1);
        while at < close {
            match self.text(at, 0) {
                // A default is no part of the pattern.
                "=" => {
                    while at < close && self.text(at, 0) != "," {
                        at = self.after(at);
                    }
                }
                "[" | "{" => found.extend(self.pattern(at)),
                name if self.roles[at] != Role::Neither => found.push(name),
                _ => {}
            }
            at = self.after(at);
        }
        found
    }

    /// What `const` or `let` declares.
    fn declarators(&self, declaration: usize) -> Vec<&'a str> {
        let mut found = Vec::new();
        let mut at = declaration + 1;
        while let Some(token) = self.tokens.get(at) {
            if matches!(self.text(at, -1), "const" | "let" | ",") {
                match token.text {
                    "{" | "[" => found.extend(self.pattern(at)),
                    name if name.starts_with(is_word) => found.push(name),
                    _ => {}
                }
            }
            if token.closes() || matches!(token.text, ";" | "of") {
                break;
            }
            at = self.after(at);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tight;

    #[track_caller]
    fn shortened(module: &str, expected: &str) {
        assert_eq!(tight("/a.js", module), expected);
    }

    #[test]
    fn what_a_module_keeps_to_itself_is_shortened() {
        shortened(
            "const most = 5, [first, { second, third: fourth = most }] = list;\nfunction sum(one, ...more) {\n  return one + more.length + most;\n}\n",
            "const A=5,[B,{second:D,third:C=A}]=list;function E(b,...a){return b+a.length+A}",
        );
    }

    #[test]
    fn what_others_see_keeps_its_name() {
        shortened(
            "import { text as words, hide } from './dom.js';\nimport * as store from './store.js';\nexport const shown = 1, count = shown;\nexport default async function* every(word) {\n  yield hide(words, store.every, word, document.title);\n}\nexport class List { set(item) { this.item = item; } }\n",
            "import{text as words,hide}from'./dom.js';import*as store from'./store.js';export const shown=1,count=shown;export default async function*every(a){yield hide(words,store.every,a,document.title)}export class List{set(a){this.item=a}}",
        );
    }

    #[test]
    fn a_property_is_not_a_name() {
        shortened(
            "function make(name, size) {\n  const it = { name, size: 1, get long() { return size ? name : it.size; }, set(size) { it.name = size; } };\n  return (it.set ||= ({ name }) => `${name}: ${it?.name}`);\n}\n",
            "function A(b,c){const a={name:b,size:1,get long(){return c?b:a.size},set(c){a.name=c}};return(a.set||=({name:b})=>`${b}: ${a?.name}`)}",
        );
    }

    #[test]
    fn what_the_browser_gives_keeps_its_name() {
        shortened(
            "function draw(first = { second: document }, third = Math.max(first, performance.now())) {\n  try { return third++ / 2; } catch { lost(first, third); }\n}\nconst lost = (item, ...more) => item.ok ? { id: item.id } : more / 2;\n",
            "function B(a={second:document},b=Math.max(a,performance.now())){try{return b++/2}catch{A(a,b)}}const A=(a,...b)=>a.ok?{id:a.id}:b/2;",
        );
    }

    #[test]
    fn each_statement_has_its_own() {
        shortened(
            "const list = [];\nconst one = item => list.push(item);\nconst two = (index, list) => { try { for (const entry of list) one(entry, index); } catch (error) { throw error; } };\n",
            "const A=[],B=a=>A.push(a),C=(c,A)=>{try{for(const a of A)B(a,c)}catch(b){throw b}};",
        );
    }
}
