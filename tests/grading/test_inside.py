"""What a learner's process may say of itself."""

import dataclasses
import io
import struct

import pytest

from tools.grading import inside
from tools.grading.jail import Limits, received


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'{"status": "answers", "answers": [1, 2]}', {"status": "answers", "answers": [1, 2]}),
        (b'{"status": "raised", "message": "no", "more": 1}', {"status": "raised", "message": "no"}),
        (b'{"status": "blank"}', {"status": "blank", "message": ""}),
        (b'{"status": "answers", "answers": [' + b"1, " * 1100 + b"1]}", {"status": "large"}),
        (b'{"status": "answers", "answers": "' + b"x" * 9999 + b'"}', {"status": "large"}),
        (b'{"status": "blank", "room": "OSError"}', {"status": "blank", "message": "", "room": "OSError"}),
        (b'{"status": "blank", "room": ["OSError"]}', {"status": "blank", "message": ""}),
        (b'{"status": "refused"}', None),
        (b'{"status": "right", "points": 2}', None),
        (b'{"status": "answers", "answers": "all right"}', None),
        (b'{"status": ["answers"]}', None),
        (b'["answers"]', None),
        (b'{"status": "blank"}{"status": "blank"}', None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_learners_process_may_say_only_what_is_its_to_say(written, read):
    assert inside.said(written, {"answer_bytes": 9999, "entries": 4}) == read


ODD = [
    b'{"status": "answers", "answers": ["' + b"[]" * 400 + b'"]}',
    b'{"status": "answers", "answers": ["' + b"[]" * 4_000 + b'"]}',
    b'{"status": "answers", "answers": ["' + b"[" * 30 + b'"]}',
    b'{"status": "answers", "answers": ["' + b"}" * 9_000 + b'"]}',
    b'{"status": "answers", "answers": ["' + "\u00e9".encode() * 4_000 + b'"]}',
    b'{"status": "answers", "answers": [' + b"1e3," * 2_000 + b"1]}",
    b'{"status": "answers", "answers": [' + b"NaN," * 900 + b"1e999]}",
    b'{"status": "raised", "message": "' + "\U0001f600".encode() * 2_000 + b'"}',
    b'{"status": "raised", "message": "' + b"\\ud800" * 1_000 + b'", "room": "' + b"\\ud800" * 500 + b'"}',
]


@pytest.mark.parametrize("written", ODD, ids=range(len(ODD)))
def test_whatever_leaves_the_jail_is_taken_outside(written):
    limits = Limits(answer_bytes=9_999, entries=300)
    told = dataclasses.asdict(limits)
    reply = inside.said(written, told)
    data = inside.sent(reply, told)
    assert received(io.BytesIO(struct.pack("I", len(data)) + data), limits)["status"] in (reply["status"], "large")
