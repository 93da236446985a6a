"""Reading a `Content-Type` (RFC 9110 8.3.1), leniently where clients are sloppy."""

import re

# A parameter's value is a quoted string, or whatever stands before the next semicolon: clients leave out the
# quotes around a media type.
_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))')
_ESCAPED = re.compile(r"\\(.)")


def parse_media_type(text: str) -> tuple[str, dict[str, str]]:
    """Return the media type and its parameters; names in lower case, the first of a repeated one."""
    media_type, _, _ = text.partition(";")
    parameters: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(text):
        parameters.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) if quoted else bare.strip())
    return media_type.strip().lower(), parameters
