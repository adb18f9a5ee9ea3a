//! Prints generated questions as a reader would see them: `show_reading TASK SIZE SPLIT SEED N`.

use fathom_harness::item::Role;
use fathom_harness::tasks::novel;

fn main() {
    let arg = |i: usize, default: &str| std::env::args().nth(i).unwrap_or(default.to_string());
    let parse = |text: String| serde_json::Value::String(text);
    let params = novel::Params {
        task: serde_json::from_value(parse(arg(1, "last-state"))).expect("a task"),
        size: serde_json::from_value(parse(arg(2, "small"))).expect("a size"),
        split: serde_json::from_value(parse(arg(3, "test"))).expect("a split"),
    };
    let seed = arg(4, "1").parse().expect("a seed");
    let n = arg(5, "1").parse().expect("a number");
    for question in novel::questions(params, seed, n) {
        println!("=== {}\n{}", question.id, question.instruction);
        for piece in question.pieces {
            let mark = match piece.role {
                Role::Evidence => "*",
                Role::Distractor => "-",
                Role::Body => " ",
            };
            println!("{mark} {}\n", piece.text);
        }
        println!("{}\n{:?}\n", question.ask, question.scorer);
    }
}
