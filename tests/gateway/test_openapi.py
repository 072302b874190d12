from fastapi import FastAPI

from gateway.openapi import RELAY_PATHS, describe_relay


def test_the_relay_is_described_beside_what_the_application_knows() -> None:
    app = FastAPI()

    @app.get("/own")
    def own() -> None: ...

    describe_relay(app)
    document = app.openapi()
    assert set(document["paths"]) == {"/own", *RELAY_PATHS}
    for path in RELAY_PATHS:
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["required"]
        assert {"text/event-stream", "application/json"} == set(operation["responses"]["200"]["content"])
        for status in ("400", "401", "403", "404", "413", "429", "502", "503", "504"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema["properties"]["error"]["required"] == ["message", "type", "param", "code"]
    assert app.openapi() == document


def test_an_application_without_routes() -> None:
    app = FastAPI()
    describe_relay(app)
    assert set(app.openapi()["paths"]) == set(RELAY_PATHS)
