import type { Person } from "./protocol";

/** The first letter on a colour that stays the same for one person. */
export function Face({ id, name }: { id: number | null; name: string }) {
  const hue = ((id ?? 0) * 137) % 360;
  return (
    <span class="face" style={{ "--hue": hue }} aria-hidden="true">
      {[...name][0]?.toUpperCase()}
    </span>
  );
}

export function People({ people, me, live }: { people: Person[]; me: number; live: boolean }) {
  const sorted = [...people].sort((a, b) => a.name.localeCompare(b.name));
  return (
    <aside class="people" aria-labelledby="people-title" data-stale={!live}>
      <h2 id="people-title">
        Here now <span class="count">{people.length}</span>
      </h2>
      <ul aria-live="polite" aria-relevant="additions removals">
        {sorted.map((person) => (
          <li key={person.id} data-person={person.name}>
            <Face id={person.id} name={person.name} />
            <span>
              {person.name}
              {person.id === me && <small> (you)</small>}
            </span>
          </li>
        ))}
      </ul>
    </aside>
  );
}
