"""The machines' door over HTTP: DICOMweb (PS3.18), health and quota."""
