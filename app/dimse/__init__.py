"""The DICOM network's door (PS3.7, PS3.8): store, find, get, move, storage commitment."""
