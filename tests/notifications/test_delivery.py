"""Every way of delivery against a real receiver: what arrives, and what happens when the receiver misbehaves."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_journeys import NOW, PLAIN, Shop, act, journey, log
from receivers import Hooks, Mailbox, mail_server, webhook

from wayline.config import NotificationsConfig, load_config
from wayline.errors import ConfigError, WorkspaceError
from wayline.notifications.delivery.channel import Message, Result, backoff_s, open_channel
from wayline.notifications.delivery.file import FileChannel
from wayline.notifications.delivery.smtp import SmtpChannel
from wayline.notifications.delivery.webhook import WebhookChannel
from wayline.notifications.text import clean
from wayline.notifications.wishes import ADDRESS

SENDER = "Shop <news@shop.example>"
LINK = "https://shop.example/off?user=ann"


def message(id_: str = "n1", **fields: str) -> Message:
    made = Message(
        id_, "ann", "j1", "Lamps", "Lamps: what comes next", "Two lamps", "<p>Two lamps</p>",
        [{"id": "i1", "title": "Lamp", "url": "", "image_url": ""}], NOW, LINK,
    )  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, NotificationsConfig]]:
    with mail_server() as (box, port):
        yield box, mail_config(port)


@pytest.fixture
def hooks() -> Iterator[tuple[Hooks, NotificationsConfig]]:
    with webhook() as (hooks, url):
        yield hooks, hook_config(url)


PATIENCE_S = 10.0  # with a receiver that answers, however busy the machine is
SHORT_S = 0.5  # with one that does not


def patient_with(trouble: str, config: NotificationsConfig) -> NotificationsConfig:
    """Wait for long, unless nothing will come."""
    silent = trouble.rsplit(maxsplit=1)[-1] in ("hang", "half", "silent", "endless")
    return replace(config, timeout_s=SHORT_S if silent else PATIENCE_S)


def mail_config(port: int, **fields: object) -> NotificationsConfig:
    config = replace(
        PLAIN, channel="smtp", sender=SENDER, smtp_host="127.0.0.1", smtp_port=port,
        smtp_security="none", timeout_s=PATIENCE_S, retry_s=0.01, wait_s=5.0, title_limit=500,
    )  # fmt: skip
    return replace(config, **fields)  # type: ignore[arg-type]


def hook_config(url: str) -> NotificationsConfig:
    return replace(
        PLAIN, channel="webhook", webhook_url=url, webhook_secret="s3cret",
        timeout_s=PATIENCE_S, retry_s=0.01, wait_s=5.0,
    )  # fmt: skip


# -- mail --------------------------------------------------------------------------------------------


def delivered(
    channel: SmtpChannel, box: Mailbox, made: Message, to: str = "ann@example.org"
) -> EmailMessage:
    assert channel.deliver(made, to).result is Result.SENT
    return list(box.kept.values())[-1]


def test_a_mail_has_both_parts_and_the_headers_that_keep_it_apart(
    mailbox: tuple[Mailbox, NotificationsConfig],
) -> None:
    box, config = mailbox
    channel = SmtpChannel(config)
    mail = delivered(channel, box, message())
    channel.close()
    assert box.receivers == ["ann@example.org"]
    assert mail["Message-ID"] == "<n1@shop.example>"
    assert mail["From"] == SENDER
    assert mail["To"] == "ann@example.org"
    assert mail["List-Unsubscribe"] == f"<{LINK}>"
    assert mail["Subject"] == "Lamps: what comes next"
    assert mail["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == "Two lamps\n"
    assert html.get_content().replace("\r\n", "\n") == "<p>Two lamps</p>\n"


def test_emoji_right_to_left_and_long_lines_arrive_as_they_are(
    mailbox: tuple[Mailbox, NotificationsConfig],
) -> None:
    box, config = mailbox
    title, text = "💡 \u2068מנורה לגינה\u2069 " + "é" * 90, "مصباح حديقة 👨‍👩‍👧 " * 200
    channel = SmtpChannel(config)
    mail = delivered(channel, box, message(title=title, text=text, html=f"<p>{text}</p>"))
    channel.close()
    assert mail["Subject"] == title
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content() == text + "\r\n"


@pytest.mark.parametrize(
    "evil",
    [
        "x\r\nBcc: evil@example.org",
        "x\nBcc: evil@example.org",
        "x\r\n\r\n.\r\nQUIT",
        "x\u2028Bcc: evil@example.org",
    ],
)
def test_a_title_cannot_break_out_of_its_header(
    shop: Shop, mailbox: tuple[Mailbox, NotificationsConfig], evil: str
) -> None:
    box, config = mailbox
    log(
        shop.store,
        *(act(u, "notifications.address", query=f"{u}@example.org") for u in shop.people),
    )
    shop.journeys = {"ann": [journey(name=evil)]}
    assert shop.send(open_channel(config, shop.folder), config).sent == 1
    (mail,) = box.kept.values()
    assert box.receivers == ["ann@example.org"]
    assert mail["Bcc"] is None
    assert str(mail["Subject"]).startswith("x ")
    # and if somebody hands the channel a raw one, no mail is made of it
    raw = SmtpChannel(config)
    assert (
        raw.deliver(message(title=evil.replace("\u2028", "\n")), "ann@example.org").result
        is Result.NEVER
    )
    assert raw.deliver(message(), "ann@example.org\r\nBcc: evil@example.org").result is Result.NEVER
    assert len(box.kept) == 1


@given(st.text(max_size=200), st.text(max_size=40))
def test_no_title_and_no_address_makes_a_header_of_its_own(title: str, local: str) -> None:
    channel = SmtpChannel(replace(PLAIN, sender=SENDER))
    address = f"{local}@example.org"
    if not ADDRESS.fullmatch(address):
        assert channel.deliver(message(), address).result is Result.NEVER
        return
    try:
        raw = channel.mail(message(title=clean(title)), address).as_bytes()
    except (ValueError, IndexError, MessageError):
        return  # no mail: deliver says so
    read = message_from_bytes(raw, policy=default)
    assert set(read.keys()) == {
        "Message-ID", "Date", "From", "To", "Subject", "List-Unsubscribe", "Auto-Submitted",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert [a.domain for a in read["To"].addresses] == ["example.org"]


def test_addresses_of_other_scripts(
    mailbox: tuple[Mailbox, NotificationsConfig],
) -> None:
    box, config = mailbox
    channel = SmtpChannel(config)
    delivered(channel, box, message("n1"), "ann@bücher.example")
    assert box.receivers == ["ann@xn--bcher-kva.example"]
    delivered(channel, box, message("n2"), "jörg@example.org")
    assert box.receivers[1] == "jörg@example.org"
    channel.close()
    with mail_server(enable_SMTPUTF8=False) as (_, port):
        old = SmtpChannel(mail_config(port))
        assert old.deliver(message("n2"), "jörg@example.org").result is Result.NEVER
        assert old.deliver(message("n3"), "ann@example.org").result is Result.SENT
        old.close()


def test_a_sender_that_is_no_address_is_refused() -> None:
    for sender in ("", "Shop", "Shop <a@b>\r\nBcc: c@d", "Shop\r\nBcc: c@d <a@b>", "a@b, c@d"):
        with pytest.raises(ConfigError, match=r"notifications\.sender"):
            SmtpChannel(replace(PLAIN, sender=sender))
    channel = SmtpChannel(replace(PLAIN, sender="Bücher & Lampen <a@b>"))
    assert channel.mail(message(), "x@y")["From"].addresses[0].display_name == "Bücher & Lampen"


@pytest.mark.parametrize(
    "trouble",
    ["MAIL hang", "RCPT hang", "DATA hang", "MAIL close", "RCPT close", "DATA close", "MAIL half",
     "RCPT half", "DATA half", "KEPT hang", "KEPT close", "KEPT half", "RCPT 451", "DATA 451",
     "MAIL 421"],
)  # fmt: skip
def test_a_mail_whose_answer_is_lost_at_any_step_arrives_under_one_key(
    shop: Shop, mailbox: tuple[Mailbox, NotificationsConfig], trouble: str
) -> None:
    box, config = mailbox
    config = patient_with(trouble, config)
    box.trouble = [trouble]
    log(
        shop.store,
        *(act(u, "notifications.address", query=f"{u}@example.org") for u in shop.people),
    )
    done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.failed, done.waiting) == (2, 0, 0)
    assert len(box.kept) == 2
    assert sorted(box.receivers) == ["ann@example.org", "bob@example.org"]
    assert sum(box.arrived.values()) == (3 if trouble.startswith("KEPT") else 2)
    assert shop.states("ann") == shop.states("bob") == [("sent", None)]


def test_a_server_that_never_greets_is_a_time_out_and_later_ones_wait(shop: Shop) -> None:
    log(
        shop.store,
        *(act(u, "notifications.address", query=f"{u}@example.org") for u in shop.people),
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = mail_config(listener.getsockname()[1], wait_s=0.0, timeout_s=SHORT_S)
        done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.failed, done.waiting) == (0, 0, 2)
    (problem,) = done.problems
    assert problem.startswith("no connection to the mail server (")
    rows = [shop.store.user_notifications(key)[0] for key in (1, 2)]
    assert sorted(row.attempts for row in rows) == [0, 1]  # the second was spared


def test_a_server_that_is_not_there_is_one_problem(shop: Shop) -> None:
    log(shop.store, act("ann", "notifications.address", query="ann@example.org"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = mail_config(bound.getsockname()[1], wait_s=0.0)
        done = shop.send(open_channel(config, shop.folder), config)
    assert list(done.problems.values()) == [1]


@pytest.mark.parametrize("trouble", ["RCPT 550", "DATA 554"])
def test_a_refused_address_fails_at_once_and_the_next_is_delivered(
    shop: Shop, mailbox: tuple[Mailbox, NotificationsConfig], trouble: str
) -> None:
    box, config = mailbox
    box.trouble = [trouble]
    log(
        shop.store,
        *(act(u, "notifications.address", query=f"{u}@example.org") for u in shop.people),
    )
    done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.failed, done.waiting) == (1, 1, 0)
    assert done.problems == {f"the mail server answered {trouble[-3:]} no, thank you": 1}


def test_a_refused_sender_is_no_word_about_the_receiver(
    shop: Shop, mailbox: tuple[Mailbox, NotificationsConfig]
) -> None:
    box, config = mailbox
    box.trouble = ["MAIL 550"]
    log(
        shop.store,
        *(act(u, "notifications.address", query=f"{u}@example.org") for u in shop.people),
    )
    done = shop.send(open_channel(config, shop.folder), replace(config, wait_s=0.0))
    assert (done.failed, done.waiting) == (0, 2)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl: there is no such program")
    made = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", tmp_path / "key.pem", "-out", made, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with made.open("a") as file:
        file.write((tmp_path / "key.pem").read_text())
    return made


def _secure(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _knows_ann(
    server: object, session: object, envelope: object, mechanism: str, data: object
) -> object:
    from aiosmtpd.smtp import AuthResult

    good = (getattr(data, "login", b""), getattr(data, "password", b"")) == (b"shop", b"pass word")
    return AuthResult(success=good, handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while")  # it is all under TLS
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_with_a_log_in(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    context = _secure(certificate)
    options = (
        {"tls_context": context, "require_starttls": True}
        if security == "starttls"
        else {"ssl_context": context, "auth_require_tls": False}
    )
    with mail_server(authenticator=_knows_ann, auth_required=True, **options) as (box, port):
        config = mail_config(
            port, smtp_security=security, smtp_user="shop", smtp_password="pass word"
        )
        stranger = SmtpChannel(config)
        refused = stranger.deliver(message(), "ann@example.org")
        assert (refused.result, refused.down) == (Result.AGAIN, True)
        assert "certificate" in refused.detail.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wrong = SmtpChannel(replace(config, smtp_password="wrong"))
        refused = wrong.deliver(message(), "ann@example.org")
        assert (refused.result, refused.down) == (Result.AGAIN, True)
        assert box.kept == {}
        channel = SmtpChannel(config)
        delivered(channel, box, message())
        channel.close()


def test_a_server_without_starttls_gets_nothing_in_the_clear(
    mailbox: tuple[Mailbox, NotificationsConfig],
) -> None:
    box, config = mailbox
    channel = SmtpChannel(replace(config, smtp_security="starttls"))
    outcome = channel.deliver(message(), "ann@example.org")
    assert (outcome.result, outcome.down) == (Result.AGAIN, True)
    assert "STARTTLS" in outcome.detail
    assert box.kept == {}


# -- webhook -----------------------------------------------------------------------------------------


def test_a_hook_gets_the_message_its_key_and_a_signature(
    hooks: tuple[Hooks, NotificationsConfig],
) -> None:
    owner, config = hooks
    channel = WebhookChannel(config, clock=lambda: NOW + 999)
    assert channel.deliver(message(title="מנורה 💡"), None).result is Result.SENT
    channel.close()
    ((headers, body),) = owner.requests
    assert json.loads(body) == message(title="מנורה 💡").content()
    assert headers["Idempotency-Key"] == "n1"
    assert headers["Content-Type"] == "application/json"
    signed = hmac.new(b"s3cret", b"%d." % (NOW // 1000) + body, hashlib.sha256).hexdigest()
    assert headers["X-Wayline-Signature"] == f"t={NOW // 1000},v1={signed}"


@pytest.mark.parametrize(
    "trouble",
    ["500", "502", "503", "408", "425", "silent", "half", "close", "kept silent", "kept half",
     "kept close", "kept 500"],
)  # fmt: skip
def test_a_hook_whose_answer_is_lost_or_late_arrives_under_one_key(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig], trouble: str
) -> None:
    owner, config = hooks
    config = patient_with(trouble, config)
    owner.trouble = [trouble, None, trouble, None]
    done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.failed, done.waiting) == (2, 0, 0)
    assert len(owner.kept) == 2
    assert len(owner.requests) == 4
    assert sorted(body["user_id"] for body in owner.kept.values()) == ["ann", "bob"]
    assert shop.states("ann") == shop.states("bob") == [("sent", None)]


def test_a_body_that_never_ends_is_not_waited_for(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig]
) -> None:
    owner, config = hooks
    config = patient_with("endless", config)
    owner.trouble = ["endless"]
    assert shop.send(open_channel(config, shop.folder), config).sent == 2
    assert len(owner.requests) == 2


@pytest.mark.parametrize(
    "trouble", ["400", "401", "404", "409", "410", "422", "301", "302", "307", "308"]
)
def test_a_final_answer_is_not_asked_again_and_no_redirect_is_followed(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig], trouble: str
) -> None:
    owner, config = hooks
    owner.trouble = [trouble]
    done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.failed, len(owner.requests)) == (1, 1, 2)
    (problem,) = done.problems
    assert problem.startswith(f"the webhook answered {trouble}")


@pytest.mark.parametrize("asked", ["7", "Tue, 14 Nov 2023 22:13:27 GMT"])
def test_a_hook_is_asked_again_when_it_wants_to_be(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig], asked: str
) -> None:
    owner, config = hooks
    owner.trouble = [f"429 {asked}"]
    config = replace(config, wait_s=8.0)
    channel = WebhookChannel(config, clock=lambda: shop.now)
    done = shop.send(channel, config)
    assert (done.sent, shop.slept) == (2, [7.0])  # everybody waits, not only the first


def test_a_wait_that_is_too_long_is_left_to_the_next_run(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig]
) -> None:
    owner, config = hooks
    owner.trouble = ["503 3600"]
    done = shop.send(open_channel(config, shop.folder), config)
    assert (done.sent, done.waiting, shop.slept) == (1, 1, [])
    shop.now += 3_600_000
    assert shop.send(open_channel(config, shop.folder), config).sent == 1


def test_tries_end_and_the_reason_stays(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig]
) -> None:
    owner, config = hooks
    shop.people = ["ann"]
    owner.trouble = ["500"] * 9
    done = shop.send(open_channel(config, shop.folder), replace(config, max_attempts=4))
    assert (done.failed, len(owner.requests)) == (1, 4)
    assert shop.states("ann") == [("failed", "the webhook answered 500")]
    assert [round(s / 0.01, 1) for s in shop.slept] == sorted(
        round(s / 0.01, 1) for s in shop.slept
    )


def test_waits_double_with_each_try_and_are_spread() -> None:
    assert [backoff_s(n, base_s=5, jitter=0.5) for n in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert backoff_s(1, base_s=5, jitter=0.0) == 2.5
    assert backoff_s(10_000, base_s=5, jitter=0.5) == 6 * 3600
    assert backoff_s(3, base_s=1e6, jitter=0.5) == 6 * 3600


@pytest.mark.parametrize(
    "url", ["", "shop.example/hook", "ftp://shop.example", "http://", "http://[x"]
)
def test_a_hook_without_an_address_or_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"notifications\.webhook_url"):
        WebhookChannel(replace(PLAIN, webhook_url=url, webhook_secret="x"))
    with pytest.raises(ConfigError, match="WAYLINE_NOTIFICATIONS__WEBHOOK_SECRET"):
        WebhookChannel(replace(PLAIN, webhook_url="https://shop.example/hook"))


# -- file --------------------------------------------------------------------------------------------


def lines(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_a_file_gets_one_line_an_id(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sent.jsonl"
    for _ in range(2):
        channel = FileChannel(path)
        for id_ in ("n1", "n2", "n1"):
            assert channel.deliver(message(id_, text="one\ntwo"), None).result is Result.SENT
        channel.close()
    assert lines(path) == ["n1", "n2"]
    assert json.loads(path.read_text().splitlines()[0]) == message(text="one\ntwo").content()


@pytest.mark.parametrize(
    "torn", [b"{", b'{"id": "n2", "user_id": "an', b'{"id": "n2"}', b"\xff\x00"]
)
def test_a_torn_last_line_is_taken_away(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "sent.jsonl"
    channel = FileChannel(path)
    channel.deliver(message("n1"), None)
    with path.open("ab") as file:
        file.write(torn)
    for id_ in ("n2", "n1"):
        channel.deliver(message(id_), None)
    assert lines(path) == ["n1", "n2"]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    channel = FileChannel(path)
    channel.deliver(message("n1"), None)
    path.rename(tmp_path / "old.jsonl")
    channel.deliver(message("n2"), None)
    assert (lines(path), lines(tmp_path / "old.jsonl")) == (["n2"], ["n1"])


def test_two_channels_on_one_file_write_each_id_once(tmp_path: Path) -> None:
    first, second = FileChannel(tmp_path / "sent.jsonl"), FileChannel(tmp_path / "sent.jsonl")
    for id_ in ("n1", "n2", "n3"):
        for channel in (first, second, first):
            channel.deliver(message(id_), None)
    assert lines(tmp_path / "sent.jsonl") == ["n1", "n2", "n3"]


def test_lines_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_text('not json\n[1]\n{"other": 1}\n')
    FileChannel(path).deliver(message("n1"), None)
    assert path.read_text().startswith('not json\n[1]\n{"other": 1}\n{"id": "n1"')


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"set notifications\.file_path"):
        FileChannel(tmp_path).deliver(message(), None)


def test_another_channel_does_not_take_over_what_the_first_may_have_delivered(
    shop: Shop, hooks: tuple[Hooks, NotificationsConfig]
) -> None:
    owner, config = hooks
    owner.trouble = ["500", "500"]
    shop.send(open_channel(config, shop.folder), replace(config, wait_s=0.0))
    shop.now += 60_000
    done = shop.send()
    assert (done.sent, done.problems) == (0, {"channel_changed": 2})


# -- secrets -----------------------------------------------------------------------------------------


def test_a_secret_in_a_file_is_refused_and_one_in_the_environment_taken_as_it_is(
    tmp_path: Path,
) -> None:
    file = tmp_path / "wayline.toml"
    file.write_text('[notifications]\nsmtp_password = "x"\n')
    with pytest.raises(ConfigError, match="WAYLINE_NOTIFICATIONS__SMTP_PASSWORD") as caught:
        load_config(file, environ={})
    assert "'x'" not in caught.value.message
    config = load_config(None, environ={"WAYLINE_NOTIFICATIONS__SMTP_PASSWORD": "12345"})
    assert config.notifications.smtp_password == "12345"
    assert "12345" not in repr(config)
