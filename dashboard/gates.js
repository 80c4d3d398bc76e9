// One camera's gates: who went from one line to another today, and how long that took.

import { setHidden, setNumber, setText, stamp } from "./dom.js";
import { duration, number } from "./format.js";
import { keyOf } from "./model.js";

// Pairs of lines that are shown of an origin-destination matrix, those with the most passages.
const MAX_PAIRS = 8;

/** Keeps a list of gates in step with one camera. */
export class GateList {
  #list;
  #rows = new Map();

  constructor(list) {
    this.#list = list;
  }

  /** Shows the camera's gates, and the busiest pairs of its lines; none hides the list. */
  render(camera, model) {
    const gates = shown(camera, model);
    const keys = new Set(gates.map(gateKey));
    setHidden(this.#list, keys.size === 0);
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.root.remove();
      this.#rows.delete(key);
    }
    for (const gate of gates) {
      let row = this.#rows.get(gateKey(gate));
      if (!row) {
        row = stamp("gate-template");
        row.root.dataset.gate = gate.gate || `${gate.origin}/${gate.destination}`;
        this.#rows.set(gateKey(gate), row);
        this.#list.append(row.root);
      }
      setText(row.parts.way, `${gate.origin} → ${gate.destination}`);
      setText(row.parts.name, gate.gate);
      setNumber(row.parts.n, number(gate.today.n));
      setText(row.parts.travel, gate.today.mean_travel_ms === null ? "" : `${duration(gate.today.mean_travel_ms)} on average`);
    }
  }
}

const gateKey = (gate) => keyOf(gate.gate, keyOf(gate.origin, gate.destination));

function shown(camera, model) {
  const ours = [...model.gates.values()].filter((gate) => gate.camera === camera.id);
  const names = new Set((camera.gates ?? []).map((gate) => gate.name));
  const named = ours.filter((gate) => names.has(gate.gate));
  const pairs = camera.od ? ours.filter((gate) => !gate.gate).sort((a, b) => b.today.n - a.today.n) : [];
  return [...named, ...pairs.slice(0, MAX_PAIRS)];
}
