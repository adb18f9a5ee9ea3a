"""The official OpenAI client against `fathom serve`: every endpoint, streams, errors, and the engine's own bits.

    python openai_client.py FATHOM     FATHOM: the binary
"""

import asyncio
import sys

import numpy as np
import openai

from server import generate, logprobs, serving

PROMPT = ("One of the special magic numbers for able angle is: 4711. One of the special magic numbers for able baker is: 1984. "
          "The special magic number for able angle is")


def f32(values):
    return [None if v is None else np.float32(v) for v in values]


def refused(error, call, **asked):
    try:
        call(**asked)
    except error as e:
        return e.body["param"], e.body["message"]
    raise AssertionError(f"{asked} was answered")


def completions(client, fathom):
    asked = dict(model="builtin", prompt=PROMPT, max_tokens=24, temperature=0, logprobs=5)
    own = generate(fathom, PROMPT, 24)
    reply = client.completions.create(**asked)
    choice = reply.choices[0]
    assert choice.text == own["text"], (choice.text, own["text"])
    assert f32(choice.logprobs.token_logprobs) == f32(own["logprobs"])
    assert reply.usage.prompt_tokens == len(own["prompt_ids"])
    assert reply.usage.completion_tokens == len(own["ids"])
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == choice.text
    assert chunks[-1].usage.completion_tokens == reply.usage.completion_tokens
    assert chunks[-2].choices[0].finish_reason == choice.finish_reason
    again = client.completions.create(**asked)
    assert again.choices == reply.choices and again.usage.prompt_tokens_details.cached_tokens > 0
    print(f"completion: {len(own['ids'])} tokens with the bits of generate, whole and streamed: {choice.text!r}")

    ids = own["prompt_ids"] + own["ids"]
    scored = client.completions.create(model="builtin", prompt=ids, max_tokens=0, echo=True, logprobs=2)
    rows = logprobs(fathom, [ids])[0]
    expected = [rows[i, t] for i, t in enumerate(ids[1:])]
    assert f32(scored.choices[0].logprobs.token_logprobs) == [None, *f32(expected)]
    print(f"echo: {len(expected)} log probabilities with the bits of logits record")

    several = client.completions.create(model="builtin", prompt=[PROMPT, "Call me"], n=2, seed=3, max_tokens=8)
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    stop = own["text"].strip()[3:6]
    cut = client.completions.create(**asked, stop=[stop]).choices[0]
    assert cut.text == own["text"][:own["text"].index(stop)] and cut.finish_reason == "stop"
    print("n, seed, several prompts, stop: as asked")


def chat(client):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]
    asked = dict(model="builtin", messages=messages, max_completion_tokens=16, temperature=0, logprobs=True, top_logprobs=20)
    reply = client.chat.completions.create(**asked)
    choice = reply.choices[0]
    for token in choice.logprobs.content:
        assert len(token.top_logprobs) == 20 and token.top_logprobs[0].logprob == token.logprob
    text, deltas = "", 0
    for chunk in client.chat.completions.create(**asked, stream=True):
        text += chunk.choices[0].delta.content or ""
        deltas += 1
    assert text == choice.message.content and deltas > 3
    print(f"chat: {reply.usage.completion_tokens} tokens, the same in {deltas} pieces: {text!r}")


def errors(client):
    create, chat = client.completions.create, client.chat.completions.create
    user = [{"role": "user", "content": "hi"}]
    assert refused(openai.NotFoundError, create, model="gpt-4", prompt="a")[0] == "model"
    for field, asked in [("best_of", {"best_of": 3}), ("temperature", {"temperature": 9}), ("suffix", {"suffix": "z"}),
                         ("logprobs", {"logprobs": 99}), ("prompt", {"max_tokens": 10**9}),
                         ("presence_penalty", {"presence_penalty": 1})]:
        assert refused(openai.BadRequestError, create, model="builtin", prompt="a", **asked)[0] == field, field
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert refused(openai.BadRequestError, chat, model="builtin", messages=user, tools=tools)[0] == "tools"
    param, message = refused(openai.BadRequestError, create, model="builtin", prompt="a", extra_body={"frobnicate": 1})
    assert param == "frobnicate" and "Unrecognized" in message
    print("errors: 404 and 400 name the field")


async def concurrent(base):
    client = openai.AsyncOpenAI(base_url=base, api_key="none")
    ask = lambda i: client.completions.create(
        model="builtin", prompt=f"{PROMPT} {i % 3}", max_tokens=12, seed=i, logprobs=1)
    together = await asyncio.gather(*[ask(i) for i in range(24)])
    for i, reply in enumerate(together):
        assert (await ask(i)).choices == reply.choices
    print("24 requests at once: each as alone")


def main():
    fathom = sys.argv[1]
    with serving(fathom) as base:
        client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
        assert [m.id for m in client.models.list()] == ["builtin"] and client.models.retrieve("builtin").id == "builtin"
        completions(client, fathom)
        chat(client)
        errors(client)
        asyncio.run(concurrent(base))
    print(f"openai {openai.__version__}: all as it should be")


if __name__ == "__main__":
    main()
