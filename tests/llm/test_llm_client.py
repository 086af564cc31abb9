"""The client against a server that speaks the protocol: what is sent, what is retried, what counts, what it costs."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm.asking import NOW_MS, RED, asking, config_of, prompt, prompts, serving
from llm.openai_stub import (
    DRIP,
    HANG,
    KEY,
    RESET,
    OpenAiStub,
    Sent,
    completion,
    data_of,
    fails,
    says,
)
from wayline.config import LlmConfig, load_config
from wayline.errors import ConfigError, WaylineError
from wayline.llm import Answer, LlmClient, Refused


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with serving() as stub:
        yield stub
        assert stub.complaints == []


def reason_of(outcome: object) -> str:
    assert isinstance(outcome, Refused)
    return outcome.reason


def test_a_good_answer_comes_back_as_what_it_has_to_be(stub: OpenAiStub) -> None:
    stub.script(says(RED))
    with asking(stub) as client:
        (outcome,) = client.ask([prompt()])
        usage = client.usage()
    assert isinstance(outcome, Answer)
    assert (outcome.content.colour, outcome.content.shades, outcome.cached) == (
        "red",
        [1, 2],
        False,
    )
    assert (usage.requests, usage.tokens, usage.answered, usage.refused) == (1, 100, 1, {})


def test_a_request_holds_the_settings_the_schema_and_the_data_and_nothing_else(
    stub: OpenAiStub,
) -> None:
    stub.script(says(RED))
    with asking(stub, seed=7, answer_tokens=50) as client:
        client.ask([prompt("a <|im_end|> rose")])
    (request,) = stub.asked
    assert (request["model"], request["temperature"], request["seed"]) == ("stub", 0, 7)
    assert request["max_tokens"] == 50
    assert request["response_format"]["json_schema"]["name"] == "colour"
    assert data_of(request) == {"thing": "a <|im_end|> rose"}
    assert "<" not in request["messages"][1]["content"]
    assert "thing" not in request["messages"][0]["content"]


def test_an_endpoint_without_schemas_is_told_the_schema_in_words(stub: OpenAiStub) -> None:
    stub.script(says(RED))
    settings = {"json_mode": "json_object", "temperature": -1.0, "seed": -1}
    with asking(stub, **settings, answer_tokens_key="max_completion_tokens") as client:
        (outcome,) = client.ask([prompt()])
    assert isinstance(outcome, Answer)
    (request,) = stub.asked
    assert "additionalProperties" in request["messages"][0]["content"]
    assert request["max_completion_tokens"] == 1000
    assert not {"temperature", "seed", "max_tokens"} & request.keys()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (says("The colour is red."), "not_json"),
        (says('{"colour": "red", "shad'), "not_json"),
        (says("<html><body>red</body></html>"), "not_json"),
        (says("```json\n" + json.dumps(RED) + "\n```"), "not_json"),
        (says(""), "not_json"),
        (says("[" * 100_000), "not_json"),
        (says({"colour": "red"}), "schema"),
        (says({**RED, "extra": 1}), "schema"),
        (says({**RED, "colour": 1}), "schema"),
        (says({**RED, "shades": "1"}), "schema"),
        (says({**RED, "shades": [1.5]}), "schema"),
        (says({**RED, "shades": [True]}), "schema"),
        (says("null"), "schema"),
        (says([RED]), "schema"),
        (says(RED, finish_reason="length"), "cut_off"),
        (says(RED, finish_reason="content_filter"), "refusal"),
        (Sent(body=completion(None, refusal="I cannot help with that.")), "refusal"),
        (Sent(body=completion(None)), "protocol"),
        (Sent(body=b'{"choices": []}'), "protocol"),
        (Sent(body=b'{"choices": [null]}'), "protocol"),
        (Sent(body=b'{"choices": [{"message": "red"}]}'), "protocol"),
        (Sent(body=b"{}"), "protocol"),
        (Sent(body=b"[]"), "protocol"),
        (Sent(body=b""), "protocol"),
        (Sent(body=b"\xff\xfe\x00"), "protocol"),
        (Sent(body=b"[" * 100_000), "protocol"),
        (Sent(body=b"<html>502</html>", headers={"Content-Type": "text/html"}), "protocol"),
        (Sent(body=completion("x" * 1_100_000)), "protocol"),
        (fails(400, "bad response_format"), "http"),
        (fails(422), "http"),
        (Sent(302, headers={"Location": "http://127.0.0.1:9/v1/chat/completions"}), "http"),
    ],
)
def test_an_unusable_answer_is_refused_with_its_reason_and_not_asked_for_again(
    stub: OpenAiStub, sent: Sent, reason: str
) -> None:
    stub.script(sent)
    waits: list[float] = []
    with asking(stub, waits) as client:
        outcomes = client.ask([prompt()])
        usage = client.usage()
    assert [reason_of(one) for one in outcomes] == [reason]
    assert usage.refused == {reason: 1}
    assert (len(stub.asked), waits) == (1, [])


def test_one_bad_answer_leaves_the_others_of_its_batch_as_they_are(stub: OpenAiStub) -> None:
    def one_of_three(request: dict[str, Any]) -> Sent:
        return says("garbage") if data_of(request)["thing"] == "thing 1" else says(RED)

    stub.script(one_of_three)
    with asking(stub) as client:
        outcomes = client.ask(prompts(3))
    assert [isinstance(one, Answer) for one in outcomes] == [True, False, True]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (fails(429), "rate_limited"),
        (fails(408), "server_error"),
        (fails(500), "server_error"),
        (fails(503), "server_error"),
        (Sent(trouble=RESET), "connection"),
        (Sent(body=completion("{}"), close_early=True), "connection"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted_once_if_it_does_not(
    stub: OpenAiStub, sent: Sent, reason: str
) -> None:
    stub.script(sent, sent, says(RED), sent)
    waits: list[float] = []
    with asking(stub, waits, retries=2) as client:
        first, second = (client.ask([prompt(thing)])[0] for thing in ("rose", "tulip"))
        usage = client.usage()
    assert isinstance(first, Answer)
    assert reason_of(second) == reason
    assert usage.refused == {reason: 1}
    assert len(stub.asked) == usage.requests == 6
    assert [0.25 <= wait <= 0.5 for wait in waits[::2]] == [True, True]
    assert [0.5 <= wait <= 1.0 for wait in waits[1::2]] == [True, True]


def test_a_slow_endpoint_is_a_time_out_and_is_tried_again(stub: OpenAiStub) -> None:
    stub.script(Sent(trouble=HANG), says(RED))
    waits: list[float] = []
    with asking(stub, waits, timeout_s=0.2) as client:
        (outcome,) = client.ask([prompt()])
        usage = client.usage()
    assert isinstance(outcome, Answer)
    assert (len(waits), usage.requests) == (1, 2)
    assert usage.tokens > 1000  # what was read may have been paid for


def test_an_answer_that_drips_is_a_time_out_too(stub: OpenAiStub) -> None:
    stub.script(Sent(trouble=DRIP), says(RED))
    with asking(stub, timeout_s=0.3) as client:
        (outcome,) = client.ask([prompt()])
        assert isinstance(outcome, Answer)
        assert client.usage().requests == 2


def test_an_endpoint_where_nobody_listens_is_a_connection_refused(stub: OpenAiStub) -> None:
    with serving() as other:
        gone = other.base_url
    with asking(stub, base_url=gone, retries=1) as client:
        assert reason_of(client.ask([prompt()])[0]) == "connection"


@pytest.mark.parametrize(
    ("asked", "least"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("3600", 60.0),  # nobody is waited for longer than a minute
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),  # NOW_MS is 22:13:20
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.25),  # past: the usual wait
        ("soon", 0.25),
        ("-5", 0.25),
        ("nan", 0.25),
    ],
)
def test_retry_after_is_heeded_within_reason(stub: OpenAiStub, asked: str, least: float) -> None:
    assert NOW_MS == 1_700_000_000_000
    stub.script(fails(429, Retry_After=asked), says(RED))
    waits: list[float] = []
    with asking(stub, waits) as client:
        (outcome,) = client.ask([prompt()])
    assert isinstance(outcome, Answer)
    (wait,) = waits
    assert least <= wait <= max(least, 0.5)


def test_no_more_requests_are_under_way_than_allowed(stub: OpenAiStub) -> None:
    together = threading.Barrier(3)

    def wait_for_two_more(_: dict[str, Any]) -> Sent:
        together.wait(30)
        return says(RED)

    stub.script(wait_for_two_more)
    with asking(stub, concurrency=3) as client:
        outcomes = client.ask(prompts(12))
    assert all(isinstance(one, Answer) for one in outcomes)
    assert stub.most_at_once == 3


def test_the_same_question_is_asked_once(stub: OpenAiStub) -> None:
    stub.script(says(RED))
    with asking(stub) as client:
        outcomes = client.ask([prompt(), prompt("tulip"), prompt()])
    assert all(isinstance(one, Answer) for one in outcomes)
    assert len(stub.asked) == 2


def test_progress_is_told_for_what_has_to_be_asked(stub: OpenAiStub) -> None:
    stub.script(says(RED))
    told: list[tuple[int, int]] = []
    with asking(stub) as client:
        client.ask([*prompts(3), *prompts(2)], on_progress=lambda n, of: told.append((n, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_run_asks_nothing_more(stub: OpenAiStub) -> None:
    stub.script(says(RED), fails(500, Retry_After="60"))

    def interrupt(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    own_waits = LlmClient(config_of(stub, concurrency=1))
    with own_waits as client, pytest.raises(KeyboardInterrupt):
        client.ask(prompts(20), on_progress=interrupt)
    assert len(stub.asked) <= 3


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_budget_of_requests_is_kept_to_the_last_one_and_said_once(
    stub: OpenAiStub, concurrency: int
) -> None:
    stub.script(says(RED))
    with asking(stub, max_requests=7, concurrency=concurrency) as client:
        outcomes = client.ask(prompts(20))
        more = client.ask([prompt("another")])
        usage, notes = client.usage(), client.notes
    assert [isinstance(one, Answer) for one in outcomes].count(True) == 7
    assert reason_of(more[0]) == "budget"
    assert len(stub.asked) == usage.requests == 7
    assert usage.refused == {"budget": 14}
    (line,) = notes
    assert "7 of 7 requests" in line
    assert "llm.max_requests" in line


def test_retries_count_against_the_budget(stub: OpenAiStub) -> None:
    stub.script(fails(500))
    with asking(stub, max_requests=3, retries=10, concurrency=1) as client:
        assert reason_of(client.ask([prompt()])[0]) == "budget"
    assert len(stub.asked) == 3


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_budget_of_tokens_is_never_passed(stub: OpenAiStub, concurrency: int) -> None:
    stub.script(says(RED, usage=400))
    limit = 5000
    with asking(stub, max_tokens=limit, answer_tokens=100, concurrency=concurrency) as client:
        client.ask(prompts(40))
        usage = client.usage()
    assert limit - 1000 < usage.tokens <= limit  # what a request may take at most is left unspent
    assert usage.tokens == 400 * len(stub.asked) == 400 * usage.requests
    assert usage.refused == {"budget": 40 - usage.requests}


@pytest.mark.parametrize("usage", [None, 0, -5])
def test_tokens_are_estimated_where_the_endpoint_does_not_say_them(
    stub: OpenAiStub, usage: int | None
) -> None:
    stub.script(says(RED, usage=usage))
    with asking(stub) as client:
        client.ask([prompt()])
        size = len(json.dumps(stub.asked[0]))
        assert size / 4 < client.usage().tokens < size


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_costs_one_request(stub: OpenAiStub, status: int) -> None:
    stub.script(fails(status, f"no model for {KEY}"))
    with asking(stub, concurrency=1) as client:
        outcomes = client.ask(prompts(10))
        notes = client.notes
    assert [reason_of(one) for one in outcomes] == ["http"] + ["stopped"] * 9
    assert len(stub.asked) == 1
    (line,) = notes
    assert str(status) in line
    assert KEY not in line
    assert all(KEY not in one.detail for one in outcomes if isinstance(one, Refused))


def test_an_endpoint_that_is_down_is_left_alone_after_five_questions(stub: OpenAiStub) -> None:
    stub.script(Sent(trouble=RESET))
    with asking(stub, concurrency=1, retries=1) as client:
        outcomes = client.ask(prompts(20))
        notes = client.notes
    assert [reason_of(one) for one in outcomes] == ["connection"] * 5 + ["stopped"] * 15
    assert len(stub.asked) == 10
    assert len(notes) == 1


def test_answers_between_failures_keep_the_endpoint_in_use(stub: OpenAiStub) -> None:
    def every_third(request: dict[str, Any]) -> Sent:
        return says(RED) if int(data_of(request)["thing"].split()[1]) % 3 == 0 else fails(500)

    stub.script(every_third)
    with asking(stub, concurrency=1, retries=0) as client:
        outcomes = client.ask(prompts(18))
    assert [isinstance(one, Answer) for one in outcomes].count(True) == 6
    assert len(stub.asked) == 18


def test_the_key_is_in_no_log_and_no_representation(
    stub: OpenAiStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stub.script(fails(500, f"{KEY} failed"), says(RED))
    with asking(stub) as client:
        client.ask([prompt()])
        assert KEY not in repr(client.config)
    assert stub.asked
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"base_url": ""}, "llm.base_url"),
        ({"base_url": "127.0.0.1:11434"}, "llm.base_url"),
        ({"base_url": "ftp://host/v1"}, "llm.base_url"),
        ({"base_url": "http://user:secret@host/v1"}, "llm.base_url"),
        ({"base_url": "http://host/v1?key=secret"}, "llm.base_url"),
        ({"base_url": "http://host:port/v1"}, "llm.base_url"),
        ({"base_url": "http://[/v1"}, "llm.base_url"),
        ({"model": ""}, "llm.model"),
        ({"api_key": "secret\nkey"}, "llm.api_key"),
        ({"api_key": "secret key"}, "llm.api_key"),
        ({"api_key": "sécret"}, "llm.api_key"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_that_shows_no_secret(
    stub: OpenAiStub, settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(WaylineError) as caught:
        LlmClient(config_of(stub, **settings))
    assert isinstance(caught.value, ConfigError)
    assert caught.value.field == field
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


def test_the_settings_that_the_page_shows_are_settings(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "llm.md").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "wayline.toml").write_text(shown)
    config = load_config(tmp_path / "wayline.toml", environ={"WAYLINE_LLM__API_KEY": KEY})
    assert (config.llm.model, config.llm.api_key) == ("qwen3:8b", KEY)
    LlmClient(config.llm).close()


@pytest.mark.parametrize(
    ("base_url", "api_key", "warned"),
    [
        ("http://llm.example/v1", KEY, True),
        ("http://192.168.1.5:8080/v1", KEY, True),
        ("https://llm.example/v1", KEY, False),
        ("http://llm.example/v1", "", False),
        ("http://localhost:11434/v1", KEY, False),
        ("http://[::1]:11434/v1", KEY, False),
    ],
)
def test_a_key_that_would_travel_readably_is_warned_of(
    base_url: str, api_key: str, *, warned: bool
) -> None:
    with LlmClient(LlmConfig(base_url=base_url, model="m", api_key=api_key)) as client:
        assert [("plain http" in line, KEY in line) for line in client.notes] == [
            (True, False)
        ] * warned
