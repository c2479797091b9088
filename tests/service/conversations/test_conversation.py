"""Ids of conversations: fresh ones, and those that a request's key opens."""

from __future__ import annotations

import base64

from service.conversations.conversation import id_for_key, new_id


def test_ids_are_different_and_hold_128_random_bits() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(base64.urlsafe_b64decode(an_id + "==")) == 16 for an_id in ids)


def test_a_key_opens_the_same_conversation_each_time() -> None:
    assert id_for_key("one key", b"secret") == id_for_key("one key", b"secret") != id_for_key("another key", b"secret")


def test_what_a_key_opens_looks_like_any_id_and_depends_on_the_secret() -> None:
    opened = {id_for_key("one key", secret) for secret in (b"one", b"two", b"three")}
    assert len(opened) == 3
    assert {len(an_id) for an_id in opened} == {len(new_id())}
