"""What we hold: one SQL catalogue of studies, series and instances; no bytes of files, no protocol."""
