/** A WebSocket that comes back by itself, with growing pauses and some chance in them. */

export type Link = "connecting" | "live" | "waiting" | "stopped";

export interface Frame {
  type: string;
}

interface Callbacks<In extends Frame> {
  /** The address to connect to; asked each time, as it carries what the page has seen. */
  url: () => string;
  onFrame: (frame: In) => void;
  onLink: (link: Link) => void;
}

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 15_000;
/** The server's 44xx codes mean that trying again would end the same way. */
const isFinal = (code: number): boolean => code >= 4400 && code < 4500;

export class Connection<In extends Frame, Out extends Frame> {
  #callbacks: Callbacks<In>;
  #socket: WebSocket | null = null;
  #timer: number | undefined;
  #attempts = 0;

  constructor(callbacks: Callbacks<In>) {
    this.#callbacks = callbacks;
    addEventListener("online", () => this.retryNow());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.retryNow();
    });
  }

  open(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#callbacks.onLink("connecting");
    const socket = new WebSocket(this.#callbacks.url());
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#callbacks.onFrame(JSON.parse(event.data as string) as In);
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#closed(event.code);
    };
  }

  /** The server has let us in: from now on a pause starts small again. */
  established(): void {
    this.#attempts = 0;
    this.#callbacks.onLink("live");
  }

  /** False if there is no connection to send on. */
  send(frame: Out): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** End the pause, if there is one. */
  retryNow(): void {
    if (this.#timer !== undefined) this.open();
  }

  #closed(code: number): void {
    this.#socket = null;
    if (isFinal(code)) {
      this.#callbacks.onLink("stopped");
      return;
    }
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#callbacks.onLink("waiting");
    this.#timer = setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
  }
}

/** The address of a socket of this site. */
export function socketUrl(path: string, query: Record<string, string>): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = new URLSearchParams(query).toString();
  return url.href;
}
