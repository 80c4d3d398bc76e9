// The zones: who is inside now, the most today, and the visits.

import { byId, setHidden, setNumber, setText, stamp } from "./dom.js";
import { clockTime, duration, number } from "./format.js";

/** Keeps the zones' panel in step with the model. */
export class ZonesPanel {
  #root = byId("zones");
  #list = byId("zone-list");
  #rows = new Map();

  /** Shows all zones of the model; none hides the panel. */
  render(model) {
    setHidden(this.#root, model.zones.size === 0);
    for (const [key, row] of this.#rows) {
      if (model.zones.has(key)) continue;
      row.root.remove();
      this.#rows.delete(key);
    }
    for (const [key, zone] of model.zones) {
      let row = this.#rows.get(key);
      if (!row) {
        row = stamp("zone-template");
        row.root.dataset.zone = zone.zone;
        this.#rows.set(key, row);
        this.#list.append(row.root);
      }
      renderZone(row.parts, zone, model.cameras.get(zone.camera));
    }
  }
}

function renderZone(parts, zone, camera) {
  const classes = Object.entries(zone.now).filter(([, n]) => n > 0);
  setText(parts.name, zone.zone);
  const mix = classes.length > 1 ? classes.map(([name, n]) => `${number(n)} ${name}`) : [];
  const tooFull = zone.crowded_since_ms ? [`too full since ${clockTime(zone.crowded_since_ms)}`] : [];
  setText(parts.camera, [camera?.camera ?? zone.camera, ...mix, ...tooFull].join(" · "));
  setNumber(parts.now, number(classes.reduce((sum, [, n]) => sum + n, 0)));
  setNumber(parts.max, number(zone.today.max ?? 0));
  setNumber(parts.visits, number(zone.today.visits ?? 0));
  const dwellMs = zone.today.mean_dwell_ms;
  setText(parts.dwell, zone.today.visits && dwellMs ? `${duration(dwellMs)} each` : "");
}
