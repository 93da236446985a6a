"""The image files of a folder, by the ISIC id in their names."""

import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from app.errors import NotImportable

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")  # what is inside is told by the first bytes


@dataclass(frozen=True, slots=True)
class Pictures:
    """The image files of a folder by ISIC id; symbolic links are followed inside the folder only."""

    root: Path
    by_id: dict[str, list[Path]]

    def find(self, isic_id: str) -> Path:
        """Return the one file of that id; NotImportable when there is none, or none that may be read."""
        found = self.by_id.get(isic_id, [])
        if not found:
            endings = ", ".join(SUFFIXES)
            raise NotImportable("image", f"no {isic_id} ({endings}) in {self.root}")
        if len(found) > 1:
            places = ", ".join(str(path.relative_to(self.root)) for path in sorted(found))
            raise NotImportable("image", f"more than one file has that name: {places}")
        path = found[0]
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise NotImportable("image", "is a symbolic link that leads out of the folder")
        try:
            regular = S_ISREG(path.stat().st_mode)
        except OSError as error:
            raise NotImportable("image", f"cannot be read: {error.strerror}") from None
        if not regular:
            raise NotImportable("image", "is not a regular file")
        return path


def list_pictures(root: Path) -> Pictures:
    """Walk a folder for image files, as the archive's ZIPs and the challenges' nested folders hold them."""
    if not root.is_dir():
        raise NotImportable("images", f"{root} is not a folder")
    by_id: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES:
                by_id.setdefault(path.stem, []).append(path)
    return Pictures(root, by_id)


def files_without_row(pictures: Pictures, seen: set[str]) -> list[str]:
    """Return the image files that no row named, in order."""
    return sorted(
        str(path) for isic_id, paths in pictures.by_id.items() if isic_id not in seen for path in paths
    )
