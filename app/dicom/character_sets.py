"""Text by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1): any bytes become text, never an error."""

import re
from collections.abc import Callable, Sequence

from app.dicom.dictionary import CODECS, CODECS_BY_ESCAPE, WITHOUT_CODE_EXTENSIONS

Note = Callable[[str], None]

_ESCAPE = b"\x1b"
_FRAGMENT = re.compile(rb"\x1b?[^\x1b]*")
_FOUR_BYTE_ESCAPES = (b"\x1b$(", b"\x1b$)")
_KEEP_ESCAPE = frozenset({"iso2022_jp", "iso2022_jp_2", "iso_ir_58"})  # the codec itself reads the escapes
_LINE_ENDS = re.compile(rb"[\t\n\f\r]")  # each returns to the first character set (PS3.5 6.1.2.5.3)
_DEFAULT_TERMS = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})


def codec_of(term: str, note: Note) -> str:
    """Python codec for a Defined Term; the default with a note where the term is unknown."""
    if term in _DEFAULT_TERMS:
        return "ascii"
    if term in CODECS:
        return CODECS[term]
    # Seen in the wild: ISO-IR 100, ISO IR 100, ISO_2022_IR_6.
    repaired = re.sub(r"^ISO.IR.?", "ISO_IR ", re.sub(r"^ISO.2022.IR.?", "ISO 2022 IR ", term))
    note(f"Specific Character Set {term[:32]!r} is not a Defined Term")
    return codec_of(repaired, note) if repaired in CODECS else "ascii"


class Repertoire:
    """The character sets of one data set; decodes any bytes, notes what it had to replace."""

    __slots__ = ("_codecs", "_first", "has_escapes", "note")

    def __init__(self, terms: Sequence[str], note: Note) -> None:
        """Take the Defined Terms of (0008,0005), none for the default repertoire."""
        if len(terms) > 1 and (alone := WITHOUT_CODE_EXTENSIONS.intersection(terms)):
            note(f"{min(alone)} does not allow code extensions (PS3.3 C.12.1.1.2)")
            terms = terms[:1] if terms[0] in alone else [term for term in terms if term not in alone]
        self._codecs: list[str] = []
        # If any has: text may change its character set on the way, and ASCII bytes be something else.
        self.has_escapes = False
        for term in terms or ("",):
            self._codecs.append(codec_of(term, note))
            self.has_escapes = self.has_escapes or term.startswith("ISO 2022")
        self._first = self._codecs[0]
        self.note = note

    def decode(self, raw: bytes) -> str:
        """Text of ``raw``, with U+FFFD for bytes that mean nothing."""
        if self.has_escapes and _ESCAPE in raw:
            return "".join(map(self._fragment, _FRAGMENT.findall(raw)))
        return self._strict(raw, self._first)

    def plain(self, raw: bytes) -> str:
        """Text of a VR that has only the default repertoire, where ``raw`` is not ASCII after all."""
        self.note("a value of a VR limited to ASCII holds other bytes, replaced by U+FFFD")
        return raw.decode("ascii", "replace")

    def _fragment(self, raw: bytes) -> str:
        """Decode up to the next escape sequence (PS3.5 6.1.2.5)."""
        if not raw.startswith(_ESCAPE):
            return self._strict(raw, self._first)
        size = 4 if raw.startswith(_FOUR_BYTE_ESCAPES) else 3
        codec = CODECS_BY_ESCAPE.get(raw[:size], "")
        if codec == "iso8859":
            codec = "ascii"
        elif codec not in self._codecs:
            self.note("an escape sequence that Specific Character Set does not announce")
            return raw.decode("ascii" if self._first in _KEEP_ESCAPE else self._first, "replace")
        text = raw if codec in _KEEP_ESCAPE else raw[size:]
        end = None if codec in _KEEP_ESCAPE else _LINE_ENDS.search(text)
        if end is not None:
            return self._strict(text[: end.start()], codec) + self._strict(text[end.start() :], self._first)
        return self._strict(text, codec)

    def _strict(self, raw: bytes, codec: str) -> str:
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            if codec == "ascii":
                self.note("text beyond ASCII that no Specific Character Set announces, read as Latin-1")
                return raw.decode("latin-1")
            self.note(f"bytes that are not {codec} were replaced by U+FFFD")
            return raw.decode(codec, "replace")
