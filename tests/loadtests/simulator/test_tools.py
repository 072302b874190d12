import json

import pytest

from loadtests.simulator.tools import NO_TOOLS, Tool, Toolbox, calls_for

WEATHER = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})
TIME = Tool("get_time", {})
BOTH = (WEATHER, TIME)


@pytest.mark.parametrize(
    ("box", "question", "after_result", "names"),
    [
        (Toolbox(BOTH), "hello", False, []),
        (Toolbox(BOTH), "use get_weather", False, ["get_weather"]),
        (Toolbox(BOTH), "use get_time and get_weather", False, ["get_weather", "get_time"]),
        (Toolbox(BOTH, parallel=False), "use get_time and get_weather", False, ["get_weather"]),
        (Toolbox(BOTH), "use get_weather", True, []),
        (Toolbox(BOTH, "none"), "use get_weather", False, []),
        (Toolbox(BOTH, "required"), "hello", False, ["get_weather"]),
        (Toolbox(BOTH, "required"), "use get_time", True, ["get_time"]),
        (Toolbox(BOTH, "required", "get_time"), "use get_weather", False, ["get_time"]),
        (NO_TOOLS, "use get_weather", False, []),
    ],
)
def test_what_is_forced_or_named_is_called(box: Toolbox, question: str, *, after_result: bool, names: list) -> None:
    assert [call.name for call in calls_for(box, question, after_result=after_result)] == names


def test_arguments_meet_the_tools_schema() -> None:
    weather, time = calls_for(Toolbox(BOTH), "get_weather get_time", after_result=False)
    assert json.loads(weather.arguments) == {"city": "simulated"}
    assert json.loads(time.arguments) == {}
