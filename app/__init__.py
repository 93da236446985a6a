"""dermzoo: a DICOMweb server and rate-limited proxy for the public dermatology corpus."""
