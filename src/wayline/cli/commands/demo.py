"""``wayline demo``: a real shop, from its log to feeds over HTTP, in one go.

The data is the UCI "Online Retail" set (D. Chen, 2012; CC BY 4.0), which comes with the package.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wayline.cli.commands.build import print_generation
from wayline.cli.commands.train import print_training
from wayline.cli.options import AsJson
from wayline.cli.output import count, print_json, print_report, say
from wayline.cli.progress import building, counting, importing
from wayline.cli.views import print_feed, print_interests
from wayline.config import template
from wayline.errors import (
    InputError,
    MissingPackageError,
    TooLittleToTrainError,
    WaylineError,
)

if TYPE_CHECKING:
    from wayline.engine import Engine
    from wayline.evaluation import Report
    from wayline.schema import Generation

CUSTOMERS = ("14447", "12479", "17197")  # a nursery, a party, a kitchen
INTERESTS_SHOWN = 6
FEED_LIMIT = 8
PORT = 8000
PEOPLE_ASKED = 300
TRAININGS = 3
SETTINGS = {  # lines of the template -> the demo data's settings
    "# buy = 1.0": "buy = 1.0",
    "# return = -1.0": "return = -1.0",
    'clock = "wall"': 'clock = "log" ',
}


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The workspace; made if absent.")
    ] = Path("demo-shop"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="A free one if taken.")] = PORT,
    oneshot: Annotated[
        bool, typer.Option("--oneshot", help="End after one request; so does no terminal.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import a real shop's log, build, train, evaluate, show three customers, serve."""
    import wayline

    end = oneshot or as_json or not sys.stdout.isatty()
    end = end or os.environ.get("WAYLINE_DEMO_ONESHOT") == "1"
    make_workspace(directory)
    engine = wayline.open(directory)
    try:
        found = _from_log_to_feeds(engine, shown=not as_json)
    except BaseException:
        engine.close()
        raise
    engine.share_cores()
    found["answer"] = _serve(engine, port, end=end, shown=not as_json)
    if as_json:
        print_json(found)


def make_workspace(directory: Path) -> None:
    """Write the shop's settings, or take the workspace of an earlier demo as it is."""
    import wayline

    settings = directory / "wayline.toml"
    if not settings.exists():
        if directory.exists() and any(directory.iterdir()):
            raise InputError(
                f"{directory} holds other things: name another folder with --dir.", field="dir"
            )
        wayline.open(directory, create=True).close()
        text = template()
        for line, ours in SETTINGS.items():
            assert line in text, line
            text = text.replace(line, ours)
        settings.write_text(text, "utf-8")


def _from_log_to_feeds(engine: Engine, *, shown: bool) -> dict[str, Any]:
    tell: Callable[[str], None] = say if shown else _silent
    tell("1/6  Importing Online Retail (D. Chen, 2012; CC BY 4.0)")
    tell(f"     {_import(engine, shown=shown)}")
    tell("2/6  Building: embeddings, index, interests, and the recipe fitted to this log")
    with building(shown=shown) as progress:
        generation = engine.build(progress=progress)
    if shown:
        print_generation(generation)
    tell("3/6  Training: which order do people answer?")
    trained = _train(engine, tell, shown=shown)
    generation = trained or generation
    tell(f"4/6  Evaluating: {PEOPLE_ASKED} customers' next new item, asked as of then")
    report = _evaluate(engine, shown=shown, trainings=TRAININGS if trained else 0)
    if shown:
        print_report(report)
    tell("5/6  Three customers")
    customers = []
    for user_id in CUSTOMERS:
        interests = engine.interests(user_id)
        feed = engine.feed(user_id, limit=FEED_LIMIT)
        customers.append({"user_id": user_id, "interests": interests, "feed": feed})
        if shown:
            print_interests(engine, user_id, interests, most=INTERESTS_SHOWN)
            print_feed(feed, user_id)
    return {"generation": generation, "evaluation": report.to_dict(), "customers": customers}


def _import(engine: Engine, *, shown: bool) -> str:
    from wayline import datasets

    shop = datasets.online_retail()
    engine.add_items(shop.items)
    with importing("actions", shown=shown) as update:
        receipt = engine.add_actions(shop.actions, on_chunk=lambda so_far, _columns: update(so_far))
    stats = engine.stats()
    sizes = ", ".join(count(stats[f"{noun}s"], noun) for noun in ("user", "item", "action"))
    return f"{sizes} ({receipt.accepted:,} new, {receipt.duplicates:,} known already)"


def _train(engine: Engine, tell: Callable[[str], None], *, shown: bool) -> Generation | None:
    """Train a ranker; None where it cannot be, which is said."""
    try:
        with building(shown=shown) as progress:
            generation = engine.train(progress=progress)
    except (TooLittleToTrainError, MissingPackageError) as error:
        tell(f"     {error}")
        return None
    if shown:
        print_training(generation)
    return generation


def _evaluate(engine: Engine, *, shown: bool, trainings: int) -> Report:
    from wayline.cli.trial import evaluate_workspace

    with counting("evaluating", shown=shown) as progress:
        return evaluate_workspace(
            engine,
            how=["time"],
            k=[10],
            users=PEOPLE_ASKED,
            seed=0,
            on_progress=progress,
            trainings=trainings,
        )


def _serve(engine: Engine, port: int, *, end: bool, shown: bool) -> dict[str, Any]:
    """Serve; with ``end``, ask one feed over HTTP and stop. Gives what that request answered."""
    from wayline.server import serve
    from wayline.server.serving import bind

    try:
        listener = bind("127.0.0.1", port)
    except InputError:  # taken: any other will do
        listener = bind("127.0.0.1", 0)
    answer: dict[str, Any] = {}

    def check(url: str, stop: Callable[[], None]) -> None:
        try:
            with urllib.request.urlopen(f"{url}/v1/users/{CUSTOMERS[0]}/feed?limit=3") as reply:
                answer.update(status=reply.status, feed=json.load(reply))
        finally:
            stop()

    def on_ready(url: str, stop: Callable[[], None]) -> None:
        if shown:
            say(f"6/6  Serving at {url}")
            _print_next(engine, url)
        if end:
            # Not in the server's own thread: that one has to answer.
            threading.Thread(target=check, args=(url, stop), daemon=True).start()

    with closing(listener):
        serve(engine, listener=listener, on_ready=on_ready)
    if end and answer.get("status") != 200:
        raise WaylineError("The demo's server did not answer its one request: see above.")
    if end and shown:
        items = ", ".join(item["title"] or item["item_id"] for item in answer["feed"]["items"])
        say(f"One request answered ({answer['status']}): {items}")
    return answer


def _print_next(engine: Engine, url: str) -> None:
    user_id = CUSTOMERS[0]
    say("     Next, in another terminal:")
    say(f"       curl '{url}/v1/users/{user_id}/feed?limit=5'")
    say(f"       wayline show user {CUSTOMERS[1]} -w {engine.path}")
    say(
        f"       curl {url}/v1/actions -H 'Content-Type: application/json' -d "
        f'\'[{{"user_id": "{user_id}", "item_id": "22423", "action": "buy", '
        f'"ts": "2011-12-09T13:00:00Z"}}]\''
    )
    say(f"     What there is: {url}/docs")
    if engine.config.studio.mode == "on":
        say(f"     To look in, and to try things out: {url}/studio")


def _silent(_line: str) -> None:
    """Nothing is said where a machine listens."""
