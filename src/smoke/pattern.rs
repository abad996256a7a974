//! Text and regular expressions that are looked for in a stream, character by character as it arrives.
//!
//! An expression's automaton is kept between two characters and nothing else is: a match may be as long as it likes, and
//! how the stream was cut into pieces cannot matter. What an expression asks of a match's edges (`^`, `$`, `\b`, `\z`) is
//! asked when both characters beside the edge are known; where text has arrived and nothing behind it, a match counts
//! only if it is one whatever follows.
//!
//! The automaton is simulated as Thompson wrote it (Communications of the ACM 11, 6, 1968): every state it may be in at
//! once, so that the time for a character has a bound that follows from the expression's size.

use regex_automata::nfa::thompson::{NFA, State, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use std::fmt;

/// Largest automaton, in bytes: an expression is input too.
const LARGEST: usize = 4 << 20;

/// One text for every kind of neighbour that an edge can tell apart: none, a line's end, a word's character, another.
const NEIGHBOURS: [&str; 5] = ["", "a", "\n", "\r", " "];

/// What is looked for in text.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    is_regex: bool,
    automaton: NFA,
}

/// Why text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing to look for.
    #[error("expected text is empty")]
    Empty,
    /// Not a regular expression.
    #[error("not a regular expression: {0}")]
    Regex(String),
}

impl Pattern {
    /// Plain text.
    ///
    /// # Errors
    /// When it is empty: that would hold at once.
    pub fn text(text: &str) -> Result<Pattern, PatternError> {
        Pattern::compile(text, &regex::escape(text), false)
    }

    /// A regular expression as the crate `regex` writes them, line by line.
    ///
    /// # Errors
    /// When it is none, or matches the empty text.
    pub fn regex(text: &str) -> Result<Pattern, PatternError> {
        Pattern::compile(text, text, true)
    }

    fn compile(source: &str, expression: &str, is_regex: bool) -> Result<Pattern, PatternError> {
        let refuse = |why: String| PatternError::Regex(why);
        // The crate's message is a drawing of several lines; its last says what is wrong.
        let last = |text: String| text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let parsed = syntax::parse_with(expression, &syntax::Config::new().multi_line(true));
        let parsed = parsed.map_err(|error| refuse(last(error.to_string())))?;
        let wanted = NFA::config().nfa_size_limit(Some(LARGEST)).which_captures(WhichCaptures::None);
        let automaton = NFA::compiler().configure(wanted).build_from_hir(&parsed);
        let automaton = automaton.map_err(|_| refuse(format!("it takes more than {LARGEST} bytes when compiled")))?;
        let pattern = Pattern { source: source.to_owned(), is_regex, automaton };
        if Reader::new(&pattern).at_the_end() { Err(PatternError::Empty) } else { Ok(pattern) }
    }
}

/// As it is behind `expect` and `reject`: ` "text"` or `-regex /expression/`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_regex {
            false => write!(f, " {:?}", self.source),
            true => write!(f, "-regex /{}/", self.source),
        }
    }
}

/// A pattern's automaton in a stream.
pub(super) struct Reader {
    automaton: NFA,
    /// The last character; none at the stream's beginning.
    before: Option<char>,
    /// What the last character led to.
    reached: Vec<StateID>,
    /// For each state the round in which it was looked at.
    seen: Vec<u64>,
    round: u64,
    /// Those of them that take a byte.
    taking: Vec<StateID>,
    /// Room for what is still to be looked at.
    waiting: Vec<StateID>,
}

impl Reader {
    pub(super) fn new(pattern: &Pattern) -> Reader {
        let automaton = pattern.automaton.clone();
        let seen = vec![0; automaton.states().len()];
        let (reached, taking, waiting) = Default::default();
        Reader { automaton, before: None, reached, seen, round: 0, taking, waiting }
    }

    /// Takes a character; whether a match ended before it. After a match it is of no more use.
    pub(super) fn take(&mut self, c: char) -> bool {
        let mut bytes = [0; 4];
        let next = c.encode_utf8(&mut bytes);
        if self.matches_before(next) {
            return true;
        }
        let (&last, first) = next.as_bytes().split_last().unwrap_or((&0, &[]));
        for &byte in first {
            self.step(byte);
            // No edge is inside a character, and neither begins nor ends a match there.
            self.close("", false);
        }
        self.step(last);
        self.before = Some(c);
        false
    }

    /// Whether what has arrived ends with a match, whatever follows.
    pub(super) fn in_any_case(&mut self) -> bool {
        NEIGHBOURS.iter().all(|next| self.matches_before(next))
    }

    /// Whether it ends with a match when nothing follows.
    pub(super) fn at_the_end(&mut self) -> bool {
        self.matches_before("")
    }

    fn matches_before(&mut self, next: &str) -> bool {
        self.close(next, true)
    }

    /// Every state that can be reached without a byte, before `next`; whether one of them is a match. A match may begin
    /// between any two characters.
    fn close(&mut self, next: &str, between: bool) -> bool {
        self.round += 1;
        self.taking.clear();
        let waiting = &mut self.waiting;
        waiting.clear();
        waiting.extend_from_slice(&self.reached);
        waiting.extend(between.then(|| self.automaton.start_anchored()));
        while let Some(id) = waiting.pop() {
            if std::mem::replace(&mut self.seen[id.as_usize()], self.round) == self.round {
                continue;
            }
            match self.automaton.state(id) {
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => self.taking.push(id),
                State::Look { look, next: behind } => {
                    let (text, at) = edge(self.before, next);
                    if self.automaton.look_matcher().matches(*look, text.as_bytes(), at) {
                        waiting.push(*behind);
                    }
                }
                State::Union { alternates } => waiting.extend(alternates.iter()),
                State::BinaryUnion { alt1, alt2 } => waiting.extend([*alt1, *alt2]),
                State::Capture { next, .. } => waiting.push(*next),
                State::Fail => {}
                State::Match { .. } => return true,
            }
        }
        false
    }

    fn step(&mut self, byte: u8) {
        self.reached.clear();
        for &id in &self.taking {
            self.reached.extend(match self.automaton.state(id) {
                State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
                State::Sparse(sparse) => sparse.matches_byte(byte),
                State::Dense(dense) => dense.matches_byte(byte),
                _ => None,
            });
        }
    }
}

/// The characters beside an edge, and where between them it is.
fn edge(before: Option<char>, next: &str) -> (String, usize) {
    let text: String = before.into_iter().chain(next.chars()).collect();
    (text, before.map_or(0, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether a regular expression is found, told as soon as it is certain, in text that arrives in these pieces.
    fn found(pattern: &Pattern, pieces: &[&str], ended: bool) -> bool {
        let mut reader = Reader::new(pattern);
        let mut piece = |text: &&str| text.chars().any(|c| reader.take(c)) || reader.in_any_case();
        pieces.iter().any(&mut piece) || ended && reader.at_the_end()
    }

    #[test]
    fn patterns_that_hold_for_nothing_are_refused() {
        for empty in ["", "x*", "^", "$", r"\z", r"\B"] {
            assert_eq!(Pattern::regex(empty).unwrap_err(), PatternError::Empty, "{empty}");
        }
        assert_eq!(Pattern::text("").unwrap_err(), PatternError::Empty);
        assert!(matches!(Pattern::regex("(").unwrap_err(), PatternError::Regex(_)));
        assert!(Pattern::regex("(a{1000}){1000}").is_err());
    }

    #[test]
    fn an_edge_of_what_has_arrived_is_no_edge_of_a_line_or_a_word() {
        for (expression, pieces, goes_on, ended) in [
            ("ready$", &["ready"][..], false, true),
            ("ready$", &["ready", "-not-yet\n"], false, false),
            ("ready$", &["ready", "\n"], true, true),
            ("ready", &["ready"], true, true),
            ("^up", &["not ", "up"], false, false),
            ("^up", &["not\n", "up"], true, true),
            (r"FAIL\b", &["FAIL"], false, true),
            (r"FAIL\b", &["FAIL", "OVER"], false, false),
            (r"FAIL\b", &["FAIL", "é"], false, false),
            (r"FAIL\b", &["FAIL", "!"], true, true),
            (r"\bcafé\b", &["un café", "."], true, true),
            (r"\bcafé\b", &["un café", "s"], false, false),
            (r"\Bup", &["b", "up"], true, true),
            (r"\Aup", &["\n", "up"], false, false),
            (r"\Aup", &["u", "p"], true, true),
            (r"end\z", &["end\n"], false, false),
            (r"end\z", &["end"], false, true),
            (r"(?-m)end$", &["end\n", "x"], false, false),
            (r"(?s)begin.*end$", &["begin\n", "x\n", "the end", "\n"], true, true),
            ("a.b", &["a\nb"], false, false),
            ("[^a]x$|y", &["éx", "y"], true, true),
        ] {
            let pattern = Pattern::regex(expression).unwrap();
            assert_eq!(found(&pattern, pieces, false), goes_on, "{expression} in {pieces:?}");
            assert_eq!(found(&pattern, pieces, true), ended, "{expression} in {pieces:?}, ended");
        }
    }

    #[test]
    fn a_match_may_be_longer_than_anything_that_is_kept() {
        let pattern = Pattern::regex("(?s)begin.*end").unwrap();
        let flood = "x\n".repeat(100_000);
        assert!(found(&pattern, &["begin", &flood, "e", "nd"], false));
        assert!(!found(&pattern, &["bein", &flood, "e", "nd"], true));
    }

    /// Pieces of expressions and of text that meet in every way.
    fn expression() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "a",
            "b",
            "é",
            ".",
            "[ab]",
            r"\w",
            r"\W",
            r"\b",
            r"\B",
            "^",
            "$",
            r"\A",
            r"\z",
            r"\n",
            " ",
            "(?s:.*)",
            "a*",
            "(ab|b)",
            "(?-m:$)",
            r"\b{start}",
            r"\b{end}",
            "é?",
        ]);
        prop::collection::vec(atom, 1..6).prop_map(|atoms| atoms.concat())
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_whole_text_however_it_is_cut(
            expression in expression(),
            characters in prop::collection::vec(prop::sample::select(vec!['a', 'b', 'é', '\n', ' ', '-']), 0..14),
            cuts in prop::collection::vec(any::<bool>(), 14),
        ) {
            let Ok(pattern) = Pattern::regex(&expression) else { return Ok(()) };
            let mut pieces = vec![String::new()];
            for (c, cut) in characters.iter().zip(cuts) {
                if cut {
                    pieces.push(String::new());
                }
                pieces.last_mut().unwrap().push(*c);
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let judge = regex::RegexBuilder::new(&expression).multi_line(true).build().unwrap();
            prop_assert_eq!(found(&pattern, &pieces, true), judge.is_match(&pieces.concat()));
            // What is told before the end is true whatever comes.
            if found(&pattern, &pieces, false) {
                for rest in NEIGHBOURS {
                    prop_assert!(judge.is_match(&(pieces.concat() + rest)), "{:?} before {:?}", pieces, rest);
                }
            }
        }
    }
}
