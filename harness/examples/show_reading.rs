//! Prints generated questions as a reader would see them, evidence marked `*` and decoys `-`:
//! `show_reading TASK SIZE SPLIT SEED N`, with a task of *novel* or *papers*.

use fathom_harness::item::{Question, Role};
use fathom_harness::tasks::{novel, papers};
use serde::de::DeserializeOwned;

fn main() -> anyhow::Result<()> {
    let arg = |i: usize, default: &str| std::env::args().nth(i).unwrap_or(default.to_string());
    let (task, size, split) = (arg(1, "last-state"), arg(2, "small"), arg(3, "test"));
    let (seed, n) = (arg(4, "1").parse()?, arg(5, "1").parse()?);
    let questions: Vec<Question> = match named(&task) {
        Ok(task) => {
            let (size, split) = (named(&size)?, named(&split)?);
            novel::questions(novel::Params { task, size, split }, seed, n)
        }
        Err(_) => {
            let (task, size, split) = (named(&task)?, named(&size)?, named(&split)?);
            papers::questions(papers::Params { task, size, split }, seed, n)
        }
    };
    for question in questions {
        println!("=== {}\n{}", question.id, question.instruction);
        for piece in question.pieces {
            let mark = match piece.role {
                Role::Evidence => "*",
                Role::Distractor => "-",
                Role::Body => " ",
            };
            println!("{mark} {}\n", piece.text.trim());
        }
        println!("{}\n{:?}\n", question.ask, question.scorer);
    }
    Ok(())
}

fn named<T: DeserializeOwned>(name: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(name.into())
}
