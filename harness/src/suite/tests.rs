//! The built-in suites read; what is not understood is named.

use std::collections::HashSet;
use std::path::Path;

use super::*;

fn error(text: &str) -> String {
    Suite::parse(text, "s.toml", Path::new(""))
        .err()
        .map_or_else(|| "no error".to_owned(), |e| e.to_string())
}

const GOOD: &str =
    "format = 1\nname = \"x\"\nlengths = [64, \"1k\"]\n[[task]]\nkind = \"needle\"\n";

#[test]
fn built_in_suites_read_and_make_items() -> Result<()> {
    for (name, _) in BUILT_IN {
        let suite = Suite::load(name)?;
        assert_eq!(suite.name(), *name);
        let questions = suite.questions()?;
        let items = suite.items(&questions);
        let ids: HashSet<&String> = items.iter().map(|i| &i.id).collect();
        assert_eq!(ids.len(), items.len(), "{name}");
        let known: HashSet<&String> = questions.iter().map(|q| &q.id).collect();
        assert_eq!(known.len(), questions.len());
        assert!(items.iter().all(|i| known.contains(&i.question)));
        assert!(!suite.file.description.is_empty());
    }
    assert_eq!(list().len(), BUILT_IN.len());
    Ok(())
}

#[test]
fn mistakes_are_named_with_file_field_found_and_expected() {
    assert_eq!(error(GOOD), "no error");
    let with = |line: &str| GOOD.replace("[[task]]", &format!("{line}\n[[task]]"));
    for (text, expected) in [
        (
            with("lenghts = 3"),
            "s.toml: line 4: found unknown field `lenghts`, expected one of",
        ),
        (
            with("depths = [1.5]"),
            "s.toml: depths: found 1.5, expected shares in 0..=1",
        ),
        (
            with("repeats = \"two\""),
            "s.toml: line 4: found string \"two\", expected usize",
        ),
        (
            with("depth-mode = \"some\""),
            "s.toml: line 4: found unknown variant `some`, expected `each` or `spread`",
        ),
        (
            GOOD.replace("= 1\n", "= 2\n"),
            "s.toml: format: found 2, expected 1",
        ),
        (
            GOOD.replace("64, \"1k\"", "\"1q\""),
            "s.toml: line 3: found `1q`, expected a number of tokens",
        ),
        (
            GOOD.replace("64, \"1k\"", "\"1k\", 64"),
            "s.toml: lengths: found [1024, 64], expected at least one length, asc",
        ),
        (
            GOOD.replace("\"needle\"", "\"noodle\""),
            "s.toml: task[0].kind: found `noodle`, expected needle, ",
        ),
        (
            GOOD.replace("name = \"x\"\n", ""),
            "s.toml: line 1: found no `name`, expected it",
        ),
        (
            format!("{GOOD}parameters = {{ kyes = 3 }}"),
            "s.toml: task[0].parameters: found unknown field `kyes`, expected keys, ",
        ),
        (
            format!("{GOOD}parameters = {{ keys = 0 }}"),
            "s.toml: task[0].parameters.keys: found 0, expected 1 to 4096",
        ),
        (
            format!("{GOOD}[[task]]\nkind = \"needle\""),
            "s.toml: task[1].name: found `needle` again, expected a name",
        ),
        ("format = ".to_owned(), "s.toml: line 1: found "),
    ] {
        let message = error(&text);
        assert!(
            message.starts_with(expected) && !message.contains('\n'),
            "{message}\n{expected}"
        );
    }
    assert!(
        Suite::load("noodle")
            .is_err_and(|e| e.to_string().contains("found noodle, expected default, "))
    );
    assert!(
        Suite::load("/no/such.toml").is_err_and(|e| e.to_string().starts_with("/no/such.toml: "))
    );
}

#[test]
fn a_question_does_not_depend_on_what_else_there_is() -> Result<()> {
    let small = Suite::parse(&format!("{GOOD}questions = 3"), "s", Path::new(""))?.questions()?;
    let large = format!("{GOOD}questions = 9\n[[task]]\nkind = \"needle\"\nname = \"other\"");
    let large = Suite::parse(&large, "s", Path::new(""))?.questions()?;
    assert_eq!(large.len(), 29);
    for (a, b) in small.iter().zip(&large) {
        assert_eq!(serde_json::to_string(a).ok(), serde_json::to_string(b).ok());
    }
    Ok(())
}

#[test]
fn the_same_question_stands_at_every_length_at_one_depth_when_spread() -> Result<()> {
    let text = GOOD.replace(
        "[[task]]",
        "depths = [0.0, 1.0]\ndepth-mode = \"spread\"\nrepeats = 2\n[[task]]",
    );
    let suite = Suite::parse(&format!("{text}questions = 4"), "s", Path::new(""))?;
    let questions = suite.questions()?;
    let items = suite.items(&questions);
    assert_eq!(items.len(), 4 * 4 * 2);
    for question in &questions {
        let own: Vec<&Item> = items.iter().filter(|i| i.question == question.id).collect();
        let depths: HashSet<String> = own
            .iter()
            .filter_map(|i| i.depth)
            .map(|d| d.to_string())
            .collect();
        assert_eq!(depths.len(), 1);
    }
    assert!(items.iter().any(|i| i.id == "x/needle/0001@1024/d1#2"));
    assert!(items.iter().any(|i| i.id == "x/needle/0001@none"));
    Ok(())
}

#[test]
fn documents_of_ones_own_keep_their_evidence() -> Result<()> {
    let text = r#"
format = 1
name = "mine"
lengths = [64]
[[task]]
kind = "own"
parameters.documents = [{ name = "a", text = "It began. <<The cat sat on the mat.>> It went on. The dog ran. It ended." }]
[[task.parameters.questions]]
ask = "Where did the cat sit?"
answers = ["on the mat", "the mat"]
evidence = ["The dog ran."]
[[task.parameters.questions]]
ask = "Where did the cat sit?"
options = ["on the mat", "nowhere"]
answers = ["on the mat"]
"#;
    let questions = Suite::parse(text, "s", Path::new(""))?.questions()?;
    let evidence: Vec<&str> = questions[0]
        .pieces
        .iter()
        .map(|p| p.text.as_str())
        .collect();
    assert_eq!(evidence, ["The cat sat on the mat.", "The dog ran."]);
    assert!(questions[1].ask.contains("\n(B) nowhere"));
    let missing = text.replace("\"The dog ran.\"", "\"The dog sat.\"");
    assert!(
        Suite::parse(&missing, "s", Path::new(""))?
            .questions()
            .is_err_and(|e| e.to_string().contains("does not occur"))
    );
    Ok(())
}

#[test]
fn items_of_one_document_follow_each_other() -> Result<()> {
    let suite = Suite::load("sweep")?;
    let questions = suite.questions()?;
    let groups: std::collections::HashMap<&str, &str> = questions
        .iter()
        .map(|q| (q.id.as_str(), q.group()))
        .collect();
    let items = suite.items(&questions);
    let mut seen = HashSet::new();
    let mut before = ("", 0);
    for item in &items {
        let Context::Length(length) = item.context else {
            continue;
        };
        let group = groups[item.question.as_str()];
        assert!(!group.is_empty());
        assert!(
            group == before.0 && length >= before.1 || seen.insert(group),
            "{group}"
        );
        before = (group, length);
    }
    Ok(())
}
