//! A backend without a model, and items for it. Its answers are a function of the prompt alone.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fathom_harness::Result;
use fathom_harness::backend::{
    Backend, Event, Listener, ModelCard, Outcome, Reply, Request, SpeedSample,
    generation::Generation,
};
use fathom_harness::item::{Context, Filler, Item, Prompt, Question, Scorer};
use fathom_harness::record::{FORMAT, ItemRecord, Manifest, OptionScore, PromptOption};
use fathom_harness::run::execute::{Settings, execute};
use fathom_harness::run::place::{Found, Place};
use fathom_harness::stop::Stop;

/// A model of bytes whose logits are hashes.
pub struct Fake {
    pub card: ModelCard,
    pub pause: Duration,
    pub bytes_per_token: u64,
}

impl Fake {
    pub fn new(pause: Duration) -> Self {
        let card = ModelCard {
            name: "fake".into(),
            context_length: 100,
            ..ModelCard::default()
        };
        Self {
            card,
            pause,
            bytes_per_token: 1,
        }
    }
}

/// Logits after a sequence.
fn logits(ids: &[u32]) -> Vec<f32> {
    let bytes: Vec<u8> = ids.iter().flat_map(|i| i.to_le_bytes()).collect();
    let mut out = vec![0; 256];
    blake3::Hasher::new()
        .update(&bytes)
        .finalize_xof()
        .fill(&mut out);
    out.iter().map(|b| f32::from(*b) / 16.0).collect()
}

impl Backend for Fake {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn fingerprint(&mut self) -> Result<String> {
        Ok("00000000fa4e0000".into())
    }

    fn bytes_needed(&self, tokens: usize) -> u64 {
        1000 + self.bytes_per_token * tokens as u64
    }

    fn bytes_per_sequence(&self, tokens: usize) -> u64 {
        self.bytes_per_token * tokens as u64
    }

    fn seconds(&self, _: usize, prompt: usize, generated: usize) -> f64 {
        (prompt + 4 * generated) as f64 / 1000.0
    }

    fn rate_basis(&self) -> String {
        "1000 tokens/s, an assumption".into()
    }

    fn evaluate(&mut self, group: &[Request], listener: &mut Listener<'_>) -> Result<()> {
        for (i, request) in group.iter().enumerate() {
            std::thread::sleep(self.pause);
            listener(Event::Prefilled(request.ids.len()))?;
            let mut reply = Reply {
                prefill_s: Some(0.5),
                ..Reply::default()
            };
            let text = |ids: &[u32]| ids.iter().map(|i| (*i as u8) as char).collect::<String>();
            if let Some(generate) = &request.generate {
                let mut all = request.ids.clone();
                let mut g = Generation::new(generate);
                while let Some(id) = g.step(&logits(&all), &[7], &text) {
                    all.push(id);
                }
                reply.text = g.said(&text);
                reply.end = g.end;
                reply.ids = g.ids;
                reply.logprobs = g.logprobs;
            }
            for option in &request.options {
                let logprob = -f64::from(logits(&[&request.ids[..], &option.ids].concat())[0]);
                let score = OptionScore {
                    text: option.text.clone(),
                    logprob,
                    tokens: option.ids.len(),
                };
                reply.options.push(score);
            }
            listener(Event::Done(i, Outcome::Reply(reply)))?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        context: usize,
        decode: usize,
        _: &mut Listener<'_>,
    ) -> Result<SpeedSample> {
        std::thread::sleep(self.pause);
        let seconds = context as f64 / 1000.0;
        Ok(SpeedSample {
            prefill_s: seconds,
            first_token_s: seconds,
            decode_s: decode as f64 / 100.0,
            decoded: decode,
            cache_bytes: context as u64,
            prompt_tokens: context,
            again: None,
        })
    }
}

/// Items of three lengths, some with options, one that does not fit its length.
pub fn items() -> Vec<ItemRecord> {
    let mut all = Vec::new();
    for length in [16usize, 32, 64] {
        for n in 0..12 {
            let question = Question {
                id: format!("fake/task/{n:04}"),
                suite: "fake".into(),
                task: "task".into(),
                cluster: format!("fake/task/{n:04}"),
                instruction: String::new(),
                pieces: Vec::new(),
                filler: Filler::None,
                ask: "?".into(),
                answer_prefix: String::new(),
                scorer: Scorer::ContainsAny {
                    references: vec!["a".into()],
                },
                max_tokens: 8,
                shared: None,
            };
            let ids: Vec<u32> = (0..length).map(|i| (i * 7 + n) as u32 % 256).collect();
            let options = if n % 3 == 0 {
                vec![
                    PromptOption {
                        text: "a".into(),
                        ids: vec![97],
                    },
                    PromptOption {
                        text: "b".into(),
                        ids: vec![98],
                    },
                ]
            } else {
                Vec::new()
            };
            let skip = if n == 11 {
                "does not fit: 70 tokens".to_owned()
            } else {
                String::new()
            };
            all.push(ItemRecord {
                item: Item {
                    id: format!("{}@{length}", question.id),
                    question: question.id.clone(),
                    context: Context::Length(length),
                    depth: None,
                    repeat: 0,
                },
                question,
                prompt: Prompt {
                    ids,
                    text: "text".into(),
                    evidence: Vec::new(),
                    about: None,
                },
                group: String::new(),
                options,
                marks: Vec::new(),
                skip,
            });
        }
    }
    all
}

pub fn manifest(seed: u64) -> Manifest {
    Manifest {
        format: FORMAT,
        fathom: "test".into(),
        numeric_version: 1,
        started: "2026-01-01T00:00:00Z".into(),
        finished: String::new(),
        identity: BTreeMap::from([
            ("model".to_owned(), "fake".into()),
            ("seed".to_owned(), seed.into()),
        ]),
        environment: BTreeMap::new(),
        model: BTreeMap::new(),
        logits_fingerprint: "00000000fa4e0000".into(),
    }
}

pub fn settings() -> Settings {
    Settings {
        generate_beside_options: true,
        temperature: 0.8,
        top_p: 0.9,
        seed: 5,
        thought_budget: 64,
        one_line: false,
        memory: 1 << 30,
        batch: 5,
        speed_at: vec![16, 64],
    }
}

/// Executes the fake run in this folder to its end.
pub fn run(dir: &Path, backend: &mut Fake, settings: &Settings, stop: &Stop) -> Result<()> {
    let found = Place::Exactly(dir.into()).open(manifest(settings.seed), |write| {
        items().iter().try_for_each(write)
    })?;
    let Found::Work(mut folder) = found else {
        return Ok(());
    };
    execute(&folder, backend, settings, stop, false)?;
    folder.manifest.finished = "2026-01-01T00:00:01Z".into();
    folder.write_manifest()
}
