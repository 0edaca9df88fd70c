"""Errors as values: they cross from one process to another."""

import pickle

from k8slab.errors import ApiStatusError


def test_an_error_whose_constructor_wants_more_comes_whole_out_of_another_process():
    error = ApiStatusError("pods x: gone", code=410, reason="Expired", details={"name": "x"})
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is ApiStatusError
    assert str(found) == "pods x: gone"
    assert (found.code, found.reason, found.details) == (410, "Expired", {"name": "x"})
