"""Other people's DICOMweb servers: a fixed list, fetched once, kept for a while, rewritten as ours."""
