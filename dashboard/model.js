// What the page knows of the world: the last snapshot, advanced by deltas. No document, no network, no clock.

export const keyOf = (camera, name) => `${camera}\n${name}`;

export class Model {
  constructor() {
    this.cameras = new Map();
    this.lines = new Map();
    this.zones = new Map();
    this.gates = new Map();
    this.timezone = "UTC";
    this.hasSnapshot = false;
  }

  /**
   * Takes one live message.
   * @returns {{crossings: {camera: string, line: string, direction: "in"|"out", n: number}[], panes: object[]}}
   *   What happened just now. A snapshot replaces all and makes nothing happen.
   */
  apply(message) {
    if (message.type === "snapshot") {
      this.#replace(message);
      return { crossings: [], panes: [] };
    }
    if (message.type !== "delta") return { crossings: [], panes: [] };
    const crossings = [];
    for (const line of message.lines ?? []) {
      crossings.push(...crossed(this.lines.get(keyOf(line.camera, line.line)), line));
      this.lines.set(keyOf(line.camera, line.line), line);
    }
    for (const zone of message.zones ?? []) this.zones.set(keyOf(zone.camera, zone.zone), zone);
    for (const gate of message.gates ?? []) this.gates.set(gateKey(gate), gate);
    for (const camera of message.cameras ?? []) this.cameras.set(camera.id, camera);
    return { crossings, panes: message.panes ?? [] };
  }

  /** Sums today over all lines. */
  totals() {
    const sums = { in: 0, out: 0 };
    for (const line of this.lines.values()) {
      sums.in += line.today.in;
      sums.out += line.today.out;
    }
    return sums;
  }

  /**
   * Lists the counters of all devices, as each device said them last.
   * @returns {{key: string, camera: object, now: object}[]} With the camera that told it.
   */
  counters() {
    const newest = new Map();
    for (const camera of this.cameras.values()) {
      if (!camera.counters) continue;
      const device = keyOf(camera.site, camera.device);
      const known = newest.get(device)?.counters;
      if (!known || isNewer(camera.counters, known)) newest.set(device, camera);
    }
    return [...newest].flatMap(([device, camera]) =>
      camera.counters.counters.map((now) => ({ key: keyOf(device, now.counter), camera, now })),
    );
  }

  #replace(snapshot) {
    this.hasSnapshot = true;
    this.timezone = snapshot.timezone;
    this.cameras = new Map(snapshot.cameras.map((camera) => [camera.id, camera]));
    this.lines = new Map(snapshot.lines.map((line) => [keyOf(line.camera, line.line), line]));
    this.zones = new Map(snapshot.zones.map((zone) => [keyOf(zone.camera, zone.zone), zone]));
    this.gates = new Map((snapshot.gates ?? []).map((gate) => [gateKey(gate), gate]));
  }
}

const gateKey = (gate) => [gate.camera, gate.gate, gate.origin, gate.destination].join("\n");
const isNewer = (one, other) => one.epoch > other.epoch || (one.epoch === other.epoch && one.seq > other.seq);

// A count that shrank is a new day, not somebody walking backwards.
function crossed(before, after) {
  const found = [];
  for (const direction of ["in", "out"]) {
    const n = after.today[direction] - (before?.today[direction] ?? 0);
    if (n > 0) found.push({ camera: after.camera, line: after.line, direction, n });
  }
  return found;
}
