"""The generated parts of the documentation, each between two comments that name it.

    <!-- generated: settings -->
    …
    <!-- end: settings -->

What stands between them is written by the function of that name in BLOCKS, from the code's own tables.
"""

import re
from collections.abc import Callable
from pathlib import Path

from tools.docs import checklist, commands, conformance, dimse, isic, isic_kinds, limits, resources, settings

DOCS = Path(__file__).parents[2] / "docs"

BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings.settings_table,
    "limits": limits.limits_table,
    "commands": commands.command_sections,
    "resources": resources.resources_table,
    "proxied": resources.proxied_table,
    "collections": resources.collections_table,
    "relations": resources.relations_table,
    "operations": resources.operations_table,
    "metrics": resources.metrics_table,
    "scopes": resources.scopes_table,
    "attributes": conformance.attributes_table,
    "checklist": checklist.checklist_table,
    "transfer-syntaxes": conformance.transfer_syntaxes_table,
    "statuses": conformance.statuses_table,
    "failure-reasons": conformance.failure_reasons_table,
    "warning-reasons": conformance.warning_reasons_table,
    "bounds": conformance.bounds_table,
    "cors": conformance.cors_table,
    "dimse-services": dimse.services_table,
    "dimse-statuses": dimse.statuses_table,
    "dimse-transfer-syntaxes": dimse.transfer_syntaxes_table,
    "dimse-limits": dimse.limits_table,
    "dimse-peers": dimse.peers_table,
    "dimse-metrics": dimse.metrics_table,
    "dimse-storage": dimse.storage_table,
    "isic-columns": isic.columns_table,
    "isic-kept": isic.kept_table,
    "isic-effects": isic.effects_table,
    "isic-private": isic.private_table,
    "isic-example": isic.example_table,
    "isic-dermoscopic": isic.dermoscopic_table,
    "isic-rights": isic.licences_table,
    "isic-kinds": isic_kinds.kinds_table,
    "isic-confocal": isic_kinds.confocal_table,
}

# What is a file of its own.
FILES: dict[Path, Callable[[], str]] = {DOCS.parent / "config" / "dermzoo.dic": isic.dcmtk_dictionary}

_BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end: (?P=name) -->)", re.DOTALL
)


def pages() -> list[Path]:
    """Every page, in order."""
    return sorted(DOCS.rglob("*.md"))


def block_names(text: str) -> list[str]:
    """Return the names of the generated parts of a page."""
    return [match["name"] for match in _BLOCK.finditer(text)]


def regenerated(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    return _BLOCK.sub(lambda match: f"{match['begin']}\n{BLOCKS[match['name']]()}\n\n{match['end']}", text)
