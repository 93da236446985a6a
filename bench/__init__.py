"""Our own benchmarks: every figure beside a peer's, in one run, on one machine.

`make bench`, or `python -m bench --quick`. Needs Debian's orthanc, orthanc-dicomweb, nginx-light and wrk
(tools/install-bench-peers). Figures move with the machine; the ratios are what to quote.
"""
