"""The size of the small picture by which images are compared, for those who do not decode."""

SMALL = 64  # rows and columns
