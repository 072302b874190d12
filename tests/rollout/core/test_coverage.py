from rollout.core.coverage import ArmCoverage, Coverage


def test_the_ratio_is_of_all_that_there_were() -> None:
    arm = ArmCoverage(judged=90, left_out=10)
    assert (arm.all, arm.left_out_ratio) == (100, 0.1)
    assert (ArmCoverage().all, ArmCoverage().left_out_ratio) == (0, 0.0)


def test_arms_have_names() -> None:
    ours, theirs = ArmCoverage(1), ArmCoverage(2, rated=0)
    assert Coverage("units", ours, theirs, 0.05).by_arm == (("candidate", ours), ("baseline", theirs))
