/** A room: its state, its connection, and what a person can do in it. */

import { Connection, socketUrl } from "../shared/connection";
import type { FromServer, PageData, ToServer } from "./protocol";
import { afterFrame, initialState, type Notice, type State } from "./state";

/** Beyond this many unacknowledged messages the person is asked to wait. */
const MOST_PENDING = 20;
const INFO_SHOWN_MS = 6000;
const UNHEARD_PAUSE_MS = 3000;

export class Room {
  state: State;
  readonly page: PageData;
  #connection: Connection<FromServer, ToServer>;
  #listeners = new Set<() => void>();
  #timer: number | undefined;

  constructor(page: PageData) {
    this.page = page;
    this.state = initialState(page);
    this.#connection = new Connection<FromServer, ToServer>({
      url: () => {
        const seen = this.state.position;
        const query: Record<string, string> = seen ? { since: `${seen[0]}:${seen[1]}` } : {};
        return socketUrl(`/ws/chat/${encodeURIComponent(page.room.slug)}/`, query);
      },
      onFrame: (frame) => this.#onFrame(frame),
      onLink: (link) => this.#set({ ...this.state, link }),
    });
    this.#connection.open();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Send a text; false, with a notice that says why, if it cannot be sent now. */
  say(text: string): boolean {
    const trimmed = text.trim();
    const { maxText } = this.page;
    if (!trimmed) return this.#refuse("empty", "Write something first: an empty message is not sent.");
    // Characters as the server counts them, not UTF-16 units.
    const length = [...trimmed].length;
    if (length > maxText) {
      return this.#refuse(
        "too_long",
        `That is ${length.toLocaleString("en")} characters; a message has at most ${maxText.toLocaleString("en")}. Shorten it or send it in parts.`,
      );
    }
    if (this.state.pausedUntil > Date.now()) {
      const seconds = Math.ceil((this.state.pausedUntil - Date.now()) / 1000);
      return this.#refuse("too_fast", `You are sending too fast. Wait ${seconds} s.`);
    }
    if (this.state.pending.length >= MOST_PENDING) {
      return this.#refuse("too_fast", "Wait until your messages before this one have been sent.");
    }
    const ref = newRef();
    this.#set({
      ...this.state,
      pending: [...this.state.pending, { ref, text: trimmed, error: null }],
      notice: null,
    });
    this.#connection.send({ type: "post", ref, text: trimmed });
    return true;
  }

  /** Send again what the server refused. */
  sayAgain(ref: string): void {
    const pending = this.state.pending.map((item) =>
      item.ref === ref ? { ...item, error: null } : item,
    );
    this.#set({ ...this.state, pending, notice: null });
    const item = pending.find((item) => item.ref === ref);
    if (item) this.#connection.send({ type: "post", ref, text: item.text });
  }

  /** Forget what the server refused. */
  discard(ref: string): void {
    this.#set({ ...this.state, pending: this.state.pending.filter((item) => item.ref !== ref) });
  }

  reconnect(): void {
    this.#connection.retryNow();
  }

  dismiss(): void {
    this.#set({ ...this.state, notice: null });
  }

  #onFrame(frame: FromServer): void {
    this.#set(afterFrame(this.state, frame, Date.now()));
    if (frame.type === "stored" && !frame.live) {
      setTimeout(() => this.#postUnheard(), UNHEARD_PAUSE_MS);
    }
    if (frame.type !== "welcome") return;
    this.#connection.established();
    // The answer to these was lost with the connection; the server stores each ref once.
    for (const { ref, text, error } of this.state.pending) {
      if (error === null) this.#connection.send({ type: "post", ref, text });
    }
    this.#postUnheard();
  }

  #postUnheard(): void {
    for (const { ref, text } of this.state.unheard) {
      this.#connection.send({ type: "post", ref, text });
    }
  }

  #refuse(code: string, text: string): false {
    this.#set({ ...this.state, notice: { kind: "error", code, text } });
    return false;
  }

  #set(state: State): void {
    if (state.notice !== this.state.notice) this.#planDismissal(state.notice);
    this.state = state;
    for (const listener of this.#listeners) listener();
  }

  #planDismissal(notice: Notice | null): void {
    clearTimeout(this.#timer);
    if (notice?.kind === "info") this.#timer = setTimeout(() => this.dismiss(), INFO_SHOWN_MS);
  }
}

function newRef(): string {
  // randomUUID is missing where the page came over plain HTTP from another machine.
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
