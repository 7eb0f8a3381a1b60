"""Secrets do not reach a log line, whoever writes it and wherever in it they are."""

from __future__ import annotations

import io
import json
import logging

import pytest

from gateway import logs, redact
from gateway.redact import Redacting, redacted

SECRET = "Ab0-_" * 8 + "xyz"
KEY = f"ak_0123456789ab_{SECRET}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"key {KEY} is wrong", "key ak_0123456789ab_[redacted] is wrong"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer ak_0123456789ab_[redacted]"),
        ("authorization: bearer abc.def-ghi=", "authorization: bearer [redacted]"),
        ("'x-assay-service-token': 'abcdefgh123'", "'x-assay-service-token': '[redacted]'"),
        ("X-API-Key: abcdefgh123", "X-API-Key: [redacted]"),
        ("redis://user:pa55word@host:6379/0", "redis://[redacted]@host:6379/0"),
        ("redis://:pa55word@host", "redis://[redacted]@host"),
        ("http://127.0.0.1:3000/a@b and v1:x@y", "http://127.0.0.1:3000/a@b and v1:x@y"),
        ("a bearer of news", "a bearer [redacted] news"),
        ("nothing to hide, ak_47", "nothing to hide, ak_47"),
    ],
)
def test_known_forms_of_secrets_go_and_the_rest_stays(text: str, kept: str):
    assert redacted(text) == kept


def fail() -> None:
    raise ValueError(f"cannot reach redis://:pa55word@host with {KEY}")


def test_tracebacks_and_arguments_are_covered_in_every_handler():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("somebody.else")
    logger.addHandler(handler)
    try:
        redact.install()
        redact.install()
        assert isinstance(handler.formatter, Redacting)
        assert not isinstance(handler.formatter.inner, Redacting)
        try:
            fail()
        except ValueError:
            logger.exception("with %s", KEY)
    finally:
        logger.removeHandler(handler)
    said = stream.getvalue()
    assert "in fail" in said
    assert said.count("ak_0123456789ab_[redacted]") == 2
    assert SECRET not in said
    assert "pa55word" not in said


def test_our_own_lines_stay_json(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger(logs.NAME)
    before = logger.handlers, logger.propagate, logger.level
    try:
        logs.install("risk/a", "v1")
        logging.getLogger("assay.x").warning("key %s", KEY)
    finally:
        logger.handlers, logger.propagate = before[0], before[1]
        logger.setLevel(before[2])
    line = json.loads(capsys.readouterr().out)
    assert (line["message"], line["product"]) == ("key ak_0123456789ab_[redacted]", "risk/a")
