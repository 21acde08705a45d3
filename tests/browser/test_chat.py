"""People in a chat room, each with a browser of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.demo.demo_server import DemoServer

pytestmark = pytest.mark.browser

Person = Callable[..., Page]

LOREM = (
    "I moved the planters to the south wall this morning, so the tomatoes get sun until six. "
    "The hose reaches, if one goes round the shed."
)


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    page.get_by_role("button", name="Send").click()


def said(page: Page) -> Locator:
    """The texts of the stored messages."""
    return page.locator(".message[data-id] .text")


def here(page: Page) -> Locator:
    """The people who are in the room."""
    return page.locator("[data-person]")


def badge(page: Page) -> Locator:
    return page.locator(".badge")


def test_two_people_see_each_other_and_what_they_say(person: Person) -> None:
    ann, bob = person("Ann"), person("Bob")
    for page in (ann, bob):
        expect(here(page)).to_have_text(
            ["AAnn", "BBob (you)"] if page is bob else ["AAnn (you)", "BBob"]
        )
    say(ann, "Is anybody there?")
    expect(said(bob)).to_have_text(["Is anybody there?"])
    say(bob, "Yes, I am.")
    for page in (ann, bob):
        expect(said(page)).to_have_text(["Is anybody there?", "Yes, I am."])
    expect(box(ann)).to_have_value("")


def test_a_reload_shows_what_was_said(person: Person) -> None:
    ann = person("Ann")
    say(ann, "one")
    expect(said(ann)).to_have_text(["one"])
    say(ann, "two")
    expect(said(ann)).to_have_text(["one", "two"])
    ann.reload()
    expect(badge(ann)).to_have_text("Live")
    expect(said(ann)).to_have_text(["one", "two"])
    expect(said(person("Bob"))).to_have_text(["one", "two"])


def test_whoever_closes_the_tab_is_seen_to_leave(person: Person) -> None:
    ann, bob = person("Ann"), person("Bob")
    expect(here(ann)).to_have_count(2)
    second = bob.context.new_page()
    second.goto(bob.url)
    expect(badge(second)).to_have_text("Live")
    second.close()
    bob.close()
    expect(here(ann)).to_have_text(["AAnn (you)"])


def test_a_form_without_javascript_reaches_the_live_pages(person: Person) -> None:
    ann, plain = person("Ann"), person("Paul", javascript=False)
    say(plain, "Sent by a form")
    expect(said(ann)).to_have_text(["Sent by a form"])
    say(ann, "Read on a plain page")
    expect(said(ann)).to_have_count(2)
    plain.reload()
    expect(plain.locator(".message .text")).to_have_text(["Sent by a form", "Read on a plain page"])


def test_html_is_text(person: Person) -> None:
    ann, bob = person("Ann"), person("Bob")
    text = "<img src=x onerror=\"document.title='broken'\"></script><b>bold</b> &amp;"
    say(ann, text)
    for page in (ann, bob):
        expect(said(page)).to_have_text([text])
    ann.reload()
    expect(said(ann)).to_have_text([text])
    expect(ann.locator(".message img, .message b:not(.by b)")).to_have_count(0)
    assert ann.title() == bob.title() == "Lobby"


def test_an_empty_and_a_huge_message_are_explained(person: Person, artifacts: Path) -> None:
    ann = person("Ann")
    say(ann, "   ")
    expect(ann.get_by_role("alert")).to_contain_text("empty message")
    huge = "x" * 100_000
    say(ann, huge)
    expect(ann.get_by_role("alert")).to_contain_text("100,000 characters")
    expect(box(ann)).to_have_value(huge)
    ann.screenshot(path=artifacts / "too-long.png")
    say(ann, "x" * 2000)
    expect(said(ann)).to_have_text(["x" * 2000])
    expect(ann.get_by_role("alert")).to_be_empty()


def test_an_unknown_room(person: Person, server: DemoServer) -> None:
    ann = person("Ann")
    ann.goto(f"{server.url}/chat/room/attic/")
    expect(ann.get_by_role("alert")).to_contain_text("no room called “attic”")
    ann.get_by_label("Open a new room").fill("Attic")
    ann.get_by_role("button", name="Open").click()
    expect(ann.get_by_role("heading", name="Attic")).to_be_visible()
    expect(badge(ann)).to_have_text("Live")


def test_a_hundred_messages_from_one_tab(person: Person, artifacts: Path) -> None:
    ann, bob = person("Ann"), person("Bob")
    ann.evaluate(
        """() => {
            const form = document.querySelector(".composer form");
            const text = document.querySelector("#text");
            for (let n = 0; n < 100; n++) {
                text.value = `flood ${n}`;
                form.requestSubmit();
            }
        }"""
    )
    expect(ann.get_by_role("alert")).to_contain_text("Wait")
    first = [f"flood {n}" for n in range(20)]
    expect(said(ann)).to_have_text(first)
    expect(said(bob)).to_have_text(first)
    say(ann, "one more")
    expect(ann.get_by_role("alert")).to_contain_text("too fast")
    ann.screenshot(path=artifacts / "too-fast.png")
    say(bob, "That was a lot.")
    expect(said(ann)).to_have_text([*first, "That was a lot."])


def test_signed_out_in_another_tab(person: Person) -> None:
    ann = person("Ann")
    other = ann.context.new_page()
    other.goto(ann.url)
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("link", name="Sign in")).to_be_visible()
    say(ann, "still me?")
    expect(ann.get_by_role("alert")).to_contain_text("You are signed out")
    expect(ann.locator("[data-pending=refused]")).to_contain_text("still me?")
    ann.get_by_role("link", name="Choose a name").click()
    expect(ann.get_by_label("Your name")).to_be_visible()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_comes_back_has_lost_and_doubled_nothing(
    person: Person, server: DemoServer, how: signal.Signals, artifacts: Path
) -> None:
    ann, bob = person("Ann"), person("Bob")
    say(ann, "before")
    expect(said(bob)).to_have_text(["before"])
    server.stop(how)
    for page in (ann, bob):
        expect(badge(page)).to_have_text("Connection lost, trying again…")
    say(ann, "while it was away")
    expect(ann.locator("[data-pending=sending]")).to_contain_text("while it was away")
    ann.screenshot(path=artifacts / "away.png")
    server.start()
    for page in (ann, bob):
        expect(badge(page)).to_have_text("Live", timeout=30_000)
        expect(said(page)).to_have_text(["before", "while it was away"])
    expect(ann.locator("[data-pending]")).to_have_count(0)
    say(bob, "after")
    for page in (ann, bob):
        expect(said(page)).to_have_text(["before", "while it was away", "after"])
        expect(here(page)).to_have_count(2)


def test_a_short_loss_of_the_connection_is_caught_up(person: Person) -> None:
    ann, bob = person("Ann"), person("Bob")
    links = Links()
    ann.route_web_socket("**/ws/**", links.connect)
    ann.reload()
    expect(badge(ann)).to_have_text("Live")
    say(bob, "one")
    expect(said(ann)).to_have_text(["one"])
    links.cut()
    expect(badge(ann)).not_to_have_text("Live")
    expect(here(bob)).to_have_text(["BBob (you)"])
    say(bob, "two")
    expect(said(bob)).to_have_text(["one", "two"])
    expect(said(ann)).to_have_text(["one"])
    links.mend()
    expect(badge(ann)).to_have_text("Live")
    expect(said(ann)).to_have_text(["one", "two"])
    assert "since=" in links.urls[-1]
    # Caught up from the layer's history, not loaded again.
    expect(ann.get_by_role("alert")).to_be_empty()
    say(bob, "three")
    expect(said(ann)).to_have_text(["one", "two", "three"])


class Links:
    """The sockets of a page, which can be cut while server and browser live on."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._open: list[tuple[WebSocketRoute, WebSocketRoute]] = []
        self._cut = False

    def connect(self, page: WebSocketRoute) -> None:
        """Called for each socket that the page opens."""
        self.urls.append(page.url)
        if self._cut:
            page.close(code=3001)
        else:
            self._open.append((page, page.connect_to_server()))

    def cut(self) -> None:
        """Close all sockets on both sides, and each new one."""
        self._cut = True
        for page, server in self._open:
            page.close(code=3001)
            server.close(code=3001)
        self._open.clear()

    def mend(self) -> None:
        """Let new sockets through again."""
        self._cut = False


@pytest.mark.parametrize(
    ("width", "height", "dark"),
    [(390, 844, False), (390, 844, True), (1280, 800, False), (1280, 800, True)],
)
def test_it_fits_the_screen(
    person: Person, artifacts: Path, width: int, height: int, dark: bool
) -> None:
    ann = person("Ann Featherstonehaugh-Marjoribanks"[:30], width=width, height=height, dark=dark)
    bob = person("Bob", width=width, height=height)
    say(ann, LOREM)
    expect(said(bob)).to_have_count(1)
    for text in ("Good idea.", "https://example.org/" + "long-address/" * 12):
        say(bob, text)
    expect(said(ann)).to_have_count(3)
    say(ann, "See you at six then!")
    say(ann, "I bring the gloves.")
    expect(said(ann)).to_have_count(5)
    tone = "dark" if dark else "light"
    ann.screenshot(path=artifacts / f"room-{width}-{tone}.png")
    for path, name in (("/chat/", "rooms"), ("/chat/room/nowhere/", "unknown")):
        assert not too_wide(ann)
        ann.goto(ann.url.split("/chat/")[0] + path)
        ann.screenshot(path=artifacts / f"{name}-{width}-{tone}.png")
    assert not too_wide(ann)


def too_wide(page: Page) -> bool:
    """Whether the page can be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
