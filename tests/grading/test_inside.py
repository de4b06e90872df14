"""What a learner's process may say of itself."""

import pytest

from tools.grading import inside


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'{"status": "answers", "answers": [1, 2]}', {"status": "answers", "answers": [1, 2]}),
        (b'{"status": "raised", "message": "no", "more": 1}', {"status": "raised", "message": "no"}),
        (b'{"status": "blank"}', {"status": "blank", "message": ""}),
        (b'{"status": "answers", "answers": [1, 2, 3, 4, 5]}', {"status": "large"}),
        (b'{"status": "answers", "answers": "' + b"x" * 100 + b'"}', {"status": "large"}),
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
    assert inside.said(written, {"answer_bytes": 99, "entries": 4}) == read
