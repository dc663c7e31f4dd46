"""What is taken of a region's documents: their shapes, nothing secret, nothing big."""

from imaging_native.documents import SHAPES, shapes, without_secrets


def test_one_document_of_each_shape_is_taken_the_fullest_first() -> None:
    small, large = {"_id": 1, "at": {"x": 1}}, {"_id": 2, "at": {"x": 1, "y": 2}}
    assert shapes([small, large, {**small, "_id": 3}]) == [large, small]
    assert len(shapes([{f"field-{n}": n} for n in range(20)])) == SHAPES


def test_secrets_and_long_binaries_are_struck_out_wherever_they_are() -> None:
    document = {
        "access_token": "abc",
        "deep": [{"secrets": ["x", "y"]}],
        "header": b"x" * 5_000,
        "tokens": b"t",
        "user": "doctor",
    }
    assert without_secrets(document) == {
        "access_token": "struck-out",
        "deep": [{"secrets": ["struck-out", "struck-out"]}],
        "header": b"",
        "tokens": b"",
        "user": "doctor",
    }
