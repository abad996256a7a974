//! The messages that docs/troubleshooting.md quotes are those that the program has: every piece of one, between what stands
//! for names and numbers, is in the source text.

use super::graph::{Texts, texts};

/// Pieces of the messages that a page of tables quotes, with the message each is of.
fn pieces(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| message"));
    let cells = rows.filter_map(|row| row[2..].split(" | ").next());
    let messages = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    messages
        .flat_map(|message| message.split('…').map(move |piece| (piece.trim_matches([' ', ':', ',']), message)))
        .collect()
}

/// Messages of a page that no file has. Pieces of a word or less say nothing.
fn unknown<'a>(page: &'a str, texts: &Texts) -> Vec<&'a str> {
    let all: String =
        texts.values().flat_map(|text| text.lines().map(|line| line.trim_start().trim_end_matches('\\'))).collect();
    let all = all.replace("\\\"", "\"");
    pieces(page)
        .into_iter()
        .filter(|(piece, _)| piece.len() > 5 && !all.contains(piece))
        .map(|(_, message)| message)
        .collect()
}

#[test]
fn every_message_of_the_troubleshooting_page_is_one_of_the_program() {
    let page = include_str!("../../../docs/troubleshooting.md");
    assert!(pieces(page).len() > 150, "the tables are found");
    assert_eq!(unknown(page, &texts()), super::NOTHING);
}

#[test]
fn a_message_that_nothing_says_is_found() {
    let page = "| message | what to do |\n|---|---|\n| `no default kernel`, `the moon … is full` | wait |\n";
    assert_eq!(unknown(page, &texts()), ["the moon … is full"]);
}
