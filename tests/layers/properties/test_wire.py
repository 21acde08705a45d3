"""Envelopes, their parts and their seal: what travels, and what garbage does (nothing)."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.envelope import (
    VERSION,
    BadFrame,
    Envelope,
    Kind,
    decode_envelope,
    encode_envelope,
)
from channel_layers.exceptions import OptionError
from channel_layers.sealing import CannotOpen, FernetSeal, NoSeal, seal_for
from channel_layers.splitting import Joiner, split

envelopes = st.builds(
    Envelope,
    version=st.just(VERSION),
    kind=st.sampled_from(Kind),
    target=st.text(max_size=99),
    producer=st.sampled_from(["A", "B"]),
    sequence=st.integers(1, 2**62),
    lifetime_ms=st.integers(0, 2**40),
    body=st.binary(max_size=400),
    after=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 2**40)), max_size=3).map(tuple),
)


@given(envelopes)
def test_an_envelope_arrives_as_it_was_sent(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_frame_and_nothing_else(frame: bytes) -> None:
    try:
        decode_envelope(frame)
    except BadFrame:
        pass


@given(envelopes, st.data())
def test_a_cut_or_altered_frame_is_a_bad_frame_or_another_envelope(
    envelope: Envelope, data: st.DataObject
) -> None:
    frame = bytearray(encode_envelope(envelope))
    at = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(BadFrame):
        decode_envelope(bytes(frame[:at]))
    frame[at] ^= data.draw(st.integers(1, 255))
    try:
        assert decode_envelope(bytes(frame)).version == VERSION
    except BadFrame:
        pass


def as_array(envelope: Envelope) -> list[object]:
    return list(msgspec.msgpack.decode(encode_envelope(envelope)))


@given(envelopes)
def test_a_later_release_may_add_and_an_earlier_one_may_lack_elements(envelope: Envelope) -> None:
    longer = msgspec.msgpack.encode([*as_array(envelope), {"trace": "x"}])
    shorter = msgspec.msgpack.encode(as_array(envelope)[:7])
    assert decode_envelope(longer) == envelope
    assert decode_envelope(shorter) == msgspec.structs.replace(envelope, after=())


@given(envelopes, st.sampled_from([7, [7], [[1]], [[1, 2, 3]], [["a", 1]], {}]))
def test_what_it_comes_after_is_pairs_of_numbers(envelope: Envelope, after: object) -> None:
    array = as_array(envelope)
    with pytest.raises(BadFrame, match="not an envelope"):
        decode_envelope(msgspec.msgpack.encode([*array[:9], after]))


@given(envelopes, st.integers(-3, 9).filter(lambda version: version != VERSION))
def test_another_version_is_refused_by_name(envelope: Envelope, version: int) -> None:
    frame = msgspec.msgpack.encode([version, *as_array(envelope)[1:]])
    with pytest.raises(BadFrame, match=f"version {version}"):
        decode_envelope(frame)


@given(
    st.lists(st.binary(max_size=60), min_size=1, max_size=5),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_parts_join_in_any_order_and_interleaving(
    bodies: list[bytes], max_body: int, random: Random
) -> None:
    sent, frames, sequence = {}, [], 1
    for body in bodies:
        whole = Envelope(VERSION, Kind.GROUP, "g", "A", sequence, 1000, body)
        parts = split(whole, max_body=max_body)
        assert all(len(part.body) <= max_body for part in parts)
        sequence += len(parts)
        sent[sequence - 1] = body
        frames += parts
    random.shuffle(frames)
    joiner = Joiner(patience=10, max_bytes=10_000)
    joined = [done for frame in frames if (done := joiner.add(frame, 0)) is not None]
    assert {done.sequence: done.body for done in joined} == sent
    assert joiner.given_up == 0


def test_a_part_that_comes_twice_counts_once() -> None:
    first, second = split(Envelope(VERSION, Kind.GROUP, "g", "A", 1, 9, b"abcd"), max_body=2)
    joiner = Joiner(patience=10, max_bytes=5)
    for _ in range(4):
        assert joiner.add(first, 0) is None
    assert joiner.given_up == 0
    whole = joiner.add(second, 0)
    assert whole is not None
    assert whole.body == b"abcd"


def test_what_stays_incomplete_is_given_up_by_age_and_by_size() -> None:
    joiner = Joiner(patience=10, max_bytes=5)
    lost = split(Envelope(VERSION, Kind.GROUP, "g", "A", 1, 9, b"abcdef"), max_body=3)
    late = split(Envelope(VERSION, Kind.GROUP, "g", "B", 1, 9, b"ghijkl"), max_body=3)
    assert joiner.add(lost[0], 0) is None
    assert joiner.add(late[0], 1) is None
    assert joiner.given_up == 1, "more than max_bytes waited: the oldest goes"
    joiner.expire(11)
    assert joiner.given_up == 2, "older than its patience"
    assert joiner.add(late[1], 12) is None, "its other part has been given up"


@given(st.binary(max_size=300), st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True))
def test_a_seal_opens_with_any_known_key_and_hides_the_body(body: bytes, keys: list[str]) -> None:
    sealed = FernetSeal(keys[:1]).seal(body)
    assert FernetSeal(keys[::-1]).open(sealed) == body
    assert len(body) < 8 or body not in sealed
    with pytest.raises(CannotOpen):
        FernetSeal(["quite another key " + "".join(keys)]).open(sealed)


@given(st.binary(max_size=100))
def test_what_was_not_sealed_does_not_open(noise: bytes) -> None:
    with pytest.raises(CannotOpen):
        FernetSeal(["key"]).open(noise)


def test_an_altered_body_does_not_open() -> None:
    seal = FernetSeal([b"key"])
    sealed = bytearray(seal.seal(b"the body"))
    for at in range(len(sealed)):
        altered = bytes(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        with pytest.raises(CannotOpen):
            seal.open(altered)


def test_no_keys_no_seal() -> None:
    assert isinstance(seal_for(()), NoSeal)
    assert seal_for(()).open(seal_for(()).seal(b"x")) == b"x"
    assert isinstance(seal_for(("key",)), FernetSeal)


def test_keys_without_the_package_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)
    with pytest.raises(OptionError, match="pip install cryptography"):
        seal_for(("key",))
