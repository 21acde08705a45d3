import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** From here on the characters that are left are shown. */
const NEAR_LIMIT = 200;

interface Props {
  title: string;
  maxText: number;
  /** False if the text was not taken; it then stays where it is. */
  onSay: (text: string) => boolean;
}

export function Composer({ title, maxText, onSay }: Props) {
  const [text, setText] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);
  const left = maxText - [...text.trim()].length;

  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  }, [text]);

  const submit = (event: Event) => {
    event.preventDefault();
    // The element is asked, as keys may come faster than the page is drawn again.
    const area = box.current;
    if (area && onSay(area.value)) {
      area.value = "";
      setText("");
    }
    area?.focus();
  };

  return (
    <form onSubmit={submit}>
      <label class="hidden" for="text">
        Message
      </label>
      <div class="row">
        <textarea
          id="text"
          ref={box}
          rows={1}
          value={text}
          placeholder={`Message to ${title}`}
          enterkeyhint="send"
          aria-describedby="left"
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
          }}
        />
        <button class="primary">Send</button>
      </div>
      <p id="left" class={left < 0 ? "left error" : "left"}>
        {left < 0 && `${(-left).toLocaleString("en")} characters too many`}
        {left >= 0 && left < NEAR_LIMIT && `${left.toLocaleString("en")} characters left`}
      </p>
    </form>
  );
}
