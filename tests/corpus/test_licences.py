import pytest

from app.corpus.licences import LICENCES, effective_licence, find_licence
from app.errors import NotImportable


def test_the_three_licences_and_no_other():
    assert [licence.id for licence in LICENCES] == ["CC-0", "CC-BY", "CC-BY-NC"]
    assert [licence.needs_attribution for licence in LICENCES] == [False, True, True]
    for wrong in ("CC-BY-NC-SA", "cc-0", "CC0", "", "all rights reserved"):
        with pytest.raises(NotImportable, match="copyright_license"):
            find_licence(wrong)


@pytest.mark.parametrize(
    ("of_image", "of_set", "stricter"),
    [
        ("CC-0", None, "CC-0"),
        (None, "CC-BY", "CC-BY"),
        ("CC-0", "CC-BY-NC", "CC-BY-NC"),
        ("CC-BY-NC", "CC-0", "CC-BY-NC"),
    ],
)
def test_the_stricter_of_image_and_set_holds(of_image, of_set, stricter):
    assert effective_licence(of_image, of_set).id == stricter


def test_without_any_licence_nothing_is_published():
    with pytest.raises(NotImportable, match="no licence is given"):
        effective_licence(None, None)
