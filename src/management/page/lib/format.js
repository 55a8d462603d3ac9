// Numbers, sizes, times and values as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const known = (value) => value !== undefined && value !== null && value !== "";

/** `12,345`, and `12.3M` from ten millions on. */
export function count(value) {
  if (!known(value)) return "–";
  return Math.abs(value) >= 1e7 ? short.format(value) : whole.format(value);
}

/** `0.4/s`, `1,200/s`. */
export function rate(value) {
  if (!known(value)) return "–";
  if (value > 0 && value < 10) return `${value.toFixed(1)}/s`;
  return `${count(Math.round(value))}/s`;
}

/** `1.5 MiB`. */
export function bytes(value) {
  if (!known(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export const byteRate = (value) => (known(value) ? `${bytes(value)}/s` : "–");

/** `3 d 4 h`: the two largest units. */
export function duration(milliseconds) {
  if (!known(milliseconds)) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts.slice(first, first + 2).filter(([amount]) => amount > 0).map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** Local date and time of milliseconds since 1970. */
export function dateTime(milliseconds) {
  if (!known(milliseconds)) return "–";
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? String(milliseconds) : date.toLocaleString("sv");
}

export const timeOfDay = (milliseconds) => new Date(milliseconds).toLocaleTimeString("sv");

/** The default exchange has an empty name; it needs a visible one. */
export const exchangeName = (name) => (name === "" ? "(AMQP default)" : name);

/** A JSON value on one line; strings without quotes. */
export function plain(value) {
  if (typeof value === "string") return value;
  return value === undefined ? "" : JSON.stringify(value);
}
