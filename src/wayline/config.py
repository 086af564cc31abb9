"""Settings: ``wayline.toml``, then the environment, then what the caller passes; an unknown key is an error.

Every default stands in ``config_template.toml`` as well, which ``wayline init`` writes; a test keeps the two equal.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from wayline.errors import ConfigError, shorten

ENV_PREFIX = "WAYLINE_"
ENVIRONMENT = "the environment"


@dataclass(frozen=True, slots=True)
class TimeConfig:
    """What "now" means."""

    clock: str = "wall"


@dataclass(frozen=True, slots=True)
class EmbeddingsConfig:
    """Where item vectors come from."""

    kind: str = "hybrid"
    dim: int = 64
    given: str = ""
    text_model: str = ""


@dataclass(frozen=True, slots=True)
class InterestsConfig:
    """PinnerSage's knobs."""

    window_days: float = 90.0
    alpha: float = 0.6
    decay_per_day: float = 0.01
    sample: int = 3
    max_actions: int = 5000


@dataclass(frozen=True, slots=True)
class SequencesConfig:
    """How much of a person's history is read and kept at hand."""

    lifelong: int = 16_000
    lifelong_days: float = 730.0
    realtime: int = 100
    impressions: int = 100
    collapse_s: float = 60.0
    cache_mb: float = 256.0


@dataclass(frozen=True, slots=True)
class JourneysConfig:
    """What makes a journey, and when one ends."""

    mode: str = "on"
    cut: float = 0.8
    largest: float = 0.25
    half_life_days: float = 90.0
    min_history: int = 3
    min_actions: int = 2
    min_items: int = 2
    limit: int = 10
    ranker: str = "learned"
    patience_days: float = 21.0
    rhythm: float = 3.0
    longest_days: float = 180.0
    evergreen_months: int = 4
    evergreen_gap_days: float = 45.0
    evergreen_span_days: float = 120.0


@dataclass(frozen=True, slots=True)
class RewardsConfig:
    """Query Reward's knobs: how feedback decides which interest is tried next."""

    sampling: str = "reward"
    prior: float = 2.0
    half_life_days: float = 14.0
    half_life_impressions: float = 20.0
    window_hours: float = 24.0
    floor: float = 0.1
    requests: int = 200


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """How many candidates come from where."""

    per_source: int = 200
    recent: int = 5
    sequence_s: float = 0.0
    most: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """Fitted or plain, and what is pinned."""

    mode: str = "fit"
    pins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RankingConfig:
    """How a ranker is trained, and how long it may think."""

    mode: str = "auto"
    encoder: str = "transact"
    windows: int = 3
    max_requests: int = 4000
    negatives: int = 16
    tokens: int = 50
    item_dim: int = 16
    id_dim: int = 0
    dropout: float = 0.0
    epochs: int = 2
    learning_rate: float = 1e-3
    nal_weight: float = 0.01
    seed: int = 0
    device: str = "cpu"
    window_hours: float = 24.0
    regret_days: float = 30.0
    metric: str = "ndcg_at_10"
    margin: float = 0.0
    candidates: int = 500
    budget_ms: float = 250.0
    dtype: str = "auto"
    threads: int = 0
    label_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """The shape of an answer."""

    limit: int = 20
    repeat: str = "exclude"
    diversity: float = -1.0
    max_per_interest: int = 0
    max_per_category: int = 0
    fatigue: float = 2.0
    weights: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LlmConfig:
    """Which language model names journeys and judges them, and what it may cost; without ``base_url`` none does."""

    base_url: str = ""
    model: str = ""
    api_key: str = field(default="", repr=False)
    json_mode: str = "json_schema"
    language: str = ""
    temperature: float = 0.0
    seed: int = 0
    answer_tokens: int = 1000
    answer_tokens_key: str = "max_tokens"
    timeout_s: float = 30.0
    retries: int = 3
    concurrency: int = 4
    max_requests: int = 1000
    max_tokens: int = 1_000_000


@dataclass(frozen=True, slots=True)
class NotificationsConfig:
    """Who is told how often, in how many words, and by which way."""

    channel: str = "file"
    cap_per_day: int = 1
    cap_per_week: int = 3
    quiet_hours: str = "21:00-08:00"
    timezone: str = "UTC"
    active_days: float = 30.0
    min_confidence: float = 0.5
    max_silence: float = 0.33
    min_items: int = 2
    items: int = 4
    repeat_days: float = 30.0
    title_limit: int = 80
    text_limit: int = 1000
    item_url: str = ""
    unsubscribe_url: str = ""
    max_attempts: int = 5
    retry_s: float = 5.0
    wait_s: float = 60.0
    max_age_hours: float = 24.0
    timeout_s: float = 10.0
    file_path: str = "notifications.jsonl"
    sender: str = ""
    smtp_host: str = "localhost"
    smtp_port: int = 587
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the REST API listens and what it accepts."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    max_body_mb: float = 16.0
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True)
class StudioConfig:
    """The pages at ``/studio`` of the server."""

    mode: str = "on"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a workspace, resolved."""

    actions: Mapping[str, float] = field(default_factory=dict)
    time: TimeConfig = field(default_factory=TimeConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    sequences: SequencesConfig = field(default_factory=SequencesConfig)
    interests: InterestsConfig = field(default_factory=InterestsConfig)
    journeys: JourneysConfig = field(default_factory=JourneysConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    feed: FeedConfig = field(default_factory=FeedConfig)
    llm: LlmConfig = field(default_factory=LlmConfig)
    notifications: NotificationsConfig = field(default_factory=NotificationsConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    studio: StudioConfig = field(default_factory=StudioConfig)


CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("time", "clock"): ("wall", "log"),
    ("embeddings", "kind"): ("text", "graph", "hybrid", "given"),
    ("journeys", "mode"): ("on", "off"),
    ("journeys", "ranker"): ("learned", "actions", "prior"),
    ("rewards", "sampling"): ("reward", "thompson", "importance", "count"),
    ("recipe", "mode"): ("fit", "plain"),
    ("ranking", "mode"): ("auto", "off"),
    ("ranking", "encoder"): (
        "transact",
        "transact_v2",
        "bst",
        "din",
        "two_tower",
        "average",
        "none",
    ),
    ("ranking", "metric"): ("ndcg_at_10", "hit_at_3", "gauc"),
    ("ranking", "dtype"): ("auto", "float32", "bfloat16"),
    ("feed", "repeat"): ("exclude", "allow"),
    ("llm", "json_mode"): ("json_schema", "json_object"),
    ("llm", "answer_tokens_key"): ("max_tokens", "max_completion_tokens"),
    ("studio", "mode"): ("on", "off"),
    ("notifications", "channel"): ("file", "smtp", "webhook"),
    ("notifications", "smtp_security"): ("starttls", "tls", "none"),
}
SOURCES = ("interests", "recent", "related", "trending", "fresh", "journeys", "sequence")
"""Who brings candidates to a home feed; ``[retrieval.most]`` bounds them by name, ``[feed.floors]`` asks for some."""
KEYS_OF = {("retrieval", "most"): (SOURCES, math.inf), ("feed", "floors"): (SOURCES, 10)}
"""Tables of numbers whose keys are known, whole numbers from 0 up to the second."""
POSITIVE = {
    ("embeddings", "dim"), ("interests", "window_days"), ("interests", "alpha"), ("interests", "sample"),
    ("interests", "max_actions"), ("sequences", "lifelong"), ("sequences", "lifelong_days"),
    ("sequences", "realtime"), ("rewards", "prior"), ("rewards", "half_life_days"),
    ("rewards", "half_life_impressions"), ("rewards", "window_hours"), ("rewards", "requests"),
    ("journeys", "cut"), ("journeys", "largest"), ("journeys", "half_life_days"), ("journeys", "min_history"),
    ("journeys", "min_actions"), ("journeys", "min_items"),
    ("journeys", "limit"), ("journeys", "patience_days"), ("journeys", "rhythm"), ("journeys", "longest_days"),
    ("journeys", "evergreen_months"), ("journeys", "evergreen_gap_days"), ("journeys", "evergreen_span_days"),
    ("retrieval", "per_source"), ("feed", "limit"),
    ("ranking", "windows"), ("ranking", "max_requests"), ("ranking", "negatives"), ("ranking", "tokens"),
    ("ranking", "item_dim"), ("ranking", "epochs"), ("ranking", "learning_rate"), ("ranking", "window_hours"),
    ("ranking", "regret_days"), ("ranking", "candidates"), ("ranking", "budget_ms"),
    ("notifications", "active_days"), ("notifications", "min_items"), ("notifications", "items"),
    ("notifications", "title_limit"), ("notifications", "text_limit"), ("notifications", "max_attempts"),
    ("notifications", "retry_s"), ("notifications", "max_age_hours"), ("notifications", "timeout_s"),
    ("notifications", "smtp_port"),
    ("server", "port"), ("server", "max_body_mb"), ("server", "max_rows"),
    ("llm", "answer_tokens"), ("llm", "timeout_s"), ("llm", "concurrency"), ("llm", "max_requests"),
    ("llm", "max_tokens"),
}  # fmt: skip
SECRET = {("llm", "api_key")}  # their values stand in no message
NOT_NEGATIVE = {
    ("notifications", key)
    for key in (
        "cap_per_day",
        "cap_per_week",
        "min_confidence",
        "max_silence",
        "repeat_days",
        "wait_s",
    )
}
SECRETS = {("notifications", "smtp_password"), ("notifications", "webhook_secret")}
"""Never in a file, which is copied, committed and backed up: only in the environment, taken as it stands there."""
FREE_SECTIONS = {"actions"}  # any name, a number each


def template() -> str:
    """The commented ``wayline.toml`` that ``wayline init`` writes."""
    return files("wayline").joinpath("config_template.toml").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings, and where each came from that was not left at its default.

    ``origins`` says it by ``"section.key"`` (a table's entries one by one: ``"feed.weights.buy"``): the name of the
    file, the environment variable, or ``"config="`` for what the caller passed.
    """

    config: Config
    origins: Mapping[str, str]


def load_config(
    path: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Resolve the settings: see ``resolve_config``, which also says where each came from."""
    return resolve_config(path, overrides, environ).config


def resolve_config(
    path: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Resolve the settings: defaults < file < environment < ``overrides``.

    Parameters
    ----------
    path : Path, optional
        A ``wayline.toml``; absent means defaults.
    overrides : mapping, optional
        ``{"section": {"key": value}}``.
    environ : mapping, optional
        ``WAYLINE_SECTION__KEY`` variables; ``os.environ`` if not given.

    Raises
    ------
    ConfigError
        If a section or key is unknown (with the nearest name), or a value has the wrong type or is out of range.
    """
    merged: dict[str, dict[str, Any]] = {}
    for source, layer in (
        (str(path.name) if path else "", _read_file(path)),
        (ENVIRONMENT, _read_environ(os.environ if environ is None else environ)),
        ("config=", overrides or {}),
    ):
        for section, keys in layer.items():
            if not isinstance(keys, Mapping):
                raise ConfigError(
                    f"Got {section} = {shorten(keys)} in {source}, expected a section: "
                    f"write [{section}] above its keys.",
                    field=section,
                )
            for key, value in keys.items():
                merged.setdefault(section, {})[key] = (value, source)
    return Resolved(_build(merged), dict(_origins(merged)))


def _origins(merged: Mapping[str, Mapping[str, tuple[Any, str]]]) -> Iterator[tuple[str, str]]:
    """Where each value came from, the entries of tables one by one."""
    for section, keys in merged.items():
        for key, (value, source) in keys.items():
            variable = f"{ENV_PREFIX}{section}__{key}".upper()
            pinned = (section, key) == ("recipe", "pins")  # the same as beside its mode
            for name, _ in _dotted(section if pinned else f"{section}.{key}", value):
                yield name, variable if source == ENVIRONMENT else source


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML ({error}): mend that line.") from None


def _read_environ(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX) and "__" in name:
            section, _, key = name[len(ENV_PREFIX) :].lower().partition("__")
            try:  # a TOML value (number, true, list), else the text as it is
                value = tomllib.loads(f"v = {text}")["v"]
            except tomllib.TOMLDecodeError:
                value = text
            out.setdefault(section, {})[key] = text if (section, key) in SECRETS else value
    return out


def _build(merged: Mapping[str, Mapping[str, tuple[Any, str]]]) -> Config:
    sections = {f.name: f for f in fields(Config)}
    built: dict[str, Any] = {}
    for section, keys in merged.items():
        if section not in sections:
            source = next((s for _, s in keys.values()), "")
            raise ConfigError(
                f"Unknown section [{section}] in {source}, expected {_one_of(section, sections)}.",
                field=section,
            )
        if section in FREE_SECTIONS:
            built[section] = {key: _number(section, key, *pair) for key, pair in keys.items()}
        else:
            kind: Any = sections[section].default_factory
            built[section] = _section(section, kind, keys)
    return Config(**built)


def _section(section: str, kind: Any, keys: Mapping[str, tuple[Any, str]]) -> Any:
    known = {f.name: f for f in fields(kind)}
    values: dict[str, Any] = {}
    pins: dict[str, float] = {}
    for key, (value, source) in keys.items():
        if key == "pins" and isinstance(value, Mapping):
            pins |= {k: _number(section, k, v, source) for k, v in value.items()}
        elif key in known and isinstance(getattr(kind(), key), Mapping) and key != "pins":
            values[key] = _numbers(f"{section}.{key}", value, source)
        elif section == "recipe" and isinstance(value, Mapping):
            pins |= {k: _number(section, k, v, source) for k, v in _dotted(key, value)}
        elif key in known and key != "pins":
            values[key] = _typed(section, key, value, source, getattr(kind(), key))
        elif section == "recipe":  # whatever else stands there pins a weight of the recipe
            pins[key] = _number(section, key, value, source)
        else:
            raise ConfigError(
                f"Unknown key {section}.{key} in {source}, expected {_one_of(key, known)}.",
                field=f"{section}.{key}",
            )
    if section == "recipe":
        values["pins"] = pins
    return kind(**values)


def _numbers(name: str, value: Any, source: str) -> dict[str, float]:
    """Read a table of names the user chooses, a number each."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"Got {name} = {shorten(value)} in {source}, expected a table of numbers: write [{name}] above them.",
            field=name,
        )
    pairs = [pair for key, inner in value.items() for pair in _dotted(key, inner)]
    section, _, table = name.partition(".")
    known, most = KEYS_OF.get((section, table), ((), math.inf))
    for key, number in pairs if known else ():
        if key not in known:
            raise ConfigError(
                f"Unknown key {name}.{key} in {source}, expected {_one_of(key, known)}.",
                field=f"{name}.{key}",
            )
        if not 0 <= _number(name, key, number, source) <= most or number != int(number):
            up = "up" if math.isinf(most) else f"to {most:g}"
            raise ConfigError(
                f"Got {name}.{key} = {number} in {source}, expected a whole number from 0 {up}.",
                field=f"{name}.{key}",
            )
    return {key: _number(name, key, number, source) for key, number in pairs}


def _dotted(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Undo what TOML makes of ``trending.7d = 0.5``: a table in a table."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _dotted(f"{name}.{key}", inner)
    else:
        yield name, value


def _typed(section: str, key: str, value: Any, source: str, default: Any) -> Any:
    name = f"{section}.{key}"
    if isinstance(default, tuple):
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(v, str) for v in items):
            raise ConfigError(
                f"Got {name} = {shorten(value)} in {source}, expected a list of texts.", field=name
            )
        return tuple(items)
    if isinstance(default, str):
        if not isinstance(value, str):
            shown = "(not shown)" if (section, key) in SECRET else shorten(value)
            raise ConfigError(
                f"Got {name} = {shown} in {source}, expected a text: put it in quotes.", field=name
            )
        if (section, key) in SECRETS and value and source.endswith(".toml"):
            raise ConfigError(
                f"Got {name} in {source}, expected secrets in the environment only: set "
                f"{ENV_PREFIX}{section.upper()}__{key.upper()}.",
                field=name,
            )
        choices = CHOICES.get((section, key))
        if choices and value not in choices:
            raise ConfigError(
                f"Got {name} = {value!r} in {source}, expected {_one_of(value, choices)}.",
                field=name,
            )
        return value
    number = _number(section, key, value, source)
    if (section, key) in POSITIVE and number <= 0:
        raise ConfigError(
            f"Got {name} = {value} in {source}, expected a number above 0.", field=name
        )
    if (section, key) in NOT_NEGATIVE and number < 0:
        raise ConfigError(
            f"Got {name} = {value} in {source}, expected a number from 0 up.", field=name
        )
    if isinstance(default, int):
        if number != int(number):
            raise ConfigError(
                f"Got {name} = {value} in {source}, expected a whole number.", field=name
            )
        return int(number)
    return number


def _number(section: str, key: str, value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(
            f"Got {section}.{key} = {shorten(value)} in {source}, expected a number.",
            field=f"{section}.{key}",
        )
    return float(value)


def _one_of(got: str, names: Any) -> str:
    near = difflib.get_close_matches(got, list(names), n=1)
    listed = ", ".join(sorted(names))
    return f"one of {listed}" + (f": did you mean {near[0]!r}?" if near else "")
