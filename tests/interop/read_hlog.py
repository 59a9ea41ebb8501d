"""What HdrHistogram for Python reads in a latency.hlog: for each tag the number of times and the
percentiles in microseconds, as JSON.

Needs the package hdrhistogram.
"""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}


def empty():
    return HdrHistogram(1, 3_600_000_000, 3)


def at(times, percentile):
    # The first rank that is not below the percentile; the package rounds to the nearest one.
    total = times.get_total_count()
    rank = -(-percentile * total // 100)
    return times.get_value_at_percentile(100 * rank / total)


reader = HistogramLogReader(sys.argv[1], empty())
sums = {}
while (interval := reader.get_next_interval_histogram()) is not None:
    sums.setdefault(interval.get_tag(), empty()).add(interval)
told = {}
for tag, times in sums.items():
    told[tag] = {name: at(times, percentile) for name, percentile in PERCENTILES.items()}
    told[tag]["count"] = times.get_total_count()
    told[tag]["max"] = times.get_max_value()
print(json.dumps(told))
