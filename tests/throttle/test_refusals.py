"""The fields are Structured Fields (RFC 9651) as the draft wants them, whatever the numbers."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from app.throttle.accounts import Line
from app.throttle.bucket import Bucket
from app.throttle.clients import Client
from app.throttle.refusals import refuse
from app.throttle.verdicts import Refusal

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
@given(shortages, st.floats(0, 1e6), st.booleans(), st.booleans())
def test_fields_parse_and_agree(short, wait_s, is_shared, has_token):
    status, headers, body = refuse(
        Refusal(tuple(short), wait_s, is_shared), Client("ip:192.0.2.1", has_token)
    )
    fields = {name.decode(): value.decode("ascii") for name, value in headers}
    policies, limits = parse_list(fields["ratelimit-policy"]), parse_list(fields["ratelimit"])
    problem = json.loads(body)
    assert list(policies) == list(limits) == problem["violated-policies"] == [line.name for line in short]
    for line in short:
        assert policies[line.name]["q"] == round(line.bucket.burst)
        assert policies[line.name]["qu"] == line.unit
        assert policies[line.name]["w"] >= 1
        assert limits[line.name]["r"] == 0
        assert limits[line.name]["t"] <= int(fields["retry-after"])
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
