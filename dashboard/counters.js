// The counters: how many are inside, as each device said last.

import { byId, setHidden, setNumber, setText, stamp } from "./dom.js";
import { minuteTime, number, since } from "./format.js";

/** Keeps the counters' panel in step with the model. */
export class CountersPanel {
  #root = byId("counters");
  #list = byId("counter-list");
  #rows = new Map();

  /** Shows all counters of the model; none hides the panel. */
  render(model, nowMs) {
    const counters = model.counters();
    const keys = new Set(counters.map(({ key }) => key));
    setHidden(this.#root, keys.size === 0);
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.root.remove();
      this.#rows.delete(key);
    }
    for (const { key, camera, now } of counters) {
      let row = this.#rows.get(key);
      if (!row) {
        row = stamp("counter-template");
        row.root.dataset.counter = now.counter;
        this.#rows.set(key, row);
        this.#list.append(row.root);
      }
      const words = [`${number(now.totals.in)} in, ${number(now.totals.out)} out since ${since(now.since_ms, nowMs, minuteTime)}`];
      const isOffline = camera.state === "offline";
      if (isOffline) words.unshift(`offline since ${since(camera.last_seen_ms, nowMs)}`);
      row.root.classList.toggle("is-old", isOffline);
      setText(row.parts.name, now.counter);
      setText(row.parts.about, words.join(" · "));
      setNumber(row.parts.value, number(now.value));
    }
  }
}
