"""`benchmarks/stages.py` times functions by name: each is there and is passed on the way of a mask."""

import runpy
from pathlib import Path

STAGES = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "stages.py"))


def test_every_timed_function_is_where_the_table_says():
    missing = [(o.__name__, name) for places in STAGES["STAGES"].values() for o, name in places if not hasattr(o, name)]
    assert missing == []


def test_a_stages_time_is_its_own_and_all_stages_add_up_to_the_whole():
    import time

    watch = STAGES["Stopwatch"]()
    watch.start()
    start = time.thread_time()
    with watch.stage("outer"):
        sum(range(200_000))
        with watch.stage("inner"):
            sum(range(600_000))
    seconds = watch.stop()
    whole = time.thread_time() - start
    assert seconds["inner"] > seconds["outer"] > 0
    assert abs(sum(seconds.values()) - whole) < 0.2 * whole
