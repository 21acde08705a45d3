/** What a room's page knows, and how each frame changes it; no browser in here. */

import type { Link } from "../shared/connection";
import type { FromServer, Message, PageData, Person, Position } from "./protocol";

/** Written here and not yet acknowledged by the server. */
export interface Pending {
  ref: string;
  text: string;
  /** Why the server refused it; null while it is under way. */
  error: string | null;
}

export interface Notice {
  kind: "error" | "info";
  code: string;
  text: string;
}

export interface State {
  link: Link;
  /** By id, oldest first; the same message may come twice and is shown once. */
  messages: Message[];
  position: Position | null;
  pending: Pending[];
  /** Stored, but not yet taken by the layer: to be posted again until it is. */
  unheard: { ref: string; text: string }[];
  people: Person[];
  notice: Notice | null;
  /** When sending is allowed again, in milliseconds since 1970; 0 if it is. */
  pausedUntil: number;
}

export function initialState(page: PageData): State {
  return {
    link: "connecting",
    messages: page.messages,
    position: page.position,
    pending: [],
    unheard: [],
    people: [],
    notice: null,
    pausedUntil: 0,
  };
}

export function afterFrame(state: State, frame: FromServer, now: number): State {
  switch (frame.type) {
    case "welcome": {
      const reloaded = frame.whole && state.position !== null;
      return {
        ...withMessages(frame.whole ? { ...state, messages: [] } : state, frame.messages),
        position: frame.position,
        notice: reloaded
          ? { kind: "info", code: "reloaded", text: "The conversation was loaded again." }
          : null,
      };
    }
    case "message":
      return { ...withMessages(state, [frame.message]), position: frame.position };
    case "people":
      return { ...state, people: frame.people };
    case "stored": {
      const next = withMessages(state, [frame.message]);
      const { ref, text } = frame.message;
      const unheard = next.unheard.filter((item) => item.ref !== ref);
      if (!frame.live) return { ...next, unheard: [...unheard, { ref, text }], notice: NOT_LIVE };
      const healed = next.notice === NOT_LIVE && unheard.length === 0;
      return { ...next, unheard, notice: healed ? null : next.notice };
    }
    case "error":
      return afterError(state, frame, now);
  }
}

const NOT_LIVE: Notice = {
  kind: "error",
  code: "not_live",
  text: "Your message is stored, but the live connection between people is away: others see it when that is back, or when they load the page again.",
};

function afterError(
  state: State,
  frame: Extract<FromServer, { type: "error" }>,
  now: number,
): State {
  const { ref, code, text, retry_after } = frame;
  return {
    ...state,
    pending: state.pending.map((item) => (item.ref === ref ? { ...item, error: text } : item)),
    notice: { kind: "error", code, text },
    pausedUntil:
      code === "too_fast" && retry_after !== null ? now + retry_after * 1000 : state.pausedUntil,
  };
}

function withMessages(state: State, news: Message[]): State {
  const byId = new Map(state.messages.map((message) => [message.id, message]));
  for (const message of news) byId.set(message.id, message);
  const arrived = new Set(news.map((message) => message.ref));
  return {
    ...state,
    messages: [...byId.values()].sort((a, b) => a.id - b.id),
    pending: state.pending.filter((item) => !arrived.has(item.ref)),
  };
}
