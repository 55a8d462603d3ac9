// Forms from a list of fields. The browser checks what it can; the broker's refusals appear in the corner.

import { el, freshId } from "../lib/dom.js";
import { openDialog } from "./dialog.js";

/**
 * A field: `kind` is `text` (default), `password`, `datetime-local`, `number`, `select`, `check`, `area`, `file`, or an object with
 * `element` and `read()` for anything else. `options` of a select are `[value, title]`.
 * @typedef {{name: string, label: string, kind?: string|object, value?: unknown, options?: [string, string][], hint?: string,
 *   required?: boolean, wide?: boolean, placeholder?: string, suggestions?: string[], min?: number, max?: number, rows?: number}} Field
 */

/**
 * @param {Field[]} fields
 * @param onsubmit gets the values by name; returns whether it succeeded, after which the form is emptied unless `keep`
 */
export function form({ fields, submit, onsubmit, pairs = false, keep = false, danger = false, cancel = null }) {
  const inputs = fields.map(input);
  const button = el("button", { class: danger ? "primary danger" : "primary" }, submit);
  const element = el("form", { class: pairs ? "fields pairs" : "fields", onsubmit: send, autocomplete: "off" },
    inputs.map(({ element }) => element),
    el("div", { class: "buttons wide" }, cancel && el("button", { type: "button", onclick: cancel }, "Cancel"), button));

  async function send(event) {
    event.preventDefault();
    const values = {};
    for (const { field, read, control } of inputs) {
      try {
        values[field.name] = read();
      } catch (error) {
        control.setCustomValidity(error.message);
        control.reportValidity();
        control.addEventListener("input", () => control.setCustomValidity(""), { once: true });
        return;
      }
    }
    button.disabled = true;
    const done = await onsubmit(values);
    button.disabled = false;
    if (done && !keep) element.reset();
  }
  return element;
}

/** A form in a dialog, which closes when it succeeded. `before` are sentences above it. */
export function formDialog(title, options, ...before) {
  const close = openDialog(title, before.map((text) => el("p", {}, text)), form({
    ...options, cancel: () => close(), keep: true,
    onsubmit: async (values) => {
      const done = await options.onsubmit(values);
      if (done) close();
      return done;
    },
  }));
}

function input(field) {
  const id = freshId();
  const hint = field.hint && el("div", { class: "hint", id: `${id}-hint` }, field.hint);
  const shared = { id, name: field.name, required: field.required, "aria-describedby": hint ? `${id}-hint` : null };
  if (typeof field.kind === "object") {
    const label = el("div", { class: "label", id }, field.label);
    field.kind.element.setAttribute("role", "group");
    field.kind.element.setAttribute("aria-labelledby", id);
    return { field, read: field.kind.read, control: field.kind.control, element: el("div", { class: "field wide" }, label, field.kind.element, hint) };
  }
  const { control, read } = simple(field, shared);
  const label = el("label", { for: id }, field.label);
  const check = field.kind === "check";
  return {
    field, read, control,
    element: el("div", { class: `field${check ? " check" : ""}${field.wide ? " wide" : ""}` }, check ? [control, label] : [label, control], hint, suggestions(field, control)),
  };
}

function simple(field, shared) {
  const { kind = "text", value, placeholder } = field;
  if (kind === "select") {
    const control = el("select", shared, field.options.map(([option, title]) => el("option", { value: option, selected: option === value }, title)));
    return { control, read: () => control.value };
  }
  if (kind === "check") {
    const control = el("input", { ...shared, type: "checkbox", checked: value });
    return { control, read: () => control.checked };
  }
  if (kind === "area") {
    const control = el("textarea", { ...shared, placeholder, rows: field.rows ?? 4, spellcheck: "false" }, value);
    return { control, read: () => control.value };
  }
  if (kind === "file") {
    const control = el("input", { ...shared, type: "file", accept: field.accept });
    return { control, read: () => control.files[0] };
  }
  if (kind === "number") {
    const control = el("input", { ...shared, type: "number", step: field.step ?? 1, min: field.min, max: field.max, value, placeholder });
    return { control, read: () => (control.value === "" ? undefined : Number(control.value)) };
  }
  const control = el("input", { ...shared, type: kind, step: field.step, value, placeholder, autocomplete: kind === "password" ? "new-password" : "off", spellcheck: "false" });
  return { control, read: () => control.value };
}

function suggestions(field, control) {
  if (!field.suggestions) return null;
  const id = freshId();
  control.setAttribute("list", id);
  return el("datalist", { id }, field.suggestions.map((value) => el("option", { value })));
}
