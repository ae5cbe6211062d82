"""Codes and their classes."""

from __future__ import annotations

import pickle
import re

import pytest
from conftest import PROJECT

from gleaner_client import ApiError, ConflictError, NotFoundError, ServerError
from gleaner_client.errors import FAMILIES, error_of, family


def test_every_documented_code_has_a_class() -> None:
    page = PROJECT / "docs" / "rest.md"
    if not page.is_file():
        pytest.skip("the documentation is not beside this package")
    codes = dict(
        re.findall(r"^\| `([a-z_]+)` \| (\d\d\d) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert len(codes) > 40
    assert set(codes) == set(FAMILIES)
    for code, status in codes.items():
        if code.endswith("_not_found"):
            assert FAMILIES[code] is NotFoundError, status


def test_codes_to_come_fall_into_the_family_of_their_status() -> None:
    assert family("new_code", 404) is NotFoundError
    assert family("new_code", 409) is ConflictError
    assert family("new_code", 500) is ServerError
    assert family("new_code", None) is ApiError


def test_errors_travel_between_processes() -> None:
    error = error_of({"code": "index_not_found", "message": "no", "found": "x"}, status=404, request_id="r")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is NotFoundError and str(again) == str(error)
    assert (again.code, again.status, again.found, again.request_id) == ("index_not_found", 404, "x", "r")
