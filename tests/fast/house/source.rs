//! Source text as tokens: the modules in a file, what each imports, and every path its code writes out.
//!
//! The text is not understood, only cut into tokens, macros' bodies too. What is for tests alone (`#[cfg(test)]`) does
//! not count. Not seen: names that a macro puts together, and types that nobody writes down.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;

/// A name that a `use` brings: of what path, and how it is called here. `*` is everything.
#[derive(Debug)]
pub struct Import {
    pub path: Vec<String>,
    pub name: String,
}

/// A module: a file's own, or one that is written out in it.
#[derive(Debug, Default)]
pub struct Module {
    /// From the crate's root.
    pub path: Vec<String>,
    /// Modules that it declares.
    pub children: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths of two names or more in its code.
    pub paths: Vec<Vec<String>>,
}

/// The modules of a file, its own first.
pub fn modules(path: Vec<String>, text: &str) -> Vec<Module> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.join("::")));
    let mut found = Vec::new();
    read_module(path, &tokens(stream), &mut found);
    found
}

fn read_module(path: Vec<String>, tokens: &[Token], found: &mut Vec<Module>) {
    let at = found.len();
    found.push(Module { path: path.clone(), ..Module::default() });
    let (mut module, mut inner) = (Module { path, ..Module::default() }, Vec::new());
    module.read(tokens, &mut inner);
    for (name, tokens) in inner {
        let path = module.path.iter().cloned().chain([name]).collect();
        read_module(path, &tokens, found);
    }
    found[at] = module;
}

/// A token, with `::` as one.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(char),
    PathSign,
    Group(Delimiter, Vec<Token>),
    Literal,
}

fn tokens(stream: TokenStream) -> Vec<Token> {
    let mut list: Vec<Token> = Vec::new();
    for tree in stream {
        let token = match tree {
            TokenTree::Ident(word) => Token::Word(word.to_string()),
            TokenTree::Literal(_) => Token::Literal,
            TokenTree::Group(group) => Token::Group(group.delimiter(), tokens(group.stream())),
            TokenTree::Punct(sign) => Token::Sign(sign.as_char()),
        };
        match (list.last(), &token) {
            (Some(Token::Sign(':')), Token::Sign(':')) => *list.last_mut().unwrap() = Token::PathSign,
            _ => list.push(token),
        }
    }
    list
}

/// A module that is written out in a file: its name and what is in it.
type Inner = (String, Vec<Token>);

impl Module {
    fn read(&mut self, tokens: &[Token], inner: &mut Vec<Inner>) {
        let mut rest = tokens;
        while let Some((token, after)) = rest.split_first() {
            rest = match (token, after) {
                (Token::Sign('#'), [Token::Group(Delimiter::Bracket, attribute), item @ ..]) => {
                    self.attribute(attribute, item, inner)
                }
                (Token::Word(word), [Token::Word(name), Token::Sign(';'), after @ ..]) if word == "mod" => {
                    self.children.insert(name.clone());
                    after
                }
                (Token::Word(word), [Token::Word(name), Token::Group(_, tokens), after @ ..]) if word == "mod" => {
                    self.children.insert(name.clone());
                    inner.push((name.clone(), tokens.clone()));
                    after
                }
                // `impl Trait + use<'a>` imports nothing.
                (Token::Word(word), after) if word == "use" && after.first() != Some(&Token::Sign('<')) => {
                    self.import(after, &[])
                }
                (Token::Word(word), [Token::PathSign, Token::Word(_), ..]) => self.path(word, after),
                (Token::PathSign, [Token::Word(_), after @ ..]) => after,
                (Token::Group(_, tokens), after) => {
                    self.read(tokens, inner);
                    after
                }
                (_, after) => after,
            };
        }
    }

    /// Reads an attribute as code is read, and goes on behind what is for tests.
    fn attribute<'a>(&mut self, attribute: &[Token], item: &'a [Token], inner: &mut Vec<Inner>) -> &'a [Token] {
        if is_for_tests(attribute) {
            return behind_item(item);
        }
        self.read(attribute, inner);
        item
    }

    /// Takes a path in code; returns what is behind it.
    fn path<'a>(&mut self, first: &str, mut rest: &'a [Token]) -> &'a [Token] {
        let mut path = vec![first.to_owned()];
        while let [Token::PathSign, Token::Word(name), after @ ..] = rest {
            path.push(name.clone());
            rest = after;
        }
        self.paths.push(path);
        rest
    }

    /// Takes one branch of an import; returns what is behind it.
    fn import<'a>(&mut self, tokens: &'a [Token], before: &[String]) -> &'a [Token] {
        match tokens {
            [Token::PathSign, after @ ..] => self.import(after, before),
            [Token::Sign('*'), after @ ..] => self.imported(before.to_vec(), "*", after),
            [Token::Group(_, branches), after @ ..] => {
                let mut rest = &branches[..];
                while !rest.is_empty() {
                    rest = self.import(rest, before);
                    rest = rest.strip_prefix(&[Token::Sign(',')]).unwrap_or(rest);
                }
                after
            }
            [Token::Word(name), Token::PathSign, after @ ..] => self.import(after, &longer(before, name)),
            [Token::Word(name), Token::Word(word), Token::Word(alias), after @ ..] if word == "as" => {
                self.imported(named(before, name), alias, after)
            }
            [Token::Word(name), after @ ..] => {
                let path = named(before, name);
                let name = path.last().cloned().unwrap_or_default();
                self.imported(path, &name, after)
            }
            _ => &tokens[tokens.len().min(1)..],
        }
    }

    fn imported<'a>(&mut self, path: Vec<String>, name: &str, after: &'a [Token]) -> &'a [Token] {
        self.imports.push(Import { path, name: name.to_owned() });
        after
    }
}

fn longer(before: &[String], name: &str) -> Vec<String> {
    before.iter().cloned().chain([name.to_owned()]).collect()
}

/// `a::{self}` is `a`.
fn named(before: &[String], name: &str) -> Vec<String> {
    if name == "self" && !before.is_empty() { before.to_vec() } else { longer(before, name) }
}

/// `cfg(test)` and `cfg(all(test, …))`; what is `any(test, …)` or `not(test)` may be in the program too.
fn is_for_tests(attribute: &[Token]) -> bool {
    fn says_test(tokens: &[Token]) -> bool {
        let all = Token::Word("all".into());
        tokens.iter().enumerate().any(|(at, token)| match token {
            Token::Word(word) => word == "test",
            Token::Group(_, inner) => at > 0 && tokens[at - 1] == all && says_test(inner),
            _ => false,
        })
    }
    matches!(attribute, [Token::Word(word), Token::Group(_, inner)] if word == "cfg" && says_test(inner))
}

/// What follows an item, a statement, a field or an arm.
fn behind_item(mut rest: &[Token]) -> &[Token] {
    while let [Token::Sign('#'), Token::Group(Delimiter::Bracket, _), after @ ..] = rest {
        rest = after;
    }
    let is_import = rest.iter().take(3).any(|token| *token == Token::Word("use".into()));
    let ends = |token: &Token| match token {
        Token::Sign(';') => true,
        Token::Group(Delimiter::Brace, _) => !is_import,
        _ => false,
    };
    let length = rest.iter().position(ends).map_or(rest.len(), |at| at + 1);
    &rest[length..]
}
