import json
import random
import re

import pytest
from conftest import ROOT

from gatecast import BadRequest, escape, group_name, quote
from gatecast.names import check_name

VECTORS = json.loads((ROOT / "clients/conformance/names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("v", VECTORS["names"], ids=lambda v: v["name"][:20])
def test_escape(v):
    assert escape(v["name"]) == v["subject"]


@pytest.mark.parametrize("v", VECTORS["users"], ids=lambda v: v["id"][:20])
def test_user_group(v):
    assert group_name("user", v["id"]) == v["group"]
    assert escape(v["group"]) == v["subject"]


@pytest.mark.parametrize("name", VECTORS["bad_names"], ids=repr)
def test_bad_names(name):
    with pytest.raises(BadRequest) as e:
        escape(name)
    assert e.value.code == "bad_group"


@pytest.mark.parametrize("user_id", VECTORS["bad_user_ids"], ids=lambda v: repr(v)[:20])
def test_bad_user_ids(user_id):
    with pytest.raises(BadRequest):
        group_name("user", user_id)


def test_design_vector():
    assert group_name("user", "a.b@x.com") == "user.a%2Eb%40x%2Ecom"
    assert escape("user.a%2Eb%40x%2Ecom") == "user.a=252Eb=2540x=252Ecom"


def test_ids_may_be_numbers_and_uuids():
    import uuid

    assert group_name("user", 42) == "user.42"
    assert group_name("user", uuid.UUID(int=1)) == "user.00000000-0000-0000-0000-000000000001"
    assert group_name("order", "7/8") == "order.7%2F8"


@pytest.mark.parametrize("name", [None, 7, b"chat", "\ud800"])
def test_names_that_are_no_text(name):
    with pytest.raises(BadRequest):
        escape(name)


def unescape(subject):
    return re.sub(rb"=([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), subject.encode()).decode()


def test_escape_is_injective_and_a_subject():
    rng = random.Random(20261122)
    alphabet = ".....aZ9_-=%é🐉/:$#\\\"'"
    seen = {}
    for _ in range(20000):
        name = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 8)))
        subject = escape(name)
        assert seen.setdefault(subject, name) == name
        assert unescape(subject) == name
        assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", token) for token in subject.split("."))
        assert ("." in subject) <= ("" not in name.split("."))


def test_quote_is_one_token_and_injective():
    rng = random.Random(7)
    seen = {}
    for _ in range(5000):
        value = "".join(chr(rng.choice([rng.randint(0x20, 0x7E), rng.randint(0xA1, 0x2FFF)])) for _ in range(rng.randint(1, 8)))
        token = quote(value)
        assert re.fullmatch(r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+", token)
        assert seen.setdefault(token, value) == value


def test_long_user_groups_are_names():
    check_name(group_name("user", "é" * 64))
    with pytest.raises(BadRequest):
        check_name("user." + "a" * 300)
    with pytest.raises(BadRequest):
        check_name("user." + "%61" * 90)  # not how quote writes it
