"""What is asked of an upstream: one form of each question, and none that leads elsewhere."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidQuery
from app.proxy.asked import Asked
from app.proxy.upstreams import Upstream
from app.proxy.urls import checked_path, checked_query

UPSTREAM = Upstream(name="up", url="https://pacs.example/a/dicom-web")
ASKED = Asked("object", "/studies/1.2", "a=b", "*/*")


def test_the_answer_is_named_by_all_that_it_depends_on() -> None:
    keys = {
        ASKED.key(UPSTREAM, "http://us"),
        ASKED.key(UPSTREAM, "http://other"),
        ASKED.key(UPSTREAM.model_copy(update={"name": "two"}), "http://us"),
        ASKED.key(UPSTREAM.model_copy(update={"url": "https://two.example"}), "http://us"),
        replace(ASKED, path="/studies/1.3").key(UPSTREAM, "http://us"),
        replace(ASKED, query="a=c").key(UPSTREAM, "http://us"),
        replace(ASKED, accept="application/dicom").key(UPSTREAM, "http://us"),
    }
    assert len(keys) == 7


@given(st.text())
def test_no_path_leads_out_of_the_service(text: str) -> None:
    """T4, T7: what passes names something below the root, in characters that mean themselves."""
    try:
        path = checked_path(f"/studies/{text}")
    except InvalidQuery:
        return
    assert path == f"/studies/{text}"
    segments = path.split("/")[1:]
    assert not {"", ".", ".."} & set(segments)
    assert path.isascii()
    assert not set(path) & set("%\\?#;&<>\"' \t\r\n")


@pytest.mark.parametrize(
    "path",
    [
        "/studies/..",
        "/studies/1.2/../3",
        "/studies/%2e%2e",
        "/studies//x",
        "//evil.example/x",
        "/studies/a b",
        "/studies/x@evil.example:80/..",
        "/studies/1.2\\..",
        "/studies/1.2#x",
        "/studies/" + "1" * 65,
        "",
        "/",
    ],
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidQuery):
        checked_path(path)


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9.]{1,8}", fullmatch=True), st.text()), max_size=6),
    st.randoms(),
)
def test_the_order_of_parameters_means_nothing(pairs: list[tuple[str, str]], chance: object) -> None:
    from urllib.parse import parse_qsl, urlencode

    pairs = [(name, value) for name, value in pairs if value.isprintable()]
    one = checked_query(urlencode(pairs))
    assert sorted(parse_qsl(one, keep_blank_values=True)) == sorted(pairs)
    if len({name for name, _ in pairs}) == len(pairs):
        chance.shuffle(pairs)
        assert checked_query(urlencode(pairs)) == one
    assert checked_query(one) == one
    assert not set(one) & set(' \r\n\t#"<>')


@pytest.mark.parametrize(
    "query", ["a=%00", "a=%0d%0aX", "%0a=1", "a=%ff", "http://x=1", "&".join(["a=1"] * 300)]
)
def test_queries_that_are_none(query: str) -> None:
    with pytest.raises(InvalidQuery):
        checked_query(query)


@pytest.mark.parametrize(
    ("query", "encoded", "plain"),
    [
        ("B=Doe%5eJ*&A=a?b", "A=a?b&B=Doe%5EJ*", "A=a?b&B=Doe^J*"),
        ("00100010=M%C3%BCller%20x", "00100010=M%C3%BCller%20x", "00100010=M%C3%BCller%20x"),
        ("A=1%262%2B3%23%25&B", "A=1%262%2B3%23%25&B=", "A=1%262%2B3%23%25&B="),
        ("", "", ""),
    ],
)  # fmt: skip
def test_a_server_that_decodes_no_queries(query: str, encoded: str, plain: str) -> None:
    """RFC 3986 3.4: encoded is what has to be; for servers that do not decode, what cannot stand there."""
    asked = Asked.of("search", "/studies", query, "")
    for decodes_queries, sent in ((True, encoded), (False, plain)):
        upstream = Upstream(name="x", url="http://x/rs", decodes_queries=decodes_queries)
        assert asked.url(upstream) == "http://x/rs/studies" + (f"?{sent}" if sent else "")
