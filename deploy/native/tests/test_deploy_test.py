"""`make deploy-test` says what it skipped, and never calls a skip a pass."""

from imaging_native.deploy_test import FAILED, PASSED, SKIPPED, Step, nothing, run, verdict

IMAGES = Step("images", "images are built", nothing)
CLUSTER = Step("cluster-test", "charts are installed", lambda: "no cluster answers")


def test_all_steps_ran_and_passed() -> None:
    assert verdict(run([IMAGES], lambda _: 0)) == ("DEPLOY PASS", PASSED)


def test_a_skipped_step_is_named_with_its_reason_and_is_no_pass() -> None:
    results = run([IMAGES, CLUSTER], lambda _: 0)
    assert [(one.outcome, one.reason) for one in results] == [("passed", ""), ("skipped", "no cluster answers")]
    assert verdict(results) == ("DEPLOY INCOMPLETE, not run: cluster-test", SKIPPED)


def test_a_failure_outweighs_a_skip_and_the_rest_still_runs() -> None:
    called: list[str] = []

    def make(target: str) -> int:
        called.append(target)
        return 2 if target == "images" else 0

    results = run([IMAGES, CLUSTER, Step("compose-test", "the story", nothing)], make)
    assert called == ["images", "compose-test"]
    assert verdict(results) == ("DEPLOY FAIL images", FAILED)
