/** What the page and `chat/frames.py` say to each other. */

export interface Message {
  id: number;
  ref: string;
  author: number | null;
  name: string;
  text: string;
  /** ISO 8601 */
  at: string;
}

export interface Person {
  id: number;
  name: string;
}

/** Epoch and offset: how far into the room's history the page has seen. */
export type Position = [string, number];

export type FromServer =
  | { type: "welcome"; messages: Message[]; position: Position; whole: boolean }
  | { type: "message"; message: Message; position: Position }
  | { type: "people"; people: Person[] }
  | { type: "stored"; message: Message; live: boolean }
  | { type: "error"; code: string; text: string; ref: string | null; retry_after: number | null };

export type ToServer = { type: "post"; ref: string; text: string };

/** What the room's template hands to the script. */
export interface PageData {
  room: { slug: string; title: string };
  me: number;
  messages: Message[];
  position: Position | null;
  maxText: number;
}
