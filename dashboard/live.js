// The one connection of the page: WebSocket first, server-sent events where that is blocked, for ever.

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MOST_MS = 5_000;
// The server speaks every 2 s at least: two missed turns and a bit.
const STALE_AFTER_MS = 5_000;
// A connection can die without a word (a laptop that slept, a router that forgot): let go of it and dial again.
const DEAD_AFTER_MS = 10_000;
// Opening may take long on a bad network, but not for ever.
const OPEN_WITHIN_MS = 8_000;
// So many WebSockets that failed although the server answers HTTP: something on the way blocks them.
const REFUSED_SOCKETS = 2;

/**
 * Follows the live feed.
 *
 * Reports to `on.message(message)`, `on.state("live" | "reconnecting" | "stale", sinceMs)` and `on.signIn()`.
 * `on.probe()` asks the server over plain HTTP and resolves to "ok", "signed-out" or "down".
 */
export class Live {
  #on;
  #close = null;
  #timer = 0;
  #tries = 0;
  #refused = 0;
  #lastMessageMs = 0;
  #openedMs = 0;
  #state = "";
  #isStopped = true;

  constructor(on) {
    this.#on = on;
    setInterval(() => this.#watch(), 500);
    addEventListener("online", () => this.#redial());
    addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#redial());
  }

  /** Dials, now and for ever. */
  start() {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#dial();
  }

  /** Hangs up until the next start. */
  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#hangUp();
    this.#state = "";
  }

  get transport() {
    return this.#refused >= REFUSED_SOCKETS ? "sse" : "websocket";
  }

  #dial() {
    this.#hangUp();
    this.#openedMs = performance.now();
    const open = this.transport === "sse" ? openEvents : openSocket;
    let hasSpoken = false;
    const id = {};
    const close = open(
      (text) => {
        if (this.#close?.id !== id) return;
        hasSpoken = true;
        this.#tries = 0;
        if (this.transport === "websocket") this.#refused = 0;
        this.#heard(text);
      },
      () => {
        if (this.#close?.id === id) this.#lost(hasSpoken);
      },
    );
    this.#close = { id, run: close };
  }

  #heard(text) {
    this.#lastMessageMs = Date.now();
    this.#openedMs = performance.now();
    this.#on.message(JSON.parse(text), this.transport);
    this.#setState("live");
  }

  async #lost(hasSpoken) {
    const wasSse = this.transport === "sse";
    this.#hangUp();
    if (this.#state === "live" || this.#state === "") this.#setState("reconnecting");
    const answer = await this.#on.probe();
    if (this.#isStopped || this.#close) return;
    if (answer === "signed-out") {
      this.stop();
      this.#on.signIn();
      return;
    }
    // A server that is down says nothing about WebSockets; only one that answers HTTP and refuses them does.
    if (!hasSpoken && answer === "ok") this.#refused = wasSse ? REFUSED_SOCKETS - 1 : this.#refused + 1;
    const ceiling = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** this.#tries++);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#dial(), Math.random() * ceiling);
  }

  #hangUp() {
    const closing = this.#close;
    this.#close = null;
    closing?.run();
  }

  #redial() {
    if (this.#isStopped || this.#close) return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  #watch() {
    if (this.#isStopped) return;
    const quietMs = performance.now() - this.#openedMs;
    if (this.#lastMessageMs && Date.now() - this.#lastMessageMs > STALE_AFTER_MS) this.#setState("stale");
    const patienceMs = this.#lastMessageMs ? DEAD_AFTER_MS : OPEN_WITHIN_MS;
    if (this.#close && quietMs > patienceMs) this.#lost(false);
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.state(state, this.#lastMessageMs);
  }
}

function openSocket(onText, onLost) {
  const address = new URL("v1/live", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.onmessage = (event) => onText(event.data);
  socket.onclose = onLost;
  return () => {
    socket.onmessage = socket.onclose = null;
    socket.close();
  };
}

function openEvents(onText, onLost) {
  const events = new EventSource(new URL("v1/live/sse", document.baseURI));
  events.onmessage = (event) => onText(event.data);
  for (const name of ["snapshot", "delta", "heartbeat"]) events.addEventListener(name, (event) => onText(event.data));
  // EventSource would dial again by itself at a fixed pace; ours has jitter and knows about signing in.
  events.onerror = onLost;
  return () => {
    events.onerror = null;
    events.close();
  };
}
