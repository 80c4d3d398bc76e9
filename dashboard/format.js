// Words and numbers as people read them, in the site's time zone and the visitor's language.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const difference = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0, signDisplay: "exceptZero" });
const tenth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const percentTenth = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

let zone = "UTC";
let seconds;
let minutes;
let dayTime;
setTimezone("UTC");

/** Chooses the zone of all times to come. A zone that this browser doesn't know becomes UTC. */
export function setTimezone(name) {
  try {
    seconds = new Intl.DateTimeFormat(undefined, { timeZone: name, hour: "2-digit", minute: "2-digit", second: "2-digit" });
    zone = name;
  } catch {
    if (name !== "UTC") setTimezone("UTC");
    return;
  }
  minutes = new Intl.DateTimeFormat(undefined, { timeZone: name, hour: "2-digit", minute: "2-digit" });
  dayTime = new Intl.DateTimeFormat(undefined, { timeZone: name, weekday: "short", hour: "2-digit", minute: "2-digit" });
}

export const timezone = () => zone;
export const clockTime = (ms) => seconds.format(ms);
export const minuteTime = (ms) => minutes.format(ms);
export const number = (n) => whole.format(n);
/** Writes a difference with its sign: +3, 0, -1. */
export const signed = (n) => difference.format(n);
export const decimal = (n) => tenth.format(n);

/** Writes a share; never rounds 99.96 % up to a full 100 %. */
export function share(part) {
  if (part >= 1) return percent.format(1);
  if (part <= 0) return percent.format(0);
  return percentTenth.format(Math.min(0.999, Math.max(0.001, part)));
}

/** Writes a time of day, with the weekday if it is more than half a day away. */
export function since(ms, nowMs, near = clockTime) {
  return Math.abs(nowMs - ms) > 43_200_000 ? dayTime.format(ms) : near(ms);
}

/** Writes a duration in its largest fitting unit. */
export function duration(ms) {
  if (ms < 10_000) return `${tenth.format(ms / 1000)} s`;
  if (ms < 120_000) return `${whole.format(ms / 1000)} s`;
  if (ms < 7_200_000) return `${whole.format(ms / 60_000)} min`;
  return `${tenth.format(ms / 3_600_000)} h`;
}
