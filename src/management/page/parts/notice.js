// Short messages: in the corner after an action, or as a line within a page.

import { el } from "../lib/dom.js";

const TOASTS_MAX = 4;
const GOOD_MS = 4000;
const BAD_MS = 12000;

let corner = null;

/** Shows a message in the corner; errors stay longer. */
export function toast(text, kind = "good") {
  corner ??= document.body.appendChild(el("div", { class: "toasts", role: "status", "aria-live": "polite" }));
  // A modal dialog is above everything else, so the corner moves into it.
  (document.querySelector("dialog[open]") ?? document.body).append(corner);
  const close = () => box.remove();
  const box = el("div", { class: `notice ${kind}` }, el("span", {}, text), el("button", { type: "button", "aria-label": "Dismiss", onclick: close }, "✕"));
  corner.append(box);
  while (corner.children.length > TOASTS_MAX) corner.firstChild.remove();
  setTimeout(close, kind === "danger" ? BAD_MS : GOOD_MS);
}

export const notice = (kind, ...children) => el("div", { class: `notice ${kind}` }, ...children);
