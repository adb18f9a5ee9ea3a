//! Templates of real families with what `transformers` makes of them, and templates that lie.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// SmolLM2's (ChatML with a default system message).
const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// In the manner of Gemma 3's: system text in front of the user's, strict alternation, indented blocks.
const GEMMA: &str = "{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = \"\" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception(\"Conversation roles must alternate\") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else \"\") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
";

fn conversation() -> Vec<Message> {
    vec![
        Message::new("system", "Be brief."),
        Message::new("user", " <b>\"hé\"</b>\n"),
        Message::new("assistant", "Yes."),
        Message::new("user", "And?"),
    ]
}

#[test]
fn chatml() {
    let template = ChatTemplate::new(CHATML, "<|im_start|>", "<|im_end|>").unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n <b>\"hé\"</b>\n<|im_end|>\n\
        <|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template.render(&conversation(), true).unwrap(), expected);
    let alone = template
        .render(&[Message::new("user", "hi")], false)
        .unwrap();
    assert_eq!(
        alone,
        "<|im_start|>system\nYou are helpful<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
    );
}

#[test]
fn gemma() {
    let template = ChatTemplate::new(GEMMA, "<bos>", "<eos>").unwrap();
    let expected = "<bos><start_of_turn>user\nBe brief.\n\n<b>\"hé\"</b><end_of_turn>\n\
        <start_of_turn>model\nYes.<end_of_turn>\n<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n";
    assert_eq!(template.render(&conversation(), true).unwrap(), expected);
    let error = template
        .render(&[Message::new("assistant", "hi")], true)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("chat template: line "), "{error}");
    assert!(
        error.contains("Conversation roles must alternate"),
        "{error}"
    );
}

/// Renders with one message and one variable.
fn render(source: &str) -> Result<String> {
    let mut variables = Map::new();
    variables.insert("enable_thinking".into(), json!(false));
    ChatTemplate::new(source, "", "</s>")?.render_with(
        &[Message::new("user", "a<b")],
        true,
        &variables,
    )
}

#[test]
fn python_and_transformers_in_templates() {
    let cases = [
        (
            "{{ messages | tojson }}",
            "[{\"role\": \"user\", \"content\": \"a<b\"}]",
        ),
        (
            "{{ messages[0] | tojson(indent=2) }}",
            "{\n  \"role\": \"user\",\n  \"content\": \"a<b\"\n}",
        ),
        (
            "{{ {} | tojson }}{{ [] | tojson(indent=4) }}{{ [1, none, true, 1.5] | tojson }}",
            "{}[][1, null, true, 1.5]",
        ),
        (
            "{{ true }} {{ none }} {{ 1 }} {{ missing }}",
            "True None 1 ",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        (
            "{% for m in messages %}\n    {%- generation %}\n{{ m.content }}\n    {%- endgeneration %}\n{% endfor %}",
            "a<b",
        ),
        (
            "{% if bos_token is defined %}bos{% endif %}{{ eos_token }}",
            "</s>",
        ),
        (
            "{{ enable_thinking is defined and enable_thinking is false }}",
            "True",
        ),
        (
            "{% if tools is defined and not tools %}none{% endif %}",
            "none",
        ),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "13",
        ),
        (
            "{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n').upper() }}",
            "B",
        ),
        (
            "{{ tools is iterable }} {{ messages is iterable }} {{ 'a' is iterable }}",
            "False True True",
        ),
        ("{{ messages[::-1][0].content.startswith('a') }}", "True"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source).unwrap(), expected, "{source}");
    }
    let template = ChatTemplate::new("{{ strftime_now('%Y') }}", "", "").unwrap();
    let template = template.on(Date::new(2031, 1, 2).unwrap());
    assert_eq!(template.render(&[], false).unwrap(), "2031");
}

#[test]
fn templates_that_do_not_end_or_are_none() {
    let endless = [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ 'a' * 1000000000000 }}",
        "{{ messages | tojson(indent=1000000000) }}{{ messages.nothing.at.all }}",
        "{% for x in messages %}",
        "{{ 1 / 0 }}",
        "{{ strftime_now('%Q') }}",
    ];
    for source in endless {
        let error = render(source).unwrap_err().to_string();
        assert!(
            error.starts_with("chat template: ") && !error.contains('\n'),
            "{source}: {error}"
        );
    }
    let deep = format!("{{{{ {}", "(".repeat(100_000));
    assert!(render(&deep).is_err());
}

#[test]
fn where_templates_are_kept() {
    let of = |sources: TemplateSources| chat_template_of(&sources).map_err(|e| e.to_string());
    let config = br#"{"chat_template": "one"}"#.as_slice();
    let named = br#"{"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]}"#;
    let nothing = TemplateSources::default();
    assert_eq!(of(nothing), Ok(None));
    assert_eq!(
        of(TemplateSources {
            tokenizer_config: Some(config),
            ..nothing
        }),
        Ok(Some("one".into()))
    );
    assert_eq!(
        of(TemplateSources {
            tokenizer_config: Some(named),
            ..nothing
        }),
        Ok(Some("two".into()))
    );
    let both = TemplateSources {
        tokenizer_config: Some(config),
        jinja: Some(b"three"),
        ..nothing
    };
    assert_eq!(of(both), Ok(Some("three".into())));
    let meta = [(
        "tokenizer.chat_template".to_owned(),
        gguf::Value::Str("four".into()),
    )]
    .into();
    assert_eq!(
        of(TemplateSources {
            gguf: Some(&meta),
            ..nothing
        }),
        Ok(Some("four".into()))
    );
    for bad in [
        r#"{"chat_template": 1}"#,
        r#"{"chat_template": [{"name": "x"}]}"#,
        "{",
    ] {
        let error = of(TemplateSources {
            tokenizer_config: Some(bad.as_bytes()),
            ..nothing
        })
        .unwrap_err();
        assert!(error.starts_with("tokenizer_config.json: "), "{error}");
    }
}

/// Characters, and some tokens that end something.
fn tokenizer() -> Tokenizer {
    let json = r#"{"added_tokens": [
            {"id": 20, "content": "<|im_start|>", "special": true}, {"id": 21, "content": "<|im_end|>", "special": true},
            {"id": 22, "content": "<|endoftext|>", "special": true}],
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6, "h": 7, "i": 8, "j": 9, "k": 10, "l": 11,
            "m": 12, "n": 13, "o": 14, "p": 15, "q": 16, "r": 17, "s": 18, "t": 19}, "merges": []}}"#;
    Tokenizer::from_hf("tokenizer.json", json.as_bytes(), None).unwrap()
}

#[test]
fn stop_tokens_are_those_of_all_sources() {
    let tokenizer = tokenizer();
    let stops = |sources: StopSources| {
        stop_tokens(&tokenizer, &sources)
            .map(Vec::from_iter)
            .map_err(|e| e.to_string())
    };
    let nothing = StopSources::default();
    assert_eq!(stops(nothing), Ok(vec![]));
    let template = ChatTemplate::with_tokenizer(CHATML, &tokenizer).unwrap();
    assert_eq!(
        stops(StopSources {
            template: Some(&template),
            ..nothing
        }),
        Ok(vec![21])
    );
    let config = json!({"eos_token_id": 3, "text_config": {"eos_token_id": [4, 5]}});
    let all = StopSources {
        generation_config: Some(br#"{"eos_token_id": [22, 2]}"#),
        config: config.as_object(),
        template: Some(&template),
        ..nothing
    };
    assert_eq!(stops(all), Ok(vec![2, 3, 4, 5, 21, 22]));
    let meta = [
        (
            "tokenizer.ggml.eos_token_id".to_owned(),
            gguf::Value::Unsigned(7),
        ),
        (
            "tokenizer.ggml.eot_token_id".to_owned(),
            gguf::Value::Unsigned(8),
        ),
    ]
    .into();
    assert_eq!(
        stops(StopSources {
            gguf: Some(&meta),
            ..nothing
        }),
        Ok(vec![7, 8, 21, 22])
    );
    for none in ["{}", r#"{"eos_token_id": null}"#, r#"{"eos_token_id": -1}"#] {
        assert_eq!(
            stops(StopSources {
                generation_config: Some(none.as_bytes()),
                ..nothing
            }),
            Ok(vec![])
        );
    }
    let bad = StopSources {
        generation_config: Some(br#"{"eos_token_id": "x"}"#),
        ..nothing
    };
    let expected =
        "generation_config.json: eos_token_id: found \"x\", expected a token id or a list of them";
    assert_eq!(stops(bad), Err(expected.to_owned()));
    // A template that writes no special token, or refuses, ends nothing.
    for source in [
        "{{ messages[1].content }}.",
        "{{ raise_exception('no') }}",
        "x",
    ] {
        let template = ChatTemplate::new(source, "", "").unwrap();
        assert_eq!(
            stop_tokens(
                &tokenizer,
                &StopSources {
                    template: Some(&template),
                    ..nothing
                }
            )
            .unwrap(),
            BTreeSet::new()
        );
    }
}

proptest! {
    #[test]
    fn corrupted_templates_are_errors_or_render(at in 0usize..400, len in 0usize..12, text in "[{}%'|()\\[\\]a-z0 .~*-]{0,8}") {
        for source in [CHATML, GEMMA] {
            let mut chars: Vec<char> = source.chars().collect();
            let start = at.min(chars.len());
            let end = (start + len).min(chars.len());
            chars.splice(start..end, text.chars());
            if let Ok(template) = ChatTemplate::new(&chars.into_iter().collect::<String>(), "<s>", "</s>") {
                let _ = template.render(&conversation(), true);
            }
        }
    }
}
