"""The table of `make mutations` still fits the code and the tests."""

from __future__ import annotations

import ast

import pytest

from tests.faults.mutations.table import TABLE, Mutation
from tests.servers import REPOSITORY


@pytest.mark.parametrize("mutation", TABLE, ids=lambda one: one.name)
def test_a_mutation_changes_one_place_and_names_its_tests(mutation: Mutation) -> None:
    text = (REPOSITORY / mutation.file).read_text("utf-8")
    assert text.count(mutation.old) == 1
    ast.parse(text.replace(mutation.old, mutation.new))
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (REPOSITORY / file).read_text("utf-8"), test


def test_each_promise_with_a_test_is_broken_once() -> None:
    assert {one.promise for one in TABLE} == {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
