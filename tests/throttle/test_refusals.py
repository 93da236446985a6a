"""The fields are Structured Fields (RFC 9651) as the draft wants them, whatever the numbers."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.throttle.accounts import Line
from app.throttle.bucket import Bucket
from app.throttle.clients import Client
from app.throttle.policy import RefusalText
from app.throttle.refusals import refuse
from app.throttle.verdicts import Refusal
from app.web.problem_forms import in_form

ITEM = re.compile(r'"([ !#-\[\]-~]*)"((?:;[a-z*][a-z0-9_.*-]*=(?:-?\d{1,15}|"[ !#-\[\]-~]*"))*)')


def parse_list(text):
    """Parse a List of String Items with Integer and String parameters (RFC 9651, 3.1 and 3.3)."""
    items, at = {}, 0
    while True:
        match = ITEM.match(text, at)
        assert match, text[at:]
        parameters = dict(part.split("=", 1) for part in match[2].split(";")[1:])
        items[match[1]] = {
            name: value[1:-1] if value.startswith('"') else int(value) for name, value in parameters.items()
        }
        at = match.end()
        if at == len(text):
            return items
        separator = re.compile(r"[ \t]*,[ \t]*").match(text, at)
        assert separator, text[at:]
        at = separator.end()


names = st.sampled_from(["client-requests", "client-bytes", "search-requests", "global-bytes"])
lines = st.builds(
    lambda name, rate, burst: Line(
        name, "content-bytes" if name.endswith("bytes") else "requests", Bucket(1, rate, burst)
    ),
    names,
    st.floats(1e-3, 1e12),
    st.floats(1, 1e14),
)
shortages = st.lists(lines, min_size=1, max_size=4, unique_by=lambda line: line.name)


@settings(deadline=None)
@given(shortages, st.floats(0, 1e6), st.booleans(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_fields_parse_and_agree(short, wait_s, is_shared, has_token, chance):
    """R6: Structured Fields; Retry-After is never before `t`, nor `t` before it is worth while to ask."""
    client, refusal = Client("ip:192.0.2.1", has_token), Refusal(tuple(short), wait_s, is_shared)
    status, headers, body = refuse(refusal, client, chance=lambda: chance)
    fields = {name.decode(): value.decode("ascii") for name, value in headers}
    policies, limits = parse_list(fields["ratelimit-policy"]), parse_list(fields["ratelimit"])
    problem = json.loads(body)
    assert list(policies) == list(limits) == problem["violated-policies"] == [line.name for line in short]
    for line in short:
        assert policies[line.name]["q"] == round(line.bucket.burst)
        assert policies[line.name]["qu"] == line.unit
        assert policies[line.name]["w"] >= 1
        assert limits[line.name]["r"] == 0
        assert wait_s < limits[line.name]["t"] <= int(fields["retry-after"])
    assert int(fields["retry-after"]) > wait_s
    assert problem["status"] == status == (503 if is_shared else 429)
    assert int(fields["content-length"]) == len(body)


def test_the_text_names_what_is_used_up():
    search = Line("search-requests", "requests", Bucket(1, 20, 500))
    content = Line("client-bytes", "content-bytes", Bucket(2, 4e6, 512e6))
    whole = Line("global-bytes", "content-bytes", Bucket(3, 50e6, 10e9, pinned=True))

    def detail(short, *, is_shared=False, has_token=False):
        return json.loads(refuse(Refusal(short, 0.2, is_shared), Client("x", has_token)).body)["detail"]

    assert detail((search,)).startswith(
        "Your address has used up its search requests (20 a second, 500 at once). Wait 1 second, then"
    )
    assert detail((content,), has_token=True).startswith(
        "This token has used up its bytes (4 MB a second, 512 MB at once)."
    )
    assert detail((whole,), is_shared=True).startswith("All clients together have used up the bytes")


SEARCHES = Refusal((Line("search-requests", "requests", Bucket(1, 20, 500)),), 3.2, is_shared=False)
EVERYBODY = Refusal((Line("global-bytes", "content-bytes", Bucket(3, 1e3, 1e6)),), 0.2, is_shared=True)


@pytest.mark.parametrize(("refusal", "latest"), [(SEARCHES, 5), (EVERYBODY, 7)])
def test_who_was_refused_together_does_not_come_back_together(refusal, latest):
    draw = random.Random(1).random
    answers = [refuse(refusal, Client("x"), chance=draw) for _ in range(200)]
    told = {int(dict(answer.headers)[b"retry-after"]) for answer in answers}
    assert told == set(range(refusal.retry_after_s, latest + 1))
    assert {dict(answer.headers)[b"ratelimit"].rpartition(b"t=")[2] for answer in answers} == {
        str(refusal.retry_after_s).encode()
    }


TEXT = RefusalText(text="Everything is in <one> archive.", link="https://example.org/?a=1&b=2")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/dicom+json", "application/problem+json"),
        ("text/html, */*;q=0.1", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
    ],
)
def test_a_refusal_has_the_form_that_the_client_reads(accept, media_type):
    asked = [(b"accept", accept.encode())] if accept else []
    status, headers, body = refuse(SEARCHES, Client("x"), asked, TEXT, present=in_form)
    fields = {name.decode(): value.decode() for name, value in headers}
    assert status == 429
    assert fields["content-type"] == media_type
    assert int(fields["content-length"]) == len(body)
    assert {"retry-after", "ratelimit", "ratelimit-policy"} <= fields.keys()
    assert fields["vary"] == "accept"
    text = body.decode()
    assert "search requests (20 a second, 500 at once)" in text
    if "html" in media_type:
        assert "<p>Everything is in &lt;one&gt; archive.</p>" in text
        assert '<a href="https://example.org/?a=1&amp;b=2">' in text
        assert fields["content-security-policy"] == "default-src 'none'"
    elif "plain" in media_type:
        assert text.endswith(f"{TEXT.text}\n{TEXT.link}\n")
    else:
        assert json.loads(body)["alternatives"] == {"text": TEXT.text, "link": TEXT.link}


def test_without_a_text_there_are_no_alternatives():
    assert "alternatives" not in json.loads(refuse(SEARCHES, Client("x")).body)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://a b", "//example.org"])
def test_a_link_is_one_to_the_web(link):
    with pytest.raises(ValidationError):
        RefusalText(link=link)
