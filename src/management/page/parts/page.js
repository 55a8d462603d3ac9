// Pieces that most pages have: the head with the title, panels, definition lists, figures, meters, tags.

import { el, show, svg } from "../lib/dom.js";
import { href } from "../lib/router.js";

/** The head of a page. `above` are links `[title, ...parts]` to the pages above it. */
export function head(title, { above = [], buttons = [], marks = [] } = {}) {
  const crumbs = above.length > 0 && el("div", { class: "crumbs" }, above.map(([text, ...parts]) => [el("a", { href: href(...parts) }, text), " / "]));
  return el("div", { class: "head" }, crumbs, el("h1", {}, title), marks, el("span", { class: "grow" }), buttons);
}

export function panel(title, ...children) {
  return el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title)), el("div", { class: "body" }, ...children));
}

/** A panel around a table, with buttons beside its title. */
export function tablePanel(title, table, buttons = []) {
  return el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title), el("span", { class: "grow" }), buttons), table.element);
}

/** Names and values; pairs whose value is undefined are left out. */
export function facts(pairs) {
  return el("dl", {}, pairs.filter((pair) => pair && pair[1] !== undefined).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** Large numbers in a row: `[title, text, href?]`. */
export function figures(list) {
  return el("div", { class: "figures" }, list.map(([title, text, address]) => el(address ? "a" : "div", { class: "figure", href: address ?? null }, el("b", {}, text), el("span", {}, title))));
}

/** How much of a limit is used. */
export function meter(title, used, limit, text, alarm = false) {
  const part = limit > 0 ? Math.min(used / limit, 1) : 0;
  const bar = svg("svg", { role: "meter", "aria-label": title, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(part * 100), "aria-valuetext": text, viewBox: "0 0 100 8", preserveAspectRatio: "none" },
    svg("rect", { width: (part * 100).toFixed(1), height: 8 }));
  return el("div", { class: alarm ? "meter alarm" : "meter" }, el("div", { class: "text" }, el("span", {}, title), el("span", { class: "muted" }, text)), bar);
}

/** Short marks such as `durable`. */
export const tag = (text, kind = "", title = null) => el("span", { class: `tag ${kind}`.trim(), title }, text);

export function button(text, onclick, kind = "") {
  return el("button", { type: "button", class: kind || null, onclick }, text);
}

/** A place in a page that is filled at each refresh, but only when what it shows has changed. */
export class Slot {
  constructor(tagName = "div", properties = {}) {
    this.element = el(tagName, properties);
    this.shown = null;
  }

  /** `data` is everything that `render` depends on. */
  update(data, render) {
    const now = JSON.stringify(data) ?? "";
    if (now === this.shown) return;
    this.shown = now;
    show(this.element, render(data));
  }
}

/** A panel that opens at its heading: for forms that most visits do not need. */
export function folded(title, ...children) {
  return el("details", { class: "panel" }, el("summary", {}, title), el("div", { class: "body" }, ...children));
}
