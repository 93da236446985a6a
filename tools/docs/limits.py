"""The rates of the budget, from app/throttle/policy.py."""

from pydantic import BaseModel

from app.throttle.policy import Allowance, Policy
from app.web.dicomweb import RESOURCES
from tools.docs.tables import code, table

MEANING = {
    "cost": "what a month may cost; the shared bytes follow from it",
    "refusal": "what a refusal says of bulk downloads",
    "subnet": "so often the bytes of a client for an IPv4 /24 or IPv6 /48",
}


def limits_table() -> str:
    """Return one row for each figure of config/throttle.toml."""
    rows = []
    for section, content in Policy():
        if not isinstance(content, BaseModel):
            continue  # what an operator adds; nothing by default
        for key, value in content:
            name = code(f"[{section}] {key}")
            if isinstance(value, Allowance):
                rows.append(
                    (name, _amount(value.per_second, key), _amount(value.burst, key), _routes(section, key))
                )
            else:
                rows.append((name, _value(value), "", MEANING.get(section, "")))
    return table(("in the file", "a second, or the value", "burst", "counts"), rows)


def _value(value: float | str | None) -> str:
    if value is None or value == "":
        return "not set"
    return value if isinstance(value, str) else f"{value:g}"


def _routes(section: str, key: str) -> str:
    if section == "upstream":
        return f"all clients together, of each archive behind the proxy: {code('[upstreams.NAME]')} for one"
    if section != "routes":
        return "all clients together" if section == "shared" else "every request of a client"
    count = sum(resource.limit == key for resource in RESOURCES)
    more = {"search": ", and C-FIND", "transcode": "answers, and retrievals, whose pixels must be converted"}
    return (f"{count} resources" if count else "") + more.get(key, "")


def _amount(number: float, key: str) -> str:
    if key != "bytes":
        return f"{number:g}"
    return f"{number / 1e9:g} GB" if number >= 1e9 else f"{number / 1e6:g} MB"
