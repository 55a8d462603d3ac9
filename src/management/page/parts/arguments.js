// Editor of a table of arguments: of queues, exchanges, bindings, policies, message headers.

import { el, freshId } from "../lib/dom.js";

const TYPES = [["string", "String"], ["number", "Number"], ["boolean", "Boolean"], ["json", "JSON"]];

/**
 * A field kind for `form`. `known` maps names that the editor suggests to their types.
 * @param {Record<string, string>} known @param {object} initial
 */
export function argumentsField(known = {}, initial = {}) {
  const list = freshId();
  const rows = el("div");
  const add = (name = "", value = undefined) => rows.append(row(known, list, name, value));
  const element = el("div", {}, rows, el("datalist", { id: list }, Object.keys(known).map((value) => el("option", { value }))),
    el("button", { type: "button", onclick: () => add() }, "Add an entry"));
  const entries = Object.entries(initial);
  if (entries.length === 0) add();
  else entries.forEach(([name, value]) => add(name, value));
  return { element, control: rows.querySelector("input"), read: () => read(rows) };
}

function row(known, list, name, value) {
  const type = el("select", { "aria-label": "Type of the value" }, TYPES.map(([id, title]) => el("option", { value: id, selected: id === typeOf(value) }, title)));
  const key = el("input", { "aria-label": "Name of the entry", placeholder: "name", list, value: name, spellcheck: "false", oninput: () => { type.value = known[key.value] ?? type.value; } });
  const text = el("input", { "aria-label": "Value of the entry", placeholder: "value", value: textOf(value), spellcheck: "false" });
  const box = el("div", { class: "argument" }, key, text, type, el("button", { type: "button", class: "plain", "aria-label": "Remove the entry", onclick: () => box.remove() }, "✕"));
  return box;
}

function typeOf(value) {
  if (typeof value === "number") return "number";
  if (typeof value === "boolean") return "boolean";
  return value === undefined || typeof value === "string" ? "string" : "json";
}

function textOf(value) {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function read(rows) {
  const table = {};
  for (const box of rows.children) {
    const [key, text, type] = box.children;
    if (key.value === "") continue;
    table[key.value] = parse(key.value, text.value.trim(), type.value);
  }
  return table;
}

function parse(name, text, type) {
  if (type === "string") return text;
  if (type === "boolean") {
    if (text !== "true" && text !== "false") throw new Error(`${name}: true or false`);
    return text === "true";
  }
  if (type === "number") {
    if (text === "" || !Number.isFinite(Number(text))) throw new Error(`${name}: not a number`);
    return Number(text);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name}: not JSON`);
  }
}

/** Arguments as a list of names and values, or a dash. */
export function argumentList(table) {
  const entries = Object.entries(table ?? {});
  if (entries.length === 0) return "–";
  return entries.map(([name, value]) => el("div", {}, el("code", {}, name), " = ", typeof value === "string" ? value : JSON.stringify(value)));
}
