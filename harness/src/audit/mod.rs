//! Is what is served the model; if not, what was done to it; and how sure are we.
//!
//! | file | |
//! |---|---|
//! | `hypothesis` | what may have been done: the catalogue's faults, edits of the prompt, another model |
//! | `prompt` | what services do to a prompt |
//! | `prepare` | from a model to its probes |
//! | `probe` | the texts that are sent |
//! | `table` | what every hypothesis predicts of every probe |
//! | `observe` | a probe put to a service, and what it says beside the predictions |
//! | `choices` | a greedy answer's tokens under every hypothesis |
//! | `evidence` | one request between two hypotheses, under noise that is heavy-tailed |
//! | `line` | the line that is fitted for it |
//! | `request` | one request and every hypothesis |
//! | `process` | all requests together: e-processes, valid whenever one stops |
//! | `state` | what the evidence carries |
//! | `verdict` | what it ends in |
//! | `warm` | a prompt put again: warm and cold |
//! | `words` | all of it as a person reads it |
//! | `pack` | all of that in a file: an audit without the model |
//! | `choosing` | answers that are asked for to find out how tokens are chosen |
//! | `context` | how much context is accepted, billed and really read |
//! | `counts` | whether tokens are counted as we do |
//! | `drawn` | whether tokens are chosen by the rule that is asked for |
//! | `plan` | what a probe is expected to bring |
//! | `refine` | a value that the catalogue does not have |
//! | `sampled` | answers that are drawn, weighed by their text |
//! | `recording` | what a service said, kept |
//! | `shown` | a cut that an echo shows |
//! | `session` | the sequence: which probe is next, and when it is enough |

pub mod choices;
pub mod choosing;
pub mod context;
pub mod counts;
pub mod drawn;
pub mod evidence;
pub mod hypothesis;
pub mod line;
pub mod observe;
pub mod pack;
pub mod plan;
pub mod prepare;
pub mod probe;
pub mod process;
pub mod prompt;
pub mod recording;
pub mod refine;
pub mod request;
pub mod sampled;
pub mod session;
pub mod shown;
pub mod state;
pub mod table;
pub mod verdict;
pub mod warm;
pub mod words;
