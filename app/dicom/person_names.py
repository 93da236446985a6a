"""Person names as they are compared: literally, and by their words and sound (PS3.4 C.2.2.2.1, C.2.2.2.4)."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from jellyfish import metaphone

# What Unicode does not take apart into a letter and its accent.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "\u0131": "i",
        "'": "",
        "\u2019": "",
    }
)
_WORD = re.compile(r"[^\W_]+")

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")  # as the DICOM JSON Model calls them, in their order
SOUND = "~"  # begins a term that is a sound: no word does


def fold_name(name: str) -> str:
    """Return a person name as it is compared: without regard to case, trailing `^` or spaces."""
    return unicodedata.normalize("NFC", name).casefold().rstrip("^ ")


def first_group(name: Mapping[str, str] | None) -> str:
    """Return the component group that literal matching looks at: the first that there is."""
    return next(iter((name or {}).values()), "")


def has_groups(key: str) -> bool:
    """Whether a key names component groups (PS3.5 6.2.1.2): each is compared with that of the name."""
    return "=" in key


def key_groups(key: str) -> list[tuple[str, str]]:
    """Return the component groups that a key names, each with its value; one without a value matches any."""
    values = zip(GROUPS, key.split("="), strict=False)
    return [(group, value.strip(" ")) for group, value in values if value.strip("* ")]


def words(name: str) -> list[str]:
    """Return the words of a name, whichever components they stand in, without case and accents."""
    apart = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    bare = "".join(character for character in apart if not unicodedata.combining(character))
    return _WORD.findall(unicodedata.normalize("NFC", bare))


def sound(word: str) -> str | None:
    """Return the term for how a word sounds in English; None where the rules have no answer."""
    return f"{SOUND}{code}" if word.isascii() and word.isalpha() and (code := metaphone(word)) else None


def name_terms(names: Iterable[object]) -> set[str]:
    """Return what fuzzy matching finds names by: the words of all their component groups, and the sounds.

    A value that is no name, as another VR than PN has them, has none.
    """
    are_names = (name for name in names if isinstance(name, dict))
    spoken = {word for name in are_names for group in name.values() for word in words(group)}
    return spoken | {term for word in spoken if (term := sound(word))}


def names_match(terms: Iterable[str], asked: Iterable[str]) -> bool:
    """Tell whether each word asked for begins or sounds like one of the words behind the terms."""
    held = tuple(terms)
    return all(word_matches(held, word) for word in asked)


def word_matches(terms: tuple[str, ...], word: str) -> bool:
    """Tell whether a word begins or sounds like one of the words behind the terms."""
    return any(term.startswith(word) for term in terms) or sound(word) in terms
