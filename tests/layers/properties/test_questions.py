"""Questions and answers: whoever asks waits for all that were asked, and for nobody for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.questions import Questions
from tests.layers.broker import Broker, LoopbackLayer

LONG = 60.0
processes = st.lists(st.sampled_from("ABC"), max_size=6)


@given(asked=processes, answering=processes, early=st.integers(0, 6), random=st.randoms())
def test_waiting_ends_when_each_has_answered_as_often_as_it_was_asked(
    asked: list[str], answering: list[str], early: int, random: Random
) -> None:
    """Answers may come before the broker has said who was asked, and more often."""

    async def main() -> None:
        questions = Questions()
        random.shuffle(answering)
        async with questions.ask() as question:
            given_so_far: Counter[str] = Counter()
            for process in answering[:early]:
                questions.answered(question.token, process, [process])
                given_so_far[process] += 1
            waiting = asyncio.create_task(question.wait(asked, LONG))
            for process in [*answering[early:], *asked]:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                complete = given_so_far >= Counter(asked)
                assert question._complete.done() == complete
                questions.answered(question.token, process, [process])
                given_so_far[process] += 1
            await waiting
            assert Counter(name for answer in question.answers for name in answer) == given_so_far

    asyncio.run(main())


async def test_an_answer_that_comes_too_late_or_to_nothing_does_no_harm() -> None:
    questions = Questions()
    async with questions.ask() as question:
        questions.answered("never asked", "A", ["x"])
        assert question.answers == []
    questions.answered(question.token, "A", ["x"])
    assert question.answers == []
    assert questions._open == {}


async def test_nobody_is_waited_for_for_ever() -> None:
    questions = Questions()
    async with questions.ask() as question:
        questions.answered(question.token, "A", ["a"])
        await question.wait(["A", "dead"], 0.01)
        assert question.answers == [["a"]]


async def test_nothing_is_left_of_a_question_that_was_cancelled() -> None:
    questions, asked = Questions(), asyncio.Event()

    async def ask() -> None:
        async with questions.ask() as question:
            asked.set()
            await question.wait(["dead"], LONG)

    asking = asyncio.create_task(ask())
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert questions._open == {}


async def test_two_questions_do_not_get_each_others_answers() -> None:
    questions = Questions()
    async with questions.ask() as one, questions.ask() as other:
        assert one.token != other.token
        questions.answered(one.token, "A", ["x"])
        assert (one.answers, other.answers) == ([["x"]], [])


async def test_a_layer_asks_all_processes_for_the_members_of_a_group() -> None:
    broker = Broker()
    layers = [LoopbackLayer(broker) for _ in range(3)]
    channels = [await layer.new_channel() for layer in layers]
    for layer, channel in zip(layers[:2], channels, strict=False):
        await layer.group_add("g", channel)
    await layers[0].group_add("g", "plain")
    assert sorted(await layers[2].group_channels("g")) == sorted([*channels[:2], "plain"])
    assert await layers[2].group_channels("nobody") == []
    for layer in layers:
        await layer.close()


async def test_a_flush_has_been_done_everywhere_when_it_returns() -> None:
    broker = Broker()
    layers = [LoopbackLayer(broker) for _ in range(3)]
    channels = [await layer.new_channel() for layer in layers]
    for layer, channel in zip(layers, channels, strict=True):
        await layer.group_add("g", channel)
        await layer.send(channel, {"type": "before"})
    await layers[0].flush()
    for layer, channel in zip(layers, channels, strict=True):
        assert (layer.stats()["groups"], layer.stats()["waiting"]) == (0, 0)
        assert layer._membership.joined == set()
        await layers[0].group_send("g", {"type": "to nobody"})
        await layers[1].send(channel, {"type": "after"})
        assert await layer.receive(channel) == {"type": "after"}
    for layer in layers:
        await layer.close()
