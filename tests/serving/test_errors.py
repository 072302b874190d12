from serving import errors


def test_every_error_tells_an_operator_what_to_do_and_ends_with_a_status_of_its_own() -> None:
    kinds = [errors.SpecError, errors.InstallError, errors.PreflightError, errors.EngineError]
    made = [kind("the cause", "the hint") for kind in kinds]
    assert {(error.cause, error.hint, str(error)) for error in made} == {("the cause", "the hint", "the cause")}
    assert len({error.exit_code for error in made} - {0}) == len(kinds)
