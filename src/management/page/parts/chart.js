// A line chart over time as SVG. Its legend shows the values of the present, or of the moment under the pointer;
// the arrow keys move through the moments.

import { el, show, svg } from "../lib/dom.js";
import { timeOfDay } from "../lib/format.js";

const HEIGHT = 170;
const MARGIN = { top: 8, right: 6, bottom: 20, left: 58 };
const LINES = 4;
const SPAN_MIN_MS = 60_000;

export class Chart {
  /** @param title its heading's text; `format` turns a value into text; `kilo` is 1000, or 1024 for bytes */
  constructor(title, format, kilo = 1000) {
    this.title = title;
    this.format = format;
    this.kilo = kilo;
    this.series = [];
    this.at = null;
    this.drawing = svg("svg", { role: "img", tabindex: 0, onpointermove: (event) => this.#point(event.offsetX), onpointerleave: () => this.#look(null), onkeydown: (event) => this.#key(event), onblur: () => this.#look(null) });
    this.legend = el("ul", { class: "legend" });
    this.element = el("div", { class: "chart" }, this.drawing, this.legend);
    this.width = 600;
    new ResizeObserver(([entry]) => {
      this.width = Math.max(200, Math.round(entry.contentRect.width));
      this.#draw();
    }).observe(this.drawing);
  }

  /** Each series: `{title, colour: 1..6, points: [[time, value]], now}`. */
  update(series) {
    this.series = series;
    this.#draw();
  }

  #draw() {
    const times = this.series.flatMap(({ points }) => points.map(([time]) => time));
    const last = times.reduce((a, b) => Math.max(a, b), 0) || Date.now();
    const first = times.reduce((a, b) => Math.min(a, b), last - SPAN_MIN_MS);
    const top = ceiling(this.series.reduce((most, { points, now }) => points.reduce((a, [, value]) => Math.max(a, value), Math.max(most, now)), 0), this.kilo);
    const inner = { width: this.width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    this.x = (time) => MARGIN.left + ((time - first) / (last - first)) * inner.width;
    const y = (value) => MARGIN.top + inner.height * (1 - value / top);
    this.times = [...new Set(times)].sort((a, b) => a - b);
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", `${this.title}: ${this.series.map(({ title, now }) => `${title} ${this.format(now)}`).join(", ")}`);
    this.cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
    show(this.drawing, this.#grid(top, y), this.#moments(first, last), this.series.map(({ colour, points }) => line(colour, points, this.x, y)), this.cursor);
    this.#look(this.at);
  }

  #grid(top, y) {
    return Array.from({ length: LINES + 1 }, (_, index) => (top * index) / LINES).map((value) => [
      svg("line", { class: "gridline", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y(value), y2: y(value) }),
      svg("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, this.format(value)),
    ]);
  }

  #moments(first, last) {
    const anchors = [["start", first], ["middle", (first + last) / 2], ["end", last]];
    return anchors.map(([anchor, time]) => svg("text", { x: this.x(time), y: HEIGHT - 4, "text-anchor": anchor }, timeOfDay(time)));
  }

  #point(x) {
    const near = this.times.reduce((best, time) => (best === null || Math.abs(this.x(time) - x) < Math.abs(this.x(best) - x) ? time : best), null);
    this.#look(near);
  }

  #key(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const present = this.at === null ? this.times.length : this.times.indexOf(this.at);
    const index = Math.min(Math.max(present + (event.key === "ArrowLeft" ? -1 : 1), 0), this.times.length - 1);
    this.#look(this.times[index] ?? null);
  }

  /** Shows the values of a moment; of the present for null. */
  #look(time) {
    this.at = this.times?.includes(time) ? time : null;
    const seen = this.at !== null;
    this.cursor?.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) {
      this.cursor.setAttribute("x1", this.x(time));
      this.cursor.setAttribute("x2", this.x(time));
    }
    const value = ({ points, now }) => (seen ? points.find(([at]) => at === time)?.[1] : now);
    show(this.legend, this.series.map((one) => el("li", {}, el("i", { class: `s${one.colour}` }), one.title, el("b", {}, this.format(value(one))))),
      seen && el("li", {}, timeOfDay(time)));
  }
}

function line(colour, points, x, y) {
  const d = points.map(([time, value], index) => `${index === 0 ? "M" : "L"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return svg("path", { class: `s${colour}`, d });
}

/** The next round number of a unit that divides well into four: 4, 8, 20, 40, 80, ... */
function ceiling(value, kilo) {
  if (value <= 4) return 4;
  const unit = kilo ** Math.floor(Math.log(value) / Math.log(kilo));
  const ten = 10 ** Math.floor(Math.log10(value / unit));
  return [1, 2, 4, 8, 10].map((step) => step * ten * unit).find((round) => round >= value) ?? value;
}

/** A panel with a chart in it. */
export function chartPanel(title, chart) {
  return el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title)), chart.element);
}
