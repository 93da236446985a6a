"""ISIC images and metadata to DICOM.

rows (CSV) + jpeg (the picture) -> mapping (a data set) -> part10 (its bytes) -> importer (the run).
"""
