// Modal dialogs: the browser's own `<dialog>`, which keeps the focus inside and closes by Escape.

import { el, freshId } from "../lib/dom.js";

/** Opens a dialog and returns its `close`. Closing gives the focus back to what had it. */
export function openDialog(title, ...children) {
  const before = document.activeElement;
  const id = freshId();
  const body = el("div", { class: "body" }, ...children);
  const close = () => dialog.close();
  const dialog = el("dialog", { "aria-labelledby": id },
    el("header", {}, el("h2", { id }, title), el("button", { type: "button", class: "plain", "aria-label": "Close", onclick: close }, "✕")),
    body);
  dialog.addEventListener("close", () => {
    const toasts = dialog.querySelector(".toasts");
    if (toasts) document.body.append(toasts);
    dialog.remove();
    before?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  body.querySelector("input, select, textarea")?.focus();
  return close;
}

/** Asks before something that cannot be undone; `action` returns whether it succeeded. */
export function askFirst(title, text, verb, action) {
  const go = el("button", { type: "button", class: "primary danger", onclick: run }, verb);
  const close = openDialog(title, el("p", {}, text), el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => close() }, "Cancel"), go));
  async function run() {
    go.disabled = true;
    if (await action()) close();
    go.disabled = false;
  }
  go.focus();
}

