/** The room as it is seen. */

import { useEffect, useState } from "preact/hooks";
import type { Link } from "../shared/connection";
import { Composer } from "./composer";
import { Messages } from "./messages";
import { People } from "./people";
import type { Room } from "./room";
import type { Notice, State } from "./state";

function useRoom(room: Room): State {
  const [state, setState] = useState(room.state);
  useEffect(() => {
    setState(room.state);
    return room.subscribe(() => setState(room.state));
  }, [room]);
  return state;
}

export function RoomView({ room }: { room: Room }) {
  const state = useRoom(room);
  return (
    <>
      <section class="conversation" aria-labelledby="room-title">
        <header>
          <h1 id="room-title">{room.page.room.title}</h1>
          <Badge link={state.link} onRetry={() => room.reconnect()} />
        </header>
        <Messages
          messages={state.messages}
          pending={state.pending}
          me={room.page.me}
          onAgain={(ref) => room.sayAgain(ref)}
          onDiscard={(ref) => room.discard(ref)}
        />
        <div class="composer">
          <div role="alert">
            {state.notice && <NoticeLine notice={state.notice} onDismiss={() => room.dismiss()} />}
          </div>
          <Composer
            title={room.page.room.title}
            maxText={room.page.maxText}
            onSay={(text) => room.say(text)}
          />
        </div>
      </section>
      <People people={state.people} me={room.page.me} live={state.link === "live"} />
    </>
  );
}

const LINKS: Record<Link, string> = {
  connecting: "Connecting…",
  live: "Live",
  waiting: "Connection lost, trying again…",
  stopped: "Not connected",
};

function Badge({ link, onRetry }: { link: Link; onRetry: () => void }) {
  return (
    <div class="link" data-link={link}>
      <span role="status" class="badge">
        {LINKS[link]}
      </span>
      {link === "waiting" && (
        <button type="button" class="quiet" onClick={onRetry}>
          Try now
        </button>
      )}
    </div>
  );
}

const REMEDIES: Record<string, { label: string; href: () => string }> = {
  not_signed_in: {
    label: "Choose a name",
    href: () => `/sign-in/?next=${encodeURIComponent(location.pathname)}`,
  },
  unknown_room: { label: "Choose a room", href: () => "/chat/" },
  bad_position: { label: "Load the page again", href: () => location.pathname },
};

function NoticeLine({ notice, onDismiss }: { notice: Notice; onDismiss: () => void }) {
  const remedy = REMEDIES[notice.code];
  return (
    <p class={`notice ${notice.kind}`} data-code={notice.code}>
      <span>{notice.text}</span>
      {remedy && <a href={remedy.href()}>{remedy.label}</a>}
      <button type="button" class="quiet" onClick={onDismiss} aria-label="Dismiss">
        ×
      </button>
    </p>
  );
}
