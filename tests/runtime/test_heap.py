"""The collector's pace once the process serves."""

from __future__ import annotations

import gc

from mediaserver.runtime import heap


def test_what_start_up_made_is_never_looked_at_again() -> None:
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    marker: list[object] = [object()]
    try:
        heap.settle()
        assert gc.get_freeze_count() > before
        assert not any(found is marker for found in gc.get_objects())
        assert gc.get_threshold()[0] > 700
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
