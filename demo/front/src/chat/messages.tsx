import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Face } from "./people";
import type { Message } from "./protocol";
import type { Pending } from "./state";

interface Props {
  messages: Message[];
  pending: Pending[];
  me: number;
  onAgain: (ref: string) => void;
  onDiscard: (ref: string) => void;
}

/** Within this time further messages of one person stand under the same name. */
const TOGETHER_MS = 5 * 60_000;
/** Whoever is this near to the end, in pixels, follows what is new. */
const AT_END_PX = 80;

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export function Messages({ messages, pending, me, onAgain, onDiscard }: Props) {
  const log = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const last = messages.at(-1)?.id;

  const toEnd = () => log.current?.scrollTo({ top: log.current.scrollHeight });
  useLayoutEffect(() => {
    if (following) toEnd();
  }, [last, pending.length, following]);

  const onScroll = () => {
    const area = log.current;
    if (area) setFollowing(area.scrollHeight - area.scrollTop - area.clientHeight < AT_END_PX);
  };

  return (
    <div class="log-frame">
      <div
        class="log"
        role="log"
        aria-label="Messages"
        tabIndex={0}
        ref={log}
        onScroll={onScroll}
      >
        {messages.length + pending.length === 0 && (
          <p class="nothing">Nothing has been said here yet. Say hello.</p>
        )}
        <ol class="messages">
          {messages.map((message, index) => (
            <Line key={message.ref} message={message} before={messages[index - 1]} me={me} />
          ))}
          {pending.map((item) => (
            <li key={item.ref} class="message mine pending" data-pending={item.error ? "refused" : "sending"}>
              <p class="text">{item.text}</p>
              {item.error === null ? (
                <p class="fate">Sending…</p>
              ) : (
                <p class="fate error">
                  Not sent: {item.error}{" "}
                  <button type="button" class="quiet" onClick={() => onAgain(item.ref)}>
                    Try again
                  </button>
                  <button type="button" class="quiet" onClick={() => onDiscard(item.ref)}>
                    Remove
                  </button>
                </p>
              )}
            </li>
          ))}
        </ol>
      </div>
      {!following && (
        <button type="button" class="to-end" onClick={toEnd}>
          To the newest ↓
        </button>
      )}
    </div>
  );
}

function Line({ message, before, me }: { message: Message; before?: Message; me: number }) {
  const at = new Date(message.at);
  const beforeAt = before && new Date(before.at);
  const newDay = beforeAt?.toDateString() !== at.toDateString();
  const first =
    newDay ||
    before?.author !== message.author ||
    before.name !== message.name ||
    at.getTime() - (beforeAt?.getTime() ?? 0) > TOGETHER_MS;
  const mine = message.author === me;
  return (
    <>
      {newDay && (
        <li class="day">
          <span>{DAY.format(at)}</span>
        </li>
      )}
      <li class={`message${mine ? " mine" : ""}${first ? " first" : ""}`} data-id={message.id}>
        {first && !mine && <Face id={message.author} name={message.name} />}
        <div>
          {first && (
            <p class="by">
              <b class={mine ? "hidden" : undefined}>{message.name}</b>{" "}
              <time dateTime={message.at}>{TIME.format(at)}</time>
            </p>
          )}
          <p class="text">{message.text}</p>
        </div>
      </li>
    </>
  );
}
