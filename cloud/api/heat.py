"""`GET /v1/heat`: where a camera's objects were, summed over whole hours."""

from starlette.datastructures import QueryParams

from cloud.api.counts import check_known, one_camera, time_range
from cloud.api.problems import Problem
from cloud.api.schemas import HeatLayerBody, HeatMapBody
from cloud.store.reader import StoreReader
from cloud.store.rows import HEAT_STEP_MS

_PARAMETERS = frozenset({"camera", "last", "from", "to"})
# A year of hours; each may have a map per class.
MAX_HOURS = 8_784


def answer(parameters: QueryParams, reader: StoreReader, now_ms: int) -> HeatMapBody:
    """Look a camera's map up, in the hours that the time asked for touches.

    Raises:
        Problem: The question makes no sense.
        Unavailable: The store cannot be read now.
    """
    check_known(parameters, _PARAMETERS)
    wanted, number = one_camera(parameters, reader)
    from_ms, to_ms = time_range(parameters, now_ms)
    from_ms -= from_ms % HEAT_STEP_MS
    to_ms += -to_ms % HEAT_STEP_MS
    if to_ms - from_ms > MAX_HOURS * HEAT_STEP_MS:
        raise Problem(422, "This is too much time for one map.", "Ask for a year at most.")
    layers = reader.heat(number, from_ms, to_ms)
    return HeatMapBody(wanted, from_ms, to_ms, [HeatLayerBody(*layer) for layer in layers])
