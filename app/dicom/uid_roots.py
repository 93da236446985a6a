"""Who gave a UID its first components (PS3.5 9.1, Annex B): good to know of files from many hands."""

# Arcs under which organisations register, and how many components after them name one.
_REGISTRIES = (
    ("2.25", 0),  # made from a UUID, by nobody (PS3.5 B.2)
    ("1.2.840.10008", 0),  # DICOM's own: instances must not have it
    ("1.2.826.0.1.3680043", 2),  # roots that Medical Connections hands out
    ("1.2.826.0.1", 1),  # companies in the United Kingdom
    ("1.3.6.1.4.1", 1),  # private enterprises of IANA
    ("1.2.276.0", 1),  # Germany
    ("1.2.840", 1),  # the United States of America
    ("1.2.392", 1),  # Japan
    ("1.3.12.2", 1),  # members of ECMA
)
_OTHERWISE = 4


def uid_root(uid: str) -> str:
    """Return the components of a UID that name who made it, by the registries that are known here."""
    parts = uid.split(".")
    for arc, components in _REGISTRIES:
        prefix = arc.split(".")
        if parts[: len(prefix)] == prefix:
            return ".".join(parts[: len(prefix) + components])
    return ".".join(parts[:_OTHERWISE])
