"""Handing work over to the home loop: from other loops, threads, and after it was closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from channel_layers.exceptions import LayerClosed, SyncInLoopError
from channel_layers.home import HomeLoop


async def where_it_runs() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


@pytest.fixture
def home() -> Iterator[HomeLoop]:
    home = HomeLoop(name="home-under-test")
    yield home
    asyncio.run(home.stop())
    assert "home-under-test" not in [thread.name for thread in threading.enumerate()]


def test_the_main_threads_loop_is_the_home_and_needs_no_hand_over(home: HomeLoop) -> None:
    async def main() -> None:
        assert await home.run(where_it_runs) == await where_it_runs()

    asyncio.run(main())


def test_plain_code_gets_a_thread_and_keeps_it(home: HomeLoop) -> None:
    first, thread = home.run_blocking(where_it_runs)
    second, _ = home.run_blocking(where_it_runs)
    assert first is second
    assert thread.name == "home-under-test"


def test_a_short_lived_loop_of_a_thread_does_not_become_the_home(home: HomeLoop) -> None:
    found = []

    def in_a_thread() -> None:  # what async_to_sync does for each call
        found.append(asyncio.run(home.run(where_it_runs)))

    for _ in range(3):
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
    assert len({loop for loop, _ in found}) == 1
    assert found[0][1].name == "home-under-test"


def test_a_home_that_was_closed_is_replaced_and_its_owner_told() -> None:
    moves: list[asyncio.AbstractEventLoop] = []
    home = HomeLoop(name="moving", moved=lambda: moves.append(asyncio.get_running_loop()))

    async def main() -> asyncio.AbstractEventLoop:
        await home.run(where_it_runs)
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    first, second = asyncio.run(main()), asyncio.run(main())
    third, _ = home.run_blocking(where_it_runs)
    assert moves == [first, second, third]
    asyncio.run(home.stop())


def test_what_a_loop_did_not_get_to_before_it_was_closed_is_done_by_the_next(
    home: HomeLoop,
) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(home.run(where_it_runs))
    done: list[int] = []
    home.call(lambda: done.append(1))
    loop.close()
    home.run_blocking(where_it_runs)
    assert done == [1]


def test_results_and_errors_come_back_to_every_caller(home: HomeLoop) -> None:
    async def double(number: int) -> int:
        if number % 10 == 0:
            raise ValueError(number)
        await asyncio.sleep(0)
        return 2 * number

    outcomes: dict[int, object] = {}

    def caller(number: int) -> None:
        try:
            outcomes[number] = home.run_blocking(lambda: double(number))
        except ValueError as error:
            outcomes[number] = error.args

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {n: (n,) if n % 10 == 0 else 2 * n for n in range(100)}


def test_calls_are_made_in_the_order_in_which_they_were_handed_over(home: HomeLoop) -> None:
    made: list[int] = []
    for number in range(1000):
        home.call(lambda number=number: made.append(number))  # type: ignore[misc]  # bound now
    home.run_blocking(where_it_runs)
    assert made == list(range(1000))


def test_cancelling_the_caller_cancels_the_verb(home: HomeLoop) -> None:
    home.run_blocking(where_it_runs)  # the home is a thread
    begun, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def main() -> None:
        caller = asyncio.create_task(home.run(endless))
        await asyncio.to_thread(begun.wait)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await asyncio.to_thread(cancelled.wait, 10)

    asyncio.run(main())


def test_blocking_in_a_thread_that_runs_a_loop_is_refused(home: HomeLoop) -> None:
    async def main() -> None:
        with pytest.raises(SyncInLoopError):
            home.run_blocking(where_it_runs)

    asyncio.run(main())


def test_stopping_ends_what_runs_and_refuses_what_comes() -> None:
    home = HomeLoop(name="stopping")
    begun = threading.Event()
    outcome: list[BaseException] = []

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    def caller() -> None:
        try:
            home.run_blocking(endless)
        except LayerClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=caller)
    thread.start()
    begun.wait()
    asyncio.run(home.stop())
    thread.join()
    assert len(outcome) == 1
    with pytest.raises(LayerClosed):
        home.run_blocking(where_it_runs)
    asyncio.run(home.stop())


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_the_owner_is_told_of_a_new_loop_before_the_first_call_on_it(place: str) -> None:
    """Whatever was made on the loop before must be gone when a call looks for it."""
    told: list[str] = []
    home = HomeLoop(name="telling", moved=lambda: told.append("moved"))

    async def verb() -> None:
        told.append("verb")

    def call() -> None:
        home.call(lambda: told.append("call"))

    async def on_a_loop() -> None:
        call()
        await home.run(verb)
        await asyncio.sleep(0)

    for _ in range(2):
        told.clear()
        if place == "loop":
            asyncio.run(on_a_loop())
        else:
            call()
            home.run_blocking(verb)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), running(home)).result()
            running(home).call_soon_threadsafe(running(home).stop)
            ended(home).join()
        assert told[0] == "moved"
        assert sorted(told) == ["call", "moved", "verb"]
    asyncio.run(home.stop())


def running(home: HomeLoop) -> asyncio.AbstractEventLoop:
    assert home._loop is not None
    return home._loop


def ended(home: HomeLoop) -> threading.Thread:
    assert home._thread is not None
    return home._thread
