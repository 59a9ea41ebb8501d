"""Shows that the judge of storms judges as the vectors say: every decision of `decisions.json`, on
the files beside it, by `judge_storm.py`. Exits with 1 if one is another.

    judge_vectors.py tests/vectors
"""

import json
import pathlib
import sys

import judge_storm


def decision(case, read):
    """What the judge makes of a new file in the hands of a phone with these lists."""
    held = {}
    for kind, name in (
        (judge_storm.CTL_FILE, case["installed_ctl"]),
        (judge_storm.ITL_FILE, case["installed_itl"]),
    ):
        held[kind] = None if name == "none" else judge_storm.TrustList(read(name))
    kinds = {"ctl": judge_storm.CTL_FILE, "itl": judge_storm.ITL_FILE, "config": judge_storm.CONFIG}
    kind = kinds[case["new_kind"]]
    try:
        file = judge_storm.read_file(kind, read(case["new_file"]))
        path, key = judge_storm.vouching(held, kind, file)
    except judge_storm.Refused:
        return "reject"
    if path == "by_tvs":
        return "ask-tvs"
    return "accept" if key is None or file.fits(key) else "reject"


def main(folder):
    cases = json.loads((folder / "decisions.json").read_text(encoding="utf-8"))
    for case in cases:
        judged = decision(case, lambda name: (folder / name).read_bytes())
        if judged != case["outcome"]:
            sys.exit(f"{judged}, not {case['outcome']}: {case}")
    print(f"{len(cases)} decisions")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
