"""`dermzoo` that commits to its catalogue without waiting for the disk, as Orthanc commits to its index.

To compare like with like, never for an archive that is to last: a power cut would take answered rows back.
"""

from app.catalog import database
from app.cli import main

database.SYNCHRONOUS = "NORMAL"  # worker processes run this module too, under another name

if __name__ == "__main__":
    main()
